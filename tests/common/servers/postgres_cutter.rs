//! A proxy before a `PostgreSQL` that cuts a connection when a statement is sent: before the server has it, or after the
//! server has answered, which the client never learns.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

/// When to cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cut {
    /// The server never gets the statement.
    BeforeItIsSent,
    /// The server does it, and nobody hears of it.
    AnswerLost,
}

/// The words of the statement to cut at, and how.
type Next = Option<(Vec<u8>, Cut)>;

/// See the file's head.
#[derive(Debug)]
pub struct PostgresCutter {
    pub address: SocketAddr,
    next: Arc<Mutex<Next>>,
}

impl PostgresCutter {
    /// Passes connections on to `to`, without TLS.
    pub fn start(to: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("an address");
        let next = Arc::new(Mutex::new(None));
        let shared = Arc::clone(&next);
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                // A server that is not there is a connection that ends at once.
                let Ok(server) = TcpStream::connect(to) else { continue };
                pass(client, server, &shared);
            }
        });
        Self { address, next }
    }

    /// Cuts the connection over which a statement with these words comes next.
    pub fn cut_at(&self, words: &str, cut: Cut) {
        *self.next.lock().unwrap() = Some((words.as_bytes().to_vec(), cut));
    }

    /// Whether that has happened.
    pub fn has_cut(&self) -> bool {
        self.next.lock().unwrap().is_none()
    }
}

fn pass(mut client: TcpStream, mut server: TcpStream, next: &Arc<Mutex<Next>>) {
    let is_cut = Arc::new(Mutex::new(false));
    let (mut to_client, mut from_server) =
        (client.try_clone().expect("a socket"), server.try_clone().expect("a socket"));
    let (next, cut_here) = (Arc::clone(next), Arc::clone(&is_cut));
    std::thread::spawn(move || {
        let mut buffer = vec![0; 1 << 20];
        while let Ok(count @ 1..) = client.read(&mut buffer) {
            let mut armed = next.lock().unwrap();
            let hit = armed
                .take_if(|(words, _)| buffer[..count].windows(words.len()).any(|window| window == words));
            drop(armed);
            match hit {
                Some((_, Cut::BeforeItIsSent)) => break,
                // The other thread swallows the answer, and ends both.
                Some((_, Cut::AnswerLost)) => *cut_here.lock().unwrap() = true,
                None => {}
            }
            if server.write_all(&buffer[..count]).is_err() {
                break;
            }
        }
        drop((client.shutdown(Shutdown::Both), server.shutdown(Shutdown::Both)));
    });
    std::thread::spawn(move || {
        let mut buffer = vec![0; 1 << 16];
        while let Ok(count @ 1..) = from_server.read(&mut buffer) {
            if *is_cut.lock().unwrap() || to_client.write_all(&buffer[..count]).is_err() {
                break;
            }
        }
        drop((to_client.shutdown(Shutdown::Both), from_server.shutdown(Shutdown::Both)));
    });
}
