//! The listener's part of the table: ticks, connections that were lost, a Redis that commands are forwarded to.

mod absence;
mod early;
mod returns;

use std::io::Write as _;
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use super::closed_connections::{JUDGE, ROUNDS};
use super::*;
use crate::app::testing::{Lines, StandingClock, Talker, at, empty_redis, settle, shared_table, until};
use crate::clock::Timestamp;
use crate::source::backoff::{self, LASTED};
use crate::state::SourceStats;

const SOURCE: SourceId = SourceId(0);

/// In place of a reason: none.
const WELL: u32 = 9;

fn statsdb() -> Statsdb {
    Statsdb {
        name: "redis://test".to_owned(),
        listen: "127.0.0.1:0".parse().unwrap(),
        systemd_socket: false,
        password: None,
        tls: None,
        max_connections: 10,
        is_behind_proxy: false,
        forward: None,
    }
}

async fn receiver(shared: &SharedTable) -> (StatsdbTask, std::net::SocketAddr) {
    let listener = Listener::bind(&statsdb()).await.unwrap();
    let address = listener.addresses()[0];
    (
        StatsdbTask::new(
            statsdb(),
            listener,
            SOURCE,
            shared.clone(),
            SourceReadiness::new(&["redis://test"]),
        ),
        address,
    )
}

fn stats(shared: &SharedTable) -> SourceStats {
    shared.lock().view(shared.now()).table.sources[0].stats.clone()
}

/// A process that was stopped (a debugger, a laptop's lid, a frozen container) has coturn's messages in its sockets: what
/// was not read yet must not count as silence.
#[tokio::test(start_paused = true)]
async fn after_a_stop_the_source_is_received_as_far_as_the_tick_before_it() {
    let _standing = StandingClock::hold();
    let (shared, clock) = shared_table(10_000);
    let receiving = tokio::spawn(receiver(&shared).await.0.run());
    settle().await;
    for (now, expected) in [(10_001, 10_000), (10_002, 10_001), (20_000, 10_002), (20_001, 20_000)] {
        clock.set(at(now));
        tokio::time::advance(TICK).await;
        settle().await;
        assert_eq!(stats(&shared).received_until, Some(at(expected)), "at {now}");
    }
    receiving.abort();
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_coturn_did_not_close_is_a_gap_and_ends_nothing() {
    let _standing = StandingClock::hold();
    let (shared, clock) = shared_table(10_000);
    let (receiver, address) = receiver(&shared).await;
    let receiving = tokio::spawn(receiver.run());
    let mut stream = TcpStream::connect(address).unwrap();
    let channel = "turn/realm/r/user/alice/allocation/000000000000000001/status";
    let born = "new lifetime=600";
    let publish =
        format!("*3\r\n$7\r\nPUBLISH\r\n${}\r\n{channel}\r\n${}\r\n{born}\r\n", channel.len(), born.len());
    stream.write_all(publish.as_bytes()).unwrap();
    let live = || shared.lock().view(at(10_000)).table.sources[0].live;
    until("a birth", || live() == 1).await;
    assert_eq!(stats(&shared).gaps, 0);
    // No command: we hang up, and coturn may connect again and go on.
    clock.set(at(10_050));
    stream.write_all(b"*1\r\n$-7\r\n").unwrap();
    until("the gap", || stats(&shared).gaps == 1).await;
    until("the connection to be gone", || stats(&shared).statsdb.is_some_and(|stats| stats.connections == 0))
        .await;
    assert_eq!(live(), 1);
    assert_eq!(stats(&shared).gap_since, None, "it is over at once");

    // What falls due after it may have been refreshed in it.
    let view = {
        let mut ingest = shared.lock();
        ingest.received_until(SOURCE, Timestamp::MAX);
        ingest.advance(at(10_050 + 691));
        ingest.view(at(10_050 + 691))
    };
    let closed = view.table.realms[0].series.closed;
    let missed = crate::state::Cause::Missed as usize;
    assert_eq!(
        (closed.get(missed), closed.total()),
        (1, 1),
        "missed, not abandoned: the watch had a part in it"
    );
    receiving.abort();
}

#[test]
fn what_there_is_no_room_for_is_not_passed_on_and_is_counted() {
    let forward = Forward::default();
    let command = vec![b'x'; 5 << 20];
    for dropped in [0, 1, 2] {
        forward.offer(&[&command]);
        assert_eq!(forward.state().dropped, dropped);
    }
}

#[tokio::test(start_paused = true)]
async fn a_redis_that_takes_nothing_is_told_once_for_each_reason_and_again_after_it_took_something() {
    let lines = Lines::default();
    let _collecting = lines.collect();
    let _standing = StandingClock::hold();
    let (commands, reason) = (Arc::new(AtomicU32::new(0)), Arc::new(AtomicU32::new(0)));
    let talker = Talker::answering({
        let (commands, reason) = (Arc::clone(&commands), Arc::clone(&reason));
        move |words| {
            commands.fetch_add(1, Ordering::SeqCst);
            match reason.load(Ordering::SeqCst) {
                WELL => empty_redis(words),
                // The one error that ends the connection: there is another master.
                reason => format!("-READONLY reason {reason}\r\n").into_bytes(),
            }
        }
    });
    let (shared, clock) = shared_table(10_000);
    let forward = Forward::default();
    let passing = tokio::spawn(Forwarder::new(forward.clone(), talker.source(), shared.clone()).run());
    let said = |reason: u32| lines.with(&format!("reason {reason}"));
    let attempt = async |times: u32, waits: Duration| {
        for _ in 0..times {
            until("a connection", || forward.state().up).await;
            let before = commands.load(Ordering::SeqCst);
            forward.offer(&[b"PUBLISH", b"turn/x", b"y"]);
            until("a command to arrive", || commands.load(Ordering::SeqCst) > before).await;
            if reason.load(Ordering::SeqCst) != WELL {
                until("the end of the connection", || !forward.state().up).await;
                settle().await;
                tokio::time::advance(waits).await;
            }
        }
    };
    let long = Duration::from_secs(31);
    attempt(3, long).await;
    assert_eq!((said(0), lines.with("not forwarding")), (1, 1), "{lines:?}");
    reason.store(1, Ordering::SeqCst);
    attempt(2, long).await;
    assert_eq!((said(0), said(1)), (1, 1), "{lines:?}");
    reason.store(WELL, Ordering::SeqCst);
    attempt(1, long).await;
    clock.set(at(10_000).plus(LASTED));
    reason.store(1, Ordering::SeqCst);
    // It held for long, so the next attempt comes soon.
    attempt(1, backoff::FIRST).await;
    attempt(1, long).await;
    assert_eq!((said(0), said(1), lines.with("not forwarding")), (1, 2, 3), "{lines:?}");
    passing.abort();
}

/// A command that is refused is one command: what comes behind it goes on, over the same connection.
#[tokio::test(start_paused = true)]
async fn an_error_of_the_redis_loses_one_command_and_is_said_once_until_it_is_over() {
    let lines = Lines::default();
    let _collecting = lines.collect();
    let _standing = StandingClock::hold();
    let talker = Talker::answering(|words| match words.first().map(Vec::as_slice) {
        Some(b"SET") => b"-OOM command not allowed\r\n".to_vec(),
        Some(b"PUBLISH") => b":1\r\n".to_vec(),
        _ => b"+OK\r\n".to_vec(),
    });
    let (shared, clock) = shared_table(10_000);
    let forward = Forward::default();
    let passing = tokio::spawn(Forwarder::new(forward.clone(), talker.source(), shared.clone()).run());
    until("a connection", || forward.state().up).await;
    for _ in 0..5 {
        forward.offer(&[b"SET", b"k", b"v"]);
        forward.offer(&[b"PUBLISH", b"turn/x", b"y"]);
    }
    until("all answers", || forward.state().sent == 5 && forward.state().dropped == 5).await;
    assert!(forward.state().up);
    let said =
        || (lines.with("refuses a command"), lines.with("OOM command not allowed"), lines.with("takes all"));
    assert_eq!(said(), (1, 1, 0), "{lines:?}");
    clock.set(at(10_000).plus(LASTED));
    forward.offer(&[b"PUBLISH", b"turn/x", b"y"]);
    until("the end of it to be said", || lines.with("takes all") == 1).await;
    assert_eq!((forward.state().dropped, lines.with("not forwarding")), (5, 0), "{lines:?}");
    passing.abort();
}

/// What was written and not answered may not have arrived: nothing is lost uncounted.
#[tokio::test(start_paused = true)]
async fn what_was_not_answered_when_the_link_ends_is_counted_as_lost() {
    let _standing = StandingClock::hold();
    let arrived = Arc::new(AtomicU32::new(0));
    let talker = Talker::answering({
        let arrived = Arc::clone(&arrived);
        move |words| {
            if words.first().map(Vec::as_slice) != Some(b"PUBLISH") {
                return b"+OK\r\n".to_vec();
            }
            // The first is answered, the others are not.
            if arrived.fetch_add(1, Ordering::SeqCst) == 0 { b":1\r\n".to_vec() } else { Vec::new() }
        }
    });
    let (shared, _clock) = shared_table(10_000);
    let forward = Forward::default();
    let passing = tokio::spawn(Forwarder::new(forward.clone(), talker.source(), shared.clone()).run());
    until("a connection", || forward.state().up).await;
    for _ in 0..12 {
        forward.offer(&[b"PUBLISH", b"turn/x", b"y"]);
    }
    until("all to arrive", || arrived.load(Ordering::SeqCst) == 12).await;
    until("the answer", || forward.state().sent == 1).await;
    assert_eq!(forward.state().dropped, 0);
    talker.hang_up();
    until("the end of the connection", || !forward.state().up).await;
    assert_eq!((forward.state().sent, forward.state().dropped), (1, 11));
    passing.abort();
}

/// A process that ends takes all of its connections along: what they reported is looked for in one sweep.
#[tokio::test(start_paused = true)]
async fn connections_that_close_together_are_ended_together() {
    let _standing = StandingClock::hold();
    let (shared, _clock) = shared_table(10_000);
    let (receiver, address) = receiver(&shared).await;
    let receiving = tokio::spawn(receiver.run());
    let mut streams = Vec::new();
    for id in 1..=5 {
        let mut stream = TcpStream::connect(address).unwrap();
        let channel = format!("turn/realm/r/user/alice/allocation/{id:018}/status");
        let mut publish = Vec::new();
        crate::resp::command(&mut publish, &[b"PUBLISH", channel.as_bytes(), b"new lifetime=600"]);
        stream.write_all(&publish).unwrap();
        streams.push(stream);
    }
    let live = || shared.lock().view(at(10_000)).table.sources[0].live;
    until("five births", || live() == 5).await;
    drop(streams);
    until("all to be closed", || stats(&shared).statsdb.is_some_and(|stats| stats.connections == 0)).await;
    settle().await;
    let advance = async |rounds: u64| {
        for _ in 0..rounds {
            tokio::time::advance(JUDGE).await;
            settle().await;
        }
    };
    advance(ROUNDS - 2).await;
    assert_eq!(live(), 5, "not judged yet");
    advance(2).await;
    until("all to be over", || live() == 0).await;
    receiving.abort();
}

/// A Redis that was well again, however briefly: that it is lost once more is news.
#[tokio::test(start_paused = true)]
async fn a_redis_that_is_lost_again_is_told_again() {
    let lines = Lines::default();
    let _collecting = lines.collect();
    let _standing = StandingClock::hold();
    let talker = Talker::answering(empty_redis);
    let (shared, clock) = shared_table(10_000);
    let forward = Forward::default();
    let passing = tokio::spawn(Forwarder::new(forward.clone(), talker.source(), shared.clone()).run());
    for times in 1..=3 {
        until("a connection", || forward.state().up).await;
        forward.offer(&[b"PUBLISH", b"turn/x", b"y"]);
        until("a command to be accepted", || forward.state().sent == times).await;
        if times == 2 {
            clock.set(shared.now().plus(LASTED));
        }
        talker.hang_up();
        let lost = usize::try_from(times).unwrap();
        until("the loss to be logged", || lines.with("not forwarding") == lost).await;
        settle().await;
        // The second attempt in a row comes later than the first; after a connection that lasted, the first is soon again.
        tokio::time::advance(if times == 1 { backoff::FIRST } else { 2 * backoff::FIRST }).await;
        if times == 2 {
            until("the next attempt", || forward.state().up).await;
        }
    }
    passing.abort();
}

/// One client that finds a bug must not take the numbers away from all others.
#[tokio::test(start_paused = true)]
async fn a_panic_while_a_client_is_served_ends_its_connection_only() {
    let lines = Lines::that_panic_at("coturn has connected");
    let _collecting = lines.collect();
    let _standing = StandingClock::hold();
    let (shared, _clock) = shared_table(10_000);
    let (receiver, address) = receiver(&shared).await;
    let slots = receiver.context.clone();
    let receiving = tokio::spawn(receiver.run());
    let publish = |id: u64| {
        let channel = format!("turn/realm/r/user/alice/allocation/{id:018}/status");
        let mut publish = Vec::new();
        crate::resp::command(&mut publish, &[b"PUBLISH", channel.as_bytes(), b"new lifetime=600"]);
        publish
    };
    let mut first = TcpStream::connect(address).unwrap();
    first.write_all(&publish(1)).unwrap();
    until("the panic", || lines.with("serving a connection panicked") == 1).await;
    assert_eq!(lines.with("please report this"), 1, "{lines:?}");
    until("its end", || stats(&shared).statsdb.is_some_and(|stats| stats.connections == 0)).await;
    assert_eq!(slots.slots().taken(), 0);
    first.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    let closed = std::io::Read::read(&mut first, &mut [0; 8]);
    assert!(!matches!(closed, Ok(1..)), "{closed:?}");
    // What came in before it is counted, and the next client is served.
    let mut second = TcpStream::connect(address).unwrap();
    second.write_all(&publish(2)).unwrap();
    until("a birth", || shared.lock().view(at(10_000)).table.sources[0].live == 2).await;
    assert!(!receiving.is_finished());
    receiving.abort();
}
