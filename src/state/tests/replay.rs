//! The table is a function of its inputs: what one has recorded makes another like it.

use std::collections::BTreeSet;

use super::super::input::{Decoder, Step, TextRoom};
use super::super::{
    ClosedBy, ConnectionId, EndedConnections, ForwardStats, ProcessCounts, ReplayError, ScanOutcome,
    SessionBy, Settings, StatusKeys,
};
use super::audit::audit;
use super::fuzz::Dice;
use super::*;
use crate::wire::Rejection;

const LISTENER: SourceId = SourceId(1);
pub(super) const SECRET: [u64; 2] = [7, 11];

/// All kinds of inputs.
pub(super) const KINDS: [&str; 33] = [
    "Callers",
    "CommandRefused",
    "ConnectionActive",
    "ConnectionClosed",
    "ConnectionInterrupted",
    "ConnectionJudged",
    "ConnectionOpened",
    "ConnectionRefused",
    "EndReportedBy",
    "Event",
    "Forwarded",
    "KeyChecked",
    "KeyScanned",
    "LedgerWritten",
    "LinkLost",
    "LinkUp",
    "Listens",
    "ProcessCounted",
    "ProcessStarted",
    "ReceivedUntil",
    "RedisSettings",
    "Rejected",
    "Report",
    "Restarted",
    "ScanBegins",
    "ScanFailed",
    "ScanMayMissKeys",
    "ScanOf",
    "ScanSucceeded",
    "SettingsAdopted",
    "Subscribed",
    "Swept",
    "TimePasses",
];

/// Everything that a table shows, and what it holds.
fn shown(table: &Table) -> String {
    let records: Vec<_> = table.records.slab.iter().collect();
    let sessions: Vec<_> = table.sessions.slab.iter().collect();
    let outputs = table.outputs(0, usize::MAX);
    format!("{:?}\n{records:?}\n{sessions:?}\n{outputs:?}", table.snapshot())
}

fn settings(dice: &mut Dice) -> Settings {
    Settings {
        linger: secs(dice.below(2) * 30),
        session_by: dice.pick(&[SessionBy::User, SessionBy::Client]),
        max_lifetime: secs(dice.pick(&[60, 3600])),
        idle_after: secs(dice.pick(&[100, 1800])),
        max_allocations: dice.pick(&[20, 100]),
        max_realms: dice.pick(&[2, 5]),
        max_servers: dice.pick(&[1, 3]),
        realms: if dice.below(2) == 0 { Vec::new() } else { vec![b"wanted".to_vec()] },
        are_rates_kept: dice.below(2) == 0,
        ..Settings::default()
    }
}

fn fresh(settings: &Settings) -> Table {
    let mut table = Table::new(settings.clone(), &["redis", "listener"]).with_key_secret(SECRET);
    table.begin_store(1, 1);
    table
}

/// What may happen to a table, drawn by lot.
pub(super) struct World {
    dice: Dice,
    now: Timestamp,
    connections: Vec<ConnectionId>,
}

impl World {
    pub(super) fn new(seed: u64) -> Self {
        Self { dice: Dice(seed | 1), now: at(1_000_000), connections: Vec::new() }
    }

    fn key(&mut self) -> Key<'static> {
        let realm = self.dice.pick(&["r", "s", "", "t"]);
        let user = self.dice.pick(&["alice", "bob", "", "a b", "1795343956:x"]);
        let id = match self.dice.below(100) {
            0 => u64::MAX - self.dice.below(3),
            _ => self.dice.below(2) * 1_000_000_000_000_000 + self.dice.below(12),
        };
        key(realm, user, id)
    }

    pub(super) fn step(&mut self, table: &mut Table) {
        let pause = match self.dice.below(200) {
            0 => self.dice.below(100_000_000),
            1..4 => self.dice.below(700_000),
            4..60 => 0,
            _ => self.dice.below(200),
        };
        self.now = self.now.plus(Duration::from_millis(pause));
        // Whoever waited for the lock may come with a moment of before.
        let now = if self.dice.below(10) == 0 { self.now.minus(Duration::from_millis(3)) } else { self.now };
        match self.dice.below(100) {
            0..40 => self.messages(table, now),
            40..60 => self.over_connection(table, now),
            60..75 => self.scan(table, now),
            75..85 => self.link(table, now),
            85..95 => self.listener(table, now),
            _ => self.process(table, now),
        }
    }

    fn messages(&mut self, table: &mut Table, now: Timestamp) {
        match self.dice.below(10) {
            0 => {
                table.apply(now, SOURCE, &self.key(), &self.dice.event());
            }
            1 => table.rejected(now, SOURCE, self.dice.pick(&Rejection::ALL)),
            2..6 => {
                let key = self.key();
                let [a, b] = [self.dice.below(5000), self.dice.below(5000)];
                let client = delta(Leg::Client, [a, 1000 * a, b, 900 * b]);
                let peer = delta(Leg::Peer, [b, 896 * b, a + 1, 996 * a]);
                apply_together(table, now, &[(key, client), (key, peer)]);
            }
            _ => {
                let events: Vec<_> =
                    (0..self.dice.below(16)).map(|_| (self.key(), self.dice.event())).collect();
                apply_together(table, now, &events);
            }
        }
    }

    fn over_connection(&mut self, table: &mut Table, now: Timestamp) {
        let Some(&connection) = self.connections.get(usize::try_from(self.dice.below(4)).unwrap()) else {
            let host = self.dice.pick(&[[192, 0, 2, 9], [192, 0, 2, 10]]);
            self.connections.push(table.connection_opened(now, LISTENER, host.into()));
            return;
        };
        match self.dice.below(12) {
            0 => table.connection_active(now, connection),
            1 => table.process_started(now, connection),
            2 => {
                self.connections.retain(|&other| other != connection);
                let by = self.dice.pick(&[ClosedBy::Peer, ClosedBy::Other]);
                table.connection_closed(now, connection, by);
                if by == ClosedBy::Other {
                    table.connection_interrupted(now, LISTENER, connection);
                }
                let verdict = table.judge_closed(now, connection);
                let mut ended = EndedConnections::default();
                ended.insert(connection, verdict);
                table.end_reported_by(now, &ended, 0);
            }
            3..7 => {
                let key = self.key();
                for leg in Leg::ALL {
                    table.apply_from(now, LISTENER, connection, &key, &delta(leg, [10, 9000, 11, 8000]));
                }
            }
            _ => {
                table.apply_from(now, LISTENER, connection, &self.key(), &self.dice.event());
            }
        }
    }

    fn scan(&mut self, table: &mut Table, now: Timestamp) {
        let key = self.key();
        let idle = (self.dice.below(4) > 0).then(|| Duration::from_millis(self.dice.number() % 10_000_000));
        match self.dice.below(20) {
            0..2 => table.scan_begins(now, SOURCE),
            2 if self.dice.below(3) == 0 => table.scan_may_miss_keys(SOURCE),
            2 => {
                let uptime = (self.dice.below(2) == 0).then(|| Duration::from_secs(self.dice.below(90)));
                table.scan_of(now, SOURCE, self.dice.pick(&["a 1", "b 1", "b 2"]), uptime);
            }
            3..5 => {
                table.sweep(now, SOURCE, 0);
            }
            5..7 => {
                let keys = StatusKeys { live: self.dice.below(3), stale: 2 };
                let hides_db = self.dice.below(2) == 0;
                let duration = Duration::from_millis(self.dice.below(9000));
                table.scan_succeeded(
                    SOURCE,
                    &ScanOutcome { keys, absent: self.dice.below(2), hides_db, duration },
                );
            }
            7 => table.scan_failed(SOURCE),
            8 => table
                .redis_settings(SOURCE, &[("timeout", self.dice.below(2) == 0), ("maxmemory-policy", true)]),
            9..14 => {
                table.check_key(now, SOURCE, &key, idle);
            }
            _ => {
                table.scanned(now, SOURCE, &key, &self.dice.event(), idle);
            }
        }
    }

    fn link(&mut self, table: &mut Table, now: Timestamp) {
        match self.dice.below(8) {
            0 => table.link_down(now, SOURCE),
            1..3 => table.subscribed(now, SOURCE),
            3..6 => table.link_up(now, SOURCE),
            6 => table.received_until(SOURCE, now.minus(Duration::from_millis(self.dice.below(20_000)))),
            _ => table.advance(now),
        }
    }

    fn listener(&mut self, table: &mut Table, now: Timestamp) {
        match self.dice.below(6) {
            0 => table.listens(now, LISTENER, &["full", "silent"], &["unknown"]),
            1 => table.connection_refused(LISTENER, "full"),
            2 => table.command_refused(LISTENER, "new one"),
            3 => table.callers(LISTENER, self.dice.below(9), self.dice.below(2) == 0),
            _ => {
                let up = self.dice.below(2) == 0;
                let state = ForwardStats { up, sent: self.dice.below(99), dropped: 2, withheld: 3 };
                table.forwarded(LISTENER, (self.dice.below(3) > 0).then_some(state));
            }
        }
    }

    fn process(&mut self, table: &mut Table, now: Timestamp) {
        match self.dice.below(12) {
            0..5 => {
                let http_refusals = [("busy", self.dice.below(3)), ("host", 0)];
                let counts =
                    ProcessCounts { dropped_log_lines: self.dice.below(5), http_refusals: &http_refusals };
                table.process_counts(now, &counts);
            }
            5..10 => {
                let waiting = table.outputs(0, 3);
                if let Some(&(last, _)) = waiting.last() {
                    table.ledger_written(now, last);
                }
            }
            10 => {
                table.restarted(now);
                self.connections.clear();
            }
            _ => {
                let settings = settings(&mut self.dice);
                let sources: &[&str] =
                    self.dice.pick(&[&["redis", "listener"], &["listener", "new", "redis"], &["redis"]]);
                table.adopt_settings(now, settings, sources);
            }
        }
    }
}

fn apply_together(table: &mut Table, now: Timestamp, events: &[(Key<'static>, Event<'static>)]) {
    let prepared = |(key, event): &(Key<'static>, Event<'static>)| {
        Some(crate::state::BatchEvent::new(table.prepare(SOURCE, key), *event))
    };
    let mut batch: Vec<_> = events.iter().map(prepared).collect();
    table.apply_batch(now, &mut batch);
}

/// Names of the inputs in a batch, without what belongs to them.
pub(super) fn names(batch: &[u8], into: &mut BTreeSet<String>) {
    let mut decoder = Decoder::new(batch);
    let mut room = TextRoom::default();
    while let Some(step) = decoder.next(&mut room).unwrap() {
        if let Step::Take(_, input) = step {
            let text = format!("{input:?}");
            into.insert(text.split([' ', '{', '(']).next().unwrap().to_owned());
        }
    }
}

/// The blocks of a table's image.
fn image(table: &mut Table) -> Vec<Vec<u8>> {
    let mut image = Vec::new();
    let take = |block: &[u8]| -> Result<(), ()> {
        image.push(block.to_vec());
        Ok(())
    };
    table.freeze().encode(take).unwrap();
    image
}

/// A table that comes back from an image.
fn of_image(image: Vec<Vec<u8>>) -> Table {
    let mut blocks = image.into_iter();
    Table::from_image(|| -> Result<_, ()> { Ok(blocks.next()) }).unwrap()
}

/// Batches, and what the table shows at the end of each.
type Batches = Vec<(Vec<u8>, String)>;

/// A recorded life of a table, and its image at the end.
fn life(seed: u64, steps: u64) -> (Settings, Batches, Vec<Vec<u8>>) {
    let mut world = World::new(seed);
    let settings = settings(&mut world.dice);
    let mut table = fresh(&settings);
    table.begin_recording();
    let mut batches = Vec::new();
    let mut spare = Vec::new();
    let mut written = 0;
    for _ in 0..steps {
        world.step(&mut table);
        if world.dice.below(40) == 0 {
            let batch = table.take_recorded(spare);
            written += batch.len() as u64;
            assert_eq!(table.recorded(), written);
            spare = b"rubbish".to_vec();
            audit(&table).unwrap();
            batches.push((batch, shown(&table)));
        }
    }
    batches.push((table.take_recorded(Vec::new()), shown(&table)));
    (settings, batches, image(&mut table))
}

/// Each table hashes with seeds of its own.
#[test]
fn what_was_recorded_makes_an_equal_table() {
    let seed = std::env::var("REPLAY_SEED").map_or_else(|_| fastrand::u64(..), |seed| seed.parse().unwrap());
    println!("REPLAY_SEED={seed}");
    let mut kinds = BTreeSet::new();
    for number in 0..24 {
        let (settings, batches, last) = life(seed.wrapping_add(number * 2), 1500);
        let (mut table, mut of_images) = (fresh(&settings), fresh(&settings));
        for (place, (batch, expected)) in batches.iter().enumerate() {
            assert_eq!(table.replay(batch), Ok(()), "life {number}, batch {place}");
            assert_eq!(&shown(&table), expected, "life {number}, batch {place}");
            names(batch, &mut kinds);
            // What an image has kept goes on in the same way.
            assert_eq!(of_images.replay(batch), Ok(()), "life {number}, batch {place}");
            if place % 7 == 3 {
                of_images = of_image(image(&mut of_images));
            }
            let pages = [&table, &of_images].map(|table| format!("{:?}", table.snapshot()));
            assert_eq!(pages[0], pages[1], "life {number}, batch {place}");
        }
        assert!(image(&mut table) == last, "life {number}: the images differ");
        assert!(image(&mut of_images) == last, "life {number}: the images of images differ");
        audit(&table).unwrap();
        assert!(table.take_discoveries().is_empty(), "what a replay finds out has been logged");
    }
    assert_eq!(kinds.iter().map(String::as_str).collect::<Vec<_>>(), KINDS, "each kind of input occurs");
}

/// A recording that was damaged, or is none, is an error at most: the table does not panic over it.
#[test]
fn rubbish_is_an_error() {
    let seed = std::env::var("REPLAY_SEED").map_or_else(|_| fastrand::u64(..), |seed| seed.parse().unwrap());
    println!("REPLAY_SEED={seed}");
    let mut dice = Dice(seed | 1);
    let mut errors = 0;
    for _ in 0..6 {
        let (settings, batches, _) = life(dice.roll(), 300);
        for _ in 0..12 {
            let mut table = fresh(&settings);
            let damaged = dice.below(batches.len() as u64);
            for (place, (batch, _)) in (0..).zip(&batches) {
                let mut batch = batch.clone();
                if place == damaged && !batch.is_empty() {
                    let byte = usize::try_from(dice.below(batch.len() as u64)).unwrap();
                    match dice.below(3) {
                        0 => batch[byte] = dice.roll().to_le_bytes()[0],
                        1 => batch.truncate(byte),
                        _ => batch.insert(byte, dice.roll().to_le_bytes()[0]),
                    }
                }
                if table.replay(&batch).is_err() {
                    errors += 1;
                    break;
                }
            }
        }
    }
    assert!(errors > 30, "{errors}");
    let mut table = fresh(&Settings::default());
    assert_eq!(table.replay(&[0xff]), Err(ReplayError::Malformed));
    assert_eq!(table.replay(&[1, 0, 0, 0, 0, 0]), Err(ReplayError::Diverged), "there is no such record");
}

/// A record of such a source would be in no image that can be read.
#[test]
fn a_source_that_is_not_there_is_an_error() {
    for inputs in [
        |table: &mut Table, key: &Key<'_>| {
            table.apply(at(1), SourceId(2), key, &new(600));
        },
        |table: &mut Table, key: &Key<'_>| {
            table.scanned(at(1), SourceId(2), key, &new(600), None);
        },
    ] {
        let mut table =
            Table::new(Settings::default(), &["redis", "listener", "third"]).with_key_secret(SECRET);
        table.begin_recording();
        inputs(&mut table, &key("r", "alice", 1));
        let mut batch = table.take_recorded(Vec::new());
        // Without the digest of the table.
        batch.truncate(batch.len() - 9);
        assert_eq!(fresh(&Settings::default()).replay(&batch), Err(ReplayError::Malformed));
    }
}

/// Under other rules the same inputs come to another table, and that is noticed.
#[test]
fn other_rules_are_noticed() {
    let mut table = fresh(&Settings::default());
    table.begin_recording();
    table.link_up(at(0), SOURCE);
    table.apply(at(1), SOURCE, &key("r", "alice", 1), &new(600));
    table.advance(at(100_000));
    let batch = table.take_recorded(Vec::new());
    assert_eq!(fresh(&Settings::default()).replay(&batch), Ok(()));
    let others = Settings { grace: secs(1_000_000), ..Settings::default() };
    assert_eq!(fresh(&others).replay(&batch), Err(ReplayError::Diverged));
}

/// What a store writes of each report on both legs.
#[test]
fn a_report_of_both_legs_takes_few_bytes() {
    const PAIRS: u64 = 2000;
    let mut table = table(Settings::default());
    for id in 0..20_000 {
        table.apply(at(1), SOURCE, &key("r", "alice", id), &new(600));
    }
    table.begin_recording();
    let mut dice = Dice(5);
    for pair in 0..PAIRS {
        let whose = key("r", "alice", 10_000 + pair);
        let [a, b] = [2000 + dice.below(96), 2000 + dice.below(96)];
        let client = delta(Leg::Client, [a, a * 1104, b, b * 1004]);
        let peer = delta(Leg::Peer, [b, b * 1000, a, a * 1100]);
        apply_together(
            &mut table,
            at(2).plus(Duration::from_millis(pair * 5)),
            &[(whose, client), (whose, peer)],
        );
    }
    let bytes = table.take_recorded(Vec::new()).len() as u64;
    assert!(bytes / PAIRS <= 24, "{} bytes for each", bytes as f64 / PAIRS as f64);
}
