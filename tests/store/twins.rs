//! A table that is stopped, killed and loaded again through the store, beside a twin that stays in memory and is told the same
//! restarts, on a virtual clock: whatever happens, both show the same and leave the same snapshot, byte for byte. The hash
//! tables of each have seeds of their own.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use coturn_exporter::clock::Timestamp;
use coturn_exporter::metrics::{Format, MetricsPage, Observe, Render as _, View};
use coturn_exporter::state::{
    ClosedBy, ConnectionId, KeyCheck, RULES_VERSION, ScanOutcome, SessionBy, Settings, SourceId, StatusKeys,
    Table,
};
use coturn_exporter::store::journal::{
    BootId, Continuity, Directory, Journal, JournalEnd, JournalSettings, Moments, SnapshotWriter,
};
use coturn_exporter::wire::{self, Message};

use crate::common::readers::page::Page;
use crate::common::readers::tally::Tally;
use crate::common::temp_dir::TempDir;

/// Each has some forty restarts; `TWINS_WORLDS` says another number, `TWINS_SEED` which is the first.
const WORLDS: u64 = 50;
const STEPS: u64 = 1000;
const THREADS: usize = 2;

const REDIS: SourceId = SourceId(0);
const LISTENER: SourceId = SourceId(1);
const SOURCES: [&str; 2] = ["redis://sim", "statsdb://sim"];

fn number(variable: &str, usual: u64) -> u64 {
    std::env::var(variable).map_or(usual, |number| number.parse().expect(variable))
}

fn settings(random: &mut fastrand::Rng) -> Settings {
    Settings {
        grace: Duration::from_secs(random.u64(1..100)),
        max_lifetime: Duration::from_secs(random.u64(60..4000)),
        idle_after: Duration::from_secs(random.u64(10..2000)),
        session_by: if random.bool() { SessionBy::User } else { SessionBy::Client },
        linger: Duration::from_secs(random.u64(0..3) * 20),
        max_allocations: random.usize(10..200),
        max_realms: random.usize(1..6),
        max_servers: random.usize(1..6),
        realms: if random.bool() { vec![b"named.example".to_vec()] } else { Vec::new() },
        are_rates_kept: random.bool(),
        ..Settings::default()
    }
}

/// What the store has of a table.
struct Kept {
    directory: Directory,
    journal: Journal,
    /// A snapshot that is being written, and the blocks that are not in it yet.
    snapshot: Option<(SnapshotWriter, Vec<Vec<u8>>)>,
}

/// Blocks of the table's image.
fn image(table: &mut Table) -> Vec<Vec<u8>> {
    let mut blocks = Vec::new();
    let taken: Result<(), ()> = table.freeze().encode(|block| {
        blocks.push(block.to_vec());
        Ok(())
    });
    taken.expect("memory takes it");
    blocks
}

/// See the file's head.
struct World {
    random: fastrand::Rng,
    dir: TempDir,
    now: Timestamp,
    /// In memory, and in the store.
    tables: [Table; 2],
    kept: Option<Kept>,
    connections: Vec<ConnectionId>,
    is_up: bool,
    tally: Tally,
}

impl World {
    fn new(seed: u64) -> Self {
        let mut random = fastrand::Rng::with_seed(seed);
        let dir = TempDir::new("twins");
        let now = Timestamp::from_millis(1_700_000_000_000);
        let directory = open(&dir);
        assert_eq!(directory.continuity(), Continuity::Fresh);
        let mut tables = [(); 2].map(|()| empty(&directory));
        tables[1].begin_recording();
        let settings = settings(&mut random);
        for table in &mut tables {
            table.adopt_settings(now, settings.clone(), &SOURCES);
        }
        let journal = Journal::start_over(&directory, moments(now));
        let kept = Some(Kept { directory, journal, snapshot: None });
        Self {
            random,
            dir,
            now,
            tables,
            kept,
            connections: Vec::new(),
            is_up: false,
            tally: Tally::default(),
        }
    }

    /// The same on both, which must say the same.
    fn both<T: PartialEq + std::fmt::Debug>(&mut self, mut change: impl FnMut(&mut Table) -> T) -> T {
        let [one, other] = self.tables.each_mut().map(&mut change);
        assert_eq!(one, other);
        one
    }

    fn event(&mut self) {
        let random = &mut self.random;
        let realm = random.choice(["", "realm/a.example/", "realm/b.example/", "realm/c.example/"]).unwrap();
        let user = random.choice(["alice", "bob", "carol", "", "a b", "1795343956:dora"]).unwrap();
        let id = random.u64(..2) * 1_000_000_000_000_000 + random.u64(1..30);
        let lifetime = random.choice([0, 1, 600, 3600, 90_000]).unwrap();
        let status = |word: &str, random: &mut fastrand::Rng| {
            if random.u32(..8) == 0 {
                return format!("{word} lifetime={lifetime}");
            }
            format!(
                "{word} lifetime={lifetime}, type=UDP, local=192.0.2.{}:3478, remote=198.51.100.{}:{}, ssl=NONE, \
                 cipher=NONE",
                random.u32(..4),
                random.u32(..4),
                random.u32(1000..1004)
            )
        };
        let counters = |random: &mut fastrand::Rng| {
            let most = random.choice([1, 100, 4096, 1 << 33]).unwrap();
            let packets = [random.u64(..most), random.u64(..most)];
            format!(
                "rcvp={}, rcvb={}, sentp={}, sentb={}",
                packets[0],
                packets[0] * 100,
                packets[1],
                packets[1] * 90
            )
        };
        let (kind, payload) = match random.u32(..12) {
            0..2 => ("status", status("new", random)),
            2..4 => ("status", status("refreshed", random)),
            4 => ("status", "deleted".to_owned()),
            5..8 => ("traffic", counters(random)),
            8..10 => ("traffic/peer", counters(random)),
            10 => ("total_traffic", counters(random)),
            _ => ("total_traffic/peer", counters(random)),
        };
        let channel = format!("turn/{realm}user/{user}/allocation/{id:018}/{kind}");
        let connection = self.random.choice(self.connections.iter().copied());
        let is_direct = self.random.bool();
        let (now, channel, payload) = (self.now, channel.into_bytes(), payload.into_bytes());
        let Ok(Message::Allocation(key, event)) = wire::parse(&channel, &payload) else {
            panic!("{}", channel.escape_ascii());
        };
        self.both(|table| match connection {
            Some(connection) if is_direct => {
                format!("{:?}", table.apply_from(now, LISTENER, connection, &key, &event))
            }
            _ => format!("{:?}", table.apply(now, REDIS, &key, &event)),
        });
    }

    fn link(&mut self) {
        let now = self.now;
        match self.random.u32(..6) {
            0 if self.is_up => {
                self.both(|table| table.link_down(now, REDIS));
                self.is_up = false;
            }
            _ if !self.is_up => self.watch(),
            1 => {
                let peer = IpAddr::V4(Ipv4Addr::new(203, 0, 113, self.random.u8(..3)));
                let connection = self.both(|table| table.connection_opened(now, LISTENER, peer));
                self.connections.push(connection);
            }
            2 if !self.connections.is_empty() => {
                let at = self.random.usize(..self.connections.len());
                let connection = self.connections.swap_remove(at);
                let by = if self.random.bool() { ClosedBy::Peer } else { ClosedBy::Other };
                if self.both(|table| table.connection_closed(now, connection, by)) {
                    self.both(|table| format!("{:?}", table.judge_closed(now, connection)));
                }
            }
            _ => self.both(|table| {
                for source in [REDIS, LISTENER] {
                    table.received_until(source, now);
                }
            }),
        }
    }

    /// Subscribes, reads the keys, is up.
    fn watch(&mut self) {
        let now = self.now;
        let keys: Vec<(Vec<u8>, String, u64)> = (0..self.random.u64(..5))
            .map(|_| {
                let id = self.random.u64(1..30);
                let channel = format!("turn/realm/a.example/user/alice/allocation/{id:018}/status");
                let status = self.random.choice(["new lifetime=600", "refreshed lifetime=3600"]).unwrap();
                (channel.into_bytes(), status.to_owned(), self.random.u64(..4000))
            })
            .collect();
        self.both(|table| {
            table.subscribed(now, REDIS);
            table.scan_begins(now, REDIS);
            let mut said = Vec::new();
            for (channel, payload, idle) in &keys {
                let idle = Some(Duration::from_secs(*idle));
                let Ok(Message::Allocation(key, event)) = wire::parse(channel, payload.as_bytes()) else {
                    panic!("{}", channel.escape_ascii());
                };
                let check = table.check_key(now, REDIS, &key, idle);
                said.push(format!("{check:?}"));
                if check == KeyCheck::Read {
                    said.push(format!("{:?}", table.scanned(now, REDIS, &key, &event, idle)));
                }
            }
            let mut from = Some(0);
            while let Some(place) = from {
                from = table.sweep(now, REDIS, place).next;
            }
            let found = StatusKeys { live: keys.len() as u64, stale: 0 };
            let outcome =
                ScanOutcome { keys: found, absent: 0, hides_db: false, duration: Duration::from_millis(5) };
            table.scan_succeeded(REDIS, &outcome);
            table.link_up(now, REDIS);
            said
        });
        self.is_up = true;
    }

    fn step(&mut self) {
        let pause = match self.random.u32(..100) {
            0 => self.random.u64(..100_000_000),
            1..5 => self.random.u64(..2_000_000),
            5..50 => 0,
            _ => self.random.u64(..3000),
        };
        self.now = self.now.plus(Duration::from_millis(pause));
        let now = self.now;
        match self.random.u32(..100) {
            0..70 => self.event(),
            70..80 => self.link(),
            80..85 => self.both(|table| table.advance(now)),
            85..88 => {
                // What the ledger has taken, which is a part of the inputs.
                let most = self.random.usize(1..10);
                let taken = self.both(|table| table.outputs(0, most).last().map(|(number, _)| *number));
                if let Some(taken) = taken {
                    self.both(|table| table.ledger_written(now, taken));
                }
            }
            88..92 => self.append(),
            92..95 => self.snapshot(),
            95 => self.look(),
            _ => self.restart(),
        }
    }

    /// What is answered is in the journal.
    fn append(&mut self) {
        let batch = self.tables[1].take_recorded(Vec::new());
        if !batch.is_empty() {
            let at = moments(self.now);
            self.kept().journal.append(&batch, at).unwrap();
        }
    }

    fn kept(&mut self) -> &mut Kept {
        self.kept.as_mut().expect("a store")
    }

    /// Begins a snapshot, goes on with one, or completes it.
    fn snapshot(&mut self) {
        let is_ended = self.random.bool();
        if self.kept().snapshot.is_none() {
            self.append();
            let at = moments(self.now);
            let boundary = self.kept().journal.roll(at).unwrap();
            let blocks = image(&mut self.tables[1]);
            let writer = self.kept().directory.snapshot_writer(&boundary).unwrap();
            self.kept().snapshot = Some((writer, blocks));
        } else if let Some((mut writer, blocks)) = self.kept().snapshot.take() {
            if is_ended {
                for block in &blocks {
                    writer.block(block).unwrap();
                }
                writer.commit().unwrap();
            } else {
                self.kept().snapshot = Some((writer, blocks));
            }
        }
    }

    /// Both pages, and what both leave.
    fn look(&mut self) {
        self.append();
        let [one, other] = self.tables.each_ref().map(page);
        assert_eq!(one, other, "the pages");
        let [one, other] = self.tables.each_mut().map(image);
        assert!(one == other, "the snapshots differ");
    }

    /// Killed, or stopped; then a new process, with other settings at times.
    fn restart(&mut self) {
        self.look();
        let Kept { directory, journal, snapshot } = self.kept.take().expect("a store");
        if self.random.bool() {
            // One that is begun is given up.
            drop((snapshot, journal));
        } else {
            drop(snapshot);
            let boundary = journal.close(moments(self.now));
            let mut writer = directory.snapshot_writer(&boundary).unwrap();
            for block in image(&mut self.tables[1]) {
                writer.block(&block).unwrap();
            }
            writer.commit().unwrap();
            directory.mark_clean(&boundary).unwrap();
        }
        drop(directory);
        let away = Duration::from_millis(self.random.u64(..200_000));
        let directory = open(&self.dir);
        let (table, end) = load(&directory);
        let last = end.at.expect("it was used");
        assert!(last.table <= self.now);
        self.now =
            last.table.plus(last.elapsed_until(&moments(self.now.plus(away)), directory.is_same_boot()));
        let journal = Journal::go_on(&directory, &end, moments(self.now));
        assert!(journal.failure().is_none());
        self.kept = Some(Kept { directory, journal, snapshot: None });
        self.tables[1] = table;
        self.tables[1].begin_recording();
        let (now, settings) = (self.now, self.random.bool().then(|| settings(&mut self.random)));
        self.both(|table| table.restarted(now));
        if let Some(settings) = settings {
            self.both(|table| table.adopt_settings(now, settings.clone(), &SOURCES));
        }
        (self.is_up, self.connections) = (false, Vec::new());
        self.look();
        let page = Page::parse(&page(&self.tables[1]));
        // What is told of a server leaves the page a day after its last sign.
        self.tally.add_series(page.cumulative().filter(|(series, _)| !series.labels.contains_key("server")));
    }
}

fn empty(directory: &Directory) -> Table {
    let secret = u128::from_le_bytes(directory.secret());
    #[expect(clippy::cast_possible_truncation, reason = "either half")]
    let secret = [secret as u64, (secret >> 64) as u64];
    let mut table = Table::new(Settings::default(), &[] as &[&str]).with_key_secret(secret);
    table.begin_store(1, 1);
    table
}

/// The snapshot and the journal behind it.
fn load(directory: &Directory) -> (Table, JournalEnd) {
    let mut table = match directory.snapshot().unwrap() {
        None => empty(directory),
        Some(mut snapshot) => Table::from_image(|| snapshot.next_block()).unwrap(),
    };
    let mut batches = directory.batches().unwrap();
    while let Some(batch) = batches.next_batch().unwrap() {
        table.replay(batch.payload).unwrap();
    }
    (table, batches.finish().unwrap())
}

fn open(dir: &TempDir) -> Directory {
    let settings = JournalSettings {
        rules_version: RULES_VERSION,
        // Small, so that there are many.
        segment_bytes: 4096,
        boot: BootId::from_bytes([1; 16]),
        marker_folders: vec![dir.path().to_owned()],
    };
    Directory::open(&dir.path().join("store"), settings).unwrap().0
}

fn moments(now: Timestamp) -> Moments {
    Moments { table: now, wall: now, boot: now.since(Timestamp::ZERO) }
}

/// A view that is there already.
struct Seen(Mutex<Option<View>>);

impl Observe for Seen {
    fn observe(&self) -> View {
        self.0.lock().unwrap().take().expect("it is rendered once")
    }
}

fn page(table: &Table) -> String {
    let table = table.snapshot();
    let view = View { wall: table.now, table, store: None, coturn: None, certificates: Vec::new() };
    String::from_utf8(MetricsPage::of_capture(Seen(Mutex::new(Some(view)))).render(Format::Text)).unwrap()
}

/// One world to its end.
fn run(seed: u64) {
    let mut world = World::new(seed);
    for _ in 0..STEPS {
        world.step();
    }
    world.restart();
    world.tally.assert_nothing_fell("a scraper");
}

#[test]
fn whatever_restarts_there_are_a_table_is_as_one_that_stayed_in_memory() {
    let first = number("TWINS_SEED", fastrand::u64(..1 << 40));
    let worlds = number("TWINS_WORLDS", WORLDS);
    println!("TWINS_SEED={first}");
    // It takes processor time, of which there is more than one.
    let next = AtomicU64::new(first);
    std::thread::scope(|threads| {
        for _ in 0..THREADS {
            threads.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= first + worlds {
                        break;
                    }
                    let ended = std::panic::catch_unwind(|| run(seed));
                    assert!(ended.is_ok(), "TWINS_SEED={seed} TWINS_WORLDS=1");
                }
            });
        }
    });
}
