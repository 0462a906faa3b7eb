//! How a connection ends, and what becomes of answers that nobody reads.

use tokio::io::DuplexStream;

use super::*;

fn connection() -> (Connection, DuplexStream) {
    let (ours, theirs) = tokio::io::duplex(4096);
    (Connection::new(Box::new(ours), None, Arc::default()), theirs)
}

/// Reads until the end; gives how many commands came, and how it ended.
async fn ending(connection: &mut Connection) -> (usize, Ended) {
    let mut taken = 0;
    loop {
        match connection.ready().await {
            Ok(()) => taken += connection.take(|_, _| ()),
            Err(ended) => return (taken, ended),
        }
    }
}

const MANY: usize = 100_000;

const PING: &[u8] = b"*1\r\n$4\r\nPING\r\n";

#[tokio::test]
async fn whoever_hangs_up_or_says_so_has_closed_it() {
    for last in [&b""[..], b"*1\r\n$4\r\nQUIT\r\n"] {
        let (mut connection, mut client) = connection();
        client.write_all(&[PING, last].concat()).await.unwrap();
        if last.is_empty() {
            drop(client);
        }
        let (_, ended) = ending(&mut connection).await;
        assert_eq!(ended, Ended::ByThem, "{}", last.escape_ascii());
    }
}

#[tokio::test]
async fn who_does_not_speak_the_protocol_is_hung_up_on() {
    let (mut connection, mut client) = connection();
    client.write_all(&[PING, b"*1\r\n$-7\r\n"].concat()).await.unwrap();
    let (_, ended) = ending(&mut connection).await;
    assert_eq!(ended, Ended::ByUs);
    drop(connection);
    let mut answers = String::new();
    client.read_to_string(&mut answers).await.unwrap();
    assert!(answers.starts_with("+PONG\r\n-ERR Protocol error"), "{answers}");
}

/// Only what the other end does is its end: a cable that is pulled, or a firewall that forgets, is none.
#[test]
fn errors_of_a_socket_say_who_ended_it() {
    let rows = [
        (ErrorKind::ConnectionReset, Ended::ByThem),
        (ErrorKind::ConnectionAborted, Ended::ByThem),
        (ErrorKind::BrokenPipe, Ended::ByThem),
        (ErrorKind::UnexpectedEof, Ended::ByThem),
        (ErrorKind::InvalidData, Ended::ByUs),
        (ErrorKind::TimedOut, Ended::Lost),
        (ErrorKind::HostUnreachable, Ended::Lost),
        (ErrorKind::NetworkUnreachable, Ended::Lost),
    ];
    for (kind, ended) in rows {
        assert_eq!(ended_by(&kind.into()), ended, "{kind:?}");
    }
}

/// coturn reads no answers once it has had to connect again: they must not pile up, and its commands are still taken.
#[tokio::test]
async fn answers_that_nobody_reads_are_not_kept() {
    let (mut connection, mut client) = connection();
    let talking = tokio::spawn(async move {
        for _ in 0..MANY {
            client.write_all(PING).await.unwrap();
        }
        client
    });
    let mut taken = 0;
    while taken < MANY {
        connection.ready().await.unwrap();
        taken += connection.take(|_, _| ());
        assert!(connection.answers.len() <= UNREAD + (BATCH << 4), "{} bytes", connection.answers.len());
    }
    assert!(connection.is_deaf);
    drop(talking.await);
}
