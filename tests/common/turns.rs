//! Tests that take turns. `cargo test` runs several tests of one program at the same time. That is right
//! for nearly all of them: what they judge does not depend on how busy the machine is. A test takes a turn, as its first
//! step, when it measures processor time, needs a large part of the machine's memory, or opens a thousand files; no two
//! of these run at the same time in one program, while the other tests go on beside them.

use std::sync::{Mutex, MutexGuard, PoisonError};

static TURN: Mutex<()> = Mutex::new(());

/// The turn of this test, for as long as the guard lives. One that failed in its turn gives it back all the same.
pub fn take() -> MutexGuard<'static, ()> {
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}
