//! Scenarios in which messages were lost between coturn and Redis, or coturn died.

use super::case::Case;
use super::checks;
use super::scenario::{BOTH, Clients, Echoed, Ends, NOTHING, Scenario};

/// While Redis was down #3 was born (known from its refresh on) and #2 ended (unseen: it lives until it is due; a replay
/// knows of no gap, so it cannot say `missed`).
#[test]
fn redis_down() {
    Scenario {
        name: "redis-down",
        versions: BOTH,
        ends: Ends::Become(
            "3 opened, 1 adopted, 3 released, 1 live",
            "3 opened, 1 adopted, 3 released, 1 abandoned",
        ),
        clients: Clients::Unknown("messages were lost on the way"),
        echoed: Echoed::Unknown("partly lost"),
        also: &[],
    }
    .check();
}

/// #1 was born before Redis.
#[test]
fn redis_down_at_start() {
    Scenario {
        name: "redis-down-at-start",
        versions: BOTH,
        ends: Ends::Are("1 opened, 1 adopted, 2 released"),
        clients: Clients::Unknown("messages were lost on the way"),
        echoed: NOTHING,
        also: &[],
    }
    .check();
}

/// #2 with its 10 packets ended while Redis was down.
#[test]
fn redis_down_persistent() {
    Scenario {
        name: "redis-down-persistent",
        versions: &["4.17.1"],
        ends: Ends::Become("2 opened, 1 released, 1 live", "2 opened, 1 released, 1 abandoned"),
        clients: Clients::Unknown("messages were lost on the way"),
        echoed: Echoed::Packets(&[(30, 100)]),
        also: &[checks::what_ends_while_redis_is_down_stays_unknown],
    }
    .check();
}

/// 4.6.1: the client did ask for the end, but that message was one of the lost: for all that is known, it was cut off.
/// 4.17.1: the whole final block was lost.
#[test]
fn redis_idle_timeout() {
    Scenario {
        name: "redis-idle-timeout",
        versions: &["4.6.1"],
        ends: Ends::Are("1 opened, 1 disconnected"),
        clients: Clients::Unknown("messages were lost on the way"),
        echoed: NOTHING,
        also: &[],
    }
    .check();
    Scenario {
        name: "redis-idle-timeout",
        versions: &["4.17.1"],
        ends: Ends::Become("1 opened, 1 live", "1 opened, 1 abandoned"),
        clients: Clients::Unknown("messages were lost on the way"),
        echoed: NOTHING,
        also: &[],
    }
    .check();
}

#[test]
fn redis_restart() {
    Scenario {
        name: "redis-restart",
        versions: BOTH,
        ends: Ends::Are("2 opened, 2 released"),
        clients: Clients::Unknown("messages were lost on the way"),
        echoed: Echoed::Unknown("partly lost"),
        also: &[],
    }
    .check();
}

#[test]
fn redis_stall() {
    Scenario {
        name: "redis-stall",
        versions: &["4.17.1"],
        ends: Ends::Are("2 opened, 2 released"),
        clients: Clients::Unknown("messages were lost on the way"),
        echoed: NOTHING,
        also: &[],
    }
    .check();
}

#[test]
fn reports_lost() {
    Scenario {
        name: "reports-lost",
        versions: &["4.6.1"],
        ends: Ends::InTheTruth,
        clients: Clients::Unknown("turnutils_uclient does not count"),
        echoed: Echoed::Packets(&[(7000, 170), (9000, 90)]),
        also: &[checks::usage_agrees_with_coturns_own_log, checks::lost_reports_come_back_with_the_totals],
    }
    .check();
}

#[test]
fn sigkill_restart() {
    Scenario {
        name: "sigkill-restart",
        versions: BOTH,
        ends: Ends::By(of_a_dead_process),
        clients: Clients::Unknown("messages were lost on the way"),
        echoed: Echoed::Unknown("partly lost with the process"),
        also: &[checks::a_killed_server_loses_what_it_had_not_reported],
    }
    .check();
}

#[test]
fn sigterm() {
    Scenario {
        name: "sigterm",
        versions: BOTH,
        ends: Ends::By(of_a_dead_process),
        clients: Clients::Unknown("messages were lost on the way"),
        echoed: Echoed::Unknown("partly lost with the process"),
        also: &[checks::a_killed_server_loses_what_it_had_not_reported],
    }
    .check();
}

/// Three die with the process without a word. Where an id of theirs comes anew, for whichever user, that proves that their
/// process is gone, and all three with it; else they are known to be lost once they are due. Which of the two it is is the
/// chance of how clients fall on threads.
fn of_a_dead_process(case: &Case) -> Ends {
    assert_eq!(case.truth["ends"], "3 lost with the process, 2 refresh lifetime=0");
    if case.is_restart_proven() {
        Ends::Are("5 opened, 2 released, 3 replaced")
    } else {
        Ends::Become("5 opened, 2 released, 3 live", "5 opened, 2 released, 3 abandoned")
    }
}
