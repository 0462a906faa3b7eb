//! Hostile events, many of them: they are cheap to make. A debug build checks each sum, so that a number that overflows
//! ends the test; the audit recounts the table again and again.

use super::super::{Cause, ClosedBy, ConnectionId, EndedConnections, Settings};
use super::audit::audit;
use super::*;

/// Unless `FUZZ_EVENTS` says otherwise (`make fuzz`, which is part of `make test`: ten millions).
const FEW_EVENTS: u64 = 300_000;

/// Shares of them run at the same time, each on a table of its own.
const THREADS: u64 = 2;

const AUDIT_EVERY: u64 = 5000;

/// Xorshift, as Marsaglia has it: what fails once fails again.
#[derive(Clone)]
pub(super) struct Dice(pub(super) u64);

impl Dice {
    pub(super) fn roll(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    pub(super) fn below(&mut self, many: u64) -> u64 {
        (self.roll() >> 11) % many
    }

    /// Small, or at an edge of what numbers can be.
    pub(super) fn number(&mut self) -> u64 {
        match self.below(8) {
            0 => u64::MAX - self.below(3),
            1 => (1 << 32) - 2 + self.below(4),
            2 => 1 << self.below(64),
            3 => 0,
            _ => self.below(5000),
        }
    }

    pub(super) fn pick<T: Copy>(&mut self, all: &[T]) -> T {
        all[usize::try_from(self.below(all.len() as u64)).unwrap()]
    }

    pub(super) fn event(&mut self) -> Event<'static> {
        let lifetime = self.pick(&[0, 1, 15, 600, 600, 600, 3600, 86_400, u32::MAX]);
        let local = self.pick(&[LOCAL, LOCAL, "192.0.2.2:3478", "[::1]:3478", "nonsense", ""]);
        let remote = self.pick(&[REMOTE, "203.0.113.9:1", "[2001:db8::1]:2", ""]);
        let mut grant = grant(lifetime, local, remote);
        if self.below(8) == 0 {
            grant.path = None;
        }
        let leg = self.pick(&Leg::ALL);
        let numbers = [self.number(), self.number(), self.number(), self.number()];
        match self.below(16) {
            0..3 => Event::New(grant),
            3..6 => Event::Refreshed(grant),
            6..8 => Event::Deleted,
            8..13 => delta(leg, numbers),
            _ => total(leg, numbers),
        }
    }
}

/// Hostile inputs, one after the other; a copy of it goes on with the same ones.
#[derive(Clone)]
pub(super) struct Storm {
    dice: Dice,
    pub(super) now: Timestamp,
    connection: ConnectionId,
}

impl Storm {
    /// What small settings make of a table of two sources, and what comes to it.
    pub(super) fn begin(seed: u64, settings: Settings) -> (Self, Table) {
        let settings = Settings {
            max_allocations: 100,
            max_realms: 5,
            max_servers: 3,
            linger: secs(seed % 2 * 30),
            ..settings
        };
        let mut table = Table::new(settings, &["one", "two"]);
        table.begin_store(1, 1);
        for source in [SourceId(0), SourceId(1)] {
            table.link_up(Timestamp::ZERO, source);
        }
        let now = at(1_000_000);
        let connection = table.connection_opened(now, SourceId(1), [192, 0, 2, 9].into());
        (Self { dice: Dice(seed), now, connection }, table)
    }

    pub(super) fn step(&mut self, table: &mut Table) {
        let Self { dice, now, connection } = self;
        let pause = match dice.below(1000) {
            0 => dice.below(100_000_000),
            1..10 => dice.below(700_000),
            _ => dice.below(20),
        };
        *now = now.plus(Duration::from_millis(pause));
        let now = *now;
        let realm = dice.pick(&["r", "s", "", "t", "u", "v", "w", "x"]);
        let user = dice.pick(&["alice", "bob", "", "a b", "1795343956:x", "carol"]);
        // Ids of several threads, now and then one that no coturn gives.
        let id = match dice.below(200) {
            0 => u64::MAX - dice.below(3),
            _ => dice.below(2) * 1_000_000_000_000_000 + dice.below(20),
        };
        let key = key(realm, user, id);
        let what = dice.event();
        let source = dice.pick(&[SourceId(0), SourceId(1)]);
        match dice.below(2000) {
            0 => table.link_down(now, source),
            1..4 => table.link_up(now, source),
            4 => table.scan_begins(now, source),
            5 => {
                table.sweep(now, source, 0);
                table.scan_ends(source);
            }
            6 => {
                let by = dice.pick(&[ClosedBy::Peer, ClosedBy::Other]);
                table.connection_closed(now, *connection, by);
                let verdict = table.judge_closed(now, *connection);
                let mut ended = EndedConnections::default();
                ended.insert(*connection, verdict);
                table.end_reported_by(now, &ended, 0);
                *connection = table.connection_opened(now, SourceId(1), [192, 0, 2, 9].into());
            }
            7 => table.process_started(now, *connection),
            8..100 => {
                let idle = (dice.below(4) > 0).then(|| secs(dice.number() % 10_000));
                table.check_key(now, source, &key, idle);
                table.scanned(now, source, &key, &what, idle);
            }
            100..1000 => {
                table.apply_from(now, SourceId(1), *connection, &key, &what);
            }
            _ => {
                table.apply(now, source, &key, &what);
            }
        }
    }
}

fn storm(seed: u64, events: u64) {
    let (mut storm, mut table) = Storm::begin(seed, Settings::default());
    let (mut closed, mut relayed) = (0, 0);
    for event in 1..=events {
        storm.step(&mut table);
        if event % AUDIT_EVERY == 0 {
            audit(&table).unwrap();
            let snapshot = table.snapshot();
            let all = || snapshot.realms.iter().map(|realm| &realm.series);
            let ends = all().map(|series| series.closed.total()).sum();
            let bytes = all().map(|series| series.relayed.client.bytes()).sum();
            assert!(closed <= ends && relayed <= bytes, "a counter fell");
            (closed, relayed) = (ends, bytes);
            assert!(table.records.len() <= 100);
            drop((table.take_ended(), table.take_discoveries()));
        }
    }
    assert!(closed > events / 100 && relayed > 0, "{closed} ends of {events} events: it does not try much");
    let snapshot = table.snapshot();
    let missed = snapshot.realms.iter().map(|realm| realm.series.closed.get(Cause::Missed as usize));
    assert!(missed.sum::<u64>() > 0);
}

#[test]
fn millions_of_hostile_events_break_nothing() {
    let events = std::env::var("FUZZ_EVENTS").map_or(FEW_EVENTS, |events| events.parse().unwrap());
    let seed = std::env::var("FUZZ_SEED").map_or_else(|_| fastrand::u64(..), |seed| seed.parse().unwrap());
    println!("FUZZ_SEED={seed} FUZZ_EVENTS={events}");
    std::thread::scope(|scope| {
        for thread in 1..=THREADS {
            scope.spawn(move || storm(seed.wrapping_mul(2 * thread + 1) | 1, events / THREADS));
        }
    });
}
