//! The server's side of TLS, for the web server and for the listener: certificates and keys from PEM, versions and cipher
//! suites by their names, and what clients must show. For both sides: the CAs of the system, a verifier that asks for less.

mod choice;
mod clients;
mod der;
mod lax;
mod names;
mod own;
mod pem;
mod server;
mod trusted;

pub use choice::TlsChoiceError;
pub(crate) use lax::LaxVerifier;
pub use own::OwnCertificate;
pub use pem::{PemError, PemText, TlsPair, certificates, pair_error, private_key, roots};
pub use server::{ServerTls, ServerTlsError, server_config};
pub use trusted::system_roots;
