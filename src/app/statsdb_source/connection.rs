//! One connection of the listener, from its first byte to its end.

use std::convert::Infallible;
use std::future::pending;
use std::net::IpAddr;
use std::pin::pin;
use std::time::Duration;

use tokio::task::yield_now;
use tokio::time::sleep;

use super::before_the_table::WaitingCommand;
use super::client_notices::{ClientNotice, ClientState};
use super::closed_connections::ClosedConnection;
use super::connection_slots::ListenerSlot;
use super::forwarding;
use super::listener_context::ListenerContext;

use super::suspicious_clients::Suspicion;
use crate::app::ingest::Ingest;
use crate::app::supervise::contain;
use crate::clock::Timestamp;
use crate::source::statsdb::{
    ClientCommand, Connection, ConnectionRefusal, ConnectionSetup, Disconnected, IncomingConnection,
};
use crate::state::{ClosedBy, ConnectionId};

/// How long a connection may take to log in, or, where no password is asked for, to send a first command: a TLS handshake
/// on a slow line, and a word.
const FIRST_COMMAND: Duration = Duration::from_secs(10);

/// After so many commands others get their turn.
const TURN: usize = 1024;

/// What is known of a connection while it is open.
struct ConnectionContext {
    peer: IpAddr,
    /// Its number in the table, which knows only those that have logged in or sent a first command: what others do costs it
    /// nothing.
    id: Option<ConnectionId>,
    client: ClientState,
    /// It has logged in or sent a first command, and keeps its slot.
    is_established: bool,
    /// Its first command that needs the table, before that is there.
    waiting: Option<WaitingCommand>,
}

/// Why a connection is over.
#[derive(Debug)]
enum ConnectionEnd {
    /// The TLS handshake failed.
    SetupFailed,
    /// It ended.
    Ended(Disconnected),
    /// We closed it.
    Refused(ConnectionRefusal),
    /// Serving it met a bug.
    Panicked,
}

impl ListenerContext {
    /// Serves a connection to its end; gives it if what it reported is to be judged by that.
    pub(super) async fn serve(
        self,
        reception: ConnectionSetup,
        caller: IncomingConnection,
        slot: ListenerSlot,
    ) -> Option<ClosedConnection> {
        let peer = caller.peer;
        let mut connection = ConnectionContext {
            peer: peer.ip().to_canonical(),
            id: None,
            client: ClientState::new(peer),
            is_established: false,
            waiting: None,
        };
        let served = contain(self.receive(reception, caller, &slot, &mut connection)).await;
        let end = served.unwrap_or_else(|panic| {
            tracing::error!(
                source = %self.name,
                %peer,
                reason = panic.reason(),
                "serving a connection panicked, which is a bug; please report this. Only this connection is closed"
            );
            ConnectionEnd::Panicked
        });
        self.slots().leave(&slot, connection.is_established);
        tracing::debug!(%peer, ?end, "connection closed");
        self.finish(&connection, &end)
    }

    /// From the first byte to the end.
    async fn receive(
        &self,
        reception: ConnectionSetup,
        caller: IncomingConnection,
        slot: &ListenerSlot,
        context: &mut ConnectionContext,
    ) -> ConnectionEnd {
        let established = tokio::select! {
            // What it has sent already comes first.
            biased;
            established = self.establish(reception, caller, context) => established,
            () = slot.leave.notified() => Err(ConnectionEnd::Refused(ConnectionRefusal::GaveWay)),
            () = sleep(FIRST_COMMAND) => Err(ConnectionEnd::Refused(ConnectionRefusal::Silent)),
        };
        let mut connection = match established {
            Ok(connection) => connection,
            Err(end) => return end,
        };
        context.is_established = self.slots().has_spoken(slot);
        if !context.is_established {
            return ConnectionEnd::Refused(ConnectionRefusal::GaveWay);
        }
        if let Err(ended) = self.wait_for_table(&mut connection, context).await {
            return ConnectionEnd::Ended(ended);
        }
        let mut taken = 0;
        loop {
            if let Err(ended) = connection.ready().await {
                return ConnectionEnd::Ended(ended);
            }
            taken += self.take_in(&mut connection, context);
            give_way(&mut taken).await;
        }
    }

    /// Receives until the connection has logged in, or, where no password is asked for, has sent a command.
    async fn establish(
        &self,
        reception: ConnectionSetup,
        caller: IncomingConnection,
        context: &mut ConnectionContext,
    ) -> Result<Connection, ConnectionEnd> {
        let peer = caller.peer;
        let mut connection = reception.set_up(caller).await.map_err(|error| {
            tracing::debug!(%peer, %error, "connection setup failed");
            ConnectionEnd::SetupFailed
        })?;
        let mut taken = 0;
        while !connection.is_accepted() {
            connection.ready().await.map_err(ConnectionEnd::Ended)?;
            taken += if self.is_open() {
                self.take_in(&mut connection, context)
            } else {
                self.take_early(&mut connection, context)
            };
            give_way(&mut taken).await;
        }
        Ok(connection)
    }

    /// Before the table is there: answers the connection, up to its first command that needs the table.
    async fn wait_for_table(
        &self,
        connection: &mut Connection,
        context: &mut ConnectionContext,
    ) -> Result<(), Disconnected> {
        let mut taken = 0;
        while !self.is_open() {
            if context.waiting.is_some() {
                let answering = async {
                    connection.send_answers().await;
                    pending::<Infallible>().await
                };
                tokio::select! {
                    () = self.opened() => {}
                    never = answering => match never {},
                }
                continue;
            }
            {
                let mut ready = pin!(connection.ready());
                tokio::select! {
                    ready = &mut ready => ready?,
                    () = self.opened() => {
                        self.enter_table(context);
                        ready.await?;
                    }
                }
            }
            if !self.is_open() {
                taken += self.take_early(connection, context);
                give_way(&mut taken).await;
            }
        }
        self.enter_table(context);
        if let Some(first) = context.waiting.take() {
            let now = self.shared.now();
            let mut ingest = self.shared.lock();
            let notice = self.take_command(now, &mut ingest, context, &first.as_command(), true);
            drop(ingest);
            self.report(notice.as_slice());
        }
        Ok(())
    }

    /// The table gets to know a connection that was accepted before it was there.
    fn enter_table(&self, context: &mut ConnectionContext) {
        let now = self.shared.now();
        context.id.get_or_insert_with(|| self.shared.lock().connection_opened(now, self.id, context.peer));
    }

    /// Takes in one command as far as that needs no table; one that does waits. Gives how many.
    fn take_early(&self, connection: &mut Connection, context: &mut ConnectionContext) -> usize {
        let now = self.shared.process_now();
        let mut notice = None;
        let taken = connection.take_one(|command, _| {
            context.waiting = WaitingCommand::of(&command);
            if context.waiting.is_some() {
                return;
            }
            if context.client.is_changed_by(&command) {
                notice = self.clients().note(now, &mut context.client, &command);
            }
            if let ClientCommand::Refused(reason) | ClientCommand::Foreign(reason) = command {
                self.refused_command(reason);
            }
        });
        self.report(notice.as_slice());
        self.note_foreign(connection, context);
        taken
    }

    fn note_foreign(&self, connection: &mut Connection, context: &ConnectionContext) {
        if let Some(protocol) = connection.take_foreign() {
            self.note_suspicious(context.peer, Suspicion::Foreign, Some(protocol));
        }
    }

    /// Takes in the commands that have come; gives how many.
    fn take_in(&self, connection: &mut Connection, context: &mut ConnectionContext) -> usize {
        let now = self.shared.now();
        let mut ingest = self.shared.lock();
        if let Some(id) = context.id {
            ingest.connection_active(now, id);
        }
        let mut notices = Vec::new();
        let taken = connection.take(|command, is_accepted| {
            notices.extend(self.take_command(now, &mut ingest, context, &command, is_accepted));
        });
        drop(ingest);
        self.report(&notices);
        self.note_foreign(connection, context);
        taken
    }

    #[inline]
    fn take_command(
        &self,
        now: Timestamp,
        ingest: &mut Ingest,
        context: &mut ConnectionContext,
        command: &ClientCommand<'_>,
        is_accepted: bool,
    ) -> Option<ClientNotice> {
        let ConnectionContext { peer, id, client, .. } = context;
        let notice = if client.is_changed_by(command) {
            self.clients().note(self.shared.process_now(), client, command)
        } else {
            None
        };
        if id.is_none() && is_accepted {
            *id = Some(ingest.connection_opened(now, self.id, *peer));
        }
        match (command, *id) {
            (ClientCommand::Published { channel, payload }, Some(id)) => {
                // One that was not understood is counted with its reason.
                let _ = ingest.message_from(now, self.id, id, channel, payload);
            }
            (ClientCommand::Starting, Some(id)) => ingest.process_started(now, id),
            (ClientCommand::Refused(reason) | ClientCommand::Foreign(reason), _) => {
                ingest.refused_command(self.id, *reason);
            }
            _ => {}
        }
        if let Some(forward) = &self.forward {
            forwarding::offer(forward, command);
        }
        notice
    }

    /// A connection is gone, and perhaps the process that held it.
    fn finish(&self, connection: &ConnectionContext, end: &ConnectionEnd) -> Option<ClosedConnection> {
        let refusal = match end {
            ConnectionEnd::Refused(reason) => Some(*reason),
            ConnectionEnd::Ended(Disconnected::Unread) => Some(ConnectionRefusal::Unread),
            ConnectionEnd::Ended(_) | ConnectionEnd::SetupFailed | ConnectionEnd::Panicked => None,
        };
        let now = self.shared.process_now();
        let notice = self.clients().leave(now, &connection.client, refusal.is_some());
        self.report(notice.as_slice());
        if let Some(reason) = refusal {
            self.refused_connection(reason);
            // A client without the right password is in the log already.
            if !connection.client.is_refused {
                self.note_suspicious(connection.peer, Suspicion::Silent, None);
            }
        }
        let ended = if let ConnectionEnd::Ended(ended) = end { *ended } else { Disconnected::ByUs };
        let closed = ClosedConnection { id: connection.id?, peer: connection.peer };
        self.close(closed.id, ended).then_some(closed)
    }

    /// Gives whether the end says something about the process that held the connection.
    fn close(&self, id: ConnectionId, ended: Disconnected) -> bool {
        let by = if ended == Disconnected::ByThem && !self.is_behind_proxy {
            ClosedBy::Peer
        } else {
            ClosedBy::Other
        };
        let now = self.shared.now();
        let mut ingest = self.shared.lock();
        let reports = ingest.connection_closed(now, id, by);
        if reports && ended != Disconnected::ByThem {
            ingest.interrupted(now, self.id, id);
        }
        reports && by == ClosedBy::Peer
    }
}

/// One that is always ready must not keep the thread.
async fn give_way(taken: &mut usize) {
    if *taken >= TURN {
        *taken = 0;
        yield_now().await;
    }
}
