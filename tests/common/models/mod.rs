//! What must come out: sums and lives, counted without the exporter's code, and streams made up for a test.

pub mod balance;
pub mod chronicle;
pub mod hostile;
pub mod lives;
pub mod naive;
pub mod story;
pub mod sums;
pub mod traffic;
