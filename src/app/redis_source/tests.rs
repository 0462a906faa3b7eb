//! The steps of a source, one by one, and a source from failure to failure.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use super::*;
use crate::app::heartbeat::Heartbeats;
use crate::app::resync_task::{DatedKeys, KeyValues};
use crate::app::testing::{Lines, StandingClock, Talker, at, empty_redis, settle, shared_table, until};
use crate::clock::ManualClock;
use crate::source::backoff;
use crate::source::resync::{FoundKey, Part, ReadValues, ScanError};
use crate::wire::{Event, Message};

const KEY: &[u8] = b"turn/realm/r/user/alice/allocation/000000000000000001/status";
const BORN: &[u8] =
    b"new lifetime=600, type=UDP, local=192.0.2.1:3478, remote=198.51.100.7:40000, ssl=NONE, cipher=NONE";
const SOURCE: SourceId = SourceId(0);

fn task(shared: &SharedTable, source: RedisSource) -> RedisTask {
    RedisTask::new(source, SOURCE, shared.clone(), SourceReadiness::new(&["redis://test"]))
}

fn anywhere() -> RedisSource {
    Talker::answering(|_| Vec::new()).source()
}

fn found(idle: u64) -> FoundKey {
    FoundKey { key: KEY.to_vec(), idle: Some(Duration::from_secs(idle)) }
}

fn end(task: &mut RedisTask, resync: &mut ResyncProgress) {
    task.take_step(resync, ResyncStep::ScanOver(Ok(())));
    sweep(task, resync);
}

fn sweep(task: &mut RedisTask, resync: &mut ResyncProgress) {
    while resync.is_sweeping() {
        task.sweep_step(resync);
    }
}

/// A key is as old when its turn comes as Redis said, and the time since then.
#[test]
fn a_key_goes_on_ageing_while_it_waits_for_its_turn() {
    let wanted = |waits: u64| {
        let (shared, clock) = shared_table(10_000);
        let (mut task, mut resync) = (task(&shared, anywhere()), ResyncProgress::default());
        task.take_step(&mut resync, ResyncStep::ScanBegins);
        clock.set(at(10_000 + waits));
        let (answer, mut wanted) = tokio::sync::oneshot::channel();
        let dated = DatedKeys { keys: vec![found(3680)], at: at(10_000), part: Part::default() };
        task.take_step(&mut resync, ResyncStep::Found(dated, answer));
        wanted.try_recv().unwrap().len()
    };
    // The longest lifetime is an hour, the grace 90 s.
    assert_eq!((wanted(10), wanted(11)), (1, 0));
}

#[test]
fn a_value_goes_on_ageing_while_it_waits_for_its_turn() {
    let adopted = |waits: u64| {
        let (shared, clock) = shared_table(10_000);
        let (mut task, mut resync) = (task(&shared, anywhere()), ResyncProgress::default());
        task.take_step(&mut resync, ResyncStep::ScanBegins);
        clock.set(at(10_000 + waits));
        let values =
            KeyValues { keys: vec![found(680)], read: ReadValues::of(&[Some(BORN)]), found_at: at(10_000) };
        task.take_step(&mut resync, ResyncStep::Read(values));
        end(&mut task, &mut resync);
        let view = shared.lock().view(shared.now());
        let keys = view.table.sources[0].stats.status_keys.unwrap();
        (view.table.sources[0].live, keys.live, keys.stale)
    };
    // Granted for 600 s, and the grace.
    assert_eq!((adopted(10), adopted(11)), ((1, 1, 0), (0, 0, 1)));
}

/// A source that is up, and one allocation that was born on it.
fn one_live(shared: &SharedTable, clock: &Arc<ManualClock>) -> (RedisTask, ResyncProgress) {
    let (mut task, mut resync) = (task(shared, anywhere()), ResyncProgress::default());
    task.take_step(&mut resync, ResyncStep::ScanBegins);
    end(&mut task, &mut resync);
    let Ok(Message::Allocation(key, event @ Event::New(_))) = crate::wire::parse(KEY, BORN) else {
        panic!("a birth")
    };
    assert!(shared.lock().message(shared.now(), SOURCE, KEY, BORN).unwrap().is_some(), "{key:?} {event:?}");
    clock.set(at(10_100));
    (task, resync)
}

#[test]
fn a_db_that_lacks_the_keys_of_what_lives_is_told_by_log_and_metric() {
    let lines = Lines::default();
    let _collecting = lines.collect();
    for is_there in [false, true] {
        let (shared, clock) = shared_table(10_000);
        let (mut task, mut resync) = one_live(&shared, &clock);
        task.take_step(&mut resync, ResyncStep::ScanBegins);
        if is_there {
            let (answer, _) = tokio::sync::oneshot::channel();
            let dated = DatedKeys { keys: vec![found(100)], at: at(10_100), part: Part::default() };
            task.take_step(&mut resync, ResyncStep::Found(dated, answer));
        }
        clock.set(at(10_101));
        end(&mut task, &mut resync);
        assert_eq!(
            shared.lock().view(at(10_101)).table.sources[0].stats.settings_ok.get("dbname"),
            Some(&is_there)
        );
        assert_eq!(lines.with("does redis-statsdb name another dbname?"), 1, "once, of the first of the two");
    }
}

/// It holds none of the keys that the scan before it missed: that nothing is missed now is no proof of the right db.
#[test]
fn a_redis_that_was_restarted_empty_does_not_clear_the_wrong_db() {
    let lines = Lines::default();
    let _collecting = lines.collect();
    let (shared, clock) = shared_table(10_000);
    let (mut task, mut resync) = one_live(&shared, &clock);
    let mut scanned = |seconds: u64| {
        task.take_step(&mut resync, ResyncStep::ScanBegins);
        clock.set(at(seconds));
        end(&mut task, &mut resync);
        let stats = shared.lock().view(at(seconds)).table.sources[0].stats.clone();
        (stats.settings_ok.get("dbname").copied(), stats.gaps)
    };
    assert_eq!(scanned(10_101), (Some(false), 0));
    shared.lock().link_lost(at(10_110), SOURCE);
    shared.lock().subscribed(at(10_120), SOURCE);
    assert_eq!(scanned(10_121), (Some(false), 1));
    assert_eq!(lines.with("is right again"), 0, "{lines:?}");
}

fn said_of(lines: &Lines, reason: u32) -> usize {
    lines.with(&format!("reason {reason}"))
}

#[tokio::test(start_paused = true)]
async fn a_source_that_cannot_be_watched_is_told_once_for_each_reason() {
    let lines = Lines::default();
    let _collecting = lines.collect();
    let _standing = StandingClock::hold();
    let (refuses, attempts, reason) =
        (Arc::new(AtomicBool::new(true)), Arc::new(AtomicU32::new(0)), Arc::new(AtomicU32::new(0)));
    let talker = Talker::answering({
        let (refuses, attempts, reason) = (Arc::clone(&refuses), Arc::clone(&attempts), Arc::clone(&reason));
        move |words| {
            if words[0] == b"PSUBSCRIBE" {
                attempts.fetch_add(1, Ordering::SeqCst);
                if refuses.load(Ordering::SeqCst) {
                    let reason = reason.load(Ordering::SeqCst);
                    return format!("-LOADING reason {reason}\r\n").into_bytes();
                }
            }
            empty_redis(words)
        }
    });
    let (shared, clock) = shared_table(10_000);
    let task = task(&shared, talker.source());
    let following = tokio::spawn(task.run());
    let so_many_attempts = async |more: u32, waits: Duration| {
        for _ in 0..more {
            // It waits for its next attempt.
            settle().await;
            let before = attempts.load(Ordering::SeqCst);
            tokio::time::advance(waits).await;
            until("an attempt", || attempts.load(Ordering::SeqCst) > before).await;
            if refuses.load(Ordering::SeqCst) {
                until("its end", || talker.is_alone()).await;
            }
        }
    };
    until("the first attempt", || said_of(&lines, 0) > 0).await;
    let said = |reason: u32| said_of(&lines, reason);
    let long = Duration::from_secs(31);
    so_many_attempts(4, long).await;
    reason.store(1, Ordering::SeqCst);
    so_many_attempts(3, long).await;
    until("another failure", || said(1) > 0).await;
    assert_eq!((said(0), said(1)), (1, 1), "{lines:?}");
    // It is busy, and no right is missing.
    assert_eq!(
        (lines.with("Redis cannot serve this client now"), lines.with("+psubscribe")),
        (2, 0),
        "{lines:?}"
    );

    // Well again and lost, twice: the loss is logged each time.
    refuses.store(false, Ordering::SeqCst);
    for times in 1..=2 {
        // A link that held for long begins the row of attempts anew.
        so_many_attempts(1, if times == 1 { long } else { backoff::FIRST }).await;
        until("a subscription", || lines.with("status keys read") == times).await;
        clock.set(shared.now().plus(backoff::LASTED));
        talker.hang_up();
        until("the loss", || lines.with("error=Redis closed the connection") == times).await;
    }
    refuses.store(true, Ordering::SeqCst);
    so_many_attempts(3, long).await;
    until("the old failure", || said(1) > 1).await;
    so_many_attempts(2, long).await;
    assert_eq!((said(0), said(1), lines.with("not watching")), (1, 2, 5), "{lines:?}");
    following.abort();
}

/// Until a scan has come to its end, or is known to be impossible, what is missing in the table proves nothing.
#[test]
fn a_source_is_up_after_a_scan_or_where_none_is_permitted() {
    let forbidden = || ScanError::Forbidden(std::io::Error::other("no").into());
    for (over, is_up, is_ok) in
        [(None, false, false), (Some(Ok(())), true, true), (Some(Err(forbidden())), true, false)]
    {
        let (shared, _) = shared_table(10_000);
        let (mut task, mut resync) = (task(&shared, anywhere()), ResyncProgress::default());
        task.take_step(&mut resync, ResyncStep::ScanBegins);
        task.take_step(&mut resync, over.map_or(ResyncStep::ScanFailed, ResyncStep::ScanOver));
        sweep(&mut task, &mut resync);
        let view = shared.lock().view(shared.now());
        assert_eq!((view.table.sources[0].up, view.table.sources[0].stats.resync_ok), (is_up, Some(is_ok)));
    }
}

/// What was published between the question and its answer may stand behind the answer.
#[tokio::test(start_paused = true)]
async fn the_source_is_received_as_far_as_the_moment_of_the_question() {
    let _standing = StandingClock::hold();
    let pings = Arc::new(AtomicU32::new(0));
    let talker = Talker::answering({
        let pings = Arc::clone(&pings);
        move |words| match words[0].as_slice() {
            // The first is the greeting's.
            b"PING" if pings.fetch_add(1, Ordering::SeqCst) > 0 => Vec::new(),
            _ => empty_redis(words),
        }
    });
    let Link { mut messages, check, .. } = subscribe(&talker.source()).await.unwrap();
    tokio::spawn(async move {
        while messages.ready().await.and_then(|()| messages.take(|_| ())).is_ok() {
            yield_now().await;
        }
    });
    let (shared, clock) = shared_table(10_000);
    let (out, mut steps) = mpsc::channel(1);
    let listening = tokio::spawn(watch_pulse(check, shared, out));
    until("the question", || pings.load(Ordering::SeqCst) > 1).await;
    clock.set(at(10_005));
    talker.say_to(b"PING", b"*2\r\n$4\r\npong\r\n$0\r\n\r\n");
    let step = steps.recv().await;
    assert!(matches!(step, Some(ResyncStep::ReceivedUntil(moment)) if moment == at(10_000)));
    listening.abort();
}

/// A table that is large takes a while to look at: messages, and whoever else wants the table, have their turns meanwhile.
#[tokio::test(start_paused = true)]
async fn a_redis_that_says_nothing_leaves_the_loop_its_turns() {
    let _standing = StandingClock::hold();
    let (shared, _clock) = shared_table(10_000);
    let talker = Talker::answering(empty_redis);
    let readiness = SourceReadiness::new(&["redis://test"]);
    let all = Heartbeats::default();
    let task = RedisTask::new(talker.source(), SOURCE, shared.clone(), readiness.clone())
        .with_heartbeat(all.watch("Redis source"));
    let following = tokio::spawn(task.run());
    until("the end of the resync", || !readiness.is_waiting(SOURCE)).await;
    // The Redis is asked for a sign of life every ten seconds only.
    for second in 1..=5 {
        tokio::time::advance(TURN).await;
        settle().await;
        assert_eq!(all.stuck(), None, "after {second} s");
    }
    following.abort();
}

#[tokio::test(start_paused = true)]
async fn messages_are_taken_in_between_the_steps_of_a_sweep() {
    // Two steps of the sweep, and a part of a third.
    const ALLOCATIONS: u64 = 2 * 8192 + 1;
    let _standing = StandingClock::hold();
    let (shared, _clock) = shared_table(10_000);
    let born = |id: u64| format!("turn/realm/r/user/alice/allocation/{id:018}/status");
    for id in 1..=ALLOCATIONS {
        shared.lock().message(at(9_999), SOURCE, born(id).as_bytes(), BORN).unwrap();
    }
    let talker = Talker::answering(empty_redis);
    let readiness = SourceReadiness::new(&["redis://test"]);
    let task = RedisTask::new(talker.source(), SOURCE, shared.clone(), readiness.clone());
    let following = tokio::spawn(task.run());
    // Time stands still, so there is one step at once, and no other.
    until("the scan", || shared.lock().view(at(10_000)).table.sources[0].stats.resyncs == 1).await;
    let live = || shared.lock().view(at(10_000)).table.sources[0].live;
    for id in ALLOCATIONS + 1..=ALLOCATIONS + 2 {
        let mut message = Vec::new();
        crate::resp::command(&mut message, &[b"pmessage", b"turn/*", born(id).as_bytes(), BORN]);
        talker.say_to(b"PSUBSCRIBE", &message);
        until("the message", || live() == id).await;
        settle().await;
        assert!(readiness.is_waiting(SOURCE), "the sweep goes on");
        // The second step, and the third.
        tokio::time::advance(BETWEEN_SWEEPS).await;
    }
    until("the end of the resync", || !readiness.is_waiting(SOURCE)).await;
    following.abort();
}
