//! Where messages come from. It reads bytes and hands them on; what they mean is `wire`'s business.

pub mod backoff;
mod bounded;
pub mod capture;
pub mod certificate;
pub mod connect;
mod dial;
pub mod forward;
mod greet;
pub mod inbox;
pub mod inspect;
pub mod prune;
mod questions;
pub mod redis;
pub mod resync;
pub mod sentinel;
pub mod setup;
pub mod statsdb;
pub mod subscription;
pub mod tls;
