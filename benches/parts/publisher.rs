//! Speaks as coturn does: flat out, or at a pace.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use crate::common::poll;
use crate::common::servers::exporter::Exporter;
use crate::common::servers::redis::Redis;
use crate::gauge::Watch;
use crate::stream::{Fleet, Message, commands};

/// A run that takes longer than this has failed.
pub(crate) const PATIENCE: Duration = Duration::from_secs(600);

/// Where it listens.
pub(crate) fn address_of(redis: &Redis) -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, redis.port()))
}

/// Events of busy hours, made before the clock runs.
#[derive(Debug)]
pub(crate) struct Ready {
    bytes: Vec<u8>,
    commands: u64,
    pub(crate) events: u64,
}

impl Ready {
    pub(crate) fn new(fleet: Fleet, events: u64) -> Self {
        let mut bytes = Vec::new();
        let commands = commands(&mut bytes, (0..events).map(|number| fleet.busy(number)));
        Self { bytes, commands, events }
    }
}

/// See the head of the file.
pub(crate) struct Publisher {
    stream: TcpStream,
    out: Vec<u8>,
    sent: u64,
    answers: Arc<AtomicU64>,
}

impl Publisher {
    pub(crate) fn connect(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).expect("somebody listens");
        let answers = Arc::new(AtomicU64::new(0));
        let (mut reading, counted) = (stream.try_clone().unwrap(), Arc::clone(&answers));
        std::thread::spawn(move || {
            let mut buffer = vec![0; 1 << 16];
            while let Ok(bytes @ 1..) = reading.read(&mut buffer) {
                // Each answer is one line.
                #[expect(clippy::naive_bytecount, reason = "not worth a crate")]
                let lines = buffer[..bytes].iter().filter(|byte| **byte == b'\n').count();
                counted.fetch_add(lines as u64, Ordering::SeqCst);
            }
        });
        Self { stream, out: Vec::with_capacity(1 << 17), sent: 0, answers }
    }

    /// Flat out; done when all is answered.
    pub(crate) fn send(&mut self, messages: impl IntoIterator<Item = Message>) {
        for message in messages {
            self.sent += commands(&mut self.out, [message]);
            if self.out.len() > 1 << 16 {
                self.write();
            }
        }
        self.write();
        self.settle();
    }

    /// The same, of what is made already: only Redis can hold it up.
    pub(crate) fn send_ready(&mut self, ready: &Ready) {
        self.stream.write_all(&ready.bytes).expect("commands are taken");
        self.sent += ready.commands;
        self.settle();
    }

    /// The same in portions, each when Redis has handed on the one before it.
    pub(crate) fn send_held_back(&mut self, ready: &Ready) {
        const PORTION: usize = 1 << 20;
        let address = format!("redis://{}", self.stream.peer_addr().expect("it is connected"));
        let mut redis = redis::Client::open(address).unwrap().get_connection().expect("it takes one more");
        for portion in ready.bytes.chunks(PORTION) {
            self.stream.write_all(portion).expect("commands are taken");
            poll::until(PATIENCE, "what waits to be handed on", || {
                match of_subscribers(&mut redis, ["omem"]) {
                    [0] => Ok(()),
                    [bytes] => Err(format!("{bytes} bytes wait")),
                }
            });
        }
        self.sent += ready.commands;
        self.settle();
    }

    /// Waits for all answers.
    fn settle(&self) {
        poll::until(PATIENCE, "all answers", || match self.answers.load(Ordering::SeqCst) {
            answers if answers >= self.sent => Ok(()),
            answers => Err(format!("{answers} of {}", self.sent)),
        });
    }

    /// So many messages a second until `stop`, or as many as are taken; gives how many they were.
    pub(crate) fn send_paced(
        &mut self,
        rate: u64,
        message: impl Fn(u64) -> Message,
        stop: &AtomicBool,
    ) -> f64 {
        let watch = Watch::start();
        let mut number = 0;
        while !stop.load(Ordering::Relaxed) {
            let due = u64::try_from(watch.elapsed().as_micros()).unwrap() * rate / 1_000_000;
            // What was held up comes in portions: it must be possible to stop.
            for number in number..due.min(number + 1000) {
                self.sent += commands(&mut self.out, [message(number)]);
            }
            let is_late = due > number + 1000;
            number = due.min(number + 1000);
            self.write();
            if !is_late {
                std::thread::park_timeout(Duration::from_millis(1));
            }
        }
        number as f64 / watch.elapsed().as_secs_f64()
    }

    fn write(&mut self) {
        self.stream.write_all(&self.out).expect("commands are taken");
        self.out.clear();
    }
}

impl Drop for Publisher {
    fn drop(&mut self) {
        // Who reads the answers has a handle of its own.
        drop(self.stream.shutdown(std::net::Shutdown::Both));
    }
}

/// The largest of each of these fields among the subscribers of a Redis, zeros if there are none: `omem` is what waits
/// for one, in bytes.
pub(crate) fn of_subscribers<const N: usize>(redis: &mut redis::Connection, fields: [&str; N]) -> [u64; N] {
    let list: String =
        redis::cmd("CLIENT").arg(&["LIST", "TYPE", "pubsub"]).query(redis).expect("CLIENT LIST");
    fields.map(|field| {
        let words = list.split_whitespace().filter_map(|word| word.split_once('='));
        let numbers = words.filter(|(name, _)| *name == field).filter_map(|(_, bytes)| bytes.parse().ok());
        numbers.max().unwrap_or(0)
    })
}

/// Waits until the exporter has so many messages, or has no more for long; gives how many it has.
pub(crate) fn taken_in(exporter: &Exporter, messages: u64) -> u64 {
    let mut last = (0, 0);
    poll::until(PATIENCE, "the exporter to take all in", || {
        let page = exporter.page();
        let heard = page.count("coturn_exporter_messages_total", &[]);
        let gaps = page.count("coturn_exporter_gaps_total", &[]);
        last = if heard == last.0 { (heard, last.1 + 1) } else { (heard, 0) };
        // After a gap the rest is lost.
        if heard >= messages || (gaps > 0 && last.1 > 50) { Ok(heard) } else { Err(format!("{heard}")) }
    })
}
