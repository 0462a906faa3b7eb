//! What the log says of something that goes wrong again and again: one line when it begins or changes, and one when it is
//! over; not one at each attempt. Pure: time is an argument, and the caller writes the lines.
//!
//! [`LogOnce`] is for a problem whose end is known, such as a server that cannot be reached. [`Episodes`] are for problems
//! that are over when they have not occurred for a while, such as clients that are turned away.

use std::collections::HashMap;
use std::hash::Hash;
use std::time::Duration;

use crate::clock::Timestamp;

/// A problem, with what was logged of it last.
#[derive(Debug)]
pub(super) struct LogOnce<T = ()> {
    logged: Option<T>,
}

impl<T: PartialEq> LogOnce<T> {
    /// There is no problem.
    pub(super) const fn new() -> Self {
        Self { logged: None }
    }

    /// There is this problem; whether to log it: it is new, or not what was logged last.
    #[must_use]
    pub(super) fn is_news(&mut self, problem: T) -> bool {
        let is_news = self.logged.as_ref() != Some(&problem);
        self.logged = Some(problem);
        is_news
    }

    /// There is no problem any more; whether there was one, whose end may be logged. The next one is news again.
    pub(super) fn solve(&mut self) -> bool {
        self.logged.take().is_some()
    }

    /// Whether there is a problem.
    pub(super) const fn is_there(&self) -> bool {
        self.logged.is_some()
    }
}

impl<T: PartialEq> Default for LogOnce<T> {
    fn default() -> Self {
        Self::new()
    }
}

/// Problems of several keys, each of which is over when it has not occurred for a while.
#[derive(Debug)]
pub(super) struct Episodes<K> {
    quiet: Duration,
    most: usize,
    open: HashMap<K, Episode>,
}

#[derive(Debug)]
struct Episode {
    last: Timestamp,
    count: u64,
}

impl<K: Eq + Hash> Episodes<K> {
    /// An episode ends `quiet` after its last occurrence. No more than `most` are followed at a time: the keys may come from
    /// strangers, and lines without end help nobody.
    pub(super) fn new(quiet: Duration, most: usize) -> Self {
        Self { quiet, most, open: HashMap::new() }
    }

    /// The problem of this key occurs; whether to log it: an episode begins.
    #[must_use]
    pub(super) fn is_news(&mut self, now: Timestamp, key: K) -> bool {
        if let Some(episode) = self.open.get_mut(&key) {
            episode.last = now;
            episode.count += 1;
            return false;
        }
        let has_room = self.open.len() < self.most;
        if has_room {
            self.open.insert(key, Episode { last: now, count: 1 });
        }
        has_room
    }

    /// Ends the episodes that have been quiet for long enough; gives how often each occurred.
    pub(super) fn ended(&mut self, now: Timestamp) -> Vec<(K, u64)> {
        if self.open.is_empty() {
            return Vec::new();
        }
        let quiet = self.quiet;
        let ended = self.open.extract_if(|_, episode| now.since(episode.last) >= quiet);
        ended.map(|(key, episode)| (key, episode.count)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Timestamp {
        Timestamp::from_millis(seconds * 1000)
    }

    #[test]
    fn a_problem_is_news_once_and_again_when_it_changes_or_comes_back() {
        let mut problem = LogOnce::new();
        assert!(!problem.solve(), "there was none");
        assert!(problem.is_news("a"));
        assert!(!problem.is_news("a"));
        assert!(problem.is_news("b"));
        assert!(problem.is_news("a"));
        assert!(problem.is_there());
        assert!(problem.solve());
        assert!(!problem.is_there() && !problem.solve(), "its end is logged once");
        assert!(problem.is_news("a"));
    }

    #[test]
    fn an_episode_is_over_when_nothing_of_it_came_for_a_while() {
        let mut episodes = Episodes::new(Duration::from_secs(30), 10);
        assert_eq!(episodes.ended(at(0)), []);
        assert!(episodes.is_news(at(1), "a"));
        assert!(!episodes.is_news(at(20), "a"));
        assert!(episodes.is_news(at(20), "b"), "another key");
        assert!(!episodes.is_news(at(40), "b"));
        assert_eq!(episodes.ended(at(49)), []);
        assert_eq!(episodes.ended(at(50)), [("a", 2)]);
        assert!(episodes.is_news(at(51), "a"));
        assert_eq!(episodes.ended(at(70)), [("b", 2)]);
    }

    #[test]
    fn keys_without_end_make_no_lines_without_end() {
        let mut episodes = Episodes::new(Duration::from_secs(30), 64);
        let lines = (0..5000_u32).filter(|&key| episodes.is_news(at(1), key)).count();
        assert_eq!((lines, episodes.open.len()), (64, 64));
    }
}
