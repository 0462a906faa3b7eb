//! An exporter that has nothing to do.

use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use crate::common::net::http;
use crate::common::net::ports::Port;
use crate::common::poll;
use crate::common::servers::redis::Redis;
use crate::gauge::{Watch, cpu_nanos, median, memory};
use crate::row::Row;

const PROGRAM: &str = env!("CARGO_BIN_EXE_coturn-exporter");

/// Starts of which the one in the middle counts.
const STARTS: usize = 11;

/// For so long nothing happens.
const IDLE: Duration = Duration::from_secs(10);

pub(crate) fn rows() -> Vec<Row> {
    let redis = Redis::start();
    let starts = (0..STARTS).map(|_| Idle::start(&redis).ready_after);
    let ready = median(starts.collect()).as_secs_f64() * 1e3;
    let idle = Idle::start(&redis);
    let before = cpu_nanos(idle.child.id());
    let watch = Watch::start();
    while watch.elapsed() < IDLE {
        poll::pause();
    }
    let busy = (cpu_nanos(idle.child.id()) - before) as f64 / 1e6;
    let resident = memory(idle.child.id());
    let program = std::fs::metadata(PROGRAM).expect("it was built").len() as f64 / f64::from(1 << 20);
    vec![
        Row::new("idle: 10 MB resident", format!("{resident:.1} MiB"), "-", resident * 1.048_576 <= 10.0),
        Row::new("idle: no CPU (under a thousandth)", format!("{busy:.1} ms in 10 s"), "-", busy < 10.0),
        Row::new(
            "ready in 50 ms",
            format!("{ready:.0} ms"),
            format!("median of {STARTS} starts"),
            ready <= 50.0,
        ),
        Row::new("stripped binary under 12 MB", format!("{program:.1} MiB"), "-", program * 1.048_576 < 12.0),
    ]
}

/// A running exporter, killed in the end.
struct Idle {
    child: Child,
    ready_after: Duration,
}

impl Idle {
    /// Starts it and waits until it is ready, without the pauses that tests make.
    fn start(redis: &Redis) -> Self {
        let port = Port::claim();
        let address = SocketAddr::from(([127, 0, 0, 1], port.number));
        let mut command = Command::new(PROGRAM);
        command.args(["--web.listen-address", &address.to_string(), "--redis.url", &redis.url(0)]);
        let watch = Watch::start();
        let child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("it starts");
        let mut idle = Self { child, ready_after: Duration::ZERO };
        while !http::get(address, "/-/ready").is_ok_and(|response| response.status == 200) {
            assert!(idle.child.try_wait().is_ok_and(|ended| ended.is_none()), "the exporter ended");
            assert!(watch.elapsed() < poll::PATIENCE, "the exporter is not ready");
            std::thread::park_timeout(Duration::from_millis(1));
        }
        idle.ready_after = watch.elapsed();
        idle
    }
}

impl Drop for Idle {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}
