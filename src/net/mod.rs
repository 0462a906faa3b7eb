//! Listening: binding addresses and accepting connections, for the web server and for coturn alike. Knows nothing of what
//! is spoken there.

mod accept;
mod bind;

pub use accept::{Accept, Acceptor};
pub use bind::{BindError, bind};
