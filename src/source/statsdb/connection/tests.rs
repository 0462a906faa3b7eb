//! How a connection ends, and what becomes of answers that nobody reads.

use tokio::io::DuplexStream;
use tokio::time::Instant;

use super::*;

fn connection() -> (Connection, DuplexStream) {
    let (ours, theirs) = tokio::io::duplex(4096);
    (Connection::new(Box::new(ours), None, Arc::default()), theirs)
}

/// Reads until the end; gives how many commands came, and how it ended.
async fn ending(connection: &mut Connection) -> (usize, Disconnected) {
    let mut taken = 0;
    loop {
        match connection.ready().await {
            Ok(()) => taken += connection.take(|_, _| ()),
            Err(ended) => return (taken, ended),
        }
    }
}

fn with_password() -> (Connection, DuplexStream) {
    let (ours, theirs) = tokio::io::duplex(4096);
    (Connection::new(Box::new(ours), Some(Secret::new("secret")), Arc::default()), theirs)
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
        assert_eq!(ended, Disconnected::ByThem, "{}", last.escape_ascii());
    }
}

/// As `printf ... | nc` does. Which of both is ready first, reading its end or writing to it, is left to chance.
#[tokio::test]
async fn whoever_has_said_all_gets_the_answers_before_the_end() {
    for _ in 0..64 {
        let (mut connection, mut client) = connection();
        client.write_all(&PING.repeat(3)).await.unwrap();
        client.shutdown().await.unwrap();
        assert_eq!(ending(&mut connection).await, (3, Disconnected::ByThem));
        drop(connection);
        let mut answers = String::new();
        client.read_to_string(&mut answers).await.unwrap();
        assert_eq!(answers, "+PONG\r\n".repeat(3));
    }
}

#[tokio::test]
async fn who_does_not_speak_the_protocol_is_hung_up_on() {
    let (mut connection, mut client) = connection();
    client.write_all(&[PING, b"*1\r\n$-7\r\n"].concat()).await.unwrap();
    let (_, ended) = ending(&mut connection).await;
    assert_eq!(ended, Disconnected::ByUs);
    drop(connection);
    let mut answers = String::new();
    client.read_to_string(&mut answers).await.unwrap();
    assert!(answers.starts_with("+PONG\r\n-ERR Protocol error"), "{answers}");
}

/// Only what the other end does is its end: a cable that is pulled, or a firewall that forgets, is none.
#[test]
fn errors_of_a_socket_say_who_ended_it() {
    let rows = [
        (ErrorKind::ConnectionReset, Disconnected::ByThem),
        (ErrorKind::ConnectionAborted, Disconnected::ByThem),
        (ErrorKind::BrokenPipe, Disconnected::ByThem),
        (ErrorKind::UnexpectedEof, Disconnected::ByThem),
        (ErrorKind::InvalidData, Disconnected::ByUs),
        (ErrorKind::TimedOut, Disconnected::Lost),
        (ErrorKind::HostUnreachable, Disconnected::Lost),
        (ErrorKind::NetworkUnreachable, Disconnected::Lost),
    ];
    for (kind, ended) in rows {
        assert_eq!(ended_by(&kind.into()), ended, "{kind:?}");
    }
}

/// coturn reads no answers once it has had to connect again: they must not pile up, and its commands are still taken.
#[tokio::test(start_paused = true)]
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
        assert!(connection.answers.len() <= UNREAD + PING.len(), "{} bytes", connection.answers.len());
    }
    assert!(connection.is_deaf);
    drop(talking.await);
}

/// A pipeline whose answers are longer than what may wait, but are read.
#[tokio::test]
async fn a_pipeline_gets_all_its_answers() {
    const INFO: &[u8] = b"*1\r\n$4\r\nINFO\r\n";
    let (mut connection, client) = connection();
    let (mut input, mut output) = tokio::io::split(client);
    let asking = tokio::spawn(async move {
        output.write_all(&INFO.repeat(1000)).await.unwrap();
        output.write_all(b"QUIT\r\n").await.unwrap();
        output
    });
    let reading = tokio::spawn(async move {
        let mut answers = String::new();
        input.read_to_string(&mut answers).await.unwrap();
        answers
    });
    let (_, ended) = ending(&mut connection).await;
    assert_eq!(ended, Disconnected::ByThem);
    drop((connection, asking.await));
    let answers = reading.await.unwrap();
    assert!(answers.len() > 2 * UNREAD && answers.ends_with("+OK\r\n"), "{} bytes", answers.len());
    assert_eq!(answers.matches("redis_version").count(), 1000);
}

/// Nothing behind it is looked at: what a web page sends begins with a request line, and its commands come in the body.
#[tokio::test]
async fn behind_a_foreign_command_nothing_is_taken() {
    let publish: &[u8] = b"PUBLISH turn/x y\r\n";
    for (first, protocol, answer) in [
        (&b"POST / HTTP/1.1\r\n"[..], ForeignProtocol::Http, ""),
        (b"PING\r\nHost: x\r\n", ForeignProtocol::Http, "+PONG\r\n"),
        (b"GET / HTTP/1.1\r\n", ForeignProtocol::Http, "-ERR unknown command 'GET'\r\n"),
        (
            b"\x00\x03\x00\x08\x21\x12\xa4\x42\r\n",
            ForeignProtocol::Stun,
            "-ERR unknown command '\\x00\\x03\\x00\\x08!\\x12\\xa4B'\r\n",
        ),
        (b"*2\r\n:1\r\n", ForeignProtocol::Other, "-ERR Protocol error: unexpected type byte ':'\r\n"),
    ] {
        let (mut connection, mut client) = connection();
        client.write_all(&[first, publish].concat()).await.unwrap();
        let mut published = 0;
        let ended = loop {
            match connection.ready().await {
                Ok(()) => connection.take(|command, _| {
                    published += usize::from(matches!(command, ClientCommand::Published { .. }));
                }),
                Err(ended) => break ended,
            };
        };
        let shown = first.escape_ascii();
        assert_eq!((ended, published), (Disconnected::ByUs, 0), "{shown}");
        assert_eq!(connection.take_foreign(), Some(protocol), "{shown}");
        assert_eq!(connection.take_foreign(), None);
        drop(connection);
        let mut answers = String::new();
        client.read_to_string(&mut answers).await.unwrap();
        assert_eq!(answers, answer, "{shown}");
    }
}

/// One that reads, but always leaves something unread.
#[tokio::test]
async fn what_was_sent_is_not_held_while_something_is_unread() {
    let (mut connection, client) = connection();
    let (mut input, mut output) = tokio::io::split(client);
    let talking = tokio::spawn(async move {
        for _ in 0..MANY {
            output.write_all(PING).await.unwrap();
        }
        output
    });
    let reading = tokio::spawn(async move {
        let mut some = [0; 512];
        while input.read(&mut some).await.unwrap() > 0 {}
    });
    let (mut taken, mut most) = (0, 0);
    while taken < MANY {
        connection.ready().await.unwrap();
        // As if the other end were always a little behind.
        connection.answers.extend_from_slice(b"+PONG\r\n");
        taken += connection.take(|_, _| ());
        most = most.max(connection.answers.len());
    }
    assert!(most <= 3 * UNREAD, "{most} bytes");
    drop((connection, talking.await));
    reading.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn before_the_password_unread_answers_end_the_connection() {
    let (mut connection, mut client) = with_password();
    let talking = tokio::spawn(async move {
        // It may well be closed in the middle.
        while client.write_all(PING).await.is_ok() {}
    });
    let (taken, ended) = ending(&mut connection).await;
    assert_eq!(ended, Disconnected::Unread);
    assert!(taken < 4 * UNREAD, "{taken} commands");
    assert!(connection.answers.capacity() <= 4 * UNREAD);
    drop(connection);
    talking.await.unwrap();
}

/// Guesses take a second each, whatever is behind them.
#[tokio::test(start_paused = true)]
async fn a_wrong_password_is_answered_late_and_nothing_is_read_meanwhile() {
    let (mut connection, mut client) = with_password();
    let began = Instant::now();
    client.write_all(b"AUTH a\r\nAUTH b\r\nAUTH secret\r\nPING\r\nQUIT\r\n").await.unwrap();
    let (_, ended) = ending(&mut connection).await;
    assert_eq!((ended, connection.is_accepted()), (Disconnected::ByThem, true));
    assert_eq!(began.elapsed().as_secs(), 2);
    drop(connection);
    let mut answers = String::new();
    client.read_to_string(&mut answers).await.unwrap();
    assert_eq!(answers.matches("-WRONGPASS").count(), 2, "{answers}");
    assert!(answers.ends_with("+OK\r\n+PONG\r\n+OK\r\n"), "{answers}");
}

/// Whoever speaks: a command that is far longer than coturn's is passed over, and not held.
#[tokio::test]
async fn a_long_command_is_passed_over() {
    let long = [b"*2\r\n$4\r\nECHO\r\n$5000\r\n", &[b'7'; 5000][..], b"\r\n"].concat();
    let short = [b"*2\r\n$4\r\nECHO\r\n$4000\r\n", &[b'7'; 4000][..], b"\r\n"].concat();
    let (mut connection, mut client) = with_password();
    let talking = tokio::spawn(async move {
        for bytes in [b"PING\r\n", &long[..], b"AUTH secret\r\n", &long, &short, b"QUIT\r\n"] {
            client.write_all(bytes).await.unwrap();
        }
        let mut answers = Vec::new();
        client.read_to_end(&mut answers).await.unwrap();
        answers.len()
    });
    let mut commands = Vec::new();
    let mut most = 0;
    while connection.ready().await.is_ok() {
        connection.take(|what, _| commands.push(format!("{what:?}")));
        most = most.max(connection.reader.space().len());
    }
    assert_eq!(
        commands,
        ["Refused(Login)", "Refused(TooLong)", "LoggedIn", "Refused(TooLong)", "Nothing", "Bye"]
    );
    assert!(most < 2 * LIMITS.frame + LIMITS.ahead, "{most} bytes");
    drop(connection);
    assert!(talking.await.unwrap() > 4_000);
}
