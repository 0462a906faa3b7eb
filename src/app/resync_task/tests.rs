//! What a scan hands over when, and what it says of one that fails.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use tokio::task::{JoinHandle, yield_now};

use super::*;
use crate::app::testing::{Lines, StandingClock, Talker, empty_redis, settle, shared_table, until};
use crate::source::subscription::{Link, subscribe};

const KEY: &str = "turn/realm/r/user/alice/allocation/000000000000000001/status";

/// A scan of a Redis beside its subscription, whose messages are taken in; gives the steps.
async fn scanning(talker: &Talker) -> (JoinHandle<LinkError>, mpsc::Receiver<ResyncStep>) {
    let source = talker.source();
    let Link { mut messages, check, server } = subscribe(&source).await.unwrap();
    tokio::spawn(async move {
        while messages.ready().await.and_then(|()| messages.take(|_| ())).is_ok() {
            yield_now().await;
        }
    });
    let (out, steps) = mpsc::channel(8);
    let resync_task = ResyncTask::new(source, server, check, shared_table(10_000).0, out);
    (tokio::spawn(resync_task.run()), steps)
}

/// A Redis with one key. It notes when it is asked for the value and for a PONG after that, and gives neither.
fn one_key(asked: Arc<Mutex<Vec<&'static str>>>) -> Talker {
    Talker::answering(move |words| {
        let mut asked = asked.lock().unwrap();
        match words[0].as_slice() {
            b"SCAN" => format!("*2\r\n$1\r\n0\r\n*1\r\n${}\r\n{KEY}\r\n", KEY.len()).into_bytes(),
            b"OBJECT" => b":5\r\n".to_vec(),
            b"GET" => {
                asked.push("GET");
                Vec::new()
            }
            b"PING" => {
                asked.push("PING");
                if asked.contains(&"GET") {
                    Vec::new()
                } else {
                    // That of the subscription's beginning, which is none yet.
                    asked.clear();
                    b"+PONG\r\n".to_vec()
                }
            }
            _ => empty_redis(words),
        }
    })
}

/// Until the PONG there may be messages on the way that were published before the value was read: they win.
#[tokio::test(start_paused = true)]
async fn a_value_waits_for_a_pong_that_was_asked_for_after_it_was_read() {
    let _standing = StandingClock::hold();
    let asked = Arc::new(Mutex::new(Vec::new()));
    let talker = one_key(Arc::clone(&asked));
    let (scanning, mut steps) = scanning(&talker).await;
    let mut read = None;
    let mut take = |steps: &mut mpsc::Receiver<ResyncStep>| {
        while let Ok(step) = steps.try_recv() {
            match step {
                ResyncStep::Found(dated, wanted) => drop(wanted.send(dated.keys)),
                ResyncStep::Read(values) => read = Some(values),
                _ => {}
            }
        }
        read.is_some()
    };
    until("the question for the value", || {
        take(&mut steps);
        asked.lock().unwrap().contains(&"GET")
    })
    .await;
    let mut rounds = 0;
    until("a PING that comes too soon", || {
        rounds += 1;
        assert_eq!(*asked.lock().unwrap(), ["GET"], "a PING before the value is there proves nothing");
        rounds > 200
    })
    .await;
    talker.say_to(b"GET", b"$16\r\nnew lifetime=600\r\n");
    until("the PING", || asked.lock().unwrap().contains(&"PING")).await;
    for _ in 0..10_000 {
        assert!(!take(&mut steps), "handed over without its PONG");
        yield_now().await;
    }
    talker.say_to(b"PSUBSCRIBE", b"*2\r\n$4\r\npong\r\n$0\r\n\r\n");
    until("the value behind the PONG", || take(&mut steps)).await;
    assert_eq!(read.unwrap().read.iter().collect::<Vec<_>>(), [Some(&b"new lifetime=600"[..])]);
    scanning.abort();
}

#[tokio::test(start_paused = true)]
async fn a_scan_that_fails_is_told_once_for_each_reason_and_again_after_one_that_did_not() {
    let lines = Lines::default();
    let _collecting = lines.collect();
    let _standing = StandingClock::hold();
    let (fails, scans, reason) =
        (Arc::new(AtomicBool::new(true)), Arc::new(AtomicU32::new(0)), Arc::new(AtomicU32::new(0)));
    let talker = Talker::answering({
        let (fails, scans, reason) = (Arc::clone(&fails), Arc::clone(&scans), Arc::clone(&reason));
        move |words| {
            if words[0] == b"SCAN" {
                scans.fetch_add(1, Ordering::SeqCst);
                if fails.load(Ordering::SeqCst) {
                    return format!("-BUSY reason {}\r\n", reason.load(Ordering::SeqCst)).into_bytes();
                }
            }
            empty_redis(words)
        }
    });
    let (scanning, mut steps) = scanning(&talker).await;
    let mut over = 0;
    let mut ended = 0;
    let mut scan = async |waits: Duration| {
        if ended > 0 {
            // It waits for its next turn.
            settle().await;
            tokio::time::advance(waits).await;
        }
        let wanted = ended + 1;
        until("the end of a scan", || {
            while let Ok(step) = steps.try_recv() {
                ended += u32::from(matches!(step, ResyncStep::ScanFailed | ResyncStep::ScanOver(_)));
                over += u32::from(matches!(step, ResyncStep::ScanOver(Ok(()))));
            }
            ended >= wanted
        })
        .await;
    };
    let said = |reason: u32| lines.with(&format!("reason {reason}"));
    for _ in 0..3 {
        scan(Duration::from_secs(31)).await;
    }
    assert_eq!((said(0), lines.with("reading the status keys failed")), (1, 1), "{lines:?}");
    reason.store(1, Ordering::SeqCst);
    scan(Duration::from_secs(31)).await;
    scan(Duration::from_secs(31)).await;
    assert_eq!((said(0), said(1)), (1, 1), "{lines:?}");
    fails.store(false, Ordering::SeqCst);
    scan(Duration::from_secs(31)).await;
    fails.store(true, Ordering::SeqCst);
    scan(RESYNC).await;
    scan(Duration::from_secs(31)).await;
    assert_eq!((over, said(0), said(1)), (1, 1, 2), "{lines:?}");
    scanning.abort();
}

/// Where nearly all keys are foreign, the walk leaves Redis alone between its steps.
#[tokio::test(start_paused = true)]
async fn a_walk_over_foreign_keys_pauses_after_each_step() {
    let _standing = StandingClock::hold();
    let scans = Arc::new(AtomicU32::new(0));
    let talker = Talker::answering({
        let scans = Arc::clone(&scans);
        move |words| match words[0].as_slice() {
            b"SCAN" => {
                let next = scans.fetch_add(1, Ordering::SeqCst) + 1;
                format!("*2\r\n${}\r\n{next}\r\n*1\r\n$7\r\nturn/xy\r\n", next.to_string().len()).into_bytes()
            }
            _ => empty_redis(words),
        }
    });
    let (scanning, mut steps) = scanning(&talker).await;
    tokio::spawn(async move { while steps.recv().await.is_some() {} });
    for step in 1..=5 {
        until("a step", || scans.load(Ordering::SeqCst) == step).await;
        settle().await;
        assert_eq!(scans.load(Ordering::SeqCst), step, "no time has passed");
        tokio::time::advance(LONGEST_PAUSE).await;
    }
    scanning.abort();
    assert_eq!(pause_after(MANY_FOUND, Duration::from_millis(1)), Duration::ZERO);
    for (took, pause) in [(0, 3), (1, 3), (5, 15), (500, 20)] {
        assert_eq!(pause_after(7, Duration::from_millis(took)), Duration::from_millis(pause));
    }
}
