//! The ledger on a virtual clock: which day, realm and member a session is put down to, for how long it relayed, and
//! what its retention takes away.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::common::temp_dir::TempDir;
use coturn_exporter::app::ingest::Ingest;
use coturn_exporter::clock::{Timestamp, WallTime};
use coturn_exporter::state::{Settings, SourceId, Table};
use coturn_exporter::store::ledger::{self, By, FIGURES, FILE, Question, SessionLedger};
use rusqlite::Connection;

const SOURCE: SourceId = SourceId(0);
/// 2026-03-01T00:00:00Z.
const MIDNIGHT: u64 = 1_772_323_200;
const DAY: u64 = 24 * 3600;

/// An exporter with a ledger.
struct Ledger {
    dir: TempDir,
    ingest: Ingest,
    sessions: SessionLedger,
    now: Timestamp,
}

/// One allocation, by its user and number.
#[derive(Clone, Copy)]
struct Member {
    realm: &'static str,
    user: &'static str,
    id: u64,
}

fn at(seconds: u64) -> Timestamp {
    Timestamp::from_millis(seconds * 1000)
}

impl Ledger {
    fn new() -> Self {
        let dir = TempDir::new("ledger");
        let sessions = SessionLedger::open(dir.path(), &["redis://test"], b':').unwrap();
        let now = at(MIDNIGHT - DAY);
        let settings = Settings::default();
        let mut table = Table::new(settings.clone(), &["redis://test"]);
        table.begin_store(sessions.highest_serial().unwrap() + 1, sessions.last_taken() + 1);
        let mut ingest = Ingest::going_on(table, vec![SOURCE], &settings);
        ingest.subscribed(now, SOURCE);
        ingest.link_up(now, SOURCE);
        Self { dir, ingest, sessions, now }
    }

    fn publish(&mut self, member: Member, kind: &str, payload: &str) {
        let Member { realm, user, id } = member;
        let channel = format!("turn/realm/{realm}/user/{user}/allocation/{id:018}/{kind}");
        self.ingest.message(self.now, SOURCE, channel.as_bytes(), payload.as_bytes()).unwrap();
    }

    fn wait_until(&mut self, seconds: u64) {
        self.now = at(seconds);
        self.ingest.received_until(SOURCE, self.now);
        self.ingest.advance(self.now);
        self.write();
    }

    /// The ledger takes what there is, some of it twice.
    fn write(&mut self) {
        let outputs = self.ingest.outputs(self.sessions.last_taken(), usize::MAX);
        let (times, half) = (WallTime { now: self.now, wall: self.now }, outputs.len() / 2);
        self.sessions.take(times, &outputs[..half]).unwrap();
        self.sessions.take(times, &outputs).unwrap();
        self.ingest.ledger_written(self.now, self.sessions.last_taken());
    }

    fn open(&mut self, seconds: u64, member: Member) {
        self.wait_until(seconds);
        let status = format!(
            "new lifetime=3600, type=UDP, local=192.0.2.{}:3478, remote=198.51.100.{}:40000",
            member.id, member.id
        );
        self.publish(member, "status", &status);
    }

    /// It passes on 100 packets and as many bytes, each way.
    fn use_it(&mut self, seconds: u64, member: Member) {
        self.wait_until(seconds);
        for kind in ["traffic", "traffic/peer"] {
            self.publish(member, kind, "rcvp=100, rcvb=100, sentp=100, sentb=100");
        }
    }

    fn close(&mut self, seconds: u64, member: Member) {
        self.wait_until(seconds);
        self.publish(member, "status", "deleted");
    }

    /// Both totals, after which nothing more is waited for.
    fn settle(&mut self, member: Member, packets: u64) {
        let payload = format!("rcvp={packets}, rcvb={packets}, sentp={packets}, sentb={packets}");
        for kind in ["total_traffic", "total_traffic/peer"] {
            self.publish(member, kind, &payload);
        }
    }

    /// One figure, for each of `by`.
    fn usage(&self, by: &[By], name: &str) -> BTreeMap<String, u64> {
        self.ask(&Question { by: by.to_vec(), ..Question::default() }, name)
    }

    fn ask(&self, question: &Question, name: &str) -> BTreeMap<String, u64> {
        let place = FIGURES.iter().position(|figure| figure.name == name).unwrap();
        let answers = ledger::usage(self.dir.path(), question).unwrap();
        answers.into_iter().map(|usage| (usage.of.join("|"), usage.figures[place])).collect()
    }

    /// A column of the rows, in the order of their ends.
    fn column(&self, name: &str) -> Vec<Option<String>> {
        let connection = Connection::open(self.dir.path().join(FILE)).unwrap();
        let mut statement =
            connection.prepare(&format!("SELECT {name} FROM session ORDER BY ended")).unwrap();
        statement.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect()
    }
}

fn member(user: &'static str, id: u64) -> Member {
    Member { realm: "r", user, id }
}

fn answers<const N: usize>(of: [(&str, u64); N]) -> BTreeMap<String, u64> {
    of.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

#[test]
fn a_session_belongs_to_the_day_on_which_it_ended() {
    let mut ledger = Ledger::new();
    let [short, long, late] = [("short", 1), ("long", 2), ("late", 3)].map(|(user, id)| member(user, id));
    ledger.open(MIDNIGHT - 600, short);
    ledger.open(MIDNIGHT - 600, long);
    ledger.close(MIDNIGHT - 1, short);
    ledger.close(MIDNIGHT, long);
    ledger.open(MIDNIGHT + 100, late);
    ledger.close(MIDNIGHT + 200, late);
    ledger.wait_until(MIDNIGHT + 300);
    let by_day = ledger.usage(&[By::Day], "sessions");
    assert_eq!(by_day, answers([("2026-02-28", 1), ("2026-03-01", 2)]));
    let of_first_of_march = Question { since: Some(at(MIDNIGHT)), by: vec![By::User], ..Question::default() };
    assert_eq!(ledger.ask(&of_first_of_march, "seconds"), answers([("late", 100), ("long", 600)]));
    let before = Question { until: Some(at(MIDNIGHT)), by: vec![By::User], ..Question::default() };
    assert_eq!(ledger.ask(&before, "seconds"), answers([("short", 599)]));
}

#[test]
fn usage_by_realm_keeps_realms_apart_and_users_too_if_asked() {
    let mut ledger = Ledger::new();
    let of = |realm, id| Member { realm, user: "alice", id };
    for (realm, id) in [("a.example", 1), ("b.example", 2), ("b.example", 3)] {
        ledger.open(MIDNIGHT + 100 * id, of(realm, id));
        ledger.use_it(MIDNIGHT + 100 * id + 10, of(realm, id));
        ledger.close(MIDNIGHT + 100 * id + 20, of(realm, id));
    }
    ledger.wait_until(MIDNIGHT + 1000);
    let by_realm = ledger.usage(&[By::Realm], "relayed_bytes");
    assert_eq!(by_realm, answers([("a.example", 200), ("b.example", 400)]));
    let by_both = ledger.usage(&[By::User, By::Realm], "sessions");
    assert_eq!(by_both, answers([("alice|a.example", 1), ("alice|b.example", 2)]));
}

#[test]
fn relay_seconds_are_those_from_the_first_to_the_last_that_relayed() {
    let mut ledger = Ledger::new();
    let [spare, first, second] = [1, 2, 3].map(|id| member("alice", id));
    ledger.open(MIDNIGHT, spare);
    ledger.open(MIDNIGHT + 100, first);
    ledger.use_it(MIDNIGHT + 150, first);
    ledger.close(MIDNIGHT + 200, first);
    ledger.open(MIDNIGHT + 300, second);
    ledger.use_it(MIDNIGHT + 310, second);
    ledger.close(MIDNIGHT + 400, second);
    ledger.close(MIDNIGHT + 900, spare);
    // One that only gathered, and one that was adopted.
    let [unused, adopted] = [("bob", 4), ("carol", 5)].map(|(user, id)| member(user, id));
    ledger.open(MIDNIGHT + 1000, unused);
    ledger.close(MIDNIGHT + 1007, unused);
    ledger.publish(adopted, "status", "refreshed lifetime=600");
    ledger.close(MIDNIGHT + 1020, adopted);
    ledger.wait_until(MIDNIGHT + 1100);
    let figure = |name| ledger.usage(&[By::User], name);
    assert_eq!(figure("relay_seconds"), answers([("alice", 300), ("bob", 0), ("carol", 0)]));
    assert_eq!(figure("seconds"), answers([("alice", 900), ("bob", 7), ("carol", 13)]));
    assert_eq!(figure("relayed_sessions"), answers([("alice", 1), ("bob", 0), ("carol", 0)]));
    assert_eq!(figure("partial_sessions"), answers([("alice", 0), ("bob", 0), ("carol", 1)]));
    assert_eq!(figure("allocations"), answers([("alice", 3), ("bob", 1), ("carol", 1)]));
}

/// A row has room for one client, server, transport and cause: those of the member that relayed last, else of the last.
#[test]
fn a_row_is_named_by_the_member_that_relayed_last() {
    let client = |id: u64| Some(format!("198.51.100.{id}:40000"));
    let clients = |ledger: &Ledger| ledger.column("client");
    let [one, two] = [1, 2].map(|id| member("alice", id));

    // A spare outlives the one that relayed; then it ends before it.
    for (ends, other_ends) in [(100, 200), (200, 100)] {
        let mut ledger = Ledger::new();
        ledger.open(MIDNIGHT, one);
        ledger.open(MIDNIGHT, two);
        ledger.use_it(MIDNIGHT + 50, one);
        let mut all = [(ends, one), (other_ends, two)];
        all.sort_by_key(|&(seconds, _)| seconds);
        for (seconds, member) in all {
            ledger.close(MIDNIGHT + seconds, member);
        }
        ledger.wait_until(MIDNIGHT + 300);
        assert_eq!(clients(&ledger), [client(1)], "{ends}, the other {other_ends}");
        assert_eq!(ledger.column("server"), [Some("192.0.2.1".to_owned())]);
    }

    // None relayed: the last to end.
    let mut ledger = Ledger::new();
    ledger.open(MIDNIGHT, one);
    ledger.open(MIDNIGHT, two);
    ledger.close(MIDNIGHT + 100, two);
    ledger.close(MIDNIGHT + 200, one);
    ledger.wait_until(MIDNIGHT + 300);
    assert_eq!(clients(&ledger), [client(1)]);

    // Both relayed, and the one that ended first is the last to be settled: its totals were lost.
    let mut ledger = Ledger::new();
    for member in [one, two] {
        ledger.open(MIDNIGHT, member);
        ledger.use_it(MIDNIGHT + 50, member);
    }
    ledger.close(MIDNIGHT + 100, one);
    ledger.close(MIDNIGHT + 105, two);
    ledger.settle(two, 100);
    ledger.wait_until(MIDNIGHT + 106);
    ledger.wait_until(MIDNIGHT + 300);
    assert_eq!(clients(&ledger), [client(2)]);
}

#[test]
fn retention_counts_from_the_end_and_leaves_what_is_not_over() {
    let mut ledger = Ledger::new();
    let [old, young, first, second] =
        [("old", 1), ("young", 2), ("open", 3), ("open", 4)].map(|(user, id)| member(user, id));
    for member in [old, young, first, second] {
        ledger.open(MIDNIGHT, member);
    }
    ledger.close(MIDNIGHT + 100, old);
    // Its row is there already, and its session goes on.
    ledger.close(MIDNIGHT + 100, first);
    ledger.close(MIDNIGHT + 1000, young);
    ledger.wait_until(MIDNIGHT + 1020);
    assert_eq!(ledger.column("user").len(), 3);
    let horizon = at(MIDNIGHT + 500);
    assert!(!ledger.sessions.forget_before(horizon, ledger.now), "all at once");
    let mut users: Vec<_> = ledger.column("user").into_iter().flatten().collect();
    users.sort();
    assert_eq!(users, ["open", "young"]);
    ledger.close(MIDNIGHT + 1100, second);
    ledger.wait_until(MIDNIGHT + 1200);
    assert_eq!(ledger.usage(&[By::User], "allocations"), answers([("open", 2), ("young", 1)]));
    // What ended at the horizon itself stays.
    assert!(
        !ledger.sessions.forget_before(at(MIDNIGHT + 1000), at(MIDNIGHT + 1000).plus(Duration::from_secs(1)))
    );
    assert_eq!(ledger.usage(&[], "sessions"), answers([("", 2)]));
}

#[test]
fn a_session_that_is_not_over_is_not_in_the_answers() {
    let mut ledger = Ledger::new();
    let [first, second] = [1, 2].map(|id| member("alice", id));
    ledger.open(MIDNIGHT, first);
    ledger.open(MIDNIGHT, second);
    ledger.close(MIDNIGHT + 100, first);
    ledger.wait_until(MIDNIGHT + 200);
    assert_eq!(ledger.usage(&[By::User], "sessions"), answers([]));
    ledger.close(MIDNIGHT + 300, second);
    ledger.wait_until(MIDNIGHT + 400);
    assert_eq!(ledger.usage(&[By::User], "sessions"), answers([("alice", 1)]));
}

/// What comes late is added to the session that it belongs to, and what lives again to another, each once.
#[test]
fn bytes_that_come_after_the_end_of_a_session_are_in_the_ledger_once() {
    let mut ledger = Ledger::new();
    let [late, back] = [("late", 1), ("back", 2)].map(|(user, id)| member(user, id));
    ledger.open(MIDNIGHT, late);
    ledger.open(MIDNIGHT, back);
    ledger.use_it(MIDNIGHT + 10, late);
    ledger.use_it(MIDNIGHT + 10, back);
    // Neither is refreshed: both sessions are over, and in the ledger.
    for hours in 1..5 {
        ledger.wait_until(MIDNIGHT + 3600 * hours);
    }
    assert_eq!(ledger.usage(&[By::User], "relayed_bytes"), answers([("back", 200), ("late", 200)]));
    // One ends at last and tells what was lost on the way; the other one goes on, for days.
    ledger.close(MIDNIGHT + 3600 * 5, late);
    ledger.settle(late, 150);
    ledger.publish(back, "status", "refreshed lifetime=3600");
    ledger.use_it(MIDNIGHT + 3600 * 5 + 1, back);
    for hours in 6..60 {
        ledger.wait_until(MIDNIGHT + 3600 * hours - 1);
        ledger.publish(back, "status", "refreshed lifetime=3600");
    }
    ledger.sessions.forget_before(at(MIDNIGHT), ledger.now);
    ledger.use_it(MIDNIGHT + 3600 * 60, back);
    ledger.close(MIDNIGHT + 3600 * 60 + 10, back);
    ledger.settle(back, 300);
    ledger.wait_until(MIDNIGHT + 3600 * 61);
    assert_eq!(ledger.usage(&[By::User], "relayed_bytes"), answers([("back", 600), ("late", 300)]));
    assert_eq!(ledger.usage(&[By::User], "sessions"), answers([("back", 2), ("late", 1)]));
    let connection = Connection::open(ledger.dir.path().join(FILE)).unwrap();
    let members: u32 = connection.query_row("SELECT count(*) FROM member", [], |row| row.get(0)).unwrap();
    assert_eq!(members, 0);
}
