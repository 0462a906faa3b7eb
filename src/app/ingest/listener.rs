//! What the listener counts, and what its connections mean for the table.

use std::net::IpAddr;

use super::Ingest;
use crate::clock::Timestamp;
use crate::source::forward::Forwarded;
use crate::source::statsdb::{CommandRefusal, ConnectionRefusal};
use crate::state::{ClosedBy, ConnectionId, EndedConnections, ForwardStats, ProcessVerdict, SourceId};

impl Ingest {
    /// The source is a listener, and listens: nothing that coturn says from now on is missed.
    pub fn listens(&mut self, now: Timestamp, source: SourceId) {
        let connections = ConnectionRefusal::ALL.map(ConnectionRefusal::as_str);
        let commands = CommandRefusal::ALL.map(CommandRefusal::as_str);
        self.table.listens(now, self.id(source), &connections, &commands);
    }

    /// A connection that reported allocations was lost, or closed by us: its coturn may go on elsewhere, and something of
    /// what it reported may be missing. Nothing else is.
    pub fn interrupted(&mut self, now: Timestamp, source: SourceId, connection: ConnectionId) {
        self.table.connection_interrupted(now, self.id(source), connection);
    }

    /// The listener has a connection from `peer` that has logged in, or said a first command.
    pub fn connection_opened(&mut self, now: Timestamp, source: SourceId, peer: IpAddr) -> ConnectionId {
        self.table.connection_opened(now, self.id(source), peer)
    }

    /// Bytes came over the connection.
    pub fn connection_active(&mut self, now: Timestamp, connection: ConnectionId) {
        self.table.connection_active(now, connection);
    }

    /// The connection said what a coturn says when its process starts.
    pub fn process_started(&mut self, now: Timestamp, connection: ConnectionId) {
        self.table.process_started(now, connection);
    }

    /// The connection is gone; gives whether it reported allocations.
    pub fn connection_closed(&mut self, now: Timestamp, connection: ConnectionId, by: ClosedBy) -> bool {
        self.table.connection_closed(now, connection, by)
    }

    /// What the closed connection says about the process that held it.
    pub fn judge_closed(&mut self, now: Timestamp, connection: ConnectionId) -> ProcessVerdict {
        self.table.judge_closed(now, connection)
    }

    /// Their processes ended: ends a part of what they reported, from `from` on; gives where to go on.
    pub fn end_reported_by(&mut self, now: Timestamp, ended: &EndedConnections, from: u32) -> Option<u32> {
        self.table.end_reported_by(now, ended, from)
    }

    /// A connection was closed, or not taken.
    pub fn refused_connection(&mut self, source: SourceId, reason: ConnectionRefusal) {
        self.table.connection_refused(self.id(source), reason.as_str());
    }

    /// A command was refused.
    pub fn refused_command(&mut self, source: SourceId, reason: CommandRefusal) {
        self.table.command_refused(self.id(source), reason.as_str());
    }

    /// How many client addresses of the listener are refused, and whether a coturn has connected.
    pub fn callers(&mut self, source: SourceId, refused_clients: u64, coturn_seen: bool) {
        self.table.callers(self.id(source), refused_clients, coturn_seen);
    }

    /// How forwarding goes, where it is done.
    pub fn forwarded(&mut self, source: SourceId, state: Option<Forwarded>) {
        let counted =
            |Forwarded { up, sent, dropped, withheld }| ForwardStats { up, sent, dropped, withheld };
        self.table.forwarded(self.id(source), state.map(counted));
    }
}
