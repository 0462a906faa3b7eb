//! Real browsers that leak allocations, and some that do not (`tests/golden/browser-*.jsonl`), against what their pages and
//! coturn's log said (`tests/golden/browser-truth.json`): allocations, sessions, ends, durations, bytes, and which of them
//! are orphans.
//!
//! Two Chromium pages through coturn 4.6.1: `phone` publishes video, `web` watches and is reloaded or killed. In the
//! truth `leaked` is an allocation that its owner kept refreshing after the other side had gone; times are in seconds
//! from the first message, legs are received packets and bytes, sent packets and bytes. `held_after_viewer_left` is
//! how long after that it lasted.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use crate::common::models::naive::{self, Event, Life};
use crate::common::models::sums::legs_of_all;
use crate::common::models::traffic::{Legs, Traffic};
use crate::common::readers::golden;
use crate::common::readers::page::Page;
use crate::common::temp_dir::TempDir;
use coturn_exporter::app::ingest::{Ingest, SharedTable};
use coturn_exporter::clock::{Clock, ManualClock, Timestamp};
use coturn_exporter::details::{Detail, answer};
use coturn_exporter::state::{Settings, SourceId};
use serde::Deserialize;

/// The truth's times are rounded to 10 ms, the stream's to 1 ms.
const ROUNDING: f64 = 0.02;

#[derive(Deserialize)]
struct Truth {
    /// What coturn grants by default, in seconds.
    lifetime: u64,
    messages: u64,
    allocations: Vec<Allocation>,
}

#[derive(Deserialize)]
struct Allocation {
    id: String,
    user: String,
    via: String,
    from: f64,
    to: f64,
    lasted: f64,
    refreshed: Vec<f64>,
    end: String,
    leaked: bool,
    client: [u64; 4],
    peer: [u64; 4],
}

impl Allocation {
    fn legs(&self) -> Legs {
        let leg = |[received_packets, received_bytes, sent_packets, sent_bytes]: [u64; 4]| Traffic {
            received_packets,
            received_bytes,
            sent_packets,
            sent_bytes,
        };
        Legs { client: leg(self.client), peer: leg(self.peer) }
    }

    fn cause(&self) -> &str {
        if self.end == "closed" { "disconnected" } else { &self.end }
    }

    /// More than 50 packets on the peer leg, at least one of them from a peer.
    fn relayed(&self) -> bool {
        self.peer[0] + self.peer[2] > 50 && self.peer[0] > 0
    }
}

struct Case {
    name: String,
    truth: Truth,
    events: Vec<Event>,
}

impl Case {
    /// The moment of an offset from the first message.
    fn at(&self, offset: f64) -> f64 {
        self.events[0].at + offset
    }

    fn page(&self, settings: Settings, offset: Option<f64>) -> Page {
        golden::replayed(settings, &golden::capture(&self.name), offset.map(|offset| self.at(offset)))
    }

    /// The page of those events only.
    fn page_of(&self, settings: Settings, offset: Option<f64>, wanted: impl Fn(&Event) -> bool) -> Page {
        let dir = TempDir::new("browser");
        let lines = self.events.iter().filter(|event| wanted(event));
        let file =
            dir.write("extract.jsonl", &lines.fold(String::new(), |text, event| text + &event.line + "\n"));
        golden::replayed(settings, &file, offset.map(|offset| self.at(offset)))
    }

    /// Which allocations the details list as idle orphans at a moment: users and ids.
    fn idle_ids(&self, settings: Settings, offset: f64) -> BTreeSet<(String, String)> {
        let clock = Arc::new(ManualClock::default());
        let shared =
            SharedTable::new(Ingest::new(settings, &["capture"]), Arc::clone(&clock) as Arc<dyn Clock>);
        shared.lock().link_up(Timestamp::ZERO, SourceId(0));
        let moment = |at: f64| Timestamp::from_secs_f64(at).expect("a moment");
        for event in self.events.iter().filter(|event| event.at <= self.at(offset)) {
            clock.set(moment(event.at));
            let message = [&event.key[..], b"/", event.kind.as_bytes()].concat();
            let payload = event.payload.as_bytes();
            shared.lock().message(clock.now(), SourceId(0), &message, payload).expect("understood");
        }
        clock.set(moment(self.at(offset)));
        let listed = answer(&shared, Detail::Allocations, "reason=idle&limit=1000");
        let listed: serde_json::Value = serde_json::from_slice(&listed.body).expect("JSON");
        let rows = listed["allocations"].as_array().expect("rows").iter();
        let text = |row: &serde_json::Value, field: &str| row[field].as_str().expect("text").to_owned();
        rows.map(|row| (text(row, "user"), text(row, "id"))).collect()
    }

    fn by_user(&self) -> BTreeMap<&str, Vec<&Allocation>> {
        let mut users: BTreeMap<&str, Vec<&Allocation>> = BTreeMap::new();
        for allocation in &self.truth.allocations {
            users.entry(&allocation.user).or_default().push(allocation);
        }
        users
    }
}

fn truth_ids(
    allocations: &[&Allocation],
    wanted: impl Fn(&Allocation) -> bool,
) -> BTreeSet<(String, String)> {
    let wanted = allocations.iter().filter(|one| wanted(one));
    wanted.map(|one| (one.user.clone(), one.id.clone())).collect()
}

fn cases() -> Vec<Case> {
    let truths: BTreeMap<String, Truth> =
        serde_json::from_value(golden::json("browser-truth.json")).expect("browser-truth.json");
    let captures: Vec<_> =
        golden::names(".jsonl").into_iter().filter(|name| name.starts_with("browser-")).collect();
    assert_eq!(captures, truths.keys().cloned().collect::<Vec<_>>(), "captures and truths");
    assert_eq!(captures.len(), 13);
    let case = |(name, truth): (String, Truth)| {
        let events = naive::events(&golden::capture(&name));
        Case { name, truth, events }
    };
    truths.into_iter().map(case).collect()
}

fn case(name: &str) -> Case {
    cases().into_iter().find(|case| case.name == name).expect("a case")
}

fn near(what: &str, got: f64, expected: f64, slack: f64) {
    assert!((got - expected).abs() <= slack, "{what}: expected {expected}, got {got}");
}

/// First opening and last end of allocations that overlap, in order: sessions, as an outsider would draw them.
fn spans(allocations: &[&Allocation]) -> Vec<(f64, f64)> {
    let mut each: Vec<_> = allocations.iter().map(|one| (one.from, one.to)).collect();
    each.sort_by(|one, other| one.0.total_cmp(&other.0));
    let mut spans: Vec<(f64, f64)> = Vec::new();
    for (from, to) in each {
        match spans.last_mut() {
            Some(last) if from <= last.1 => last.1 = last.1.max(to),
            _ => spans.push((from, to)),
        }
    }
    spans
}

/// The stream says what the pages and coturn's log said: the basis of all that follows.
#[test]
fn the_captures_hold_the_truth() {
    for case in cases() {
        let lives: Vec<Life> = naive::lives(&case.events);
        assert_eq!(case.events.len() as u64, case.truth.messages, "{}", case.name);
        assert_eq!(lives.iter().filter(|life| life.is_allocation()).count(), case.truth.allocations.len());
        for truth in &case.truth.allocations {
            let what = format!("{} {}", case.name, truth.id);
            let life = lives.iter().find(|life| life.id() == truth.id && life.user() == truth.user);
            let life = life.unwrap_or_else(|| panic!("{what}: not in the stream"));
            assert_eq!(life.sum, truth.legs(), "{what}");
            assert_eq!(life.field("type"), Some(&*truth.via), "{what}");
            near(&what, life.born.unwrap(), case.at(truth.from), ROUNDING);
            near(&what, life.deleted.unwrap(), case.at(truth.to), ROUNDING);
            let refreshes: Vec<_> =
                life.statuses[1..].iter().filter(|(_, status)| !status.contains("lifetime=0,")).collect();
            assert_eq!(refreshes.len(), truth.refreshed.len(), "{what}");
            for ((at, status), refreshed) in refreshes.into_iter().zip(&truth.refreshed) {
                near(&what, *at, case.at(truth.from + refreshed), 2.0 * ROUNDING);
                assert!(
                    status.starts_with(&format!("refreshed lifetime={},", case.truth.lifetime)),
                    "{what}: {status}"
                );
            }
        }
    }
}

/// Each allocation alone: how it ended, how long it lasted, what it relayed.
#[test]
fn each_allocation_is_told_as_it_was() {
    for case in cases() {
        for truth in &case.truth.allocations {
            let what = format!("{} {}", case.name, truth.id);
            let key = format!("/user/{}/allocation/{}", truth.user, truth.id);
            let page = case.page_of(Settings::default(), None, |event| event.key.ends_with(key.as_bytes()));
            let via = truth.via.to_lowercase();
            assert_eq!(page.count("coturn_allocations_opened_total", &[("transport", &via)]), 1, "{what}");
            assert_eq!(page.count("coturn_allocations_adopted_total", &[]), 0, "{what}");
            assert_eq!(
                page.count("coturn_allocations_closed_total", &[("cause", truth.cause())]),
                1,
                "{what}"
            );
            assert_eq!(page.count("coturn_allocations_closed_total", &[]), 1, "{what}");
            assert_eq!(
                page.count("coturn_allocations_relayed_total", &[]),
                u64::from(truth.relayed()),
                "{what}"
            );
            let refreshes = truth.refreshed.len() as u64;
            assert_eq!(page.count("coturn_allocation_refreshes_total", &[]), refreshes, "{what}");
            assert_eq!(legs_of_all(&page, "relayed"), truth.legs(), "{what}");
            assert_eq!(page.value("coturn_allocation_duration_seconds_count", &[]), Some(1.0), "{what}");
            let lasted = page.value("coturn_allocation_duration_seconds_sum", &[]).unwrap();
            near(&what, lasted, truth.lasted, ROUNDING);
        }
    }
}

/// All of a capture together: sums of the above.
#[test]
fn each_capture_adds_up() {
    for case in cases() {
        let (page, truth) = (case.page(Settings::default(), None), &case.truth.allocations);
        let what = &case.name;
        assert_eq!(page.count("coturn_allocations_opened_total", &[]), truth.len() as u64, "{what}");
        assert_eq!(page.count("coturn_allocations", &[]), 0, "{what}");
        for cause in ["released", "expired", "disconnected", "replaced", "abandoned", "missed"] {
            let expected = truth.iter().filter(|one| one.cause() == cause).count() as u64;
            let got = page.count("coturn_allocations_closed_total", &[("cause", cause)]);
            assert_eq!(got, expected, "{what} {cause}");
        }
        let mut sum = Legs::default();
        for one in truth {
            sum += one.legs();
        }
        assert_eq!(legs_of_all(&page, "relayed"), sum, "{what}");
        let lasted: f64 = truth.iter().map(|one| one.lasted).sum();
        let got = page.value("coturn_allocation_duration_seconds_sum", &[]).unwrap();
        near(what, got, lasted, ROUNDING * truth.len() as f64);
        for nothing in ["recovered_bytes", "unseen_bytes", "unallocated_bytes", "allocations_orphaned"] {
            assert_eq!(page.count(&format!("coturn_{nothing}_total"), &[]), 0, "{what} {nothing}");
        }
        assert_eq!(page.count("coturn_exporter_accounting_anomalies_total", &[]), 0, "{what}");
    }
}

/// One session for each user name: each `RTCPeerConnection` asked for a credential of its own.
#[test]
fn sessions_are_the_connections_of_the_pages() {
    for case in cases() {
        let page = case.page(Settings::default(), None);
        let users = case.by_user();
        let what = &case.name;
        assert!(
            users.values().all(|allocations| spans(allocations).len() == 1),
            "{what}: a user with a pause"
        );
        assert_eq!(page.count("coturn_sessions_opened_total", &[]), users.len() as u64, "{what}");
        assert_eq!(page.count("coturn_sessions", &[]), 0, "{what}");
        let size = page.value("coturn_session_allocations_sum", &[]);
        assert_eq!(size, Some(case.truth.allocations.len() as f64), "{what}");

        let (mut relayed, mut unrelayed, mut relay_time, mut bytes) = (Vec::new(), Vec::new(), 0.0, 0);
        for allocations in users.values() {
            let (from, to) = spans(allocations)[0];
            let used: Vec<_> = allocations.iter().copied().filter(|one| one.relayed()).collect();
            if used.is_empty() {
                unrelayed.push(to - from);
                continue;
            }
            relayed.push(to - from);
            let first = used.iter().map(|one| one.from).fold(f64::INFINITY, f64::min);
            let last = used.iter().map(|one| one.to).fold(0.0, f64::max);
            relay_time += last - first;
            bytes += allocations.iter().map(|one| one.peer[1] + one.peer[3]).sum::<u64>();
        }
        for (path, durations) in [("relayed", &relayed), ("unrelayed", &unrelayed)] {
            let labels = [("path", path)];
            let count = durations.len() as u64;
            assert_eq!(page.count("coturn_sessions_closed_total", &labels), count, "{what} {path}");
            assert_eq!(page.count("coturn_session_duration_seconds_count", &labels), count, "{what} {path}");
            let got = page.sum("coturn_session_duration_seconds_sum", &labels);
            near(what, got, durations.iter().sum(), ROUNDING * (1.0 + count as f64));
        }
        let got = page.value("coturn_session_relay_duration_seconds_sum", &[]).unwrap();
        near(what, got, relay_time, ROUNDING * (1.0 + relayed.len() as f64));
        assert_eq!(page.value("coturn_session_relayed_bytes_sum", &[]), Some(bytes as f64), "{what}");
    }
}

/// The same, session by session: what a page's connection lasted and relayed.
#[test]
fn each_session_is_told_as_it_was() {
    for case in cases() {
        for (user, allocations) in case.by_user() {
            let what = format!("{} {user}", case.name);
            let page = case.page_of(Settings::default(), None, |event| event.is_of(user));
            let (from, to) = spans(&allocations)[0];
            let used: Vec<_> = allocations.iter().filter(|one| one.relayed()).collect();
            let path = if used.is_empty() { "unrelayed" } else { "relayed" };
            assert_eq!(page.count("coturn_sessions_closed_total", &[]), 1, "{what}");
            assert_eq!(page.count("coturn_sessions_closed_total", &[("path", path)]), 1, "{what}");
            let size = page.value("coturn_session_allocations_sum", &[]);
            assert_eq!(size, Some(allocations.len() as f64), "{what}");
            let lasted = page.sum("coturn_session_duration_seconds_sum", &[("path", path)]);
            near(&what, lasted, to - from, 2.0 * ROUNDING);
            let mut sum = Legs::default();
            for one in &allocations {
                sum += one.legs();
            }
            assert_eq!(legs_of_all(&page, "relayed"), sum, "{what}");
            let bytes = if used.is_empty() { 0 } else { sum.peer.received_bytes + sum.peer.sent_bytes };
            assert_eq!(page.value("coturn_session_relayed_bytes_sum", &[]), Some(bytes as f64), "{what}");
            let first = used.iter().map(|one| one.from).fold(f64::INFINITY, f64::min);
            let last = used.iter().map(|one| one.to).fold(0.0, f64::max);
            let relay_time = if used.is_empty() { 0.0 } else { last - first };
            let got = page.sum("coturn_session_relay_duration_seconds_sum", &[]);
            near(&what, got, relay_time, 2.0 * ROUNDING);
        }
    }
}

fn settings(max_lifetime: u64, idle_after: u64) -> Settings {
    Settings {
        max_lifetime: Duration::from_secs(max_lifetime),
        idle_after: Duration::from_secs(idle_after),
        ..Settings::default()
    }
}

fn idle(page: &Page) -> u64 {
    page.count("coturn_orphaned_allocations", &[("reason", "idle")])
}

/// While a leak stands, the leaked allocations are orphans, and no others; user by user, too.
#[test]
fn leaked_allocations_are_orphans_while_the_leak_stands() {
    // capture, largest grant and idle time in seconds (the short lifetime's captures last some minutes only), and a
    // moment before whoever held them let go: after the last viewer has gone, its replacements have been asked for, and
    // the idle time has passed since.
    let leaks = [
        ("browser-refresh-leak-60s", 60, 60, 185.0),
        ("browser-kill-leak-60s", 60, 60, 165.0),
        ("browser-kill-leak-static-60s", 60, 60, 165.0),
        ("browser-refresh-leak", 600, 600, 1145.0),
        // before the late report of 1079.85 s, see below
        ("browser-kill-leak", 600, 600, 1075.0),
    ];
    for (name, max_lifetime, idle_after, at) in leaks {
        let case = case(name);
        let settings = || settings(max_lifetime, idle_after);
        let page = case.page(settings(), Some(at));
        let leaked = |allocations: &[&Allocation]| allocations.iter().filter(|one| one.leaked).count() as u64;
        let all: Vec<_> = case.truth.allocations.iter().collect();
        assert!(leaked(&all) > 0, "{name}");
        assert_eq!(idle(&page), leaked(&all), "{name}");
        assert_eq!(page.count("coturn_orphaned_allocations", &[]), leaked(&all), "{name}: overdue");
        assert_eq!(case.idle_ids(settings(), at), truth_ids(&all, |one| one.leaked), "{name}");
        for (user, allocations) in case.by_user() {
            let page = case.page_of(settings(), Some(at), |event| event.is_of(user));
            assert_eq!(idle(&page), leaked(&allocations), "{name} {user}");
        }
        // Nothing of it stays.
        let page = case.page(settings(), None);
        assert_eq!(page.count("coturn_orphaned_allocations", &[]), 0, "{name} at the end");
        assert!(
            page.count("coturn_allocations_orphaned_total", &[("reason", "idle")]) >= leaked(&all),
            "{name}"
        );
    }
}

/// A connection in use has spare allocations, refreshed and silent; they are its own, not orphans.
#[test]
fn spare_allocations_of_a_connection_in_use_are_no_orphans() {
    for (name, max_lifetime, idle_after, at) in
        [("browser-many-allocations-60s", 60, 60, 115.0), ("browser-many-allocations", 300, 60, 550.0)]
    {
        let case = case(name);
        let page = case.page(settings(max_lifetime, idle_after), Some(at));
        let old = |one: &&Allocation| one.to > at && one.from + (max_lifetime as f64) < at;
        let old = case.truth.allocations.iter().filter(old).count() as u64;
        assert!(old >= 6, "{name}");
        assert_eq!(page.count("coturn_allocations_over_max_lifetime", &[]), old, "{name}");
        assert_eq!(idle(&page), 0, "{name}");
        let page = case.page(settings(max_lifetime, idle_after), None);
        assert_eq!(page.count("coturn_allocations_orphaned_total", &[]), 0, "{name}: none ever was");
    }
}

/// A connected data channel on which nothing is sent reports every 20 minutes only: with an idle time above that, as
/// the default is, it is alive. With less it cannot be told from a leak, which is why the default is what it is.
#[test]
fn a_silent_connection_is_alive_for_the_default_idle_time() {
    for (name, max_lifetime, at) in
        [("browser-idle-alive-60s", 60, 235.0), ("browser-idle-alive", 600, 1105.0)]
    {
        let case = case(name);
        let default = u64::try_from(Settings::default().idle_after.as_millis() / 1000).unwrap();
        let page = case.page(settings(max_lifetime, default), Some(at));
        assert_eq!(page.count("coturn_allocations_over_max_lifetime", &[]), 2, "{name}");
        assert_eq!(idle(&page), 0, "{name}");
        let page = case.page(settings(max_lifetime, max_lifetime), Some(at));
        assert_eq!(idle(&page), 2, "{name}: the limit of what messages can tell");
    }
}

/// A leaked allocation whose counter stood near 4096 when its viewer left reports once more, 1060 s later. That starts
/// its idle time anew, which is accepted.
#[test]
fn a_late_report_of_a_leaked_allocation_starts_its_idle_time_anew() {
    let case = case("browser-kill-leak");
    let idle_at = |at| idle(&case.page(settings(600, 600), Some(at)));
    assert_eq!([idle_at(1079.0), idle_at(1081.0), idle_at(1125.0)], [5, 4, 4]);
}

/// Who is killed leaks nothing: until the lifetime is over the server cannot know, and then it says so.
#[test]
fn killed_browsers_leave_no_orphan() {
    for name in ["browser-both-killed", "browser-both-killed-60s", "browser-both-killed-tcp", "browser-clean"]
    {
        let case = case(name);
        assert!(case.truth.allocations.iter().all(|one| !one.leaked));
        // coturn is some milliseconds late; by thresholds of exactly the lifetime they would be orphans that long.
        let page = case.page(settings(case.truth.lifetime + 1, case.truth.lifetime + 1), None);
        assert_eq!(page.count("coturn_allocations_orphaned_total", &[]), 0, "{name}");
    }
}
