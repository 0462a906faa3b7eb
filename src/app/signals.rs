//! The answer to signals that have no meaning here: a line in the log, and nothing else. Without it they would kill.

use std::convert::Infallible;

use crate::shutdown::Signals;

/// Says of each signal what it does. Never ends.
pub(super) async fn answer(mut signals: Signals) -> Infallible {
    loop {
        let signal = signals.next().await;
        // It asks a server to read its files again, by custom.
        let effect = if signal == "SIGHUP" {
            "none: flags, variables and password files are read at the start only; restart to apply changes"
        } else {
            "none"
        };
        tracing::info!(signal, effect, "signal received");
    }
}
