//! RESP2, the protocol of Redis: bytes in, frames out, and the few frames that are sent. Pure: no I/O, no clock.
//!
//! Small and strict: what no Redis and no client of one would send ends the conversation. Memory is bounded: a frame
//! that is too long is skipped as it comes, and reported as too long.

mod bounds;
mod error;
mod line;
mod read;
#[cfg(test)]
mod tests;
pub mod write;

pub use bounds::{ReplyBounds, ReplyLimits, ReplyTooLong};
pub use error::ProtocolError;
pub use read::{Frame, FrameLimits, Reader, RespValue, RespValues, Span};
pub use write::command;
