//! The loop beside a real ledger: what comes again, what is noted, and who is held up.

use std::collections::VecDeque;
use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use tokio::task::JoinSet;

use super::*;
use crate::app::ingest::{Ingest, SharedTable};
use crate::app::process_counter::ProcessCounter;
use crate::app::readiness::SourceReadiness;
use crate::app::store::StoreOptions;
use crate::app::testing::until;
use crate::clock::{Clock, SystemClock};
use crate::config::{PostgresSettings, Secret, SinksConfig, StoreConfig, WebhookSettings};
use crate::metrics::{Observe as _, SinkView};
use crate::sinks::SinkError;
use crate::state::{Settings, SourceId};

struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("coturn-exporter-sinks-{name}-{}", std::process::id()));
        drop(std::fs::remove_dir_all(&path));
        Self(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        drop(std::fs::remove_dir_all(&self.0));
    }
}

const DATABASE: &str = SinksConfig::POSTGRES;
const HOOK: &str = "hook:80";

/// A store whose journal and ledger are written.
struct Life {
    store: TableStore,
    shared: SharedTable,
    tasks: JoinSet<()>,
}

impl Life {
    async fn begin(folder: &Folder) -> Self {
        let names = ["listener".to_owned()];
        let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
        let shared = SharedTable::to_be_loaded(Ingest::new(Settings::default(), &names), Arc::clone(&clock));
        let hook = WebhookSettings {
            name: HOOK.to_owned(),
            url: Secret::new("http://hook/"),
            secrets: None,
            with_users: false,
            batch_size: 10,
            ca_file: None,
        };
        let sinks = SinksConfig {
            postgres: Some(PostgresSettings { url: Secret::new("postgres://"), password: None }),
            webhooks: vec![hook],
            ..SinksConfig::default()
        };
        let config = StoreConfig { path: folder.0.clone(), retention: Duration::from_secs(1_000_000), sinks };
        let options = StoreOptions {
            config,
            settings: Settings::default(),
            sources: names.to_vec(),
            counter: ProcessCounter::default(),
        };
        let readiness = SourceReadiness::new(&["listener"]);
        let store = TableStore::load(options, shared.clone(), readiness, clock).await.unwrap();
        let mut tasks = JoinSet::new();
        tasks.spawn(store.clone().write_journal());
        tasks.spawn(store.clone().flush());
        tasks.spawn(store.clone().keep_ledger());
        Self { store, shared, tasks }
    }

    /// A session from its begin to its end.
    fn session(&self, id: u64) {
        let key = format!("turn/realm/r/user/user{id}/allocation/{id:018}");
        let now = self.shared.now();
        let mut ingest = self.shared.lock();
        let traffic = "rcvp=100, rcvb=1000, sentp=100, sentb=1000";
        for (channel, payload) in [
            ("status", "new lifetime=600"),
            ("status", "deleted"),
            ("total_traffic", traffic),
            ("total_traffic/peer", traffic),
        ] {
            let channel = format!("{key}/{channel}");
            ingest.message(now, SourceId(0), channel.as_bytes(), payload.as_bytes()).unwrap();
        }
    }

    fn deliver_to<S: Sink<Item: Item>>(&mut self, name: &str, sink: S) {
        let task =
            SinkTask { name: name.to_owned(), exporter: "here".to_owned(), sink, store: self.store.clone() };
        self.tasks.spawn(task.run());
    }

    fn view(&self, name: &str) -> SinkView {
        let store = self.store.observe().store.unwrap();
        store.sinks.into_iter().find(|sink| sink.name == name).unwrap()
    }

    /// Waits until a sink has so many.
    async fn delivered(&self, name: &str, count: u64) -> SinkView {
        until("the sink to have all", || self.view(name).delivered >= count).await;
        self.view(name)
    }

    async fn stop(mut self) {
        self.tasks.shutdown().await;
        self.store.finish().await;
    }
}

/// What became of a delivery.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Fate {
    Takes,
    /// Takes the first one only.
    TakesOne,
    /// Takes all, and gives the first up.
    Drops,
    Fails,
    Hangs,
    IsAhead,
}

struct Failure(Fate);

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("it fails")
    }
}

impl SinkError for Failure {
    fn is_of_older_ledger(&self) -> bool {
        self.0 == Fate::IsAhead
    }
}

/// Numbers of the items that were handed over, with the ledger that they were of.
type Handed = Arc<Mutex<Vec<(String, Vec<u64>)>>>;

struct Script<T> {
    fates: VecDeque<Fate>,
    handed: Handed,
    most: usize,
    of: std::marker::PhantomData<T>,
}

impl<T> Script<T> {
    fn new(most: usize, fates: &[Fate]) -> (Self, Handed) {
        let handed = Handed::default();
        let of = std::marker::PhantomData;
        (Self { fates: fates.iter().copied().collect(), handed: handed.clone(), most, of }, handed)
    }
}

impl<T: Item> Sink for Script<T> {
    type Item = T;
    type Error = Failure;

    fn most(&self) -> usize {
        self.most
    }

    async fn deliver(&mut self, origin: &LedgerOrigin, items: &[T]) -> Result<Delivered, Failure> {
        assert_eq!(origin.exporter, "here");
        assert!(origin.last_event >= items.last().unwrap().number());
        let numbers = items.iter().map(Item::number).collect();
        self.handed.lock().unwrap().push((origin.store.clone(), numbers));
        match self.fates.pop_front().unwrap_or(Fate::Takes) {
            Fate::Takes => Ok(Delivered { done: items.len(), dropped: 0 }),
            Fate::TakesOne => Ok(Delivered { done: 1, dropped: 0 }),
            Fate::Drops => Ok(Delivered { done: items.len(), dropped: 1 }),
            Fate::Hangs => std::future::pending().await,
            failure => Err(Failure(failure)),
        }
    }
}

fn numbers(handed: &Handed) -> Vec<u64> {
    handed.lock().unwrap().iter().flat_map(|(_, numbers)| numbers.clone()).collect()
}

#[tokio::test]
async fn each_sink_gets_everything_in_order_though_others_fail_or_hang() {
    let folder = Folder::new("order");
    let mut life = Life::begin(&folder).await;
    let (hangs, hung) = Script::<FinishedSession>::new(100, &[Fate::Hangs]);
    life.deliver_to(DATABASE, hangs);
    let (fails, handed) = Script::<LedgerEvent>::new(4, &[Fate::Fails, Fate::TakesOne, Fate::Drops]);
    life.deliver_to(HOOK, fails);
    (1..=10).for_each(|id| life.session(id));
    let view = life.delivered(HOOK, 19).await;
    assert_eq!((view.failed, view.dropped, view.pending, view.oldest), (1, 1, 0, None));
    let handed = handed.lock().unwrap().clone();
    // The first comes again after the failure, and what was not taken of the next.
    assert_eq!(handed[0].1.first(), Some(&1));
    assert_eq!(handed[1].1.first(), Some(&1));
    assert_eq!(handed[2].1.first(), Some(&2));
    let rest: Vec<u64> = handed[2..].iter().flat_map(|(_, numbers)| numbers.clone()).collect();
    assert_eq!(rest, (2..=20).collect::<Vec<_>>());
    let database = life.view(DATABASE);
    assert_eq!((database.pending, database.delivered), (10, 0));
    assert!(database.oldest.is_some());
    assert_eq!(hung.lock().unwrap().len(), 1);
    life.stop().await;
}

#[tokio::test]
async fn where_a_sink_was_it_goes_on_after_a_restart() {
    let folder = Folder::new("restart");
    let mut life = Life::begin(&folder).await;
    let (sink, before) = Script::<FinishedSession>::new(3, &[]);
    life.deliver_to(DATABASE, sink);
    (1..=4).for_each(|id| life.session(id));
    let view = life.delivered(DATABASE, 4).await;
    assert_eq!((view.failed, view.dropped), (0, 0));
    life.stop().await;

    let mut life = Life::begin(&folder).await;
    assert_eq!(life.view(DATABASE).delivered, 4, "its counters go on");
    let (sink, after) = Script::<FinishedSession>::new(3, &[]);
    life.deliver_to(DATABASE, sink);
    (5..=6).for_each(|id| life.session(id));
    life.delivered(DATABASE, 6).await;
    let (before, after) = (numbers(&before), numbers(&after));
    assert_eq!((before.len(), after.len()), (4, 2), "{before:?} {after:?}");
    assert!(before.iter().chain(&after).is_sorted());
    life.stop().await;
}

#[tokio::test]
async fn an_older_copy_goes_on_under_another_identity_with_what_is_new() {
    let folder = Folder::new("older");
    let mut life = Life::begin(&folder).await;
    let (sink, _) = Script::<FinishedSession>::new(10, &[]);
    life.deliver_to(DATABASE, sink);
    life.session(1);
    life.delivered(DATABASE, 1).await;
    life.stop().await;

    let mut life = Life::begin(&folder).await;
    let (sink, handed) = Script::<FinishedSession>::new(10, &[Fate::IsAhead]);
    life.deliver_to(DATABASE, sink);
    life.session(2);
    life.delivered(DATABASE, 2).await;
    let handed = handed.lock().unwrap().clone();
    let [(before, first), (after, second)] = &handed[..] else { panic!("{handed:?}") };
    assert_eq!(first, second);
    assert_ne!(before, after);
    life.stop().await;
}
