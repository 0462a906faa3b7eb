//! What the tests of this folder need: a log that can be read, a clock that stands still while sockets are waited for,
//! and a server that answers as the test says.

use std::collections::HashMap;
use std::fmt::{Debug, Write as _};
use std::io::{self, BufRead, BufReader, Write as _};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock, Mutex, mpsc};
use std::time::Duration;

use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Dispatch, Event, Metadata, Subscriber};

use super::ingest::{Ingest, SharedTable};
use crate::clock::{Clock, ManualClock, SystemClock, Timestamp};
use crate::config::{Endpoint, RedisAddress, RedisSource};
use crate::state::Settings;

/// Far longer than anything takes: the machine may be busy.
const PATIENCE: Duration = Duration::from_secs(60);

pub(super) fn at(seconds: u64) -> Timestamp {
    Timestamp::from_millis(seconds * 1000)
}

/// A table with one source, and the clock that it goes by.
pub(super) fn shared_table(seconds: u64) -> (SharedTable, Arc<ManualClock>) {
    let clock = Arc::new(ManualClock::at(at(seconds)));
    let ingest = Ingest::new(Settings::default(), &["redis://test"]);
    (SharedTable::new(ingest, Arc::clone(&clock) as Arc<dyn Clock>), clock)
}

/// The lines that this thread logs.
#[derive(Clone, Debug, Default)]
pub(super) struct Lines(Arc<Mutex<Vec<String>>>, Option<&'static str>);

impl Lines {
    pub(super) fn with(&self, words: &str) -> usize {
        self.0.lock().unwrap().iter().filter(|line| line.contains(words)).count()
    }

    /// Whoever logs a line with these words panics.
    pub(super) fn that_panic_at(words: &'static str) -> Self {
        Self(Arc::default(), Some(words))
    }

    /// Collects them from now on, until the guard goes.
    pub(super) fn collect(&self) -> tracing::subscriber::DefaultGuard {
        LazyLock::force(&ANOTHER);
        tracing::subscriber::set_default(self.clone())
    }
}

/// A second subscriber that is always there. Where there is only one, tracing-core 0.1 asks none but that of the thread
/// which comes to a log line first (`Rebuilder::JustOne`): a line that another test comes to first would be lost to all.
static ANOTHER: LazyLock<Dispatch> = LazyLock::new(|| Dispatch::new(Lines::default()));

struct Line(String);

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        write!(self.0, "{field}={value:?} ").unwrap();
    }
}

impl Subscriber for Lines {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }
    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }
    fn record(&self, _: &Id, _: &Record<'_>) {}
    fn record_follows_from(&self, _: &Id, _: &Id) {}
    fn event(&self, event: &Event<'_>) {
        let mut line = Line(String::new());
        event.record(&mut line);
        let panics = self.1.is_some_and(|words| line.0.contains(words));
        self.0.lock().unwrap().push(line.0);
        assert!(!panics, "a bug in the middle of a connection");
    }
    fn enter(&self, _: &Id) {}
    fn exit(&self, _: &Id) {}
}

/// Paused time does not pass by itself while this lives, though all tasks wait for sockets.
pub(super) struct StandingClock(#[expect(dead_code, reason = "it is dropped")] mpsc::Sender<()>);

impl StandingClock {
    pub(super) fn hold() -> Self {
        let (held, end) = mpsc::channel::<()>();
        // The runtime lets no time pass while one of its blocking tasks is at work.
        tokio::task::spawn_blocking(move || assert!(end.recv().is_err(), "nothing is ever sent"));
        Self(held)
    }
}

/// Lets all tasks go on as far as they can without sockets, and no time pass.
pub(super) async fn settle() {
    for _ in 0..1000 {
        tokio::task::yield_now().await;
    }
}

/// Lets all tasks and sockets go on, and no time pass, until something is so.
pub(super) async fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let clock = SystemClock::new();
    let began = clock.now();
    while !is_so() {
        assert!(clock.now().since(began) < PATIENCE, "waited in vain: {what}");
        for _ in 0..64 {
            tokio::task::yield_now().await;
        }
        std::thread::park_timeout(Duration::from_millis(1));
    }
}

/// Answers one command, by its words.
type Answer = dyn FnMut(&[Vec<u8>]) -> Vec<u8> + Send;

type Speakers = Arc<Mutex<HashMap<Vec<u8>, TcpStream>>>;

/// A server that speaks the protocol of Redis, each connection in a thread of its own.
pub(super) struct Talker {
    address: SocketAddr,
    open: Arc<Mutex<Vec<TcpStream>>>,
    /// How many connections there are at present.
    talks: Arc<AtomicUsize>,
    /// By the first word of a command, the last connection that said it.
    speakers: Speakers,
}

impl Talker {
    pub(super) fn answering(answer: impl FnMut(&[Vec<u8>]) -> Vec<u8> + Send + 'static) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = listener.local_addr().unwrap();
        let open = Arc::new(Mutex::new(Vec::new()));
        let answer: Arc<Mutex<Answer>> = Arc::new(Mutex::new(answer));
        let streams = Arc::clone(&open);
        let talks = Arc::new(AtomicUsize::new(0));
        let present = Arc::clone(&talks);
        let speakers = Speakers::default();
        let heeded = Arc::clone(&speakers);
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                streams.lock().unwrap().push(stream.try_clone().unwrap());
                let (answer, heeded) = (Arc::clone(&answer), Arc::clone(&heeded));
                let present = Arc::clone(&present);
                present.fetch_add(1, Ordering::SeqCst);
                std::thread::spawn(move || {
                    drop(talk(stream, &answer, &heeded));
                    present.fetch_sub(1, Ordering::SeqCst);
                });
            }
        });
        Self { address, open, talks, speakers }
    }

    pub(super) fn source(&self) -> RedisSource {
        let endpoint = Endpoint { host: self.address.ip().to_string(), port: self.address.port() };
        RedisSource {
            name: "redis://test".to_owned(),
            address: RedisAddress::Tcp(endpoint),
            tls: None,
            db: 0,
            username: None,
            password: None,
        }
    }

    /// Whether everybody has hung up.
    pub(super) fn is_alone(&self) -> bool {
        self.talks.load(Ordering::SeqCst) == 0
    }

    /// Sends bytes to the last that said this command.
    pub(super) fn say_to(&self, word: &[u8], bytes: &[u8]) {
        self.speakers.lock().unwrap().get_mut(word).expect("a connection").write_all(bytes).unwrap();
    }

    /// Closes all connections.
    pub(super) fn hang_up(&self) {
        for stream in self.open.lock().unwrap().drain(..) {
            drop(stream.shutdown(Shutdown::Both));
        }
    }
}

fn talk(
    mut stream: TcpStream,
    answer: &Mutex<Answer>,
    speakers: &Mutex<HashMap<Vec<u8>, TcpStream>>,
) -> io::Result<()> {
    let mut input = BufReader::new(stream.try_clone()?);
    while let Some(words) = read_command(&mut input)? {
        if let Some(word) = words.first() {
            speakers.lock().unwrap().insert(word.clone(), stream.try_clone()?);
        }
        let said = (answer.lock().unwrap())(&words);
        stream.write_all(&said)?;
    }
    Ok(())
}

/// The words of a command; `None` at the end.
fn read_command(input: &mut impl BufRead) -> io::Result<Option<Vec<Vec<u8>>>> {
    let Some(count) = read_number(input)? else { return Ok(None) };
    let mut words = Vec::new();
    for _ in 0..count {
        let mut word = vec![0; read_number(input)?.unwrap_or_default() + 2];
        input.read_exact(&mut word)?;
        word.truncate(word.len() - 2);
        words.push(word);
    }
    Ok(Some(words))
}

fn read_number(input: &mut impl BufRead) -> io::Result<Option<usize>> {
    let mut line = String::new();
    let length = input.read_line(&mut line)?;
    Ok((length > 0).then(|| line[1..].trim_end().parse().unwrap()))
}

/// What an empty Redis says.
pub(super) fn empty_redis(words: &[Vec<u8>]) -> Vec<u8> {
    let said: &[u8] = match words.first().map(Vec::as_slice) {
        Some(b"PSUBSCRIBE") => b"*3\r\n$10\r\npsubscribe\r\n$6\r\nturn/*\r\n:1\r\n",
        Some(b"PING") => b"*2\r\n$4\r\npong\r\n$0\r\n\r\n",
        Some(b"SCAN") => b"*2\r\n$1\r\n0\r\n*0\r\n",
        Some(b"CONFIG") => b"-NOPERM no\r\n",
        Some(b"INFO") => b"$55\r\nredis_mode:standalone\r\ncluster_enabled:0\r\nmaxmemory:0\r\n\r\n",
        _ => b"+OK\r\n",
    };
    said.to_vec()
}
