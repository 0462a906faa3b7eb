//! Lines of the log about what clients do wrong: at most one a minute, for who wants to can do wrong without end.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use tokio::time::sleep;

const PAUSE: Duration = Duration::from_secs(60);

/// One kind of line.
#[derive(Debug, Default)]
pub(super) struct SeldomLine {
    is_quiet: Arc<AtomicBool>,
    passed_over: AtomicU64,
}

impl SeldomLine {
    /// Writes the line by `write`, unless one was written a short time ago; `write` gets the number of those since then.
    pub(super) fn write(&self, write: impl FnOnce(u64)) {
        if self.is_quiet.swap(true, Ordering::Relaxed) {
            self.passed_over.fetch_add(1, Ordering::Relaxed);
            return;
        }
        write(self.passed_over.swap(0, Ordering::Relaxed));
        let is_quiet = Arc::clone(&self.is_quiet);
        tokio::spawn(async move {
            sleep(PAUSE).await;
            is_quiet.store(false, Ordering::Relaxed);
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn once_a_minute_with_the_number_of_the_others() {
        let line = SeldomLine::default();
        let mut written = Vec::new();
        for _ in 0..3 {
            line.write(|others| written.push(others));
        }
        sleep(PAUSE / 2).await;
        line.write(|others| written.push(others));
        sleep(PAUSE).await;
        line.write(|others| written.push(others));
        assert_eq!(written, [0, 3]);
    }
}
