//! A TURN service that does not exist: what its coturns would publish, as bytes to send. For demonstrations, and to try an
//! installation. Pure: time is an argument, chance has a seed, nothing is sent.
//!
//! It publishes as coturn 4.6 does. Clients call, gather one to three relays, talk or do not, give back or vanish; some web
//! pages never close what they opened. A server dies now and then, and a connection is cut for a while.

mod allocation;
mod profile;
mod server;
mod service;

pub use profile::Profile;
pub use service::{Happening, Service};
