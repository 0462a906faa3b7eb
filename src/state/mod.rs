//! The table: what is known of every allocation and session. Pure: no I/O, no clock, no logging.

pub mod settings;
