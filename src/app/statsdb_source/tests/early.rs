//! What the listener does before the table is there.

use std::io::Read as _;

use super::*;
use crate::app::ingest::{Ingest, SharedTable};
use crate::clock::{Clock, ManualClock};
use crate::config::Secret;
use crate::state::Settings;

/// A table that is yet to be loaded, and the clock that it will have.
fn unloaded() -> (SharedTable, Arc<dyn Clock>) {
    let ingest = Ingest::new(Settings::default(), &["redis://test"]);
    let process_clock = Arc::new(ManualClock::at(at(500)));
    (SharedTable::to_be_loaded(ingest, process_clock), Arc::new(ManualClock::at(at(10_000))))
}

fn command(words: &[&str]) -> Vec<u8> {
    let words: Vec<&[u8]> = words.iter().map(|word| word.as_bytes()).collect();
    let mut command = Vec::new();
    crate::resp::command(&mut command, &words);
    command
}

fn status(id: u64) -> String {
    format!("turn/realm/r/user/alice/allocation/{id:018}/status")
}

fn read(stream: &mut TcpStream) -> String {
    let mut bytes = [0; 256];
    match stream.read(&mut bytes) {
        Ok(length) => String::from_utf8(bytes[..length].to_vec()).unwrap(),
        Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => String::new(),
        Err(error) => panic!("{error}"),
    }
}

async fn answer(stream: &mut TcpStream, wanted: &str) {
    stream.set_nonblocking(true).unwrap();
    let mut said = String::new();
    until(wanted, || {
        said += &read(stream);
        said.contains(wanted)
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn clients_are_answered_before_the_table_is_there_and_what_they_report_waits() {
    let _standing = StandingClock::hold();
    let (shared, clock) = unloaded();
    let (receiver, address) = receiver(&shared).await;
    let receiving = tokio::spawn(receiver.run());
    let mut coturn = TcpStream::connect(address).unwrap();
    coturn.write_all(&command(&["PING"])).unwrap();
    answer(&mut coturn, "+PONG\r\n").await;
    let mut pushy = TcpStream::connect(address).unwrap();
    for id in 1..=3 {
        coturn.write_all(&command(&["PUBLISH", &status(id), "new lifetime=600"])).unwrap();
        pushy.write_all(&command(&["PUBLISH", &status(id + 3), "new lifetime=600"])).unwrap();
    }
    let mut browser = TcpStream::connect(address).unwrap();
    browser.write_all(b"POST / HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
    browser.set_nonblocking(true).unwrap();
    let is_over = |read: std::io::Result<usize>| match read {
        Ok(length) => length == 0,
        Err(error) => error.kind() != std::io::ErrorKind::WouldBlock,
    };
    until("the browser's end", || is_over(browser.read(&mut [0; 256]))).await;
    let silent = TcpStream::connect(address).unwrap();
    settle().await;
    let before = stats(&shared);
    assert_eq!(
        (before.statsdb.is_none(), shared.lock().view(at(0)).table.sources[0].live),
        (true, 0),
        "untouched"
    );

    shared.begin(clock);
    until("what waited", || shared.lock().view(at(10_000)).table.sources[0].live == 6).await;
    let statsdb = stats(&shared).statsdb.unwrap();
    assert_eq!((statsdb.refused["attack"], statsdb.connections), (1, 2), "{statsdb:?}");
    drop(silent);
    drop((coturn, pushy));
    until("their end", || stats(&shared).statsdb.unwrap().connections == 0).await;
    receiving.abort();
}

#[tokio::test(start_paused = true)]
async fn passwords_are_checked_before_the_table_is_there() {
    let _standing = StandingClock::hold();
    let (shared, clock) = unloaded();
    let statsdb = Statsdb { password: Some(Secret::new("right").into()), ..statsdb() };
    let listener = Listener::bind(&statsdb).await.unwrap();
    let address = listener.addresses()[0];
    let readiness = SourceReadiness::new(&["redis://test"]);
    let task = StatsdbTask::new(statsdb, listener, SOURCE, shared.clone(), readiness.clone());
    let receiving = tokio::spawn(task.run());
    let mut coturn = TcpStream::connect(address).unwrap();
    coturn.write_all(&command(&["AUTH", "right"])).unwrap();
    answer(&mut coturn, "+OK\r\n").await;
    let mut guesser = TcpStream::connect(address).unwrap();
    guesser.write_all(&command(&["AUTH", "wrong"])).unwrap();
    settle().await;
    // An answer and a first report in one packet: the answer does not wait.
    let mut hasty = TcpStream::connect(address).unwrap();
    let both = [command(&["AUTH", "right"]), command(&["PUBLISH", &status(1), "new lifetime=600"])];
    hasty.write_all(&both.concat()).unwrap();
    answer(&mut hasty, "+OK\r\n").await;
    assert!(readiness.is_waiting(SOURCE), "nothing is taken in yet");

    shared.begin(clock);
    until("what waited", || shared.lock().view(at(10_000)).table.sources[0].live == 1).await;
    until("the connections", || stats(&shared).statsdb.unwrap().connections == 2).await;
    let statsdb = stats(&shared).statsdb.unwrap();
    assert_eq!((statsdb.refused["password"], statsdb.refused_clients), (1, 1), "{statsdb:?}");
    assert!(!readiness.is_waiting(SOURCE));
    receiving.abort();
}
