//! The wiring: joins the parts and owns the order in which they start and stop.

mod commands;
mod coturn_file;
mod file_watch;
mod heartbeat;
pub mod ingest;
mod live_board;
mod log_once;
mod open_files;
mod own_certificates;
mod process_counter;
mod readiness;
mod reconnect;
mod redis_source;
mod resync_task;
mod serve;
mod service_manager;
mod signals;
mod sinks;
mod statsdb_source;
mod store;
mod supervise;
mod table_clock;
#[cfg(test)]
mod testing;

pub use commands::replay;

use std::io;
use std::path::PathBuf;
use std::pin::Pin;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use tokio::sync::Notify;

use crate::config::{Command, Config, LedgerPlace};
use crate::http::{HealthError, WebConfigError};
use crate::net::{BindError, SystemdError};
use crate::shutdown::{Hangup, Signals};
use crate::sinks::postgres::PostgresError;
use crate::source::capture::CaptureError;
use crate::source::statsdb::ListenError;
use crate::source::tls::{self, TlsError};
use crate::store::ledger::LedgerError;
use commands::prune::PruneFailed;
use commands::{demo, doctor, healthcheck, ledger, prune, record, simulate, usage};
use service_manager::ServiceManager;
pub use store::LoadError;
use supervise::TaskExited;

/// Why the program cannot go on.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A file that cannot be opened.
    #[error("cannot open {}: {error}", path.display())]
    Open {
        /// The file.
        path: PathBuf,
        /// What the system says.
        error: io::Error,
    },
    /// A capture that is none.
    #[error("{0}")]
    Capture(CaptureError),
    /// `record` never reached its Redis.
    #[error(
        "nothing was recorded: {redis} could not be watched: {problem}; `doctor` with the same --redis flags says what to \
         change"
    )]
    NothingRecorded {
        /// Its name.
        redis: String,
        /// Why, the last time.
        problem: String,
    },
    /// The output takes no more.
    #[error("cannot write the output: {0}")]
    Output(io::Error),
    /// No threads.
    #[error("cannot start the runtime: {0}")]
    Runtime(io::Error),
    /// Files for TLS that cannot be used.
    #[error("{0}")]
    Tls(TlsError),
    /// An address that cannot be listened on.
    #[error("{0}")]
    Bind(BindError),
    /// A web config file that cannot be used.
    #[error("{0}")]
    WebConfig(WebConfigError),
    /// No sockets of systemd.
    #[error("{0}")]
    Systemd(SystemdError),
    /// Where coturn should report to cannot be listened on.
    #[error("{0}")]
    Listen(ListenError),
    /// A sink that cannot be used as it is configured.
    #[error("{flag}: {error}")]
    Sink {
        /// The flag that names it.
        flag: &'static str,
        /// What is wrong, and what to do.
        error: Box<dyn std::error::Error + Send + Sync>,
    },
    /// Signals cannot be waited for.
    #[error("cannot wait for signals: {0}")]
    Signal(io::Error),
    /// A store that cannot be used.
    #[error("{0}")]
    Store(Box<LoadError>),
    /// A ledger that cannot be asked.
    #[error("{0}")]
    Ledger(LedgerError),
    /// The simulated servers have nobody to report to.
    #[error(
        "cannot report to {to}: {error}; start an exporter with --statsdb.listen-address {to}, or name another one, or a \
         Redis, with --to"
    )]
    Simulation {
        /// Host and port.
        to: String,
        /// What the system says.
        error: io::Error,
    },
    /// No place for what a demo writes.
    #[error("cannot write {}: {error}; the demo needs a directory for temporary files (TMPDIR)", path.display())]
    Demo {
        /// The file or directory.
        path: PathBuf,
        /// What the system says.
        error: io::Error,
    },
    /// An exporter that is not well.
    #[error("{0}")]
    Health(HealthError),
    /// A question about no time at all.
    #[error("--since is not before --until: there is no time between them")]
    EmptyRange,
    /// A database that cannot be used.
    #[error("{0}")]
    Postgres(PostgresError),
    /// Stale keys could not be listed or deleted; which sources, and why.
    #[error("{0}")]
    Prune(PruneFailed),
    /// A background task exited.
    #[error(transparent)]
    Task(TaskExited),
}

/// Threads that messages and scrapes are worked on with; rendering has threads of its own.
const WORKERS: usize = 2;

/// How long renderings in progress may hold up the end.
const LAST_RENDERINGS: Duration = Duration::from_millis(200);

/// The exit code where nobody reads the output any more: what a shell has for a program that SIGPIPE ends.
const NOBODY_READS: u8 = 128 + 13;

/// Does what `config` asks for, until it is done or a signal stops it; gives the exit code. `dropped_log_lines` goes onto
/// the page.
///
/// # Errors
///
/// When it cannot start, or cannot go on.
pub fn run(config: Config, dropped_log_lines: Arc<AtomicU64>) -> Result<ExitCode, Error> {
    match run_command(config, dropped_log_lines) {
        // Whoever reads the output has seen enough: `usage | head -1` says no more of it than `ls | head -1` does.
        Err(Error::Output(error)) if error.kind() == io::ErrorKind::BrokenPipe => {
            Ok(ExitCode::from(NOBODY_READS))
        }
        ended => ended,
    }
}

fn run_command(mut config: Config, dropped_log_lines: Arc<AtomicU64>) -> Result<ExitCode, Error> {
    let done = |()| ExitCode::SUCCESS;
    // A mistake in a flag is an error at once; later, a file in the middle of its renewal is a reason to try again.
    for source in &config.sources {
        tls::check(source).map_err(Error::Tls)?;
    }
    warn_of_exposed(&config.exposed_password_files);
    open_files::raise_limit();
    match config.command {
        Command::Replay { files, until } => {
            let disabled = config.disabled_families;
            replay::print(config.table, disabled, &files, until, &mut io::stdout().lock()).map(done)
        }
        Command::Record { output, duration } => {
            let files = file_watch::password_files(&config.password_files);
            let recording = |reread| async {
                tokio::select! {
                    recorded = record::record(config.sources, output.as_deref(), duration) => recorded,
                    never = file_watch::look_after(files, reread, ServiceManager::default()) => match never {},
                }
            };
            block_on(Hangup::Ends, recording).map(done)
        }
        // Whoever waited for their answer has closed the terminal: they end, as any command does.
        Command::Doctor { report } => block_on(Hangup::Ends, |_| doctor::doctor(config, report)),
        Command::Prune { apply } => {
            block_on(Hangup::Ends, |_| prune::prune(config.sources, config.table, apply)).map(done)
        }
        Command::HealthCheck(check) => {
            let asked = |_| async { healthcheck::healthcheck(&check, &mut io::stdout()).await };
            block_on(Hangup::Ends, asked).map(done)
        }
        Command::Simulate(simulation) => block_on(Hangup::Ends, |_| simulate::simulate(simulation)).map(done),
        Command::Demo(demo) => {
            block_on(Hangup::Ends, |reread| demo::demo(demo, dropped_log_lines, reread)).map(done)
        }
        Command::Usage(question) => match &question.place {
            LedgerPlace::Store(path) => usage::of_store(&question, path, &mut io::stdout().lock()).map(done),
            LedgerPlace::Postgres(database) => {
                let answered = |_| async { usage::of_database(&question, database, &mut io::stdout()).await };
                block_on(Hangup::Ends, answered).map(done)
            }
        },
        Command::LedgerSchema => ledger::print_schema(&mut io::stdout().lock()).map(done),
        Command::LedgerPrune { database, keep, apply } => {
            let pruned = |_| async { ledger::prune(&database, keep, apply, &mut io::stdout()).await };
            block_on(Hangup::Ends, pruned).map(done)
        }
        Command::Watch => {
            open_files::fit_connections(&mut config);
            let manager = ServiceManager::from_env();
            block_on(Hangup::Survived, |reread| serve::serve(config, dropped_log_lines, reread, manager))
                .map(done)
        }
    }
}

fn warn_of_exposed(password_files: &[PathBuf]) {
    for file in password_files {
        tracing::warn!(
            file = %file.display(),
            fix = "chmod 600, and chown it to the user that runs the exporter",
            "others may read this password file, or write it"
        );
    }
}

/// Does `work`, and answers signals meanwhile that end nothing. It gets what SIGHUP gives, where that does not end it.
fn block_on<T, F>(hangup: Hangup, work: impl FnOnce(Arc<Notify>) -> F) -> Result<T, Error>
where
    F: Future<Output = Result<T, Error>>,
{
    let reread = Arc::new(Notify::new());
    let work = Box::pin(work(Arc::clone(&reread)));
    block_on_boxed(hangup, reread, work)
}

/// As [`block_on`], with the futures of all commands as one type, so that the runtime is compiled for that one only.
fn block_on_boxed<T>(
    hangup: Hangup,
    reread: Arc<Notify>,
    work: Pin<Box<dyn Future<Output = Result<T, Error>> + '_>>,
) -> Result<T, Error> {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    let runtime = builder.worker_threads(WORKERS).enable_all().build().map_err(Error::Runtime)?;
    let result = runtime.block_on(async {
        let signals = Signals::without_meaning(hangup).map_err(Error::Signal)?;
        tokio::select! {
            result = work => result,
            never = signals::answer(signals, reread) => match never {},
        }
    });
    runtime.shutdown_timeout(LAST_RENDERINGS);
    result
}
