//! Every recorded capture against what really happened: the clients' own counts, the peer's, coturn's log, and what the
//! recording did (`tests/golden/ground-truth.json`). Knows nothing of the expected pages. One test for each scenario,
//! named for it, here and in `lost.rs`; `checks.rs` has what is checked.
//!
//! Where the stream itself lost messages (Redis or its connections were down, coturn died), the exporter can know only
//! what was published; then the numbers come from a naive reading of the stream, and the scenario says so.
//!
//! In `reports-lost` reports were lost, too, but the totals came: there the numbers are those of coturn's log again, and what
//! came from the totals is what the log has and the stream's reports have not.
//!
//! Three things make coturn's counts differ from its clients', all of them coturn's own:
//!
//! * 4.17.1 answers the first, unauthenticated request over UDP without a session: it counts neither that request nor
//!   its 401 (see [`case::stateless`] for their sizes, which are exact).
//! * 4.11 and later count 4 bytes too many per `ChannelData` packet in the peer leg's `sent`.
//! * 4.5.0.4 publishes neither the report at the end nor any totals; 4.5.0.8 has no peer leg.

mod case;
mod checks;
mod lost;
mod mixed;
mod scenario;

use std::collections::BTreeSet;

use case::TRUTH;
use scenario::{BOTH, Clients, Echoed, Ends, NOTHING, Scenario};

#[test]
fn every_capture_has_a_scenario() {
    let source = concat!(include_str!("mod.rs"), include_str!("lost.rs"));
    let mut checked = BTreeSet::new();
    let (mut counted, mut echoed, mut logged) = (0, 0, 0);
    for scenario in source.split("    Scenario {\n").skip(1) {
        let field =
            |name: &str| scenario.split(name).nth(1).expect("a field").lines().next().expect("a line");
        let name = field("name: ").split('"').nth(1).expect("a name");
        let versions = match field("versions: ") {
            "BOTH," => BOTH.iter().map(ToString::to_string).collect(),
            list => list.split('"').skip(1).step_by(2).map(str::to_owned).collect::<Vec<_>>(),
        };
        counted += versions.len() * usize::from(field("clients: ") == "Clients::Counted,");
        echoed += versions.len() * usize::from(!field("echoed: ").starts_with("Echoed::Unknown"));
        logged += versions.len() * usize::from(scenario.contains("usage_agrees_with_coturns_own_log"));
        for version in versions {
            assert!(checked.insert(format!("{name}-{version}")), "{name}-{version} has two scenarios");
        }
    }
    let known: BTreeSet<_> = TRUTH.as_object().expect("an object").keys().cloned().collect();
    assert_eq!(known.len(), 72, "captures have gone missing");
    assert_eq!(checked, known);
    assert_eq!((counted, echoed, logged), (40, 60, 5), "what clients, peers and coturn's log counted");
}

#[test]
fn admin_kill() {
    Scenario {
        name: "admin-kill",
        versions: BOTH,
        ends: Ends::Are("2 opened, 1 disconnected, 1 released"),
        clients: Clients::Counted,
        echoed: Echoed::Packets(&[(25, 100)]),
        also: &[],
    }
    .check();
}

#[test]
fn basic_refresh0() {
    Scenario {
        name: "basic-refresh0",
        versions: &["4.5.0.8", "4.5.2", "4.6.1", "4.17.1"],
        ends: Ends::InTheTruth,
        clients: Clients::Counted,
        echoed: Echoed::Packets(&[(100, 172)]),
        also: &[],
    }
    .check();
    Scenario {
        name: "basic-refresh0",
        versions: &["4.5.0.4"],
        ends: Ends::InTheTruth,
        clients: Clients::Unknown("4.5.0.4 reports nothing at the end"),
        echoed: Echoed::Packets(&[(100, 172)]),
        also: &[checks::the_oldest_protocol_loses_its_tail_and_no_more],
    }
    .check();
}

#[test]
fn cadence() {
    Scenario {
        name: "cadence",
        versions: &["4.5.0.8", "4.5.2", "4.6.1", "4.17.1"],
        ends: Ends::InTheTruth,
        clients: Clients::Counted,
        echoed: Echoed::Packets(&[(9000, 172)]),
        also: &[],
    }
    .check();
    Scenario {
        name: "cadence",
        versions: &["4.5.0.4"],
        ends: Ends::InTheTruth,
        clients: Clients::Unknown("4.5.0.4 reports nothing at the end"),
        echoed: Echoed::Packets(&[(9000, 172)]),
        also: &[checks::the_oldest_protocol_loses_its_tail_and_no_more],
    }
    .check();
}

#[test]
fn client_kill() {
    Scenario {
        name: "client-kill",
        versions: BOTH,
        ends: Ends::Are("1 opened, 1 released"),
        clients: Clients::Unknown("a killed client says nothing"),
        echoed: NOTHING,
        also: &[],
    }
    .check();
}

/// `turnutils_uclient` leaves one open; nothing more is ever reported of it.
#[test]
fn dtls() {
    Scenario {
        name: "dtls",
        versions: BOTH,
        ends: Ends::Become("2 opened, 1 released, 1 live", "2 opened, 1 released, 1 abandoned"),
        clients: Clients::Unknown("turnutils_uclient does not count"),
        echoed: Echoed::Packets(&[(300, 170)]),
        also: &[checks::usage_agrees_with_coturns_own_log],
    }
    .check();
}

/// 4.6.1 got IPv4 only: the 15 over IPv6 are missing.
#[test]
fn dual_family() {
    Scenario {
        name: "dual-family",
        versions: &["4.6.1"],
        ends: Ends::Are("1 opened, 1 released"),
        clients: Clients::Counted,
        echoed: Echoed::Packets(&[(15, 100)]),
        also: &[],
    }
    .check();
    Scenario {
        name: "dual-family",
        versions: &["4.17.1"],
        ends: Ends::Are("1 opened, 1 released"),
        clients: Clients::Counted,
        echoed: Echoed::Packets(&[(30, 100)]),
        also: &[],
    }
    .check();
}

#[test]
fn expiry() {
    Scenario {
        name: "expiry",
        versions: BOTH,
        ends: Ends::InTheTruth,
        clients: Clients::Counted,
        echoed: Echoed::Packets(&[(20, 100)]),
        also: &[],
    }
    .check();
}

#[test]
fn ipv6_client() {
    Scenario {
        name: "ipv6-client",
        versions: BOTH,
        ends: Ends::Are("1 opened, 1 released"),
        clients: Clients::Counted,
        echoed: Echoed::Packets(&[(15, 100)]),
        also: &[],
    }
    .check();
}

/// 5 packets after each of 5 grants.
#[test]
fn long_refreshed() {
    Scenario {
        name: "long-refreshed",
        versions: BOTH,
        ends: Ends::InTheTruth,
        clients: Clients::Counted,
        echoed: Echoed::Packets(&[(25, 200)]),
        also: &[],
    }
    .check();
}

#[test]
fn mixed_in_one_stream() {
    Scenario {
        name: "mixed",
        versions: BOTH,
        ends: Ends::InTheTruth,
        clients: Clients::Counted,
        echoed: Echoed::InTheTruth,
        also: &[mixed::each_allocation_is_right, mixed::each_user_is_right],
    }
    .check();
}

#[test]
fn mobility() {
    Scenario {
        name: "mobility",
        versions: BOTH,
        ends: Ends::Are("2 opened, 1 released, 1 expired"),
        clients: Clients::Unknown("a client moves: both of its paths are one allocation"),
        echoed: Echoed::Packets(&[(50, 100)]),
        also: &[checks::a_moved_client_is_one_allocation],
    }
    .check();
}

#[test]
fn no_realm() {
    Scenario {
        name: "no-realm",
        versions: BOTH,
        ends: Ends::Are("1 opened, 1 released"),
        clients: Clients::Counted,
        echoed: Echoed::Packets(&[(10, 100)]),
        also: &[],
    }
    .check();
}

#[test]
fn odd_usernames() {
    Scenario {
        name: "odd-usernames",
        versions: BOTH,
        ends: Ends::Are("16 opened, 16 released"),
        clients: Clients::Unknown("not kept"),
        echoed: Echoed::Packets(&[(16 * 3, 50)]),
        also: &[checks::granted::<16>],
    }
    .check();
}

#[test]
fn oneway_up() {
    Scenario {
        name: "oneway-up",
        versions: BOTH,
        ends: Ends::InTheTruth,
        clients: Clients::Counted,
        echoed: Echoed::Unknown("nothing came back"),
        also: &[checks::one_way_traffic_counts_one_way],
    }
    .check();
}

/// Two of six names are silent in 4.6.1 (`100%`, `a%20b`), and a neighbour on their thread (`a%b`) loses its final block: it
/// asked for its end, and nothing more is reported of it, which is a release and no orphan.
#[test]
fn percent_usernames() {
    Scenario {
        name: "percent-usernames",
        versions: &["4.6.1"],
        ends: Ends::Become("4 opened, 3 released, 1 live", "4 opened, 4 released"),
        clients: Clients::Unknown("messages were lost on the way"),
        echoed: Echoed::Packets(&[(3 * 3, 50)]),
        also: &[],
    }
    .check();
    Scenario {
        name: "percent-usernames",
        versions: &["4.17.1"],
        ends: Ends::Are("6 opened, 6 released"),
        clients: Clients::Unknown("not kept"),
        echoed: Echoed::Packets(&[(6 * 3, 50)]),
        also: &[checks::granted::<6>],
    }
    .check();
}

#[test]
fn quota() {
    Scenario {
        name: "quota",
        versions: BOTH,
        ends: Ends::Are("3 opened, 3 released"),
        clients: Clients::Unknown("those refused are no allocations"),
        echoed: NOTHING,
        also: &[checks::sessions_without_an_allocation_are_apart],
    }
    .check();
}

#[test]
fn realms() {
    Scenario {
        name: "realms",
        versions: BOTH,
        ends: Ends::Are("4 opened, 4 released"),
        clients: Clients::Counted,
        echoed: Echoed::Packets(&[(4, 80), (8, 80), (16, 80), (32, 80)]),
        also: &[],
    }
    .check();
}

#[test]
fn rest_auth() {
    Scenario {
        name: "rest-auth",
        versions: BOTH,
        ends: Ends::InTheTruth,
        clients: Clients::Counted,
        echoed: Echoed::Packets(&[(4 * 12, 200)]),
        also: &[],
    }
    .check();
}

#[test]
fn sendind() {
    Scenario {
        name: "sendind",
        versions: BOTH,
        ends: Ends::InTheTruth,
        clients: Clients::Counted,
        echoed: Echoed::Packets(&[(300, 160)]),
        also: &[],
    }
    .check();
}

#[test]
fn stun_only() {
    Scenario {
        name: "stun-only",
        versions: BOTH,
        ends: Ends::Are(""),
        clients: Clients::Counted,
        echoed: NOTHING,
        also: &[checks::sessions_without_an_allocation_are_apart],
    }
    .check();
}

#[test]
fn tcp_disconnect() {
    Scenario {
        name: "tcp-disconnect",
        versions: BOTH,
        ends: Ends::InTheTruth,
        clients: Clients::Counted,
        echoed: Echoed::Packets(&[(40, 300)]),
        also: &[],
    }
    .check();
}

#[test]
fn tcp_relay() {
    Scenario {
        name: "tcp-relay",
        versions: BOTH,
        ends: Ends::Are("1 opened, 1 released"),
        clients: Clients::Counted,
        echoed: Echoed::Packets(&[(20, 1000)]),
        also: &[],
    }
    .check();
}

#[test]
fn tls() {
    Scenario {
        name: "tls",
        versions: BOTH,
        ends: Ends::InTheTruth,
        clients: Clients::Counted,
        echoed: Echoed::Packets(&[(40, 300)]),
        also: &[],
    }
    .check();
}

/// B's `new` replaces A's alice (one key); A's next refresh brings A's back as adopted.
#[test]
fn two_coturns_one_redis() {
    Scenario {
        name: "two-coturns-one-redis",
        versions: BOTH,
        ends: Ends::Are("3 opened, 1 adopted, 1 replaced, 3 released"),
        clients: Clients::Counted,
        echoed: Echoed::Packets(&[(30, 100), (7, 500), (11, 60)]),
        also: &[],
    }
    .check();
}

/// `turnutils_uclient` leaves some open; nothing more is ever reported of them.
#[test]
fn uclient() {
    Scenario {
        name: "uclient",
        versions: &["4.6.1"],
        ends: Ends::Become("6 opened, 3 released, 3 live", "6 opened, 3 released, 3 abandoned"),
        clients: Clients::Unknown("turnutils_uclient does not count"),
        echoed: Echoed::Packets(&[(4500, 170)]),
        also: &[checks::usage_agrees_with_coturns_own_log],
    }
    .check();
    Scenario {
        name: "uclient",
        versions: &["4.17.1"],
        ends: Ends::Become("6 opened, 6 live", "6 opened, 6 abandoned"),
        clients: Clients::Unknown("turnutils_uclient does not count"),
        echoed: Echoed::Unknown("partly lost"),
        also: &[checks::usage_agrees_with_coturns_own_log],
    }
    .check();
}

#[test]
fn wrap32() {
    Scenario {
        name: "wrap32",
        versions: &["4.17.1"],
        ends: Ends::InTheTruth,
        clients: Clients::Unknown("the kernel dropped some before coturn saw them"),
        echoed: Echoed::Unknown("partly lost"),
        also: &[checks::four_gibibytes_do_not_wrap],
    }
    .check();
}
