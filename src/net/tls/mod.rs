//! The server's side of TLS, for the web server and for the listener: certificates and keys from PEM, versions and cipher
//! suites by their names, and what clients must show.

mod choice;
mod clients;
mod names;
mod pem;
mod server;
mod trusted;

pub use choice::TlsChoiceError;
pub use pem::{PemError, PemText, TlsPair, certificates, pair_error, private_key, roots};
pub use server::{ServerTls, ServerTlsError, server_config};
pub use trusted::system_roots;
