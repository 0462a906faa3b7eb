//! Who may ask: users with bcrypt hashes, as in the files of all exporters.
//!
//! A hash takes a tenth of a second of a processor on purpose, so it is computed off the async workers, one at a time, and
//! what came of it is kept: an honest scraper waits once. Who is wrong waits for as long as who is right, whether there is
//! such a user or not.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hyper::header::HeaderValue;
use ring::hmac;
use ring::rand::SystemRandom;
use tokio::sync::Semaphore;

use crate::config::Secret;
use crate::net::ClientNetwork;

/// Logins that were wrong and are known to be, at most.
const MOST_WRONG: usize = 100;

/// Logins that wait for their hash at one time, of all clients and of one address.
const MOST_WAITING: usize = 64;
const MOST_WAITING_OF_ONE: usize = 16;

/// The most that a hash may cost: a login at 16 takes four seconds, at 31 two days.
const MOST_COST: u32 = 16;

/// A hash of no password that anybody knows, behind its cost.
const DECOY: &str = "QOauhQNbBCuQDKes6eFzPeMqBSjb7Mr5DUmpZ/VcEd00UAV/LDeSi";

/// The users.
#[derive(Debug)]
pub(super) struct Logins {
    users: BTreeMap<String, Secret>,
    /// What a user has the hash of who is not there: it costs as much as that of the others.
    decoy: String,
    known: Arc<KnownLogins>,
}

/// What came of the logins so far.
struct KnownLogins {
    /// Tags stand for user, hash and password together. They are of this process only, and compared in constant time.
    key: hmac::Key,
    right: Mutex<HashMap<String, hmac::Tag>>,
    wrong: Mutex<VecDeque<hmac::Tag>>,
    waiting: Mutex<HashMap<ClientNetwork, usize>>,
    turn: Arc<Semaphore>,
}

/// What a login comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum LoginOutcome {
    Right,
    /// The password is wrong, there is no such user, or nobody was named.
    Wrong,
    /// So many wait for theirs that this one was not looked at.
    Busy,
}

/// Why a hash cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LoginHashError {
    /// It is none.
    #[error(
        "basic_auth_users: the hash of {user:?} is not of bcrypt; make one with htpasswd -nBC 10 {user:?}"
    )]
    NotBcrypt {
        /// The user.
        user: String,
    },
    /// It would keep the exporter busy.
    #[error(
        "basic_auth_users: the hash of {user:?} has the cost {cost}, and {MOST_COST} is the most; 10 is usual"
    )]
    Cost {
        /// The user.
        user: String,
        /// The cost.
        cost: u32,
    },
    /// The system has no random numbers.
    #[error("basic_auth_users: the system gives no random numbers")]
    NoRandom,
}

impl Logins {
    /// With what is known of `before`, if there are logins already.
    pub(super) fn new(
        users: BTreeMap<String, Secret>,
        before: Option<&Self>,
    ) -> Result<Self, LoginHashError> {
        let mut highest = 0;
        for (user, hash) in &users {
            let cost =
                cost_of(hash.expose()).ok_or_else(|| LoginHashError::NotBcrypt { user: user.clone() })?;
            if cost > MOST_COST {
                return Err(LoginHashError::Cost { user: user.clone(), cost });
            }
            highest = highest.max(cost);
        }
        let known = match before {
            Some(before) => Arc::clone(&before.known),
            None => Arc::new(KnownLogins::new()?),
        };
        known.right().retain(|user, _| users.contains_key(user));
        Ok(Self { users, decoy: format!("$2y${highest:02}${DECOY}"), known })
    }

    /// Whether this value of `Authorization` names a user and the right password.
    pub(super) async fn check(&self, given: Option<&HeaderValue>, network: ClientNetwork) -> LoginOutcome {
        let Some((user, password)) = given.and_then(credentials) else { return LoginOutcome::Wrong };
        let hash = self.users.get(&user).map(Secret::expose);
        let tag = self.known.tag(&user, hash.unwrap_or_default(), &password);
        if let Some(outcome) = self.known.recall(&user, &tag) {
            return outcome;
        }
        let Some(waiting) = Waiting::begin(&self.known, network) else { return LoginOutcome::Busy };
        // Closed by nobody.
        let turn = Arc::clone(&self.known.turn).acquire_owned().await;
        let Ok(turn) = turn else { return LoginOutcome::Busy };
        // Another request of the same scraper may have been first.
        if let Some(outcome) = self.known.recall(&user, &tag) {
            return outcome;
        }
        let (is_user, hash) = (hash.is_some(), hash.unwrap_or(&self.decoy).to_owned());
        let known = Arc::clone(&self.known);
        let verified = tokio::task::spawn_blocking(move || {
            // A stream that is reset, or a connection that breaks, stops no thread: the turn and the place are given back
            // when the hash is there.
            let _held = (turn, waiting);
            let is_right = matches!(bcrypt::verify(&*password, &hash), Ok(true)) && is_user;
            known.keep(user, tag, is_right);
            is_right
        });
        if matches!(verified.await, Ok(true)) { LoginOutcome::Right } else { LoginOutcome::Wrong }
    }
}

/// The cost of a hash; `None` where it is none of bcrypt.
fn cost_of(hash: &str) -> Option<u32> {
    let mut parts = hash.strip_prefix('$')?.split('$');
    let (kind, cost, rest) = (parts.next()?, parts.next()?, parts.next()?);
    let is_bcrypt = matches!(kind, "2a" | "2b" | "2y") && rest.len() == 53 && parts.next().is_none();
    let cost = cost.parse().ok().filter(|_| cost.len() == 2 && is_bcrypt)?;
    // At the least cost, which takes a millisecond: whether it can be computed at all.
    let is_sound = bcrypt::verify("", &format!("$2y$04${rest}")).is_ok();
    (is_sound && cost >= 4).then_some(cost)
}

/// User and password of `Basic`.
fn credentials(given: &HeaderValue) -> Option<(String, Vec<u8>)> {
    let (scheme, coded) = given.to_str().ok()?.split_once(' ')?;
    let decoded = STANDARD.decode(coded.trim()).ok().filter(|_| scheme.eq_ignore_ascii_case("basic"))?;
    let colon = decoded.iter().position(|byte| *byte == b':')?;
    let (user, password) = decoded.split_at_checked(colon)?;
    Some((String::from_utf8(user.to_vec()).ok()?, password.get(1..)?.to_vec()))
}

impl KnownLogins {
    fn new() -> Result<Self, LoginHashError> {
        let key = hmac::Key::generate(hmac::HMAC_SHA256, &SystemRandom::new());
        Ok(Self {
            key: key.map_err(|_| LoginHashError::NoRandom)?,
            right: Mutex::default(),
            wrong: Mutex::default(),
            waiting: Mutex::default(),
            turn: Arc::new(Semaphore::new(1)),
        })
    }

    fn tag(&self, user: &str, hash: &str, password: &[u8]) -> LoginTag {
        let mut text = Vec::new();
        for part in [user.as_bytes(), hash.as_bytes(), password] {
            text.extend_from_slice(&(part.len() as u64).to_be_bytes());
            text.extend_from_slice(part);
        }
        LoginTag(hmac::sign(&self.key, &text))
    }

    /// What came of the same login before, if that is known.
    fn recall(&self, user: &str, tag: &LoginTag) -> Option<LoginOutcome> {
        if self.right().get(user).is_some_and(|right| tag.is(right)) {
            return Some(LoginOutcome::Right);
        }
        self.wrong().iter().any(|wrong| tag.is(wrong)).then_some(LoginOutcome::Wrong)
    }

    fn keep(&self, user: String, tag: LoginTag, is_right: bool) {
        if is_right {
            // One for each user: no number of wrong logins takes its place.
            self.right().insert(user, tag.0);
            return;
        }
        let mut wrong = self.wrong();
        wrong.push_back(tag.0);
        if wrong.len() > MOST_WRONG {
            wrong.pop_front();
        }
    }

    fn right(&self) -> MutexGuard<'_, HashMap<String, hmac::Tag>> {
        self.right.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wrong(&self) -> MutexGuard<'_, VecDeque<hmac::Tag>> {
        self.wrong.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn waiting(&self) -> MutexGuard<'_, HashMap<ClientNetwork, usize>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for KnownLogins {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KnownLogins").finish_non_exhaustive()
    }
}

#[derive(Clone, Copy)]
struct LoginTag(hmac::Tag);

impl LoginTag {
    /// In a time that does not depend on where they differ.
    fn is(&self, other: &hmac::Tag) -> bool {
        bool::from(subtle::ConstantTimeEq::ct_eq(self.0.as_ref(), other.as_ref()))
    }
}

/// A place among those that wait for their hash, until it is dropped.
struct Waiting {
    known: Arc<KnownLogins>,
    network: ClientNetwork,
}

impl Waiting {
    fn begin(known: &Arc<KnownLogins>, network: ClientNetwork) -> Option<Self> {
        let mut waiting = known.waiting();
        let all: usize = waiting.values().sum();
        let of_one = waiting.entry(network).or_default();
        if all >= MOST_WAITING || *of_one >= MOST_WAITING_OF_ONE {
            if *of_one == 0 {
                waiting.remove(&network);
            }
            return None;
        }
        *of_one += 1;
        drop(waiting);
        Some(Self { known: Arc::clone(known), network })
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        let mut waiting = self.known.waiting();
        if let Some(of_one) = waiting.get_mut(&self.network) {
            *of_one -= 1;
            if *of_one == 0 {
                waiting.remove(&self.network);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::IpAddr;

    /// At the least cost.
    fn hash(password: &str) -> Secret {
        Secret::new(bcrypt::hash_with_salt(password, 4, [7; 16]).unwrap().to_string())
    }

    fn users(users: &[(&str, &str)]) -> BTreeMap<String, Secret> {
        users.iter().map(|(user, password)| ((*user).to_owned(), hash(password))).collect()
    }

    fn basic(login: &str) -> HeaderValue {
        HeaderValue::from_str(&format!("Basic {}", STANDARD.encode(login))).unwrap()
    }

    fn network(address: &str) -> ClientNetwork {
        address.parse::<IpAddr>().unwrap().into()
    }

    async fn check(logins: &Logins, login: &str) -> LoginOutcome {
        logins.check(Some(&basic(login)), network("192.0.2.1")).await
    }

    #[tokio::test]
    async fn users_and_their_passwords() {
        let logins = Logins::new(users(&[("alice", "geheim"), ("bob", "a:b"), ("", "x")]), None).unwrap();
        for _ in 0..2 {
            for (login, expected) in [
                ("alice:geheim", LoginOutcome::Right),
                ("bob:a:b", LoginOutcome::Right),
                (":x", LoginOutcome::Right),
                ("alice:a:b", LoginOutcome::Wrong),
                ("alice:", LoginOutcome::Wrong),
                ("carol:geheim", LoginOutcome::Wrong),
                ("alice", LoginOutcome::Wrong),
            ] {
                assert_eq!(check(&logins, login).await, expected, "{login}");
            }
        }
        for given in ["", "Basic", "Basic !", "Bearer YTpi", "Basic /w=="] {
            let given = HeaderValue::from_static(given);
            assert_eq!(logins.check(Some(&given), network("192.0.2.1")).await, LoginOutcome::Wrong);
        }
        assert_eq!(logins.check(None, network("192.0.2.1")).await, LoginOutcome::Wrong);
        let lower = HeaderValue::from_static("basic YWxpY2U6Z2VoZWlt");
        assert_eq!(logins.check(Some(&lower), network("192.0.2.1")).await, LoginOutcome::Right);
    }

    #[tokio::test]
    async fn what_is_known_stays_with_the_hash_and_no_wrong_login_takes_its_place() {
        let before = Logins::new(users(&[("alice", "geheim"), ("bob", "b")]), None).unwrap();
        assert_eq!(check(&before, "alice:geheim").await, LoginOutcome::Right);
        for n in 0..=MOST_WRONG {
            assert_eq!(check(&before, &format!("alice:{n}")).await, LoginOutcome::Wrong);
        }
        assert_eq!((before.known.right().len(), before.known.wrong().len()), (1, MOST_WRONG));
        let same = Logins::new(users(&[("alice", "geheim")]), Some(&before)).unwrap();
        let tag = same.known.tag("alice", hash("geheim").expose(), b"geheim");
        assert_eq!(same.known.recall("alice", &tag), Some(LoginOutcome::Right));
        let other = Logins::new(users(&[("alice", "new")]), Some(&same)).unwrap();
        assert_eq!(check(&other, "alice:geheim").await, LoginOutcome::Wrong);
        assert_eq!(check(&other, "alice:new").await, LoginOutcome::Right);
        let without = Logins::new(users(&[("bob", "b")]), Some(&other)).unwrap();
        assert_eq!(without.known.right().len(), 0);
    }

    #[tokio::test]
    async fn one_address_does_not_take_all_places_of_those_that_wait() {
        let logins = Logins::new(users(&[("alice", "geheim")]), None).unwrap();
        let turn = logins.known.turn.acquire().await.unwrap();
        let waiting: Vec<_> = (0..MOST_WAITING_OF_ONE)
            .map(|_| Waiting::begin(&logins.known, network("192.0.2.1")).unwrap())
            .collect();
        assert_eq!(check(&logins, "alice:geheim").await, LoginOutcome::Busy);
        let other = basic("alice:geheim");
        let other = logins.check(Some(&other), network("192.0.2.2"));
        drop(turn);
        assert_eq!(other.await, LoginOutcome::Right);
        assert_eq!(check(&logins, "alice:geheim").await, LoginOutcome::Right, "it is known now");
        drop(waiting);
        assert!(logins.known.waiting().is_empty());
    }

    /// Or whoever resets their streams would have as many hashes computed as they like.
    #[tokio::test]
    async fn who_goes_away_while_the_hash_is_computed_keeps_the_turn_until_it_is_there() {
        // Some seconds in a build without optimizations.
        let slow = Secret::new(bcrypt::hash_with_salt("geheim", 11, [7; 16]).unwrap().to_string());
        let logins = Arc::new(Logins::new(BTreeMap::from([("alice".to_owned(), slow)]), None).unwrap());
        let asks = {
            let logins = Arc::clone(&logins);
            tokio::spawn(async move { check(&logins, "alice:wrong").await })
        };
        while logins.known.turn.available_permits() > 0 {
            tokio::task::yield_now().await;
        }
        asks.abort();
        assert!(asks.await.unwrap_err().is_cancelled());
        assert_eq!(logins.known.turn.available_permits(), 0);
        assert_eq!(logins.known.waiting().len(), 1);
        drop(logins.known.turn.acquire().await.unwrap());
        // Dropped just after the turn.
        while !logins.known.waiting().is_empty() {
            tokio::task::yield_now().await;
        }
        assert_eq!(logins.known.wrong().len(), 1, "what came of it is kept");
    }

    #[test]
    fn who_is_no_user_has_a_hash_to_wait_for_as_costly_as_that_of_the_others() {
        let logins = Logins::new(users(&[("alice", "geheim")]), None).unwrap();
        assert_eq!(cost_of(&logins.decoy), Some(4));
        assert!(!bcrypt::verify("geheim", &logins.decoy).unwrap());
    }

    #[test]
    fn a_hash_that_is_none_or_costs_too_much_is_refused_with_its_user() {
        let long = "QOauhQNbBCuQDKes6eFzPeMqBSjb7Mr5DUmpZ/VcEd00UAV/LDeSi";
        for kind in ["2a", "2b", "2y"] {
            assert_eq!(cost_of(&format!("$${kind}$10${long}")[1..]), Some(10), "{kind}");
        }
        for hash in
            ["", "geheim", "$2x$10$", "$1$abc$def", &format!("$2y$1${long}"), &format!("$2y$03${long}")]
        {
            let users = BTreeMap::from([("al ice".to_owned(), Secret::new(hash))]);
            let refused = Logins::new(users, None).unwrap_err().to_string();
            assert!(refused.contains("\"al ice\"") && refused.contains("htpasswd"), "{refused}");
        }
        // Bits behind the last byte of the salt, and a letter that is none of bcrypt's.
        for broken in [long.replacen("Pe", "Pf", 1), long.replacen('Q', "+", 1)] {
            assert_eq!(cost_of(&format!("$2y$10${broken}")), None, "{broken}");
        }
        let users = BTreeMap::from([("alice".to_owned(), Secret::new(format!("$2y$17${long}")))]);
        assert!(matches!(Logins::new(users, None), Err(LoginHashError::Cost { cost: 17, .. })));
    }
}
