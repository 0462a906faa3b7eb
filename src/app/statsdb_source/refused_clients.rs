//! Clients of the listener that are refused for their password, and whether a coturn has connected at all, as far as the log
//! and the alerts say it. Pure: time is an argument, and what is to be logged is given back.
//!
//! An *episode* of an address begins with its first command that is refused for want of a login. It ends when none of its
//! refused connections is open any more and one has logged in since the last refusal, or when ten minutes have passed
//! since the last of them was closed; 75 minutes where it was closed here, for want of a login in time: a coturn then
//! connects again with its next event, and each live allocation has one within an hour. So a coturn with a wrong password
//! is one episode however much it reports, also where others log in from the same address (a proxy, a health check).

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use crate::clock::Timestamp;
use crate::source::statsdb::{ClientCommand, CommandRefusal};

/// How long after its last refused connection an address is forgotten that has not logged in.
const QUIET: Duration = Duration::from_secs(600);

/// The same where one of its connections was closed here because it had not logged in in time.
const QUIET_UNTIL_NEXT_EVENT: Duration = Duration::from_secs(75 * 60);

/// How long after the start it is logged that no coturn has connected: one that runs already connects with its next event,
/// one that starts at once.
const PATIENCE: Duration = Duration::from_secs(60);

/// Addresses in an episode at one time, at most: clients may come from anywhere.
const ADDRESSES: usize = 1024;

/// The clients of one listener.
#[derive(Debug)]
pub(super) struct RefusedClients {
    since: Timestamp,
    /// The coturn that came first.
    first: Option<IpAddr>,
    is_absence_reported: bool,
    refused: HashMap<IpAddr, RefusalEpisode>,
}

#[derive(Debug)]
struct RefusalEpisode {
    /// Refused connections that are open and have not logged in since.
    open: usize,
    has_logged_in: bool,
    last: Timestamp,
    /// For how long it goes on without a refused connection.
    quiet: Duration,
}

/// One connection, as far as it matters here.
#[derive(Debug)]
pub(super) struct ClientState {
    peer: IpAddr,
    is_refused: bool,
    is_coturn: bool,
}

/// What is to be logged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ClientNotice {
    /// An episode begins: an address has no password, or a wrong one.
    Refused { peer: IpAddr, password: &'static str },
    /// It ends: the address has logged in.
    LoggedIn { peer: IpAddr },
    /// It ends: the address does not come any more.
    Gone { peer: IpAddr },
    /// The first coturn has connected.
    Coturn { peer: IpAddr },
    /// None has, for a while.
    NoCoturn,
}

impl ClientState {
    /// A connection of this peer.
    pub(super) const fn new(peer: SocketAddr) -> Self {
        // An IPv4 client of a socket for both families is the client of an IPv4 socket.
        Self { peer: peer.ip().to_canonical(), is_refused: false, is_coturn: false }
    }

    /// Whether [`RefusedClients::note`] is to be called; cheap, for it is asked of every command.
    pub(super) const fn is_changed_by(&self, command: &ClientCommand<'_>) -> bool {
        match command {
            ClientCommand::Published { .. } | ClientCommand::Starting => !self.is_coturn,
            ClientCommand::Refused(CommandRefusal::Login | CommandRefusal::Password) => !self.is_refused,
            ClientCommand::LoggedIn => true,
            _ => false,
        }
    }

    /// Whether it is refused for want of a login.
    pub(super) const fn is_refused(&self) -> bool {
        self.is_refused
    }
}

impl RefusedClients {
    /// No client yet; the listener listens since `since`.
    pub(super) fn new(since: Timestamp) -> Self {
        Self { since, first: None, is_absence_reported: false, refused: HashMap::new() }
    }

    /// Addresses in an episode, and whether a coturn has connected.
    pub(super) fn count(&self) -> (u64, bool) {
        (self.refused.len() as u64, self.first.is_some())
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
                client.is_coturn = true;
                let is_first = self.first.is_none();
                let peer = *self.first.get_or_insert(client.peer);
                is_first.then_some(ClientNotice::Coturn { peer })
            }
            ClientCommand::Refused(CommandRefusal::Login) => self.refuse(now, client, "missing"),
            ClientCommand::Refused(CommandRefusal::Password) => self.refuse(now, client, "wrong"),
            ClientCommand::LoggedIn => {
                let was_refused = std::mem::take(&mut client.is_refused);
                let episode = self.refused.get_mut(&client.peer)?;
                episode.has_logged_in = true;
                self.close(client.peer, was_refused)
            }
            _ => None,
        }
    }

    fn refuse(
        &mut self,
        now: Timestamp,
        client: &mut ClientState,
        password: &'static str,
    ) -> Option<ClientNotice> {
        let peer = client.peer;
        let is_known = self.refused.contains_key(&peer);
        if !is_known && self.refused.len() >= ADDRESSES {
            return None;
        }
        let episode = self.refused.entry(peer).or_insert(RefusalEpisode {
            open: 0,
            has_logged_in: false,
            last: now,
            quiet: QUIET,
        });
        if !std::mem::replace(&mut client.is_refused, true) {
            episode.open += 1;
        }
        (episode.has_logged_in, episode.last) = (false, now);
        (!is_known).then_some(ClientNotice::Refused { peer, password })
    }

    /// A connection is over; `is_cut_off` where it was closed here because it had not logged in in time.
    pub(super) fn leave(
        &mut self,
        now: Timestamp,
        client: &ClientState,
        is_cut_off: bool,
    ) -> Option<ClientNotice> {
        if !client.is_refused {
            return None;
        }
        let episode = self.refused.get_mut(&client.peer)?;
        episode.last = now;
        if is_cut_off {
            episode.quiet = QUIET_UNTIL_NEXT_EVENT;
        }
        self.close(client.peer, true)
    }

    /// One refused connection less, if `was_refused`; the last ends the episode if the address has logged in.
    fn close(&mut self, peer: IpAddr, was_refused: bool) -> Option<ClientNotice> {
        let episode = self.refused.get_mut(&peer)?;
        episode.open = episode.open.saturating_sub(usize::from(was_refused));
        if episode.open > 0 || !episode.has_logged_in {
            return None;
        }
        self.refused.remove(&peer);
        Some(ClientNotice::LoggedIn { peer })
    }

    /// Lets time pass.
    pub(super) fn advance(&mut self, now: Timestamp) -> Vec<ClientNotice> {
        let is_over = |_: &IpAddr, episode: &mut RefusalEpisode| {
            episode.open == 0 && now.since(episode.last) >= episode.quiet
        };
        let over = self.refused.extract_if(is_over);
        let mut notices: Vec<_> = over.map(|(peer, _)| ClientNotice::Gone { peer }).collect();
        // Where a client is refused, that is in the log, and is the reason.
        let is_absent = self.first.is_none() && self.refused.is_empty();
        if is_absent && !self.is_absence_reported && now.since(self.since) >= PATIENCE {
            self.is_absence_reported = true;
            notices.push(ClientNotice::NoCoturn);
        }
        notices
    }
}

impl ClientNotice {
    /// Writes its line.
    pub(super) fn log(self, source: &str) {
        match self {
            Self::Refused { peer, password } => tracing::warn!(
                source,
                %peer,
                password,
                "a client is refused for its password, and nothing that it reports is counted; give the password of \
                 --statsdb.password-file in coturn's redis-statsdb: password=..."
            ),
            Self::LoggedIn { peer } => {
                tracing::info!(source, %peer, "a client that was refused has logged in");
            }
            Self::Gone { peer } => {
                tracing::info!(source, %peer, "a client that was refused is not connected any more");
            }
            Self::Coturn { peer } => tracing::info!(source, %peer, "coturn has connected"),
            Self::NoCoturn => tracing::warn!(
                source,
                "no coturn has connected since the exporter started; is its redis-statsdb set to this address? `doctor` \
                 with the same --statsdb flags prints the line (a coturn that already runs connects with its next event)"
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const REFUSED: ClientCommand<'_> = ClientCommand::Refused(CommandRefusal::Login);
    const WRONG: ClientCommand<'_> = ClientCommand::Refused(CommandRefusal::Password);

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
    fn an_episode_is_reported_once_and_ends_with_a_login() {
        let mut clients = RefusedClients::new(at(0));
        let mut threads = [client(1), client(1)];
        let begins = ClientNotice::Refused { peer: peer(1), password: "wrong" };
        assert_eq!(clients.note(at(1), &mut threads[0], &WRONG), Some(begins));
        assert!(!threads[0].is_changed_by(&REFUSED), "once for each connection");
        assert_eq!(clients.note(at(1), &mut threads[1], &REFUSED), None);
        assert_eq!(clients.count(), (1, false));
        // For as long as it keeps its connections.
        assert_eq!(clients.advance(at(100_000)), []);
        let begins = ClientNotice::Refused { peer: peer(2), password: "missing" };
        assert_eq!(clients.note(at(100_001), &mut client(2), &REFUSED), Some(begins));
        assert_eq!(clients.count(), (2, false));

        // It is fixed: the new process logs in before the end of the old one has been noticed.
        let mut fixed = client(1);
        assert_eq!(clients.note(at(100_002), &mut fixed, &ClientCommand::LoggedIn), None);
        assert_eq!(clients.leave(at(100_003), &threads[0], false), None);
        assert_eq!(
            clients.leave(at(100_003), &threads[1], false),
            Some(ClientNotice::LoggedIn { peer: peer(1) })
        );
        assert_eq!(clients.leave(at(100_004), &fixed, false), None);
        assert_eq!(clients.count(), (1, false));
        // The next is another episode; on one connection it ends with the login.
        assert!(clients.note(at(100_005), &mut fixed, &WRONG).is_some());
        let ends = Some(ClientNotice::LoggedIn { peer: peer(1) });
        assert_eq!(clients.note(at(100_006), &mut fixed, &ClientCommand::LoggedIn), ends);
        assert_eq!(clients.leave(at(100_007), &fixed, false), None);
    }

    /// A health check that logs in every second must not make a coturn at the same address many episodes.
    #[test]
    fn a_login_beside_a_refused_connection_ends_nothing() {
        let mut clients = RefusedClients::new(at(0));
        let mut coturn = client(1);
        assert!(clients.note(at(1), &mut coturn, &WRONG).is_some());
        for second in 2..50 {
            let mut check = client(1);
            assert_eq!(clients.note(at(second), &mut check, &ClientCommand::LoggedIn), None);
            assert_eq!(clients.leave(at(second), &check, false), None);
            assert_eq!(clients.note(at(second), &mut coturn, &REFUSED), None);
        }
        assert_eq!(clients.count(), (1, false));
        // What was refused after the last login is not solved by it.
        assert_eq!(clients.leave(at(50), &coturn, false), None);
        assert_eq!(clients.count(), (1, false));
    }

    #[test]
    fn a_client_is_forgotten_ten_minutes_after_the_last_attempt() {
        let mut clients = RefusedClients::new(at(0));
        assert!(clients.note(at(0), &mut client(9), &ClientCommand::Starting).is_some());
        for second in [100, 200, 300] {
            let mut other = client(7);
            let notice = clients.note(at(second), &mut other, &REFUSED);
            assert_eq!(notice.is_some(), second == 100, "{second}");
            assert_eq!(clients.leave(at(second), &other, false), None);
        }
        assert_eq!(clients.advance(at(899)), []);
        assert_eq!(clients.advance(at(900)), [ClientNotice::Gone { peer: peer(7) }]);
        assert_eq!(clients.count(), (0, true));
    }

    /// A quiet coturn whose connections are closed here comes again with its next event.
    #[test]
    fn one_that_is_cut_off_is_remembered_until_its_next_event() {
        let mut clients = RefusedClients::new(at(0));
        assert!(clients.note(at(0), &mut client(9), &ClientCommand::Starting).is_some());
        for second in [0, 3600] {
            let mut coturn = client(7);
            assert_eq!(clients.note(at(second), &mut coturn, &WRONG).is_some(), second == 0);
            assert!(coturn.is_refused());
            assert_eq!(clients.leave(at(second + 10), &coturn, true), None);
        }
        assert_eq!(clients.advance(at(3610 + 4499)), []);
        assert_eq!(clients.advance(at(3610 + 4500)), [ClientNotice::Gone { peer: peer(7) }]);
    }

    #[test]
    fn addresses_without_end_take_no_memory_without_end() {
        let mut clients = RefusedClients::new(at(0));
        let other = |n: u32| ClientState::new((std::net::Ipv4Addr::from(n), 1).into());
        let said = (0..5000).filter(|&n| clients.note(at(1), &mut other(n), &WRONG).is_some()).count();
        assert_eq!((said, clients.count().0), (1024, 1024));
        // One who was not taken in takes no part.
        assert_eq!(clients.leave(at(2), &other(4999), false), None);
        assert_eq!(clients.note(at(2), &mut other(4999), &ClientCommand::LoggedIn), None);
    }

    #[test]
    fn a_listener_without_a_coturn_says_so_once_after_a_minute() {
        let mut clients = RefusedClients::new(at(1000));
        // A health check is no coturn.
        let mut check = client(1);
        assert!(
            !check.is_changed_by(&ClientCommand::Nothing) && !check.is_changed_by(&ClientCommand::Stored)
        );
        clients.note(at(1001), &mut check, &ClientCommand::LoggedIn);
        assert_eq!(clients.advance(at(1059)), []);
        assert_eq!(clients.advance(at(1060)), [ClientNotice::NoCoturn]);
        assert_eq!(clients.advance(at(5000)), []);
        let mut coturn = client(2);
        let first = Some(ClientNotice::Coturn { peer: peer(2) });
        assert_eq!(clients.note(at(6000), &mut coturn, &ClientCommand::Starting), first);
        assert!(!coturn.is_changed_by(&ClientCommand::Starting));
        assert_eq!(clients.count(), (0, true));
        let published = ClientCommand::Published { channel: b"turn/x", payload: b"y" };
        assert_eq!(clients.note(at(6001), &mut client(3), &published), None);
        assert_eq!(clients.advance(at(9000)), []);
    }

    #[test]
    fn one_who_reports_is_a_coturn_and_one_who_is_refused_is_the_reason() {
        let mut clients = RefusedClients::new(at(0));
        let published = ClientCommand::Published { channel: b"turn/x", payload: b"y" };
        assert!(clients.note(at(1), &mut client(2), &published).is_some());
        assert_eq!(clients.advance(at(60)), []);

        let mut clients = RefusedClients::new(at(0));
        let mut refused = client(2);
        clients.note(at(1), &mut refused, &WRONG);
        assert_eq!(clients.advance(at(60)), []);
        clients.leave(at(61), &refused, false);
        assert_eq!(clients.advance(at(661)), [ClientNotice::Gone { peer: peer(2) }, ClientNotice::NoCoturn]);
    }

    #[test]
    fn an_ipv4_client_of_a_socket_for_both_families_is_one_address() {
        let mut clients = RefusedClients::new(at(0));
        let mapped = std::net::Ipv4Addr::new(192, 0, 2, 1).to_ipv6_mapped();
        assert!(clients.note(at(1), &mut ClientState::new((mapped, 1).into()), &WRONG).is_some());
        assert_eq!(clients.note(at(1), &mut client(1), &WRONG), None);
    }
}
