//! Lives of a store in a real directory: what each was answered, how it ended, what the next one shows.

use std::path::Path;

use rustix::fs::FlockOperation;

use super::unsure_marks::MarkFiles;
use super::*;
use crate::app::testing::until;
use crate::clock::SystemClock;
use crate::config::SinksConfig;
use crate::state::rows::{Filter, Order};
use crate::state::{RULES_VERSION, ReplayError, SourceId};
use crate::store::journal::{Continuity, JournalSettings, UnsureReason};
use crate::store::takeover::take_over;
use tokio::task::JoinHandle;

const NAMES: [&str; 2] = ["redis://one", "redis://two"];

struct Folder(std::path::PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("coturn-exporter-app-{name}-{}", std::process::id()));
        drop(std::fs::remove_dir_all(&path));
        Self(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        drop(std::fs::remove_dir_all(&self.0));
    }
}

/// A process with the store.
struct Life {
    store: TableStore,
    names: Vec<String>,
    writer: Option<JoinHandle<()>>,
}

impl Life {
    async fn begin(path: &Path, names: &[&str]) -> Self {
        let names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
        let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
        let shared = SharedTable::to_be_loaded(Ingest::new(Settings::default(), &names), Arc::clone(&clock));
        let retention = Duration::from_secs(1_000_000);
        let config = StoreConfig { path: path.to_owned(), retention, sinks: SinksConfig::default() };
        let sources = names.clone();
        let options = StoreOptions {
            config,
            settings: Settings::default(),
            sources,
            counter: ProcessCounter::default(),
        };
        let readiness = SourceReadiness::new(NAMES.as_ref());
        let store = TableStore::load(options, shared, readiness, clock).await.unwrap();
        Self { store, names, writer: None }
    }

    /// The same, with the thread that writes; without it the disk hangs.
    async fn writing(path: &Path) -> Self {
        let mut life = Self::begin(path, &NAMES).await;
        life.write();
        life
    }

    fn write(&mut self) {
        self.writer = Some(tokio::spawn(self.store.clone().write_journal()));
    }

    fn found(&self) -> Continuity {
        self.store.parts.directory.continuity()
    }

    /// An allocation of the first source's.
    fn allocation(&self, id: u64, payload: &str) {
        let channel = format!("turn/realm/r/user/alice/allocation/{id:018}/status");
        let shared = &self.store.parts.shared;
        let source = SourceId(u32::from(self.names[0] != NAMES[0]));
        let now = shared.now();
        shared.lock().message(now, source, channel.as_bytes(), payload.as_bytes()).unwrap();
    }

    /// Opened, adopted and closed; and whether the store is well.
    async fn page(&self) -> (u64, u64, u64, bool) {
        let store = self.store.clone();
        let view = blocking(move || store.observe()).await;
        let series = view.table.realms.iter().map(|realm| &realm.series);
        let (opened, adopted, closed) = series.fold((0, 0, 0), |(opened, adopted, closed), series| {
            (opened + series.opened.total(), adopted + series.adopted, closed + series.closed.total())
        });
        (opened, adopted, closed, view.store.unwrap().is_ok)
    }

    async fn snapshot(&self) -> io::Result<()> {
        let store = self.store.clone();
        blocking(move || store.make_snapshot(true)).await
    }

    /// Ends as a kill does: nothing more is written.
    async fn kill(mut self) {
        if let Some(writer) = self.writer.take() {
            let end = self.store.parts.queue.close(self.store.moments());
            // After a stop nobody is there to answer.
            if !self.store.parts.is_closed.load(Ordering::Relaxed) {
                blocking(move || drop(end.recv())).await;
            }
            writer.abort();
            assert!(writer.await.unwrap_err().is_cancelled());
        }
        until("all handles to be gone", || Arc::strong_count(&self.store.parts) == 1).await;
        // A thread that marks the directory may have it still.
        let path = self.store.parts.directory.path().to_owned();
        drop(self);
        until("the directory to be free", || {
            let lock = std::fs::File::open(path.join("lock"));
            // A test may have taken the directory away.
            lock.map_or(true, |lock| rustix::fs::flock(&lock, FlockOperation::NonBlockingLockShared).is_ok())
        })
        .await;
    }
}

/// Of a test that failed: the runtime would wait for the thread that writes.
impl Drop for Life {
    fn drop(&mut self) {
        if let Some(writer) = &self.writer {
            drop(self.store.parts.queue.close(self.store.moments()));
            writer.abort();
        }
    }
}

fn all() -> RowQuery {
    RowQuery { filter: Filter::default(), order: Order::default(), limit: 10, from: None }
}

#[tokio::test]
async fn what_was_answered_goes_on_after_a_kill_and_after_a_stop() {
    let folder = Folder::new("goes-on");
    let life = Life::writing(&folder.0).await;
    assert_eq!(life.found(), Continuity::Fresh);
    life.allocation(1, "new lifetime=600");
    life.allocation(2, "new lifetime=600");
    life.allocation(2, "deleted");
    assert_eq!(life.page().await, (2, 0, 1, true));
    life.kill().await;

    let life = Life::writing(&folder.0).await;
    assert_eq!(life.found(), Continuity::Killed);
    assert_eq!(life.page().await, (2, 0, 1, true));
    life.allocation(1, "refreshed lifetime=600");
    life.allocation(3, "new lifetime=600");
    life.store.clone().finish().await;
    assert_eq!(life.page().await, (3, 0, 1, true), "who asks at the end is answered what is in the store");
    let store = life.store.clone();
    blocking(move || drop(store.sessions(all()))).await;
    life.kill().await;

    let life = Life::writing(&folder.0).await;
    assert_eq!(life.found(), Continuity::Clean, "and nobody spoils it");
    life.allocation(1, "deleted");
    assert_eq!(life.page().await, (3, 0, 2, true));
    life.kill().await;
}

#[tokio::test]
async fn a_stop_before_the_thread_that_writes_has_begun_is_a_clean_end() {
    let folder = Folder::new("stops-at-once");
    let life = Life::begin(&folder.0, &NAMES).await;
    life.allocation(1, "new lifetime=600");
    life.store.clone().finish().await;
    assert!(!life.store.parts.marks.ensure(Duration::ZERO), "a mark would spoil it");
    life.kill().await;

    let life = Life::writing(&folder.0).await;
    assert_eq!(life.found(), Continuity::Clean);
    assert_eq!(life.page().await, (1, 0, 0, true));
    life.kill().await;
}

/// Puts a batch into the journal that does not lead to where it says.
fn diverge(path: &Path) {
    const WRONG_DIGEST: [u8; 9] = [0x7f, 1, 2, 3, 4, 5, 6, 7, 8];
    let (directory, _) = Directory::open(path, JournalSettings::new(RULES_VERSION)).unwrap();
    assert_eq!(directory.continuity(), Continuity::Killed);
    let end = directory.batches().unwrap().finish().unwrap();
    let at = end.at.unwrap();
    let mut journal = Journal::go_on(&directory, &end, at);
    journal.append(&WRONG_DIGEST, at).unwrap();
}

#[tokio::test]
async fn a_journal_that_does_not_lead_to_its_table_is_kept() {
    let folder = Folder::new("diverged");
    let life = Life::writing(&folder.0).await;
    life.allocation(1, "new lifetime=600");
    assert_eq!(life.page().await, (1, 0, 0, true));
    life.kill().await;
    diverge(&folder.0);

    let kept = folder.0.join("diverged");
    for _ in 0..2 {
        let life = Life::writing(&folder.0).await;
        assert_eq!(life.page().await, (0, 0, 0, true), "nothing is told twice");
        life.kill().await;
        match reading::read_stored(&kept, None) {
            Err(LoadError::Journal { path, error }) => {
                assert_eq!((path, error), (kept.clone(), ReplayError::Diverged));
            }
            other => panic!("{}", other.map_or_else(|error| error.to_string(), |_| "it was read".to_owned())),
        }
    }
}

#[tokio::test]
async fn a_disk_that_hangs_does_not_hold_the_page_and_the_next_life_begins_at_zero() {
    let folder = Folder::new("hangs");
    let life = Life::begin(&folder.0, &NAMES).await;
    life.allocation(1, "new lifetime=600");
    assert_eq!(life.page().await, (1, 0, 0, false), "marked as unsure first");
    life.allocation(2, "new lifetime=600");
    assert_eq!(life.page().await, (2, 0, 0, false));
    life.kill().await;

    let life = Life::writing(&folder.0).await;
    assert_eq!(life.found(), Continuity::Unsure(UnsureReason::Marked));
    assert_eq!(life.page().await, (0, 0, 0, true));
    life.kill().await;
    let life = Life::writing(&folder.0).await;
    assert_eq!(life.found(), Continuity::Killed, "that was said once");
    life.kill().await;
}

#[tokio::test]
async fn a_journal_that_has_failed_is_mended_by_a_snapshot() {
    let folder = Folder::new("mended");
    let mut life = Life::begin(&folder.0, &NAMES).await;
    life.allocation(1, "new lifetime=600");
    assert_eq!(life.page().await, (1, 0, 0, false));
    life.write();
    // Where a wait for the disk ends just now, the next snapshot mends that too.
    let mut snapshots = 1;
    while let Err(error) = life.snapshot().await {
        snapshots += 1;
        assert!(snapshots < 100, "{error}");
    }
    life.allocation(2, "new lifetime=600");
    assert_eq!(life.page().await, (2, 0, 0, true));
    life.kill().await;

    let life = Life::writing(&folder.0).await;
    assert_eq!(life.found(), Continuity::Killed);
    assert_eq!(life.page().await, (2, 0, 0, true));
    life.kill().await;
}

/// A counter that falls is added up once more by whoever scrapes it.
#[tokio::test]
async fn what_was_answered_under_a_mark_is_answered_to_the_end() {
    let folder = Folder::new("to-the-end");
    let mut life = Life::begin(&folder.0, &NAMES).await;
    life.allocation(1, "new lifetime=600");
    assert_eq!(life.page().await, (1, 0, 0, false), "marked first");
    life.store.parts.is_closed.store(true, Ordering::Relaxed);
    life.allocation(2, "new lifetime=600");
    assert_eq!(life.page().await, (1, 0, 0, false), "while the last snapshot is written");

    life.store.parts.is_closed.store(false, Ordering::Relaxed);
    Arc::get_mut(&mut life.store.parts).unwrap().marks = UnsureMarks::new(NoMarks, true);
    assert_eq!(life.page().await, (1, 0, 0, false), "while marks are taken back");
    life.kill().await;
}

/// No mark can be made.
struct NoMarks;

impl MarkFiles for NoMarks {
    fn set(&self) -> io::Result<()> {
        Err(io::ErrorKind::ReadOnlyFilesystem.into())
    }

    fn set_outside(&self) -> io::Result<()> {
        Err(io::ErrorKind::ReadOnlyFilesystem.into())
    }

    fn remove(&self) -> io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn where_no_mark_can_be_made_the_page_stays_at_what_the_journal_has() {
    let folder = Folder::new("stays");
    let life = Life::writing(&folder.0).await;
    life.allocation(1, "new lifetime=600");
    assert_eq!(life.page().await, (1, 0, 0, true));
    life.kill().await;

    let mut life = Life::begin(&folder.0, &NAMES).await;
    Arc::get_mut(&mut life.store.parts).unwrap().marks = UnsureMarks::new(NoMarks, true);
    life.allocation(2, "new lifetime=600");
    assert_eq!(life.page().await, (1, 0, 0, false));
    assert!(life.snapshot_fails().await, "a gap in the journal never stands without a mark");
    life.kill().await;

    let life = Life::writing(&folder.0).await;
    assert_eq!((life.found(), life.page().await), (Continuity::Killed, (1, 0, 0, true)));
    life.kill().await;
}

impl Life {
    async fn snapshot_fails(&self) -> bool {
        self.snapshot().await.is_err()
    }
}

#[tokio::test]
async fn sources_in_another_order_keep_their_allocations_and_their_names_in_the_ledger() {
    let folder = Folder::new("order");
    let life = Life::writing(&folder.0).await;
    life.allocation(1, "new lifetime=600");
    assert_eq!(life.page().await, (1, 0, 0, true));
    life.kill().await;

    let mut life = Life::begin(&folder.0, &[NAMES[1], NAMES[0]]).await;
    life.write();
    life.allocation(1, "refreshed lifetime=600");
    assert_eq!(life.page().await, (1, 0, 0, true), "the one that is known");
    let names = lock(&life.store.parts.safe_view)
        .table
        .sources
        .iter()
        .map(|source| (source.name.to_string(), source.live))
        .collect::<Vec<_>>();
    assert!(
        names.contains(&(NAMES[0].to_owned(), 1)) && names.contains(&(NAMES[1].to_owned(), 0)),
        "{names:?}"
    );
    assert_eq!(life.store.parts.ledger.names(), NAMES);
    life.kill().await;
}

/// The disk was full, or it was killed, before the first snapshot: the directory looks like one whose last life was unsure.
#[tokio::test]
async fn a_takeover_that_was_interrupted_has_the_old_table_still() {
    let folder = Folder::new("takeover");
    std::fs::copy(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/store/version-1.db"), &folder.0).unwrap();
    assert!(take_over(&folder.0, &NAMES).unwrap().is_some());
    let (directory, _) = Directory::open(&folder.0, JournalSettings::new(RULES_VERSION)).unwrap();
    drop(Journal::start_over(&directory, loading::moments(&SystemClock::new())));
    directory.mark_unsure().unwrap();
    drop(directory);

    let life = Life::writing(&folder.0).await;
    assert!(matches!(life.found(), Continuity::Unsure(_)), "{:?}", life.found());
    let (opened, adopted, closed, is_ok) = life.page().await;
    assert!(opened + adopted + closed > 0, "nothing of the old table is there");
    assert!(is_ok, "the first snapshot is made, and nothing is unsure any more");
    life.kill().await;
    let life = Life::writing(&folder.0).await;
    assert_eq!(life.found(), Continuity::Killed);
    life.kill().await;
}
