//! Listening: binding addresses and accepting connections, for the web server and for coturn alike. Knows nothing of what
//! is spoken there.

mod accept;
mod bind;

pub use accept::{Accept, Acceptor};
pub use bind::{BindError, bind};

/// Connections of one server that gave way and have not ended yet, at most: until some have, no new ones are accepted, for
/// each still holds an open file. Their tasks end as soon as they have their turn.
pub const MOST_ENDING: usize = 32;
