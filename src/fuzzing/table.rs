//! The table: any row of events, scans, links and connections, with an audit between them. What it recorded makes an equal
//! table, and so does its image.

use std::collections::BTreeMap;
use std::time::Duration;

use super::choices::Choices;
use super::empty_table::{fresh, settings};
use super::image::{image_of, table_of};
use crate::clock::Timestamp;
use crate::state::{
    BatchEvent, Cause, ClosedBy, ConnectionId, EndedConnections, ForwardStats, KeyCheck, ScanOutcome,
    SourceId, StatusKeys, Table, audit,
};
use crate::wire::{AllocationId, ByLeg, Event, Grant, Key, Leg, Path, Rejection, Traffic, Transport, Volume};

/// Steps of an input at most, so that one takes no longer than a few milliseconds.
const STEPS: usize = 400;

/// Steps between two audits.
const AUDIT_EVERY: usize = 16;

const REDIS: SourceId = SourceId(0);
const LISTENER: SourceId = SourceId(1);

/// Milliseconds before a step.
const PAUSES: [u64; 16] = [
    0,
    0,
    0,
    1,
    999,
    1000,
    5000,
    10_000,
    30_000,
    90_000,
    600_000,
    690_001,
    1_800_000,
    3_600_000,
    86_400_000,
    100_000_000,
];

/// A table on its way, the inputs that it has recorded, and what its counters said last.
struct FuzzedTable {
    table: Table,
    now: Timestamp,
    connections: Vec<ConnectionId>,
    recorded: Vec<Vec<u8>>,
    counters: BTreeMap<String, Vec<u64>>,
}

/// The first byte decides the settings, the others what comes.
pub(super) fn run(bytes: &[u8]) {
    let mut input = Choices::new(bytes);
    let decider = input.byte();
    let mut table = fresh(decider);
    table.begin_recording();
    let now = Timestamp::from_millis(1_000_000);
    let mut fuzzed =
        FuzzedTable { table, now, connections: Vec::new(), recorded: Vec::new(), counters: BTreeMap::new() };
    for step in 1..=STEPS {
        if input.is_over() {
            break;
        }
        fuzzed.step(&mut input, decider);
        if step % AUDIT_EVERY == 0 {
            fuzzed.audit();
        }
    }
    fuzzed.audit();
    fuzzed.comes_back(decider);
    fuzzed.ends();
}

impl FuzzedTable {
    fn step(&mut self, input: &mut Choices<'_>, decider: u8) {
        let code = input.byte();
        self.now = self.now.plus(Duration::from_millis(PAUSES[usize::from(code >> 4)]));
        let now = self.now;
        let table = &mut self.table;
        match code & 0x0f {
            0..=4 => {
                let source = input.pick(&[REDIS, REDIS, LISTENER]);
                table.apply(now, source, &key(input), &event(input));
            }
            5 => {
                table.apply(now, REDIS, &any_key(input), &event(input));
            }
            6 | 7 => self.over_connection(input),
            8 => {
                let events: Vec<_> = (0..=input.below(20)).map(|_| (key(input), event(input))).collect();
                let prepared = |(key, event): &(Key<'static>, Event<'static>)| {
                    Some(BatchEvent::new(table.prepare(REDIS, key), *event))
                };
                let mut batch: Vec<_> = events.iter().map(prepared).collect();
                table.apply_batch(now, &mut batch);
            }
            9 => {
                let (key, event) = (key(input), event(input));
                let idle = (input.byte() & 1 == 0).then(|| Duration::from_secs(input.number() % (1 << 40)));
                if table.check_key(now, REDIS, &key, idle) == KeyCheck::Read {
                    table.scanned(now, REDIS, &key, &event, idle);
                }
            }
            10 => self.scan(input),
            11 => self.link(input),
            12 => self.listener(input),
            13 => self.through_its_image(),
            14 => self.process(input, decider),
            _ => table.advance(now),
        }
    }

    fn over_connection(&mut self, input: &mut Choices<'_>) {
        let (table, now) = (&mut self.table, self.now);
        let place = input.below(4);
        let Some(&connection) = self.connections.get(place) else {
            let host = input.pick(&[[192, 0, 2, 1], [192, 0, 2, 2]]);
            self.connections.push(table.connection_opened(now, LISTENER, host.into()));
            return;
        };
        match input.byte() % 16 {
            0 => table.connection_active(now, connection),
            1 => table.process_started(now, connection),
            2 | 3 => {
                self.connections.remove(place);
                let by = input.pick(&[ClosedBy::Peer, ClosedBy::Other]);
                table.connection_closed(now, connection, by);
                if by == ClosedBy::Other {
                    table.connection_interrupted(now, LISTENER, connection);
                }
                self.now = now.plus(Duration::from_millis(input.pick(&[0, 1000, 60_000])));
                let verdict = table.judge_closed(self.now, connection);
                let mut ended = EndedConnections::default();
                ended.insert(connection, verdict);
                let mut from = Some(0);
                while let Some(place) = from {
                    from = table.end_reported_by(self.now, &ended, place);
                }
            }
            _ => {
                table.apply_from(now, LISTENER, connection, &key(input), &event(input));
            }
        }
    }

    fn scan(&mut self, input: &mut Choices<'_>) {
        let (table, now) = (&mut self.table, self.now);
        match input.byte() % 6 {
            0 | 1 => table.scan_begins(now, REDIS),
            2 if input.byte().is_multiple_of(3) => table.scan_may_miss_keys(REDIS),
            2 => {
                let uptime = (input.byte() & 1 == 1).then(|| Duration::from_millis(input.number() >> 20));
                table.scan_of(now, REDIS, input.pick(&["a 1", "b 1", "b 2"]), uptime);
            }
            3 => {
                table.sweep(now, REDIS, 0);
            }
            4 => {
                let keys = StatusKeys { live: input.number(), stale: input.number() };
                let duration = Duration::from_millis(input.number() >> 20);
                let (absent, hides_db) = (input.number(), input.byte() & 1 == 1);
                table.scan_succeeded(REDIS, &ScanOutcome { keys, absent, hides_db, duration });
            }
            _ => table.scan_failed(REDIS),
        }
    }

    fn link(&mut self, input: &mut Choices<'_>) {
        let (table, now) = (&mut self.table, self.now);
        let source = input.pick(&[REDIS, LISTENER]);
        match input.byte() % 6 {
            0 => table.link_down(now, source),
            1 => table.subscribed(now, source),
            2 | 3 => table.link_up(now, source),
            4 => table.received_until(source, now.minus(Duration::from_millis(input.number() % 100_000))),
            _ => table.rejected(now, source, input.pick(&Rejection::ALL)),
        }
    }

    fn listener(&mut self, input: &mut Choices<'_>) {
        let (table, now) = (&mut self.table, self.now);
        match input.byte() % 5 {
            0 => table.listens(now, LISTENER, &["full", "silent"], &["unknown"]),
            1 => table.connection_refused(LISTENER, input.pick(&["full", "new one"])),
            2 => table.command_refused(LISTENER, input.pick(&["unknown", "new one"])),
            3 => table.callers(LISTENER, input.number(), input.byte() & 1 == 1),
            _ => {
                let up = input.byte() & 1 == 1;
                let mut number = || input.number() >> 8;
                let state = ForwardStats { up, sent: number(), dropped: number(), withheld: number() };
                table.forwarded(LISTENER, Some(state));
            }
        }
    }

    fn process(&mut self, input: &mut Choices<'_>, decider: u8) {
        let (table, now) = (&mut self.table, self.now);
        match input.byte() % 8 {
            0 => {
                table.restarted(now);
                self.connections.clear();
            }
            1 => {
                let settings = settings(decider ^ input.byte());
                let sources: &[&str] = input.pick(&[&["redis", "listener"], &["listener", "redis", "new"]]);
                table.adopt_settings(now, settings, sources);
            }
            _ => {
                let most = input.below(8);
                if let Some(&(last, _)) = table.outputs(0, most).last() {
                    table.ledger_written(now, last);
                }
            }
        }
    }

    /// Goes on with the table that its image gives.
    fn through_its_image(&mut self) {
        self.recorded.push(self.table.take_recorded(Vec::new()));
        let page = format!("{:?}", self.table.snapshot());
        let table = std::mem::replace(&mut self.table, fresh(0));
        self.table = table_of(image_of(table)).expect("an image of its own");
        self.table.begin_recording();
        assert_eq!(format!("{:?}", self.table.snapshot()), page, "an image holds all that is on a page");
    }

    /// What it keeps in step is what its records come to, and no counter falls.
    fn audit(&mut self) {
        assert_eq!(audit(&self.table), Ok(()));
        let counters = counters(&self.table);
        for (realm, before) in &self.counters {
            // One that has nothing left is forgotten.
            let Some(now) = counters.get(realm) else { continue };
            let fell = before.iter().zip(now).position(|(before, now)| before > now);
            assert_eq!(fell, None, "a counter of {realm:?} fell: {before:?}, {now:?}");
        }
        self.counters = counters;
        drop(self.table.take_discoveries());
    }

    /// What was recorded makes an equal table.
    fn comes_back(&mut self, decider: u8) {
        self.recorded.push(self.table.take_recorded(Vec::new()));
        let mut twin = fresh(decider);
        for batch in &self.recorded {
            assert_eq!(twin.replay(batch), Ok(()));
        }
        assert_eq!(format!("{:?}", twin.snapshot()), format!("{:?}", self.table.snapshot()));
        assert_eq!(audit(&twin), Ok(()));
    }

    /// Days later nothing is live.
    fn ends(&mut self) {
        self.table.scan_failed(REDIS);
        for source in [REDIS, LISTENER] {
            self.table.link_up(self.now, source);
        }
        for _ in 0..4 {
            self.now = self.now.plus(Duration::from_secs(30 * 3600));
            for source in [REDIS, LISTENER] {
                self.table.received_until(source, self.now);
            }
            self.table.advance(self.now);
        }
        self.audit();
        let live = |realm: &crate::state::RealmView| realm.series.live.total() + realm.series.sessions;
        assert_eq!(self.table.snapshot().realms.iter().map(live).sum::<u64>(), 0, "{:?}", self.table);
    }
}

/// One of a few keys, so that events meet.
fn key(input: &mut Choices<'_>) -> Key<'static> {
    let code = input.byte();
    let realm = [Some(&b"r"[..]), Some(b"wanted"), None, Some(b"t")][usize::from(code & 3)];
    let user = [&b"alice"[..], b"bob", b"1795343956:x", b""][usize::from(code >> 2 & 3)];
    let thread = u64::from(code >> 4 & 1) * 1_000_000_000_000_000;
    Key { realm, user, id: AllocationId(thread + u64::from(code >> 5)) }
}

/// One of many.
fn any_key(input: &mut Choices<'_>) -> Key<'static> {
    let realms = [&b"r"[..], b"s", b"t", b"u", b"v", b"w", b"x", b"wanted"];
    let users = [&b"alice"[..], b"a b", b"\xff", b"carol"];
    Key { realm: Some(input.pick(&realms)), user: input.pick(&users), id: AllocationId(input.number()) }
}

fn event(input: &mut Choices<'_>) -> Event<'static> {
    let code = input.byte();
    let leg = if code & 8 == 0 { Leg::Client } else { Leg::Peer };
    match code & 7 {
        0 => Event::New(grant(code, input)),
        1 | 2 => Event::Refreshed(grant(code, input)),
        3 => Event::Deleted,
        4 | 5 => Event::Traffic(leg, traffic(input)),
        _ => Event::Total(leg, traffic(input)),
    }
}

fn grant(code: u8, input: &mut Choices<'_>) -> Grant<'static> {
    let lifetime = [600, 0, 15, 60, 3600, 86_400, u32::MAX, 1][usize::from(code >> 3 & 7)];
    let path = (code >> 6 != 0).then(|| {
        let code = input.byte();
        let local = [&b"192.0.2.1:3478"[..], b"192.0.2.2:3478", b"[::1]:3478", b"nonsense"];
        let remote = [&b"198.51.100.7:40000"[..], b"203.0.113.9:1", b"[2001:db8::1]:2", b""];
        let transport = Transport::ALL[usize::from(code >> 4) % Transport::ALL.len()];
        Path { transport, local: local[usize::from(code & 3)], remote: remote[usize::from(code >> 2 & 3)] }
    });
    Grant { lifetime, path }
}

fn traffic(input: &mut Choices<'_>) -> Traffic {
    let mut volume = || Volume { packets: input.number(), bytes: input.number() };
    Traffic { received: volume(), sent: volume() }
}

/// Every counter, by realm; those of no realm under a name that no realm has.
fn counters(table: &Table) -> BTreeMap<String, Vec<u64>> {
    let of_traffic = |traffic: &Traffic| {
        [traffic.received.packets, traffic.received.bytes, traffic.sent.packets, traffic.sent.bytes]
    };
    let of_legs = |legs: &ByLeg<Traffic>| [of_traffic(&legs.client), of_traffic(&legs.peer)].concat();
    let snapshot = table.snapshot();
    let mut all = BTreeMap::new();
    let mut common = of_traffic(&snapshot.unallocated).to_vec();
    common.extend([snapshot.refused, snapshot.evicted, snapshot.anomalies.total()]);
    all.insert("of no realm".to_owned(), common);
    for realm in &snapshot.realms {
        let series = &realm.series;
        let mut numbers = [&series.relayed, &series.recovered, &series.unseen].map(of_legs).concat();
        numbers.extend([series.opened.total(), series.adopted, series.refreshes, series.relayed_allocations]);
        numbers.extend([series.orphaned.total(), series.sessions_opened, series.sessions_adopted]);
        numbers.extend([series.sessions_closed.total(), series.allocation_durations.count()]);
        numbers.extend((0..Cause::ALL.len()).map(|cause| series.closed.get(cause)));
        numbers.extend(series.session_durations.iter().map(crate::state::Histogram::count));
        numbers.extend([series.session_bytes.sum(), series.session_allocations.count()]);
        all.insert(realm.label.to_string(), numbers);
    }
    all
}
