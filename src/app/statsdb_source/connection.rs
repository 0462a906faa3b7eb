//! One connection of the listener, from its first byte to its end.

use std::net::IpAddr;
use std::time::Duration;

use tokio::task::yield_now;
use tokio::time::sleep;

use super::connection_slots::ListenerSlot;
use super::refused_clients::ClientState;
use super::suspicious_clients::Suspicion;
use super::{ListenerContext, forwarding};
use crate::source::statsdb::{
    ClientCommand, Connection, ConnectionRefusal, ConnectionSetup, Disconnected, IncomingConnection,
};
use crate::state::{ClosedBy, ConnectionId};

/// How long a connection may take to log in, or, where no password is asked for, to say a first command: a TLS handshake
/// on a slow line, and a word.
const FIRST_WORDS: Duration = Duration::from_secs(10);

/// After so many commands others get their turn.
const TURN: usize = 1024;

/// What is known of a connection while it is open.
struct ConnectionContext {
    peer: IpAddr,
    /// Its number in the table, which knows only those that have logged in or said a first command: what strangers do
    /// costs it nothing.
    id: Option<ConnectionId>,
    state: ClientState,
}

/// Why a connection is over.
#[derive(Debug)]
enum ConnectionEnd {
    /// The TLS handshake failed.
    NoTalk,
    /// It ended.
    Ended(Disconnected),
    /// We closed it.
    Refused(ConnectionRefusal),
}

impl ListenerContext {
    /// Serves a connection to its end; gives it if what it reported is to be judged by that.
    pub(super) async fn receive(
        self,
        reception: ConnectionSetup,
        caller: IncomingConnection,
        place: ListenerSlot,
    ) -> Option<ConnectionId> {
        let peer = caller.peer;
        let mut talk =
            ConnectionContext { peer: peer.ip().to_canonical(), id: None, state: ClientState::new(peer) };
        let first = tokio::select! {
            // What it has said already comes first.
            biased;
            first = self.first_words(reception, caller, &mut talk) => first,
            () = place.leave.notified() => Err(ConnectionEnd::Refused(ConnectionRefusal::GaveWay)),
            () = sleep(FIRST_WORDS) => Err(ConnectionEnd::Refused(ConnectionRefusal::Silent)),
        };
        let has_spoken = first.is_ok() && self.places().has_spoken(&place);
        let parting = match first {
            Ok(mut connection) if has_spoken => {
                ConnectionEnd::Ended(self.listen(&mut connection, &mut talk).await)
            }
            Ok(_) => ConnectionEnd::Refused(ConnectionRefusal::GaveWay),
            Err(parting) => parting,
        };
        self.places().leave(&place, has_spoken);
        tracing::debug!(%peer, ?parting, "connection closed");
        self.part(&talk, &parting)
    }

    /// Listens until the connection has logged in, or, where no password is asked for, has said a command.
    async fn first_words(
        &self,
        reception: ConnectionSetup,
        caller: IncomingConnection,
        talk: &mut ConnectionContext,
    ) -> Result<Connection, ConnectionEnd> {
        let peer = caller.peer;
        let mut connection = reception.set_up(caller).await.map_err(|error| {
            tracing::debug!(%peer, %error, "no TLS handshake");
            ConnectionEnd::NoTalk
        })?;
        let mut taken = 0;
        while !connection.is_accepted() {
            connection.ready().await.map_err(ConnectionEnd::Ended)?;
            taken += self.take_in(&mut connection, talk);
            give_way(&mut taken).await;
        }
        Ok(connection)
    }

    async fn listen(&self, connection: &mut Connection, talk: &mut ConnectionContext) -> Disconnected {
        let mut taken = 0;
        loop {
            if let Err(ended) = connection.ready().await {
                return ended;
            }
            taken += self.take_in(connection, talk);
            give_way(&mut taken).await;
        }
    }

    fn take_in(&self, connection: &mut Connection, talk: &mut ConnectionContext) -> usize {
        let now = self.shared.now();
        let mut ingest = self.shared.lock();
        if let Some(id) = talk.id {
            ingest.connection_active(now, id);
        }
        let mut notices = Vec::new();
        let ConnectionContext { peer, id, state } = talk;
        let taken = connection.take(|heard, is_accepted| {
            if state.is_news(&heard) {
                notices.extend(self.callers().hear(now, state, &heard));
            }
            if id.is_none() && is_accepted {
                *id = Some(ingest.connection_opened(now, self.id, *peer));
            }
            match (heard, *id) {
                (ClientCommand::Published { channel, payload }, Some(id)) => {
                    // One that was not understood is counted with its reason.
                    let _ = ingest.message_from(now, self.id, id, channel, payload);
                }
                (ClientCommand::Starting, Some(id)) => ingest.process_started(now, id),
                (ClientCommand::Refused(reason) | ClientCommand::Foreign(reason), _) => {
                    ingest.refused_command(self.id, reason);
                }
                _ => {}
            }
            if let Some(forward) = &self.forward {
                forwarding::offer(forward, &heard);
            }
        });
        drop(ingest);
        self.report(&notices);
        if let Some(protocol) = connection.take_foreign() {
            self.note_stranger(talk.peer, Suspicion::Foreign, Some(protocol));
        }
        taken
    }

    /// A connection is gone, and perhaps the process that held it.
    fn part(&self, talk: &ConnectionContext, parting: &ConnectionEnd) -> Option<ConnectionId> {
        let refusal = match parting {
            ConnectionEnd::Refused(reason) => Some(*reason),
            ConnectionEnd::Ended(Disconnected::Unread) => Some(ConnectionRefusal::Unread),
            ConnectionEnd::Ended(_) | ConnectionEnd::NoTalk => None,
        };
        let now = self.shared.now();
        let notice = self.callers().leave(now, &talk.state, refusal.is_some());
        self.report(notice.as_slice());
        if let Some(reason) = refusal {
            self.shared.lock().refused_connection(self.id, reason);
            // Of a client without the right password that has been said.
            if !talk.state.is_refused() {
                self.note_stranger(talk.peer, Suspicion::Silent, None);
            }
        }
        let ended = if let ConnectionEnd::Ended(ended) = parting { *ended } else { Disconnected::ByUs };
        self.close(talk.id?, ended)
    }

    fn close(&self, id: ConnectionId, ended: Disconnected) -> Option<ConnectionId> {
        let by = if ended == Disconnected::ByThem && !self.is_behind_proxy {
            ClosedBy::Peer
        } else {
            ClosedBy::Other
        };
        let now = self.shared.now();
        let mut ingest = self.shared.lock();
        let reports = ingest.connection_closed(now, self.id, id, by);
        if reports && ended != Disconnected::ByThem {
            ingest.interrupted(now, self.id, id);
        }
        (reports && by == ClosedBy::Peer).then_some(id)
    }
}

/// One that is always ready must not keep the thread.
async fn give_way(taken: &mut usize) {
    if *taken >= TURN {
        *taken = 0;
        yield_now().await;
    }
}
