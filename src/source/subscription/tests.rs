//! The check of a subscription over a pipe, with paused time.

use tokio::io::DuplexStream;

use super::*;
use crate::config::{Endpoint, RedisAddress};

/// A subscription over a pipe, whose messages are taken in; gives Redis' end.
fn subscription() -> (LinkCheck, DuplexStream) {
    let (ours, theirs) = tokio::io::duplex(1 << 16);
    let (input, output) = tokio::io::split(Box::new(ours) as ByteStream);
    let pending = Arc::new(PendingPings::default());
    let endpoint = Endpoint { host: "192.0.2.1".to_owned(), port: 6379 };
    let mut messages =
        Messages { input, pubsub: PubSub::new(Reader::of_replies(LIMITS)), pending: Arc::clone(&pending) };
    tokio::spawn(async move { while messages.ready().await.and_then(|()| messages.take(|_| ())).is_ok() {} });
    let check = LinkCheck {
        output: Arc::new(tokio::sync::Mutex::new(output)),
        pending,
        source: RedisSource {
            name: "redis://test".to_owned(),
            address: RedisAddress::Tcp(endpoint.clone()),
            tls: None,
            db: 0,
            username: None,
            password: None,
        },
        server: RedisServer::Tcp(endpoint),
    };
    (check, theirs)
}

fn message() -> Vec<u8> {
    let mut bytes = Vec::new();
    command(&mut bytes, &[b"pmessage", b"turn/*", b"turn/x", b"deleted"]);
    bytes
}

const PONG: &[u8] = b"*2\r\n$4\r\npong\r\n$0\r\n\r\n";

/// Under load a PONG stands behind seconds, or minutes, of messages: a Redis that talks is there.
#[tokio::test(start_paused = true)]
async fn a_late_pong_cuts_no_link_on_which_messages_come() {
    let (check, mut redis) = subscription();
    let talking = async {
        for _ in 0..20 {
            sleep(Duration::from_secs(9)).await;
            redis.write_all(&message()).await.unwrap();
        }
        redis.write_all(PONG).await.unwrap();
    };
    let (answer, ()) = tokio::join!(check.check(), talking);
    answer.expect("180 s are not too late");
}

#[tokio::test(start_paused = true)]
async fn silence_of_ten_seconds_cuts_the_link_however_much_came_before() {
    let (check, mut redis) = subscription();
    let talking = async {
        for _ in 0..5 {
            sleep(Duration::from_secs(9)).await;
            redis.write_all(&message()).await.unwrap();
        }
    };
    let clock = tokio::time::Instant::now();
    let (answer, ()) = tokio::join!(check.check(), talking);
    assert!(matches!(answer, Err(LinkError::Timeout(_))), "{answer:?}");
    let seconds = clock.elapsed().as_secs();
    assert!((54..=56).contains(&seconds), "{seconds} s");
}

/// A Redis that loads its data takes subscriptions and no PINGs.
#[tokio::test(start_paused = true)]
async fn an_error_in_place_of_a_pong_ends_the_link() {
    let (check, mut redis) = subscription();
    let refusing = async {
        let mut ping = [0; 14];
        redis.read_exact(&mut ping).await.unwrap();
        redis.write_all(b"-LOADING Redis is loading the dataset in memory\r\n").await.unwrap();
    };
    let (answer, ()) = tokio::join!(check.check(), refusing);
    let error = answer.expect_err("no PONG").to_string();
    assert!(error.contains("loading the dataset"), "{error}");
}
