//! The clients of one listener: those that are refused, and those that are coturns.

use std::net::IpAddr;

use super::client_notices::{ClientNotice, ClientState};
use super::coturns::Coturns;
use super::refused_clients::RefusedClients;
use crate::clock::Timestamp;
use crate::source::statsdb::{ClientCommand, CommandRefusal};

/// See the file's head.
#[derive(Debug)]
pub(super) struct ListenerClients {
    refused: RefusedClients,
    coturns: Coturns,
}

impl ListenerClients {
    /// No client yet; the listener listens since `since`.
    pub(super) fn new(since: Timestamp) -> Self {
        Self { refused: RefusedClients::default(), coturns: Coturns::new(since) }
    }

    /// Addresses that are refused, and whether a coturn has connected.
    pub(super) fn count(&self) -> (u64, bool) {
        (self.refused.count(), self.coturns.has_seen_one())
    }

    /// The addresses that a coturn is connected from now.
    pub(super) fn connected(&self) -> Vec<IpAddr> {
        self.coturns.connected()
    }

    /// Takes in a command of a client.
    pub(super) fn note(
        &mut self,
        now: Timestamp,
        client: &mut ClientState,
        command: &ClientCommand<'_>,
    ) -> Option<ClientNotice> {
        match command {
            ClientCommand::Published { .. } | ClientCommand::Starting => {
                let is_known = std::mem::replace(&mut client.is_coturn, true);
                if is_known { None } else { self.coturns.enter(now, client.peer) }
            }
            ClientCommand::Refused(CommandRefusal::Login) => self.refused.refuse(now, client, "missing"),
            ClientCommand::Refused(CommandRefusal::Password) => self.refused.refuse(now, client, "wrong"),
            ClientCommand::LoggedIn => self.refused.log_in(client),
            _ => None,
        }
    }

    /// A connection is over; `is_cut_off` where it was closed here because it had not logged in in time.
    pub(super) fn leave(
        &mut self,
        now: Timestamp,
        client: &ClientState,
        is_cut_off: bool,
    ) -> Option<ClientNotice> {
        if client.is_coturn {
            self.coturns.leave(now, client.peer);
        }
        self.refused.leave(now, client, is_cut_off)
    }

    /// By its closed connections the coturn at `peer` has died.
    pub(super) fn die(&mut self, now: Timestamp, peer: IpAddr) {
        self.coturns.die(now, peer);
    }

    /// Lets time pass.
    pub(super) fn advance(&mut self, now: Timestamp) -> Vec<ClientNotice> {
        let mut notices = self.refused.advance(now);
        // Where a client is refused, that is in the log, and is the reason.
        notices.extend(self.coturns.advance(now, self.refused.count() > 0));
        notices
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PUBLISHED: ClientCommand<'_> = ClientCommand::Published { channel: b"turn/x", payload: b"y" };

    fn at(seconds: u64) -> Timestamp {
        Timestamp::from_millis(seconds * 1000)
    }

    fn client(host: u8) -> ClientState {
        ClientState::new(([192, 0, 2, host], 40_000).into())
    }

    fn peer(host: u8) -> IpAddr {
        [192, 0, 2, host].into()
    }

    #[test]
    fn a_health_check_is_no_coturn_and_one_who_reports_is() {
        let mut clients = ListenerClients::new(at(0));
        let mut check = client(1);
        assert!(
            !check.is_changed_by(&ClientCommand::Nothing) && !check.is_changed_by(&ClientCommand::Stored)
        );
        clients.note(at(1), &mut check, &ClientCommand::LoggedIn);
        assert_eq!(clients.count(), (0, false));
        let mut coturn = client(2);
        let connected = Some(ClientNotice::Connected { peer: peer(2) });
        assert_eq!(clients.note(at(2), &mut coturn, &ClientCommand::Starting), connected);
        assert!(!coturn.is_changed_by(&PUBLISHED));
        assert_eq!(clients.note(at(2), &mut coturn, &PUBLISHED), None, "the same connection");
        assert_eq!((clients.count(), clients.connected()), ((0, true), vec![peer(2)]));
        clients.leave(at(3), &check, false);
        assert_eq!(clients.connected(), [peer(2)]);
        clients.leave(at(3), &coturn, false);
        assert!(clients.connected().is_empty());
        assert_eq!(clients.advance(at(63)), [ClientNotice::Disconnected { peer: peer(2) }]);
    }

    #[test]
    fn one_who_is_refused_is_the_reason_why_no_coturn_has_connected() {
        let mut clients = ListenerClients::new(at(0));
        let mut refused = client(2);
        clients.note(at(1), &mut refused, &ClientCommand::Refused(CommandRefusal::Password));
        assert_eq!(clients.advance(at(60)), []);
        clients.leave(at(61), &refused, false);
        let gone = ClientNotice::RefusedGone { peer: peer(2) };
        assert_eq!(clients.advance(at(661)), [gone, ClientNotice::NoCoturn]);
    }
}
