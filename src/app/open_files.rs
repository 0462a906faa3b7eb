//! The limit of open files: raised as far as the system lets us, and shared between the servers where it is too low for what
//! their flags allow.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::config::Config;
use crate::net::MOST_ENDING;

/// Files beside the connections of clients: the runtime, the log, the store, Redis, listeners, and connections of both
/// servers that are closing.
const OTHER_FILES: u64 = 64 + 2 * MOST_ENDING as u64;

/// As many open files as the system lets us have: a connection is one.
pub(super) fn raise_limit() {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    if current != maximum {
        // Where it cannot be, there is room for fewer connections.
        let _ = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum });
    }
}

/// Lowers the limits of connections to what the limit of open files leaves, and says so: a server that has taken all of them
/// would shut the other out.
pub(super) fn fit_connections(config: &mut Config) {
    let Some(limit) = getrlimit(Resource::Nofile).current else { return };
    let of_web = config.web.max_connections;
    let of_statsdb = config.statsdb.as_ref().map_or(0, |statsdb| statsdb.max_connections);
    let Some(fitted) = fit(limit, of_web, of_statsdb) else { return };
    config.web.max_connections = fitted.of_web;
    if let Some(statsdb) = &mut config.statsdb {
        statsdb.max_connections = fitted.of_statsdb;
    }
    tracing::warn!(
        limit,
        needed = fitted.needed,
        web = fitted.of_web,
        statsdb = config.statsdb.is_some().then_some(fitted.of_statsdb),
        "the limit of open files is too low for --web.max-connections and --statsdb.max-connections: fewer connections are \
         taken. Set it (systemd: LimitNOFILE, shell: ulimit -n) to what is needed, or lower these flags"
    );
}

/// What each server may have.
#[derive(Debug, PartialEq, Eq)]
struct Fitted {
    of_web: usize,
    of_statsdb: usize,
    /// The limit with which nothing would have to be lowered.
    needed: u64,
}

/// `None` where there is room for all; else each keeps its share.
fn fit(limit: u64, of_web: usize, of_statsdb: usize) -> Option<Fitted> {
    let wanted = (of_web as u64).saturating_add(of_statsdb as u64);
    let needed = wanted.saturating_add(OTHER_FILES);
    if needed <= limit {
        return None;
    }
    // With a very low limit nothing goes well; half of it is for connections then.
    let room = limit.saturating_sub(OTHER_FILES).max(limit / 2);
    let share = |part: usize| {
        let share = u128::from(room) * part as u128 / u128::from(wanted.max(1));
        usize::try_from(share).unwrap_or(part).max(usize::from(part > 0))
    };
    Some(Fitted { of_web: share(of_web), of_statsdb: share(of_statsdb), needed })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_server_keeps_its_share_of_what_there_is() {
        let fitted = |of_web, of_statsdb, needed| Some(Fitted { of_web, of_statsdb, needed });
        for (limit, web, statsdb, expected) in [
            (1664, 512, 1024, None),
            (1663, 512, 1024, fitted(511, 1023, 1664)),
            (1_048_576, 512, 1024, None),
            (1024, 512, 1024, fitted(298, 597, 1664)),
            (1024, 512, 0, None),
            (256, 512, 1024, fitted(42, 85, 1664)),
            (64, 512, 0, fitted(32, 0, 640)),
            (2, 512, 1_000_000, fitted(1, 1, 1_000_640)),
            (1024, u32::MAX as usize, u32::MAX as usize, fitted(448, 448, 2 * u64::from(u32::MAX) + 128)),
        ] {
            assert_eq!(fit(limit, web, statsdb), expected, "{limit} {web} {statsdb}");
        }
    }
}
