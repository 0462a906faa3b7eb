//! Many lives of the exporter over one store, on a virtual clock: whatever is killed when, a scraper that adds up what
//! it was told has each byte once, and the ledger has each session once.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::time::Duration;

use crate::common::temp_dir::TempDir;
use coturn_exporter::app::ingest::Ingest;
use coturn_exporter::clock::Timestamp;
use coturn_exporter::state::{Settings, SourceId};
use coturn_exporter::store::ledger::{self, By, FIGURES, Question};
use coturn_exporter::store::{Batch, Store, Written};
use coturn_exporter::wire::turn_rest;
use proptest::prelude::*;
use proptest::test_runner::FileFailurePersistence;

const SOURCE: SourceId = SourceId(0);
const NAME: &str = "redis://sim";
const REALM: &str = "sim.example";
const USERS: u64 = 3;
const LIFETIME: u64 = 600;
/// More allocations than there are.
const ROOM: usize = 1000;

/// What may happen, one after the other.
#[derive(Clone, Copy, Debug)]
enum Step {
    /// An allocation of some user is born, if the id is free.
    Open(u64),
    /// An allocation reports traffic, if it is live.
    Report(u64, u32),
    /// An allocation relays without a report (it will be in the totals).
    Relay(u64, u32),
    Refresh(u64),
    /// An allocation ends, and reports its totals.
    Close(u64),
    /// Time passes.
    Wait(u16),
    /// Prometheus comes by.
    Scrape,
    /// The exporter writes what ended, and what changed or not.
    Beat(bool),
    /// The exporter is killed, a moment after a beat.
    Kill,
    /// One life with a mistake in its flags: another source, or no room.
    Mistake {
        is_full: bool,
    },
    /// All live allocations are refreshed, fall overdue and are forgotten; their clients come back, within two days.
    LongSilence,
    /// The exporter is killed at once, and the oldest allocation ends while none is there.
    KillAndClose,
}

/// Prometheus' view of one counter: increments of raw samples, a fall is a reset.
#[derive(Debug, Default)]
struct Counter {
    last: Option<u64>,
    sum: u64,
}

impl Counter {
    fn see(&mut self, value: u64) {
        self.sum += match self.last {
            // The realm was named from the start, so the first page has it at 0.
            None => value,
            Some(last) if value < last => value,
            Some(last) => value - last,
        };
        self.last = Some(value);
    }
}

struct World {
    dir: TempDir,
    now: Timestamp,
    life: Option<Life>,
    /// Live allocations, and what coturn has counted for each.
    live: BTreeMap<u64, u64>,
    /// Bytes of all that ended, by user, and how many they were.
    done: BTreeMap<String, (u64, u64)>,
    counter: Counter,
    /// Whether anything was ever unseen.
    unseen: u64,
}

struct Life {
    ingest: Ingest,
    store: Store,
    has_begun: bool,
}

impl World {
    fn new() -> Self {
        let mut world = Self {
            dir: TempDir::new("store"),
            now: Timestamp::from_millis(1_700_000_000_000),
            life: None,
            live: BTreeMap::new(),
            done: BTreeMap::new(),
            counter: Counter::default(),
            unseen: 0,
        };
        // A life before all of it, long enough for the store to be trusted about what it does not know.
        world.begin(NAME, ROOM);
        world.scrape();
        world.scrape();
        world.now = world.now.plus(Duration::from_secs(2 * 3600));
        world.pass();
        world.scrape();
        world.kill();
        world
    }

    fn begin(&mut self, source: &str, max_allocations: usize) {
        let mut store =
            Store::open(&self.dir.path().join("store.db"), &[source], turn_rest::DEFAULT_SEPARATOR).unwrap();
        let found = store.load(self.now).unwrap();
        let settings = Settings { realms: vec![REALM.into()], max_allocations, ..Settings::default() };
        let mut ingest = Ingest::new(settings, &[source]);
        ingest.restore(self.now, found.saved, found.first_serial);
        ingest.subscribed(self.now, SOURCE);
        ingest.link_up(self.now, SOURCE);
        self.life = Some(Life { ingest, store, has_begun: false });
    }

    fn kill(&mut self) {
        drop(self.life.take());
        self.now = self.now.plus(Duration::from_secs(2));
        self.begin(NAME, ROOM);
    }

    /// Time passes, and all of it is heard.
    fn pass(&mut self) {
        let life = self.life.as_mut().unwrap();
        life.ingest.received_until(SOURCE, self.now);
        life.ingest.advance(self.now);
    }

    /// A life that knows nothing of the source, or has no room for what it knows.
    fn misconfigured(&mut self, is_full: bool) {
        drop(self.life.take());
        if is_full {
            self.begin(NAME, 1);
        } else {
            self.begin("redis://elsewhere", ROOM);
        }
        // Its counters begin at 0, too.
        self.scrape();
        self.beat(true);
        self.kill();
    }

    fn publish(&mut self, id: u64, event: &str, payload: &str) {
        let channel = format!(
            "turn/realm/{REALM}/user/{}/allocation/{:018}/{event}",
            user_of(id),
            1_000_000_000_000_000 + id
        );
        let life = self.life.as_mut().unwrap();
        life.ingest.message(self.now, SOURCE, channel.as_bytes(), payload.as_bytes()).unwrap();
        life.ingest.received_until(SOURCE, self.now);
    }

    fn traffic(&mut self, id: u64, event: &str, bytes: u64) {
        let packets = bytes / 100;
        let payload = format!("rcvp={packets}, rcvb={bytes}, sentp=0, sentb=0");
        self.publish(id, event, &payload);
    }

    fn scrape(&mut self) {
        let life = self.life.as_mut().unwrap();
        life.ingest.advance(self.now);
        let mut view;
        if std::mem::replace(&mut life.has_begun, true) {
            let can_write = life.store.can_write(self.now, true);
            let all = life.store.wants_all();
            let checkpoint = can_write.then(|| life.ingest.take_checkpoint(all));
            view = life.ingest.view(self.now);
            let ended = life.ingest.take_ended();
            let written = life.store.write(Batch {
                now: self.now,
                wall: self.now,
                is_exported: true,
                ended,
                checkpoint,
            });
            assert!(!matches!(written, Written::Failed(_)), "{written:?}");
        } else {
            view = life.ingest.view(self.now);
            view.table.begin_at_zero();
        }
        let series = &view.table.realms[0].series;
        self.counter.see(series.relayed.client.received.bytes);
        self.unseen += series.unseen.client.received.bytes;
    }

    fn beat(&mut self, with_changes: bool) {
        let life = self.life.as_mut().unwrap();
        life.ingest.advance(self.now);
        let checkpoint = with_changes.then(|| life.ingest.take_checkpoint(false));
        let ended = life.ingest.take_ended();
        life.store.write(Batch { now: self.now, wall: self.now, is_exported: false, ended, checkpoint });
    }

    fn close(&mut self, id: u64) {
        let Some(bytes) = self.live.remove(&id) else { return };
        self.publish(id, "status", "deleted");
        self.traffic(id, "total_traffic", bytes);
        self.publish(id, "total_traffic/peer", "rcvp=0, rcvb=0, sentp=0, sentb=0");
        self.count_done(id, bytes);
    }

    fn count_done(&mut self, id: u64, bytes: u64) {
        let (sum, count) = self.done.entry(user_of(id)).or_default();
        (*sum, *count) = (*sum + bytes, *count + 1);
    }

    fn step(&mut self, step: Step) {
        match step {
            Step::Open(id) => {
                if let Entry::Vacant(free) = self.live.entry(id) {
                    free.insert(0);
                    self.publish(id, "status", &format!("new lifetime={LIFETIME}"));
                }
            }
            Step::Report(id, bytes) => {
                let Some(truth) = self.live.get_mut(&id) else { return };
                *truth += u64::from(bytes);
                self.traffic(id, "traffic", u64::from(bytes));
            }
            Step::Relay(id, bytes) => {
                if let Some(truth) = self.live.get_mut(&id) {
                    *truth += u64::from(bytes);
                }
            }
            Step::Refresh(id) => {
                if self.live.contains_key(&id) {
                    self.publish(id, "status", &format!("refreshed lifetime={LIFETIME}"));
                }
            }
            Step::Close(id) => self.close(id),
            Step::Wait(millis) => self.now = self.now.plus(Duration::from_millis(u64::from(millis))),
            Step::Scrape => self.scrape(),
            Step::Beat(with_changes) => self.beat(with_changes),
            Step::Kill => {
                self.beat(false);
                self.kill();
            }
            Step::Mistake { is_full } => {
                self.beat(false);
                self.misconfigured(is_full);
            }
            Step::LongSilence => {
                for id in self.live.keys().copied().collect::<Vec<_>>() {
                    self.step(Step::Refresh(id));
                }
                for hours in [25, 22] {
                    self.now = self.now.plus(Duration::from_secs(hours * 3600));
                    self.pass();
                }
            }
            Step::KillAndClose => {
                if let Some((id, bytes)) = self.live.pop_first() {
                    self.count_done(id, bytes);
                }
                self.kill();
            }
        }
    }

    /// Everything ends while it is watched, and Prometheus comes by once more.
    fn end(&mut self) {
        for id in self.live.keys().copied().collect::<Vec<_>>() {
            self.close(id);
        }
        self.now = self.now.plus(Duration::from_secs(15));
        self.scrape();
        self.scrape();
        self.beat(false);
    }

    fn ledger(&self, by: Vec<By>) -> BTreeMap<String, [u64; FIGURES.len()]> {
        let question = Question { by, ..Question::default() };
        let answers = ledger::usage(&self.dir.path().join("store.db"), &question).unwrap();
        answers.into_iter().map(|usage| (usage.of.concat(), usage.figures)).collect()
    }
}

fn user_of(id: u64) -> String {
    format!("{}:user{}", 1_800_000_000 + id % USERS, id % USERS)
}

fn figure(name: &str) -> usize {
    FIGURES.iter().position(|figure| figure.name == name).unwrap()
}

fn steps(kill: impl Strategy<Value = Step> + 'static) -> impl Strategy<Value = Vec<Step>> {
    let id = 1..12_u64;
    let step = prop_oneof![
        3 => id.clone().prop_map(Step::Open),
        6 => (id.clone(), 1..90_000_u32).prop_map(|(id, bytes)| Step::Report(id, bytes)),
        2 => (id.clone(), 1..90_000_u32).prop_map(|(id, bytes)| Step::Relay(id, bytes)),
        2 => id.clone().prop_map(Step::Refresh),
        3 => id.prop_map(Step::Close),
        3 => (0..9_000_u16).prop_map(Step::Wait),
        3 => Just(Step::Scrape),
        2 => any::<bool>().prop_map(Step::Beat),
        1 => kill,
    ];
    prop::collection::vec(step, 1..120)
}

fn mishaps() -> impl Strategy<Value = Step> {
    prop_oneof![
        Just(Step::Kill),
        Just(Step::KillAndClose),
        any::<bool>().prop_map(|is_full| Step::Mistake { is_full }),
        Just(Step::LongSilence),
    ]
}

fn config() -> ProptestConfig {
    let failure_persistence = Some(Box::new(FileFailurePersistence::WithSource("regressions")) as Box<_>);
    ProptestConfig { cases: 150, failure_persistence, ..ProptestConfig::default() }
}

proptest! {
    #![proptest_config(config())]

    /// Killed a moment after the last end was written, at any point of everything else.
    #[test]
    fn each_byte_once_over_all_lives(steps in steps(Just(Step::Kill))) {
        let mut world = World::new();
        for &step in &steps {
            world.step(step);
        }
        world.end();
        let truth: u64 = world.done.values().map(|(bytes, _)| bytes).sum();
        prop_assert_eq!(world.counter.sum, truth);
        prop_assert_eq!(world.unseen, 0, "nothing is unseen with a store that is not new");
        let ledger = world.ledger(vec![By::Credential]);
        for (user, &(bytes, count)) in &world.done {
            let figures = ledger.get(user).copied().unwrap_or_default();
            let told = (figures[figure("client_received_bytes")], figures[figure("allocations")]);
            prop_assert_eq!(told, (bytes, count), "{}", user);
            prop_assert!((1..=count).contains(&figures[figure("sessions")]), "{figures:?}");
        }
    }

    /// Killed at any moment: what ended since the last write may be lost, nothing is there twice.
    #[test]
    fn no_byte_twice_whenever_it_is_killed(steps in steps(mishaps())) {
        let mut world = World::new();
        for &step in &steps {
            world.step(step);
        }
        world.end();
        let truth: u64 = world.done.values().map(|(bytes, _)| bytes).sum();
        prop_assert!(world.counter.sum <= truth, "{} of {}", world.counter.sum, truth);
        for (user, figures) in world.ledger(vec![By::Credential]) {
            let (bytes, _) = world.done.get(&user).copied().unwrap_or_default();
            prop_assert!(figures[figure("client_received_bytes")] <= bytes, "{user}: {figures:?} of {bytes}");
        }
    }
}

/// Whatever numbers a stranger publishes, the ledger goes on, and holds what a relay can have carried.
#[test]
fn absurd_numbers_spoil_nothing() {
    let mut world = World::new();
    for id in 1..=4 {
        world.step(Step::Open(id));
    }
    for _ in 0..3 {
        world.traffic(1, "traffic", u64::from(u32::MAX) << 31);
        world.traffic(4, "traffic", u64::MAX / 2);
    }
    for id in 1..=4 {
        world.publish(id, "status", "deleted");
    }
    world.live.clear();
    world.step(Step::Open(5));
    world.step(Step::Report(5, 777));
    world.end();
    assert!(!world.life.as_ref().unwrap().store.wants_all(), "the store fails");
    let all = world.ledger(vec![]);
    assert_eq!(all[""][figure("allocations")], 5, "{all:?}");
    assert_eq!(all[""][figure("client_received_bytes")], 777, "{all:?}");
    assert_eq!(world.ledger(vec![By::User])["user2"][figure("client_received_bytes")], 777);
}

/// What is older than its retention leaves the ledger, and nothing else does.
#[test]
fn old_sessions_leave_the_ledger() {
    let mut world = World::new();
    let sessions = |world: &World| world.ledger(vec![])[""][figure("sessions")];
    for id in 1..=3 {
        world.step(Step::Open(id));
        world.step(Step::Report(id, 100));
    }
    world.end();
    let between = world.now.plus(Duration::from_secs(60));
    world.now = world.now.plus(Duration::from_secs(120));
    world.step(Step::Open(7));
    world.end();
    assert_eq!(sessions(&world), 4);
    let now = world.now;
    let store = &mut world.life.as_mut().unwrap().store;
    assert!(!store.forget_before(between, now), "more than a slice");
    assert_eq!(sessions(&world), 1);
}
