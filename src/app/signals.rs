//! The answer to signals that end nothing: SIGHUP has the files read again, which another task does; all others get a
//! line in the log, and nothing else. Without an answer they would kill.

use std::convert::Infallible;
use std::sync::Arc;

use tokio::sync::Notify;

use crate::shutdown::Signals;

/// Says of each signal what it does. Never ends. `reread` is given at SIGHUP.
pub(super) async fn answer(mut signals: Signals, reread: Arc<Notify>) -> Infallible {
    loop {
        let signal = signals.next().await;
        let effect = if signal == "SIGHUP" {
            reread.notify_one();
            "all files are read again"
        } else {
            "none"
        };
        tracing::info!(signal, effect, "signal received");
    }
}
