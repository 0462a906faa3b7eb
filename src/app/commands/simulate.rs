//! `simulate`: plays a TURN service into an exporter or a Redis.

use std::io;
use std::time::Duration;

use tokio::io::{AsyncWriteExt as _, copy, sink};
use tokio::net::TcpStream;
use tokio::net::tcp::OwnedWriteHalf;
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval};

use crate::app::Error;
use crate::clock::{Clock, SystemClock, Timestamp};
use crate::config::Simulation;
use crate::shutdown::{self, Hangup};
use crate::simulation::{Happening, Service};

/// How often the servers send.
const TICK: Duration = Duration::from_millis(100);

/// How often the log says how far it is.
const SUMMARY: Duration = Duration::from_secs(60);

/// Plays until a signal comes, or for the time that was asked for.
///
/// # Errors
///
/// Nobody takes what the servers report.
pub(in crate::app) async fn simulate(simulation: Simulation) -> Result<(), Error> {
    let Simulation { to, profile, duration } = simulation;
    tracing::info!(
        to,
        servers = profile.servers,
        calls = profile.calls,
        speed = profile.speed,
        "simulating a TURN service"
    );
    tokio::select! {
        played = play(Service::new(profile), &to) => played,
        () = after(duration) => Ok(()),
        signal = shutdown::on_signal(Hangup::Ends) => signal.map_err(Error::Signal).map(|signal| {
            tracing::info!(signal, "stopping");
        }),
    }
}

/// Waits for so long; for ever if it is not said.
pub(in crate::app) async fn after(duration: Option<Duration>) {
    match duration {
        Some(duration) => tokio::time::sleep(duration).await,
        None => std::future::pending().await,
    }
}

/// Plays a service into whoever listens there. Ends only by an error.
///
/// # Errors
///
/// Nobody listens there, or not any more.
pub(in crate::app) async fn play(mut service: Service, to: &str) -> Result<(), Error> {
    let clock = SystemClock::new();
    let (started, mut said) = (clock.now(), Timestamp::ZERO);
    let mut connections: Vec<ServerConnection> =
        (0..service.servers()).map(|_| ServerConnection::default()).collect();
    let mut ticks = interval(TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let now = clock.now();
        for happening in service.advance(now.since(started)) {
            match happening {
                Happening::Crashed { server, address } => {
                    tracing::info!(server = address, "a simulated server dies and is back");
                    if let Some(connection) = connections.get_mut(server) {
                        *connection = ServerConnection::default();
                    }
                }
                Happening::Cut { address, .. } => {
                    tracing::info!(server = address, "nothing of a simulated server arrives for a while");
                }
            }
        }
        for (number, connection) in connections.iter_mut().enumerate() {
            let sent = connection.send(to, &service.take(number)).await;
            sent.map_err(|error| Error::Simulation { to: to.to_owned(), error })?;
        }
        if now.since(said) >= SUMMARY {
            said = now;
            tracing::info!(allocations = service.live(), leaks = service.leaks(), "simulated");
        }
    }
}

/// A server's connection. What is answered is read and not looked at.
#[derive(Debug, Default)]
struct ServerConnection {
    writer: Option<OwnedWriteHalf>,
    reader: JoinSet<()>,
}

impl ServerConnection {
    async fn send(&mut self, to: &str, bytes: &[u8]) -> io::Result<()> {
        if bytes.is_empty() {
            return Ok(());
        }
        let writer = match &mut self.writer {
            Some(writer) => writer,
            none => {
                let (mut reader, writer) = TcpStream::connect(to).await?.into_split();
                self.reader.spawn(async move {
                    // Its end is seen by whoever writes.
                    let _ = copy(&mut reader, &mut sink()).await;
                });
                none.insert(writer)
            }
        };
        writer.write_all(bytes).await
    }
}
