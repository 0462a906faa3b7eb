//! A publisher who does not wait for answers: commands as fast as Redis takes them, over a plain socket.

use std::io::{BufWriter, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;

use crate::common::poll::{self, PATIENCE};
use crate::common::servers::redis::Redis;

/// See the file's head.
#[derive(Debug)]
pub struct Flood {
    stream: BufWriter<TcpStream>,
    sent: u64,
    answered: Arc<AtomicU64>,
    reader: Option<JoinHandle<()>>,
}

impl Flood {
    pub fn connect(redis: &Redis) -> Self {
        Self::at(SocketAddr::from((Ipv4Addr::LOCALHOST, redis.port())))
    }

    /// To an exporter's own port.
    pub fn at(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).expect("somebody listens");
        let answered = Arc::new(AtomicU64::new(0));
        let reader = std::thread::spawn({
            let mut stream = stream.try_clone().expect("a second handle");
            let answered = Arc::clone(&answered);
            move || {
                let mut buffer = vec![0; 65_536];
                while let Ok(length @ 1..) = stream.read(&mut buffer) {
                    // Every answer asked for here is one line: a number, a status or an error.
                    #[expect(clippy::naive_bytecount, reason = "not worth a crate in a test")]
                    let lines = buffer[..length].iter().filter(|byte| **byte == b'\n').count();
                    answered.fetch_add(lines as u64, Ordering::SeqCst);
                }
            }
        });
        Self { stream: BufWriter::with_capacity(1 << 16, stream), sent: 0, answered, reader: Some(reader) }
    }

    /// One command, whose answer must be a single line.
    pub fn command(&mut self, parts: &[&[u8]]) {
        self.try_command(parts).expect("redis-server takes commands");
        self.sent += 1;
    }

    fn try_command(&mut self, parts: &[&[u8]]) -> std::io::Result<()> {
        write!(self.stream, "*{}\r\n", parts.len())?;
        for part in parts {
            write!(self.stream, "${}\r\n", part.len())?;
            self.stream.write_all(part)?;
            self.stream.write_all(b"\r\n")?;
        }
        Ok(())
    }

    pub fn publish(&mut self, channel: &[u8], payload: &[u8]) {
        self.command(&[b"PUBLISH", channel, payload]);
    }

    pub fn flush(&mut self) {
        self.stream.flush().expect("redis-server takes commands");
    }

    /// Waits until Redis has answered everything.
    #[track_caller]
    pub fn settle(&mut self) {
        self.flush();
        poll::until(PATIENCE, "redis-server to answer everything", || {
            let answered = self.answered.load(Ordering::SeqCst);
            if answered >= self.sent { Ok(()) } else { Err(format!("{answered} of {}", self.sent)) }
        });
    }
}

impl Drop for Flood {
    fn drop(&mut self) {
        // What is still in the buffer goes down with it; the reader ends with the connection.
        drop(self.stream.get_ref().shutdown(std::net::Shutdown::Both));
        if let Some(reader) = self.reader.take() {
            drop(reader.join());
        }
    }
}
