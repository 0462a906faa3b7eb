//! Clients of the listener that are refused for their password, as far as the log and the alerts say it. Pure: time is an
//! argument, and what is to be logged is given back.
//!
//! An *episode* of an address begins with its first command that is refused for want of a login. It ends when none of its
//! refused connections is open any more and one has logged in since the last refusal, or when ten minutes have passed
//! since the last of them was closed; 75 minutes where it was closed here, for want of a login in time: a coturn then
//! connects again with its next event, and each live allocation has one within an hour. So a coturn with a wrong password
//! is one episode however much it reports, also where others log in from the same address (a proxy, a health check).

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::Duration;

use super::client_notices::{ClientNotice, ClientState};
use crate::clock::Timestamp;

/// How long after its last refused connection an address is forgotten that has not logged in.
const QUIET: Duration = Duration::from_secs(600);

/// The same where one of its connections was closed here because it had not logged in in time.
const QUIET_UNTIL_NEXT_EVENT: Duration = Duration::from_secs(75 * 60);

/// Addresses in an episode at one time, at most: clients may come from anywhere.
const ADDRESSES: usize = 1024;

/// The refused clients of one listener, by address.
#[derive(Debug, Default)]
pub(super) struct RefusedClients(HashMap<IpAddr, RefusalEpisode>);

#[derive(Debug)]
struct RefusalEpisode {
    /// Refused connections that are open and have not logged in since.
    open: usize,
    has_logged_in: bool,
    last: Timestamp,
    /// For how long it goes on without a refused connection.
    quiet: Duration,
}

impl RefusedClients {
    /// Addresses in an episode.
    pub(super) fn count(&self) -> u64 {
        self.0.len() as u64
    }

    /// A client has logged in.
    pub(super) fn log_in(&mut self, client: &mut ClientState) -> Option<ClientNotice> {
        let was_refused = std::mem::take(&mut client.is_refused);
        let episode = self.0.get_mut(&client.peer)?;
        episode.has_logged_in = true;
        self.close(client.peer, was_refused)
    }

    /// A command of a client was refused: its password is `"missing"` or `"wrong"`.
    pub(super) fn refuse(
        &mut self,
        now: Timestamp,
        client: &mut ClientState,
        password: &'static str,
    ) -> Option<ClientNotice> {
        let peer = client.peer;
        let is_known = self.0.contains_key(&peer);
        if !is_known && self.0.len() >= ADDRESSES {
            return None;
        }
        let episode = self.0.entry(peer).or_insert(RefusalEpisode {
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
        let episode = self.0.get_mut(&client.peer)?;
        episode.last = now;
        if is_cut_off {
            episode.quiet = QUIET_UNTIL_NEXT_EVENT;
        }
        self.close(client.peer, true)
    }

    /// One refused connection less, if `was_refused`; the last ends the episode if the address has logged in.
    fn close(&mut self, peer: IpAddr, was_refused: bool) -> Option<ClientNotice> {
        let episode = self.0.get_mut(&peer)?;
        episode.open = episode.open.saturating_sub(usize::from(was_refused));
        if episode.open > 0 || !episode.has_logged_in {
            return None;
        }
        self.0.remove(&peer);
        Some(ClientNotice::LoggedIn { peer })
    }

    /// Lets time pass.
    pub(super) fn advance(&mut self, now: Timestamp) -> Vec<ClientNotice> {
        let is_over = |_: &IpAddr, episode: &mut RefusalEpisode| {
            episode.open == 0 && now.since(episode.last) >= episode.quiet
        };
        self.0.extract_if(is_over).map(|(peer, _)| ClientNotice::RefusedGone { peer }).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::statsdb::{ClientCommand, CommandRefusal};

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
        let mut clients = RefusedClients::default();
        let mut threads = [client(1), client(1)];
        let begins = ClientNotice::Refused { peer: peer(1), password: "wrong" };
        assert_eq!(clients.refuse(at(1), &mut threads[0], "wrong"), Some(begins));
        let refused = ClientCommand::Refused(CommandRefusal::Login);
        assert!(!threads[0].is_changed_by(&refused), "once for each connection");
        assert_eq!(clients.refuse(at(1), &mut threads[1], "missing"), None);
        assert_eq!(clients.count(), 1);
        // For as long as it keeps its connections.
        assert_eq!(clients.advance(at(100_000)), []);
        let begins = ClientNotice::Refused { peer: peer(2), password: "missing" };
        assert_eq!(clients.refuse(at(100_001), &mut client(2), "missing"), Some(begins));
        assert_eq!(clients.count(), 2);

        // It is fixed: the new process logs in before the end of the old one has been noticed.
        let mut fixed = client(1);
        assert_eq!(clients.log_in(&mut fixed), None);
        assert_eq!(clients.leave(at(100_003), &threads[0], false), None);
        assert_eq!(
            clients.leave(at(100_003), &threads[1], false),
            Some(ClientNotice::LoggedIn { peer: peer(1) })
        );
        assert_eq!(clients.leave(at(100_004), &fixed, false), None);
        assert_eq!(clients.count(), 1);
        // The next is another episode; on one connection it ends with the login.
        assert!(clients.refuse(at(100_005), &mut fixed, "wrong").is_some());
        let ends = Some(ClientNotice::LoggedIn { peer: peer(1) });
        assert_eq!(clients.log_in(&mut fixed), ends);
        assert_eq!(clients.leave(at(100_007), &fixed, false), None);
    }

    /// A health check that logs in every second must not make a coturn at the same address many episodes.
    #[test]
    fn a_login_beside_a_refused_connection_ends_nothing() {
        let mut clients = RefusedClients::default();
        let mut coturn = client(1);
        assert!(clients.refuse(at(1), &mut coturn, "wrong").is_some());
        for second in 2..50 {
            let mut check = client(1);
            assert_eq!(clients.log_in(&mut check), None);
            assert_eq!(clients.leave(at(second), &check, false), None);
            assert_eq!(clients.refuse(at(second), &mut coturn, "missing"), None);
        }
        assert_eq!(clients.count(), 1);
        // What was refused after the last login is not solved by it.
        assert_eq!(clients.leave(at(50), &coturn, false), None);
        assert_eq!(clients.count(), 1);
    }

    #[test]
    fn a_client_is_forgotten_ten_minutes_after_the_last_attempt() {
        let mut clients = RefusedClients::default();
        for second in [100, 200, 300] {
            let mut other = client(7);
            let notice = clients.refuse(at(second), &mut other, "missing");
            assert_eq!(notice.is_some(), second == 100, "{second}");
            assert_eq!(clients.leave(at(second), &other, false), None);
        }
        assert_eq!(clients.advance(at(899)), []);
        assert_eq!(clients.advance(at(900)), [ClientNotice::RefusedGone { peer: peer(7) }]);
        assert_eq!(clients.count(), 0);
    }

    /// A quiet coturn whose connections are closed here comes again with its next event.
    #[test]
    fn one_that_is_cut_off_is_remembered_until_its_next_event() {
        let mut clients = RefusedClients::default();
        for second in [0, 3600] {
            let mut coturn = client(7);
            assert_eq!(clients.refuse(at(second), &mut coturn, "wrong").is_some(), second == 0);
            assert!(coturn.is_refused);
            assert_eq!(clients.leave(at(second + 10), &coturn, true), None);
        }
        assert_eq!(clients.advance(at(3610 + 4499)), []);
        assert_eq!(clients.advance(at(3610 + 4500)), [ClientNotice::RefusedGone { peer: peer(7) }]);
    }

    #[test]
    fn addresses_without_end_take_no_memory_without_end() {
        let mut clients = RefusedClients::default();
        let other = |n: u32| ClientState::new((std::net::Ipv4Addr::from(n), 1).into());
        let said = (0..5000).filter(|&n| clients.refuse(at(1), &mut other(n), "wrong").is_some()).count();
        assert_eq!((said, clients.count()), (1024, 1024));
        // One who was not taken in takes no part.
        assert_eq!(clients.leave(at(2), &other(4999), false), None);
        assert_eq!(clients.log_in(&mut other(4999)), None);
    }

    #[test]
    fn an_ipv4_client_of_a_socket_for_both_families_is_one_address() {
        let mut clients = RefusedClients::default();
        let mapped = std::net::Ipv4Addr::new(192, 0, 2, 1).to_ipv6_mapped();
        assert!(clients.refuse(at(1), &mut ClientState::new((mapped, 1).into()), "wrong").is_some());
        assert_eq!(clients.refuse(at(1), &mut client(1), "wrong"), None);
    }
}
