//! A Redis that only has a stream of its own to tell, byte for byte as the test wants it: it confirms a subscription,
//! answers PINGs, and permits nothing else unless the test says what it answers.

use std::io::{BufRead, BufReader, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use crate::common::poll::{self, PATIENCE};

/// What it says to the words of a command; `None` where it permits nothing, an empty answer where it hangs up.
type Answers = fn(&[Vec<u8>]) -> Option<&'static [u8]>;

/// See the file's head.
#[derive(Debug)]
pub struct FakeRedis {
    address: SocketAddr,
    /// The last connection that subscribed.
    subscriber: Arc<Mutex<Option<TcpStream>>>,
}

impl FakeRedis {
    pub fn start() -> Self {
        Self::answering(|_| None)
    }

    /// One that answers commands as the test wants, subscriptions and PINGs aside.
    pub fn answering(answers: Answers) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port of loopback");
        let address = listener.local_addr().expect("an address");
        let subscriber = Arc::new(Mutex::new(None));
        std::thread::spawn({
            let subscriber = Arc::clone(&subscriber);
            move || {
                for stream in listener.incoming().map_while(Result::ok) {
                    let subscriber = Arc::clone(&subscriber);
                    std::thread::spawn(move || drop(answer(&stream, &subscriber, answers)));
                }
            }
        });
        Self { address, subscriber }
    }

    pub fn url(&self) -> String {
        format!("redis://{}/0", self.address)
    }

    /// Sends bytes to the subscriber in pieces of this size, each a segment of its own.
    pub fn send(&self, bytes: &[u8], piece: usize) {
        let guard = poll::until(PATIENCE, "a subscriber", || {
            let guard = self.subscriber.lock().unwrap();
            if guard.is_some() { Ok(guard) } else { Err("none yet".to_owned()) }
        });
        let mut stream = guard.as_ref().expect("a subscriber");
        for piece in bytes.chunks(piece) {
            stream.write_all(piece).expect("the subscriber reads");
        }
    }
}

/// A message as a subscriber gets it.
pub fn pmessage(channel: &[u8], payload: &[u8]) -> Vec<u8> {
    let mut bytes = b"*4\r\n".to_vec();
    for part in [b"pmessage", &b"turn/*"[..], channel, payload] {
        bytes.extend(format!("${}\r\n", part.len()).into_bytes());
        bytes.extend_from_slice(part);
        bytes.extend_from_slice(b"\r\n");
    }
    bytes
}

fn answer(
    stream: &TcpStream,
    subscriber: &Mutex<Option<TcpStream>>,
    answers: Answers,
) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    let mut input = BufReader::new(stream.try_clone()?);
    let mut output = stream.try_clone()?;
    loop {
        let words = read_command(&mut input)?;
        match words.first().map(Vec::as_slice) {
            Some(b"PSUBSCRIBE") => {
                let mut subscriber = subscriber.lock().unwrap();
                output.write_all(b"*3\r\n$10\r\npsubscribe\r\n$6\r\nturn/*\r\n:1\r\n")?;
                *subscriber = Some(stream.try_clone()?);
            }
            Some(b"PING") => {
                // Not into the middle of a message.
                let _subscriber = subscriber.lock().unwrap();
                output.write_all(b"*2\r\n$4\r\npong\r\n$0\r\n\r\n")?;
            }
            _ => match answers(&words) {
                Some(b"") => return stream.shutdown(Shutdown::Both),
                Some(answer) => output.write_all(answer)?,
                None => output.write_all(b"-NOPERM this one permits nothing\r\n")?,
            },
        }
    }
}

fn read_command(input: &mut impl BufRead) -> std::io::Result<Vec<Vec<u8>>> {
    let count = read_number(input)?;
    (0..count)
        .map(|_| {
            let mut word = vec![0; read_number(input)? + 2];
            input.read_exact(&mut word)?;
            word.truncate(word.len() - 2);
            Ok(word)
        })
        .collect()
}

fn read_number(input: &mut impl BufRead) -> std::io::Result<usize> {
    let mut line = String::new();
    input.read_line(&mut line)?;
    line.get(1..)
        .and_then(|number| number.trim_end().parse().ok())
        .ok_or(std::io::ErrorKind::InvalidData.into())
}
