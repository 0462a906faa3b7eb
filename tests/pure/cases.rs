//! The captures written by hand (`tests/golden/case-*.jsonl`): what must be true of each, by the rules, at which moment.
//! `tests/golden/README.md` says what each shows.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use crate::common::readers::golden;
use crate::common::readers::page::Page;
use crate::common::temp_dir::TempDir;
use coturn_exporter::metrics::names;
use coturn_exporter::state::{SessionBy, Settings};

/// A claim: these series add up to that.
struct Claim {
    family: String,
    labels: Vec<(String, String)>,
    value: f64,
}

impl Claim {
    /// From `closed{cause=missed,realm=x} 1`, where `closed` is `coturn_allocations_closed_total` and so on.
    fn parse(text: &str) -> Self {
        let (series, value) = text.rsplit_once(' ').expect("a value");
        let (name, labels) = series.split_once('{').unwrap_or((series, "}"));
        let labels = labels.strip_suffix('}').expect("closed labels");
        let label = |label: &str| {
            let (name, value) = label.split_once('=').expect("a label");
            (name.to_owned(), value.to_owned())
        };
        let family = match name {
            "live" => "coturn_allocations".to_owned(),
            "opened" | "adopted" | "closed" | "orphaned" => format!("coturn_allocations_{name}_total"),
            "orphans" => "coturn_orphaned_allocations".to_owned(),
            "anomalies" => "coturn_exporter_accounting_anomalies_total".to_owned(),
            "rejected" => "coturn_exporter_rejected_messages_total".to_owned(),
            _ => format!("coturn_{name}"),
        };
        Self {
            family,
            labels: labels.split(',').filter(|text| !text.is_empty()).map(label).collect(),
            value: value.parse().expect("a number"),
        }
    }

    fn got(&self, page: &Page) -> f64 {
        let labels: Vec<_> =
            self.labels.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        page.sum(&self.family, &labels)
    }
}

/// Checks the claims of each moment of a case; a moment of `None` is the last event.
#[track_caller]
fn claim_with(settings: &Settings, case: &str, claims: &[(Option<f64>, &[&str])]) {
    let mut complaints = String::new();
    for (until, claims) in claims {
        let page = golden::replayed(settings.clone(), &golden::capture(case), *until);
        for text in *claims {
            let claim = Claim::parse(text);
            // A misspelt name would be 0 for ever.
            let known = names::ALL.iter().any(|family| {
                let rest = claim.family.strip_prefix(family.name);
                rest.is_some_and(|rest| matches!(rest, "" | "_sum" | "_count" | "_bucket"))
            });
            let got = claim.got(&page);
            if !known || (got - claim.value).abs() > 1e-9 {
                writeln!(complaints, "at {until:?}: expected {text}, got {got}").expect("a String");
            }
        }
    }
    assert!(complaints.is_empty(), "{case}:\n{complaints}");
}

#[track_caller]
fn claim(case: &str, claims: &[(Option<f64>, &[&str])]) {
    claim_with(&Settings::default(), case, claims);
}

/// After everything has been settled, forgotten or given up.
const LATER: Option<f64> = Some(200_000.0);

#[test]
fn lost_delta_is_recovered_by_the_totals() {
    claim(
        "case-lost-delta",
        &[(
            None,
            &[
                "opened 1",
                "closed{cause=disconnected} 1",
                "anomalies 0",
                "unseen_bytes_total 0",
                "relayed_packets_total{leg=client,direction=received} 160",
                "relayed_bytes_total{leg=client,direction=received} 16000",
                "relayed_bytes_total{leg=client,direction=sent} 17600",
                "relayed_bytes_total{leg=peer} 29520",
                "recovered_packets_total{leg=client,direction=received} 50",
                "recovered_bytes_total{leg=client,direction=received} 5000",
                "recovered_bytes_total{leg=client,direction=sent} 5500",
                "recovered_packets_total{leg=peer,direction=sent} 50",
                "recovered_bytes_total{leg=peer,direction=received} 4800",
                "recovered_bytes_total{leg=peer,direction=sent} 4800",
                // what was recovered is part of its session
                "session_relayed_bytes_sum 29520",
            ],
        )],
    );
}

#[test]
fn lost_delta_is_recovered_from_a_total_that_wrapped() {
    claim(
        "case-lost-delta-wrapped",
        &[(
            None,
            &[
                "closed{cause=released} 1",
                "anomalies 0",
                "recovered_bytes_total{leg=client,direction=received} 5000000000",
                // more than 2^32, of a total that is kept modulo 2^32
                "recovered_bytes_total{leg=peer,direction=sent} 4990000000",
                "relayed_bytes_total{leg=peer,direction=sent} 4991590000",
                "relayed_bytes_total{leg=peer,direction=received} 0",
                "recovered_packets_total{leg=peer,direction=sent} 312500",
            ],
        )],
    );
}

#[test]
fn lone_deleted_is_adopted_and_missed() {
    claim(
        "case-lone-deleted",
        &[(
            None,
            &[
                "opened 0",
                "adopted 1",
                "closed{cause=missed} 1",
                "closed 1",
                "live 0",
                "sessions_adopted_total 1",
                "sessions_closed_total 1",
                "session_duration_seconds_count 0",
                "allocation_duration_seconds_count 0",
                "relayed_bytes_total 0",
                "unseen_bytes_total{leg=client,direction=received} 1000",
                "unseen_bytes_total{leg=client,direction=sent} 1100",
                "unseen_packets_total{leg=peer} 11",
            ],
        )],
    );
}

/// The hash table meets either of two ended records first; by that nothing may be decided.
#[test]
fn totals_of_an_id_that_came_again_settle_the_last_to_end() {
    for _ in 0..32 {
        claim(
            "case-reused-id-two-closing",
            &[(
                None,
                &[
                    "relayed_bytes_total{leg=client,direction=received} 10000",
                    "relayed_bytes_total{leg=client,direction=sent} 10000",
                    "relayed_bytes_total{leg=peer,direction=received} 8900",
                    "recovered_bytes_total 0",
                    "allocations_relayed_total 1",
                    "anomalies 0",
                    "closed{cause=disconnected} 2",
                ],
            )],
        );
    }
}

#[test]
fn an_allocation_met_by_its_traffic_is_released_as_its_statuses_say() {
    claim(
        "case-traffic-then-release",
        &[
            (Some(1.5), &["live 1", "adopted 1"]),
            (
                None,
                &["live 0", "closed{cause=released} 1", "closed 1", "relayed_packets_total{leg=peer} 2212"],
            ),
        ],
    );
}

#[test]
fn each_report_after_the_lifetime_extends_it_anew() {
    // The last report, a lifetime of 600 s and 90 s of grace.
    let due = 1456.0 + 600.0 + 90.0;
    claim(
        "case-late-traffic-extends-again",
        &[
            (Some(1400.0), &["live 1"]),
            (Some(due), &["live 1", "orphans{reason=overdue} 0"]),
            (Some(due + 0.1), &["live 0", "orphans{reason=overdue} 1", "closed{cause=abandoned} 1"]),
        ],
    );
}

#[test]
fn a_client_total_alone_is_no_relaying_where_there_is_a_peer_leg() {
    claim(
        "case-short-form-no-reports",
        &[(
            LATER,
            &[
                "relayed_bytes_total{leg=client} 12000",
                "allocations_relayed_total 0",
                "sessions_closed_total{path=relayed} 0",
                "sessions_closed_total{path=unrelayed} 1",
                "session_relayed_bytes_count 0",
            ],
        )],
    );
}

#[test]
fn a_restart_is_proven_by_ids_that_come_again() {
    claim(
        "case-restart-proven-by-ids",
        &[
            (Some(5.0), &["live 4", "closed 0"]),
            // The birth of an id that was born before: all four of the old process are over.
            (Some(13.0), &["live 1", "closed{cause=replaced} 4"]),
            (None, &["live 3", "opened 7", "closed{cause=replaced} 4", "closed 4", "orphans 0"]),
        ],
    );
}

#[test]
fn total_of_a_live_record_ends_it() {
    claim(
        "case-total-while-live",
        &[
            (Some(7.0), &["live 1", "closed 0"]),
            (
                None,
                &[
                    "live 0",
                    "closed{cause=missed} 1",
                    "closed 1",
                    "recovered_bytes_total{leg=client} 3000",
                    "recovered_bytes_total{leg=peer} 3000",
                    "relayed_bytes_total{leg=client,direction=received} 12000",
                    "allocation_duration_seconds_count 0",
                    "sessions_closed_total{path=relayed} 1",
                ],
            ),
        ],
    );
}

#[test]
fn traffic_of_an_unknown_peer_leg_adopts() {
    claim(
        "case-unknown-peer-leg",
        &[
            // The client's report, a moment earlier, was held and is claimed.
            (
                Some(4.0),
                &[
                    "adopted 1",
                    "live 1",
                    "relayed_bytes_total{leg=client} 3000",
                    "relayed_bytes_total{leg=peer} 2600",
                ],
            ),
            (
                None,
                &[
                    "closed{cause=missed} 1",
                    "unallocated_bytes_total 0",
                    "relayed_bytes_total{leg=client} 3000",
                    "unseen_bytes_total{leg=client} 6000",
                    "unseen_bytes_total{leg=peer} 6000",
                    "recovered_bytes_total 0",
                ],
            ),
        ],
    );
}

#[test]
fn held_traffic_is_claimed_by_a_late_status() {
    claim(
        "case-held-claimed",
        &[
            (Some(4.0), &["adopted 0", "relayed_bytes_total 0", "unallocated_bytes_total 0"]),
            (
                Some(5.0),
                &[
                    "adopted 1",
                    "live 1",
                    "allocation_refreshes_total 1",
                    "relayed_bytes_total{leg=client} 700",
                ],
            ),
            (
                None,
                &[
                    "closed{cause=released} 1",
                    "unallocated_bytes_total 0",
                    "unseen_packets_total{leg=client,direction=received} 5",
                ],
            ),
        ],
    );
}

#[test]
fn held_traffic_without_a_status_is_unallocated() {
    claim(
        "case-held-unallocated",
        &[
            (Some(9.9), &["unallocated_bytes_total 0", "live 0"]),
            (
                Some(10.0),
                &[
                    "unallocated_bytes_total{direction=received} 270",
                    "unallocated_bytes_total{direction=sent} 438",
                ],
            ),
            // The status of the second key came a second too late; what follows it is relayed.
            (
                None,
                &[
                    "opened 1",
                    "adopted 0",
                    "relayed_bytes_total{leg=client} 800",
                    "unallocated_packets_total 7",
                ],
            ),
        ],
    );
}

#[test]
fn new_replaces_what_its_key_held() {
    claim(
        "case-replaced",
        &[
            (Some(99.0), &["opened 1", "live 1"]),
            (Some(101.0), &["opened 2", "live 1", "closed{cause=replaced} 1"]),
            (
                None,
                &[
                    "closed{cause=replaced} 1",
                    "closed{cause=released} 1",
                    "live 0",
                    "anomalies 0",
                    "recovered_bytes_total 0",
                    "relayed_bytes_total{leg=client,direction=received} 10700",
                    "orphaned 0",
                    "allocation_duration_seconds_count 1",
                    "allocation_duration_seconds_sum 31",
                ],
            ),
        ],
    );
}

#[test]
fn overdue_and_refreshed_lives_again() {
    claim(
        "case-overdue-refreshed",
        &[
            (Some(150.0), &["live 1", "orphans 0", "closed 0"]),
            (
                Some(151.0),
                &[
                    "live 0",
                    "orphans{reason=overdue} 1",
                    "closed{cause=abandoned} 1",
                    "orphaned{reason=overdue} 1",
                ],
            ),
            (
                Some(301.0),
                &["live 1", "orphans 0", "adopted 1", "closed 1", "sessions 1", "sessions_adopted_total 1"],
            ),
            (
                None,
                &[
                    "live 0",
                    "opened 1",
                    "adopted 1",
                    "closed{cause=abandoned} 1",
                    "closed{cause=released} 1",
                    "orphaned 1",
                    "sessions_closed_total 2",
                    // every byte once
                    "relayed_bytes_total{leg=client,direction=received} 11000",
                    "relayed_bytes_total{leg=peer} 18900",
                ],
            ),
        ],
    );
}

#[test]
fn overdue_and_deleted_settles_without_a_second_end() {
    claim(
        "case-overdue-deleted",
        &[
            (Some(399.0), &["orphans{reason=overdue} 1", "closed{cause=abandoned} 1"]),
            (
                None,
                &[
                    "orphans 0",
                    "closed 1",
                    "closed{cause=abandoned} 1",
                    "recovered_bytes_total{leg=client} 1500",
                    "recovered_bytes_total{leg=peer} 900",
                    "relayed_bytes_total{leg=client,direction=received} 11000",
                ],
            ),
        ],
    );
}

#[test]
fn released_and_never_deleted_is_released() {
    claim(
        "case-release-silence",
        &[
            (Some(690.0), &["live 1", "closed 0"]),
            (Some(691.0), &["live 0", "closed{cause=released} 1", "orphans 0", "orphaned 0"]),
            (LATER, &["closed 1", "orphaned 0"]),
        ],
    );
}

#[test]
fn traffic_proves_that_a_refresh_was_lost() {
    claim(
        "case-refresh-lost",
        &[
            // due at 200 by its statuses; alive by its traffic of 130
            (Some(205.0), &["live 1", "orphans 0"]),
            (
                None,
                &[
                    "live 0",
                    "closed{cause=missed} 1",
                    "closed 1",
                    "allocation_duration_seconds_count 0",
                    "orphaned 0",
                ],
            ),
        ],
    );
}

#[test]
fn totals_of_a_shared_key_add_nothing() {
    claim(
        "case-shared-key",
        &[(
            None,
            &[
                "opened 2",
                "closed{cause=replaced} 1",
                "closed{cause=disconnected} 1",
                "anomalies{kind=shared_key} 1",
                "anomalies 1",
                "recovered_bytes_total 0",
                "unseen_bytes_total 0",
                "relayed_bytes_total{leg=client} 2000",
            ],
        )],
    );
}

#[test]
fn impossible_totals_add_nothing() {
    claim(
        "case-impossible-totals",
        &[(
            None,
            &[
                // alice's client leg; bob's peer leg, where a client total helps to read it
                "anomalies{kind=total_below_sum} 2",
                // alice's peer leg: her client total is not to be believed
                "anomalies{kind=ambiguous_total} 1",
                "recovered_bytes_total 0",
                "recovered_packets_total 0",
                "relayed_bytes_total{leg=client} 40000",
                "relayed_bytes_total{leg=peer} 36000",
            ],
        )],
    );
}

#[test]
fn nonsense_is_counted_and_changes_nothing_else() {
    let reasons = [
        "foreign_channel",
        "bad_channel",
        "bad_id",
        "unknown_kind",
        "unknown_status",
        "bad_status",
        "bad_counters",
        "too_long",
    ];
    let each: Vec<_> = reasons.iter().map(|reason| format!("rejected{{reason={reason}}} 1")).collect();
    let mut claims: Vec<_> = each.iter().map(String::as_str).collect();
    claims.extend([
        "rejected 8",
        "opened 1",
        "closed{cause=released} 1",
        "relayed_bytes_total{leg=client} 2000",
    ]);
    claim("case-nonsense", &[(None, &claims)]);

    // Without these lines the page is the same but for their counters.
    let file = golden::capture("case-nonsense");
    let text = std::fs::read_to_string(&file).unwrap();
    let sane = text.lines().filter(|line| !line.contains("\"nonsense\": true"));
    let dir = TempDir::new("nonsense");
    let sane = dir.write("sane.jsonl", &sane.fold(String::new(), |text, line| text + line + "\n"));
    let lines = |file| -> Vec<String> {
        let page = golden::page(Settings::default(), file, None);
        page.lines().filter(|line| !line.contains("rejected_messages")).map(str::to_owned).collect()
    };
    assert_eq!(lines(&file), lines(&sane));
}

#[test]
fn realms_past_the_maximum_share_one_label() {
    claim(
        "case-many-realms",
        &[(
            None,
            &[
                "opened 105",
                "live 105",
                "opened{realm=_other} 5",
                "opened{realm=realm-099.example} 1",
                "sessions 105",
                "opened{realm=realm-100.example} 0",
                "exporter_folded_label_values_total{label=realm} 5",
                "sessions{realm=_other} 5",
            ],
        )],
    );
    let page = golden::replayed(Settings::default(), &golden::capture("case-many-realms"), None);
    assert_eq!(page.label_values("coturn_allocations", "realm").len(), 101);
}

#[test]
fn sessions_by_client_tell_the_users_of_one_name_apart() {
    // Ends at 60 (host 7), 100 (host 7, relayed) and 200 (host 8).
    let by_client = Settings { session_by: SessionBy::Client, ..Settings::default() };
    claim_with(
        &by_client,
        "case-session-by-client",
        &[
            (Some(55.0), &["sessions 2", "live 3"]),
            (
                None,
                &[
                    "sessions_opened_total 2",
                    "sessions_closed_total{path=relayed} 1",
                    "sessions_closed_total{path=unrelayed} 1",
                    "session_duration_seconds_sum{path=relayed} 100",
                    "session_duration_seconds_sum{path=unrelayed} 150",
                    "session_allocations_sum 3",
                    "session_allocations_count 2",
                ],
            ),
        ],
    );
    claim(
        "case-session-by-client",
        &[
            (Some(55.0), &["sessions 1", "live 3"]),
            (
                None,
                &[
                    "sessions_opened_total 1",
                    "sessions_closed_total{path=relayed} 1",
                    "sessions_closed_total{path=unrelayed} 0",
                    "session_duration_seconds_sum{path=relayed} 200",
                    "session_relay_duration_seconds_sum 100",
                    "session_allocations_sum 3",
                ],
            ),
        ],
    );
}

#[test]
fn unclosed_client_is_an_orphan_and_a_spare_allocation_is_not() {
    claim(
        "case-idle-leak",
        &[
            (Some(3600.0), &["allocations_over_max_lifetime 0", "orphans 0"]),
            // Past the largest grant, and silent for longer than 30 minutes: the leaky one of three.
            (Some(3601.0), &["allocations_over_max_lifetime 2", "orphans{reason=idle} 1"]),
            (Some(3604.0), &["allocations_over_max_lifetime 3", "orphans{reason=idle} 1"]),
            // A late report clears it, silence brings it back.
            (Some(5001.0), &["orphans 0", "orphaned{reason=idle} 1"]),
            (Some(6800.0), &["orphans 0"]),
            (Some(6801.0), &["orphans{reason=idle} 1", "orphaned{reason=idle} 2"]),
            // Nobody refreshes any more: an orphan until it is due, then overdue for a day.
            (Some(7020.0 + 690.0), &["live 3", "orphans{reason=idle} 1", "orphans{reason=overdue} 0"]),
            (Some(7020.0 + 694.0), &["live 0", "orphans{reason=idle} 0", "orphans{reason=overdue} 3"]),
            (LATER, &["live 0", "orphans 0", "closed{cause=abandoned} 3", "orphaned{reason=overdue} 3"]),
        ],
    );
}

/// The client that has a spare allocation, now with a TURN REST name and two addresses: the name makes one gathering of
/// both, if it is known for what it is.
#[test]
fn a_turn_rest_name_is_known_by_the_separator_of_the_settings() {
    let text = std::fs::read_to_string(golden::capture("case-idle-leak")).unwrap();
    let dir = TempDir::new("rest-separator");
    for (name, separator, idle) in [
        ("1795343956|used", b'|', 1),
        ("used|1795343956", b'|', 1),
        ("1795343956|used", b':', 2),
        ("1795343956:used", b'|', 2),
    ] {
        let text = text.replace("/user/used/", &format!("/user/{name}/")).replace(".9:40002", ".19:40002");
        let file = dir.write("named.jsonl", &text);
        let settings = Settings { rest_separator: separator, ..Settings::default() };
        let page = golden::replayed(settings, &file, Some(3604.0));
        assert_eq!(page.count("coturn_allocations", &[]), 3, "{name}");
        let orphans = page.count("coturn_orphaned_allocations", &[("reason", "idle")]);
        assert_eq!(orphans, idle, "{name} with {}", char::from(separator));
    }
}

/// What was overdue stays an orphan for a day from when it fell due, not from when somebody asked.
#[test]
fn time_passes_moment_by_moment_however_long_nobody_asks() {
    let due = 7020.0 + 3.0 + 690.0;
    let day = 24.0 * 3600.0;
    claim(
        "case-idle-leak",
        &[
            (Some(due + day - 10.0), &["orphans{reason=overdue} 3"]),
            (Some(due + day + 10.0), &["orphans{reason=overdue} 0"]),
        ],
    );
}

/// A case without a claim would prove nothing.
#[test]
fn every_case_has_its_claims() {
    let source = include_str!("cases.rs");
    let cases: BTreeSet<_> =
        golden::names(".jsonl").into_iter().filter(|name| name.starts_with("case-")).collect();
    assert_eq!(cases.len(), 23);
    for case in cases {
        assert!(source.contains(&format!("\"{case}\"")), "{case}");
        let readme = include_str!("../golden/README.md");
        assert!(readme.contains(&format!("`{case}`")), "{case} is not in tests/golden/README.md");
    }
}
