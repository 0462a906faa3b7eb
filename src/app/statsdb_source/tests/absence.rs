//! What the listener logs when no coturn connects.

use std::sync::Arc;

use crate::app::ingest::Ingest;
use crate::app::statsdb_source::*;
use crate::app::testing::Lines;
use crate::clock::{ManualClock, Timestamp};
use crate::state::Settings;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};

/// By the exporter's own clock: a minute passes in no time.
#[tokio::test(start_paused = true)]
async fn a_listener_that_no_coturn_comes_to_says_so_once() {
    let lines = Lines::default();
    let _here = lines.collect();
    let at = |seconds: u64| Timestamp::from_millis(seconds * 1000);
    let clock = Arc::new(ManualClock::at(at(1_000)));
    let name = "statsdb://127.0.0.1:0";
    let statsdb = Statsdb {
        name: name.to_owned(),
        listen: "127.0.0.1:0".parse().unwrap(),
        systemd_socket: false,
        password: None,
        tls: None,
        max_connections: 2,
        is_behind_proxy: false,
        forward: None,
    };
    let listener = Listener::bind(&statsdb).await.unwrap();
    let address = listener.addresses()[0];
    let shared = SharedTable::new(Ingest::new(Settings::default(), &[name]), clock.clone());
    let readiness = SourceReadiness::new(&[name]);
    let receiver = StatsdbTask::new(statsdb, listener, SourceId(0), shared, readiness);
    let running = tokio::spawn(receiver.run());
    let until = async |text: &str| {
        let logged = async {
            while lines.with(text) == 0 {
                sleep(Duration::from_millis(20)).await;
            }
        };
        timeout(Duration::from_secs(3600), logged).await.expect(text);
    };
    until("waiting for coturn").await;
    clock.set(at(1_059));
    // Two ticks at least.
    sleep(2 * TICK).await;
    assert_eq!(lines.with("no coturn has connected"), 0);
    clock.set(at(1_060));
    until("no coturn has connected").await;
    clock.set(at(9_000));
    let mut coturn = TcpStream::connect(address).await.unwrap();
    coturn.write_all(b"KEYS turn/*/allocation/*/status\r\n").await.unwrap();
    coturn.read_exact(&mut [0; 4]).await.unwrap();
    until("coturn has connected source=").await;
    assert_eq!(lines.with("no coturn has connected"), 1);
    running.abort();
}
