//! Random sequences: repeated, reordered and cut lives, gaps and long silences. After each step the audit holds and
//! the naive model agrees; in the end the table is empty.

use proptest::prelude::*;
use proptest::test_runner::FileFailurePersistence;

use super::super::{
    BatchEvent, Cause, KeyCheck, RealmView, SavedAllocation, SavedSource, SavedTable, Settings, Snapshot,
};
use super::audit::{audit, is_empty};
use super::model::{Model, Numbers};
use super::*;
use crate::wire::ByLeg;

#[derive(Clone, Debug)]
pub(super) enum Step {
    /// A message of one of the keys.
    Tell(Key<'static>, Event<'static>),
    /// A message of a key of which nothing else is reported: the model does not know hosts and servers.
    Other(Key<'static>, Event<'static>),
    Scan(Key<'static>, Event<'static>, Option<u64>),
    ScanBegins,
    Sweep,
    LinkDown,
    LinkUp,
    /// Another table goes on from what this one keeps, all of which was exported, or nothing.
    Restart {
        is_exported: bool,
    },
}

fn any_key(realms: &'static [&'static str]) -> impl Strategy<Value = Key<'static>> {
    let users = prop::sample::select(&["alice", "bob"][..]);
    (prop::sample::select(realms), users, 1..4_u64).prop_map(|(realm, user, id)| key(realm, user, id))
}

fn any_traffic() -> impl Strategy<Value = Traffic> {
    let packets = || prop_oneof![3 => Just(0), 6 => 0..100_u64, 2 => Just(1 << 31), 2 => Just(u64::from(u32::MAX)), 1 => 0..1_u64 << 40];
    let bytes = || prop_oneof![Just(0), 0..100_u64, Just(1 << 31), Just(u64::from(u32::MAX)), 0..1_u64 << 40];
    // What no relay can have carried is rare: a total is what most reports are settled with.
    let plausible = [packets(), bytes(), packets(), bytes()].prop_map(traffic);
    prop_oneof![20 => plausible, 1 => Just(traffic([u64::MAX; 4]))]
}

fn any_leg() -> impl Strategy<Value = Leg> {
    prop::sample::select(&Leg::ALL[..])
}

/// Totals are mostly small, so that some lie below their sums.
fn any_event() -> BoxedStrategy<Event<'static>> {
    let lifetime = prop::sample::select(&[15_u32, 600, 3600][..]);
    prop_oneof![
        3 => lifetime.clone().prop_map(new),
        4 => lifetime.prop_map(refreshed),
        1 => Just(refreshed(0)),
        3 => Just(Event::Deleted),
        4 => (any_leg(), any_traffic()).prop_map(|(leg, traffic)| Event::Traffic(leg, traffic)),
        4 => (any_leg(), any_traffic()).prop_map(|(leg, traffic)| Event::Total(leg, traffic)),
    ]
    .boxed()
}

fn any_status_elsewhere() -> impl Strategy<Value = Event<'static>> {
    let local = prop::sample::select(&[LOCAL, "192.0.2.2:3478", "192.0.2.1:5349", "nonsense"][..]);
    let remote = prop::sample::select(&[REMOTE, "203.0.113.9:1", "[2001:db8::1]:2", ""][..]);
    (any::<bool>(), local, remote).prop_map(|(born, local, remote)| {
        let grant = grant(600, local, remote);
        if born { Event::New(grant) } else { Event::Refreshed(grant) }
    })
}

/// Milliseconds to the next step: mostly close, at times past a lifetime, or past a day.
pub(super) fn any_pause() -> impl Strategy<Value = u64> {
    prop_oneof![6 => 0..2000_u64, 3 => 5_000..30_000_u64, 2 => 500_000..800_000_u64, 1 => 3_000_000..100_000_000_u64]
}

fn modelled() -> BoxedStrategy<Step> {
    prop_oneof![
        40 => (any_key(&["r", ""]), any_event()).prop_map(|(key, event)| Step::Tell(key, event)),
        1 => Just(Step::LinkDown),
        1 => Just(Step::LinkUp),
    ]
    .boxed()
}

pub(super) fn anything() -> BoxedStrategy<Step> {
    let other_user = || prop::sample::select(&["", "a b", "1795343956:x", "carol"][..]);
    let other_key = || (other_user(), 1..4_u64).prop_map(|(user, id)| key("other", user, id));
    let other_event = prop_oneof![any_event(), any_status_elsewhere()];
    prop_oneof![
        10 => modelled(),
        10 => (other_key(), other_event).prop_map(|(key, event)| Step::Other(key, event)),
        4 => (other_key(), any_event(), prop::option::of(0..5000_u64)).prop_map(|(k, e, idle)| Step::Scan(k, e, idle)),
        1 => Just(Step::ScanBegins),
        1 => Just(Step::Sweep),
        1 => any::<bool>().prop_map(|is_exported| Step::Restart { is_exported }),
    ]
    .boxed()
}

fn shown(realm: &RealmView) -> Numbers {
    let series = &realm.series;
    Numbers {
        live: series.live.total(),
        opened: series.opened.total(),
        adopted: series.adopted,
        refreshes: series.refreshes,
        closed: std::array::from_fn(|place| series.closed.get(place)),
        overdue: series.orphans.get(super::super::Orphan::Overdue as usize),
        sessions: series.sessions,
        relayed: [series.relayed.client, series.relayed.peer],
        recovered: [series.recovered.client, series.recovered.peer],
        unseen: [series.unseen.client, series.unseen.peer],
    }
}

/// Every counter of a snapshot, in a fixed order.
fn counters(snapshot: &Snapshot) -> Vec<u64> {
    let of_traffic = |traffic: &Traffic| {
        [traffic.received.packets, traffic.received.bytes, traffic.sent.packets, traffic.sent.bytes]
    };
    let mut all = of_traffic(&snapshot.unallocated).to_vec();
    all.extend([snapshot.refused, snapshot.evicted]);
    for realm in &snapshot.realms {
        let series = &realm.series;
        for volume in [&series.relayed, &series.recovered, &series.unseen] {
            all.extend(of_traffic(&volume.client).into_iter().chain(of_traffic(&volume.peer)));
        }
        all.extend([series.opened.total(), series.adopted, series.refreshes, series.relayed_allocations]);
        all.extend([series.orphaned.total(), series.sessions_opened, series.sessions_adopted]);
        all.extend([series.sessions_closed.total(), series.allocation_durations.count()]);
        all.extend((0..Cause::ALL.len()).map(|cause| series.closed.get(cause)));
        all.extend([series.session_durations[0].count(), series.session_durations[1].sum()]);
    }
    all
}

/// The form of statuses that coturn before 4.6 has: it does not say which server it is.
fn in_short_form(event: Event<'static>) -> Event<'static> {
    match event {
        Event::New(grant) => Event::New(Grant { path: None, ..grant }),
        Event::Refreshed(grant) => Event::Refreshed(Grant { path: None, ..grant }),
        other => other,
    }
}

/// Applies a step that needs no more than the table.
pub(super) fn take(table: &mut Table, now: Timestamp, step: &Step) {
    match step {
        Step::Tell(key, event) | Step::Other(key, event) => {
            table.apply(now, SOURCE, key, event);
        }
        Step::Scan(key, event, idle) => {
            let idle = idle.map(Duration::from_secs);
            if table.check_key(now, SOURCE, key, idle) == KeyCheck::Read {
                table.scanned(now, SOURCE, key, event, idle);
            }
        }
        Step::ScanBegins => table.scan_begins(now, SOURCE),
        Step::Sweep => {
            table.sweep(now, SOURCE, 0);
            table.scan_ends(SOURCE);
        }
        Step::LinkDown => table.link_down(now, SOURCE),
        Step::LinkUp => table.link_up(now, SOURCE),
        Step::Restart { .. } => {}
    }
}

fn run(steps: Vec<(u64, Step)>, settings: &Settings, with_model: bool) -> Result<(), TestCaseError> {
    let mut table = table(settings.clone());
    if !with_model {
        // The model does not know what a store proves.
        table.begin_store(1, 1);
    }
    let mut model = Model::new();
    let mut now = Timestamp::from_millis(1_000_000);
    let mut before = Vec::new();
    for (pause, step) in steps {
        now = now.plus(Duration::from_millis(pause));
        match step {
            Step::Tell(key, event) => {
                table.apply(now, SOURCE, &key, &event);
                model.apply(now, &key, &event);
            }
            Step::LinkDown => {
                table.link_down(now, SOURCE);
                model.link_down(now);
            }
            Step::LinkUp => {
                table.link_up(now, SOURCE);
                model.link_up(now);
            }
            Step::Restart { is_exported } => {
                table = restarted(now, table, settings.clone(), is_exported);
                before.clear();
            }
            other => take(&mut table, now, &other),
        }
        audit(&table).map_err(TestCaseError::fail)?;
        let snapshot = table.snapshot();
        let after = counters(&snapshot);
        prop_assert!(before.iter().zip(&after).all(|(before, after)| before <= after), "a counter fell");
        before = after;
        if with_model {
            model.advance(now);
            let numbers = model.numbers();
            for realm in &snapshot.realms {
                prop_assert_eq!(Some(&shown(realm)), numbers.get(realm.label.as_bytes()), "{}", &realm.label);
            }
            prop_assert_eq!(snapshot.unallocated, model.unallocated);
        }
    }
    table.scan_ends(SOURCE);
    table.link_up(now, SOURCE);
    for _ in 0..6 {
        now = now.plus(secs(30 * 3600));
        table.advance(now);
        audit(&table).map_err(TestCaseError::fail)?;
    }
    prop_assert!(is_empty(&table), "{:?}", table);
    Ok(())
}

/// What a store would give back of everything that the table holds goes into a new one.
fn restarted(now: Timestamp, mut table: Table, settings: Settings, is_exported: bool) -> Table {
    table.advance(now);
    let allocations = table.take_all().into_iter().map(|record| {
        let exported = if is_exported { record.sums } else { ByLeg::default() };
        SavedAllocation { record, exported, accounted_bytes: 0 }
    });
    let allocations: Vec<_> = allocations.collect();
    let highest = allocations
        .iter()
        .flat_map(|saved| [Some(saved.record.serial), saved.record.session])
        .flatten()
        .max();
    let source = |(source, received_until)| SavedSource { source, since: Timestamp::ZERO, received_until };
    let sources = (0..).map(SourceId).zip(table.received_by_source()).map(source).collect();
    let mut next = Table::new(settings, &["test"]);
    next.begin_store(highest.unwrap_or(0) + 1, 1);
    next.restore(now, SavedTable { allocations, sources, ..SavedTable::default() });
    next
}

/// A failure prints its seed and keeps it beside this file, where the next run tries it first.
pub(super) fn config() -> ProptestConfig {
    let failure_persistence = Some(Box::new(FileFailurePersistence::WithSource("regressions")) as Box<_>);
    ProptestConfig { cases: 400, failure_persistence, ..ProptestConfig::default() }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn agrees_with_the_naive_model(
        steps in prop::collection::vec((any_pause(), modelled()), 1..120),
        short_form: bool,
    ) {
        let of_form = |step| match step {
            Step::Tell(key, event) if short_form => Step::Tell(key, in_short_form(event)),
            other => other,
        };
        let steps = steps.into_iter().map(|(pause, step)| (pause, of_form(step))).collect();
        run(steps, &Settings::default(), true)?;
    }

    #[test]
    fn holds_whatever_comes(
        steps in prop::collection::vec((any_pause(), anything()), 1..120),
        linger in prop::sample::select(&[0_u64, 5, 700][..]),
        by_client: bool,
        small: bool,
    ) {
        let settings = Settings {
            linger: secs(linger),
            session_by: if by_client { super::super::SessionBy::Client } else { super::super::SessionBy::User },
            max_lifetime: secs(60),
            idle_after: secs(100),
            max_allocations: if small { 4 } else { 1000 },
            max_realms: if small { 1 } else { 10 },
            max_servers: if small { 1 } else { 10 },
            ..Settings::default()
        };
        run(steps, &settings, false)?;
    }

    /// Each table hashes with a seed of its own, by which nothing may be decided.
    #[test]
    fn equal_steps_make_equal_tables(steps in prop::collection::vec((any_pause(), anything()), 1..120)) {
        let (mut one, mut other) = (table(Settings::default()), table(Settings::default()));
        let mut now = Timestamp::from_millis(1_000_000);
        for (pause, step) in steps {
            now = now.plus(Duration::from_millis(pause));
            take(&mut one, now, &step);
            take(&mut other, now, &step);
            prop_assert_eq!(format!("{:?}", one.snapshot()), format!("{:?}", other.snapshot()));
        }
        prop_assert_eq!(one.take_discoveries(), other.take_discoveries());
    }

    #[test]
    fn a_batch_is_applied_as_one_after_the_other(
        batches in prop::collection::vec((any_pause(), prop::collection::vec((any_key(&["r", ""]), any_event()), 1..20)), 1..20),
    ) {
        let (mut together, mut alone) = (table(Settings::default()), table(Settings::default()));
        let mut now = Timestamp::from_millis(1_000_000);
        for (pause, events) in batches {
            now = now.plus(Duration::from_millis(pause));
            let mut batch: Vec<_> = events.iter().map(|(key, event)| Some(BatchEvent::new(together.prepare(SOURCE, key), *event))).collect();
            together.prefetch(&mut batch);
            for (prepared, (key, event)) in batch.iter().flatten().zip(&events) {
                prop_assert_eq!(together.apply_prepared(now, prepared), alone.apply(now, SOURCE, key, event));
            }
        }
        prop_assert_eq!(counters(&together.snapshot()), counters(&alone.snapshot()));
        audit(&together).map_err(TestCaseError::fail)?;
    }

    /// Whatever reports are lost: if birth, end and totals arrive, every byte is counted, and once.
    #[test]
    fn lost_reports_come_back(lives in prop::collection::vec(prop::collection::vec((any::<bool>(), 0..60_u64, 0..1_u64 << 33), 0..12), 1..8)) {
        let mut table = table(Settings::default());
        let mut truth = [Traffic::ZERO; 2];
        let mut lost = [Traffic::ZERO; 2];
        for (number, reports) in lives.iter().enumerate() {
            let key = key("r", "alice", number as u64);
            let mut sums = [Traffic::ZERO; 2];
            table.apply(at(0), SOURCE, &key, &new(600));
            for &(arrives, packets, bytes) in reports {
                let client = traffic([packets, bytes + 4 * packets, 0, 20]);
                let peer = traffic([0, 0, packets, bytes]);
                for (leg, report) in Leg::ALL.into_iter().zip([client, peer]) {
                    sums[leg as usize].add(&report);
                    if arrives {
                        table.apply(at(1), SOURCE, &key, &Event::Traffic(leg, report));
                    } else {
                        lost[leg as usize].add(&report);
                    }
                }
            }
            let [client, peer] = sums;
            let wrapped = traffic([
                peer.received.packets % (1 << 32),
                peer.received.bytes % (1 << 32),
                peer.sent.packets % (1 << 32),
                peer.sent.bytes % (1 << 32),
            ]);
            for event in [Event::Deleted, Event::Total(Leg::Client, client), Event::Total(Leg::Peer, wrapped)] {
                table.apply(at(2), SOURCE, &key, &event);
            }
            for (sum, all) in sums.iter().zip(&mut truth) {
                all.add(sum);
            }
        }
        let series = table.snapshot().realms[0].series.clone();
        prop_assert_eq!([series.relayed.client, series.relayed.peer], truth);
        prop_assert_eq!([series.recovered.client, series.recovered.peer], lost);
    }
}
