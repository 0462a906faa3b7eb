//! Looks after the files that may change while the exporter runs: reads them again when they have, or when SIGHUP asks for
//! it, and says what came of it.

use std::convert::Infallible;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::{MissedTickBehavior, interval};

use super::service_manager::ServiceManager;
use super::supervise::blocking;
use crate::config::Secret;
use crate::reload::{Reload, Reloaded, Reread};

/// How often the system is asked whether a file has changed.
const PAUSE: Duration = Duration::from_secs(1);

/// Passwords as files that are looked after.
pub(super) fn password_files(passwords: &[Reloaded<Secret>]) -> Vec<Arc<dyn Reload>> {
    passwords.iter().map(|file| Arc::new(file.clone()) as Arc<dyn Reload>).collect()
}

/// Never ends. `asked` is given when all are to be read, changed or not; `manager` is told of that.
pub(super) async fn look_after(
    files: Vec<Arc<dyn Reload>>,
    asked: Arc<Notify>,
    manager: ServiceManager,
) -> Infallible {
    let files = Arc::new(files);
    let mut ticks = interval(PAUSE);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let any_case = tokio::select! {
            _ = ticks.tick(), if !files.is_empty() => false,
            () = asked.notified() => true,
        };
        if any_case {
            manager.reloading();
        }
        let all = Arc::clone(&files);
        let reload = move |file: &Arc<dyn Reload>| (file.flag(), file.reload(any_case));
        let found: Vec<_> = blocking(move || all.iter().map(reload).collect()).await;
        for (flag, reread) in &found {
            log(flag, reread);
        }
        if any_case {
            log_all(&found);
            manager.reloaded();
        }
    }
}

/// One line when a file has changed, and one when it cannot be used.
fn log(flag: &str, reread: &Reread) {
    match reread {
        Reread::Untouched | Reread::Same | Reread::Failed { is_new: false, .. } => {}
        Reread::Changed { files } if files.is_empty() => {
            tracing::info!(flag, "the files can be used again, and say what they said before");
        }
        Reread::Changed { files } => {
            tracing::info!(flag, files = list(files), "files have changed: what they say now is in use");
        }
        Reread::Failed { problem, .. } => {
            tracing::error!(
                flag,
                problem,
                "changed files cannot be used: what they said before stays in use"
            );
        }
    }
}

/// What came of SIGHUP: one line, whatever that was.
fn log_all(found: &[(&'static str, Reread)]) {
    let flags = |is_meant: fn(&Reread) -> bool| {
        let flags: Vec<&str> =
            found.iter().filter(|(_, reread)| is_meant(reread)).map(|(flag, _)| *flag).collect();
        (!flags.is_empty()).then(|| flags.join(","))
    };
    tracing::info!(
        changed = flags(|reread| matches!(reread, Reread::Changed { .. })),
        unchanged = flags(|reread| matches!(reread, Reread::Same | Reread::Untouched)),
        failed = flags(|reread| matches!(reread, Reread::Failed { .. })),
        "all files were read again; flags and variables are read at the start only"
    );
}

fn list(files: &[PathBuf]) -> String {
    files.iter().map(|file| file.display().to_string()).collect::<Vec<_>>().join(",")
}
