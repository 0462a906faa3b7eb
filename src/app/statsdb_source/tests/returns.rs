//! What the listener logs when a coturn comes back that has died.

use super::*;

fn say(stream: &mut TcpStream, words: &[&[u8]]) {
    let mut command = Vec::new();
    crate::resp::command(&mut command, words);
    stream.write_all(&command).unwrap();
}

/// One process of coturn, which starts: each of its threads connects and asks for the keys.
fn coturn(address: std::net::SocketAddr) -> Vec<TcpStream> {
    let thread = |_| {
        let mut stream = TcpStream::connect(address).unwrap();
        say(&mut stream, &[b"KEYS", b"turn/*/allocation/*/status"]);
        stream
    };
    (0..4).map(thread).collect()
}

#[tokio::test(start_paused = true)]
async fn a_coturn_that_has_died_and_is_back_is_told_once() {
    let lines = Lines::default();
    let _collecting = lines.collect();
    let _standing = StandingClock::hold();
    let (shared, clock) = shared_table(10_000);
    let (receiver, address) = receiver(&shared).await;
    let receiving = tokio::spawn(receiver.run());
    let connections = || stats(&shared).statsdb.map_or(0, |stats| stats.connections);
    for life in 1..=3 {
        let mut process = coturn(address);
        until("all of its connections", || connections() == 4).await;
        clock.set(shared.now().plus(Duration::from_secs(60)));
        let channel = b"turn/realm/r/user/alice/allocation/000000000000000001/status";
        say(&mut process[0], &[b"PUBLISH", channel, b"new lifetime=600"]);
        until("its allocation", || shared.lock().view(shared.now()).table.sources[0].live == 1).await;
        assert_eq!(lines.with("coturn has connected"), life, "{lines:?}");
        // A moment after its last bytes: no device on the way closes a connection so soon.
        drop(process);
        until("its connections to be gone", || connections() == 0).await;
        settle().await;
        for _ in 0..=ROUNDS {
            tokio::time::advance(JUDGE).await;
            settle().await;
        }
        until("its allocation to be over", || shared.lock().view(shared.now()).table.sources[0].live == 0)
            .await;
        clock.set(shared.now().plus(Duration::from_secs(10)));
    }
    assert_eq!(lines.with("has had no connection for a minute"), 0, "{lines:?}");
    receiving.abort();
}
