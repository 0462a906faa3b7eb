//! The alerts over hours of the exporter's own pages: one cause fires one alert, and its text says what is the matter.
//!
//! The pages are the library's, on a clock of the test's; promtool evaluates the rules over them.

use std::time::Duration;

use crate::common::models::chronicle::{Chronicle, SOURCE};
use crate::common::models::naive;
use crate::common::models::story::{Ending, Life, Told, sorted};
use crate::common::readers::golden;
use crate::common::readers::promtool::{fired_by, firing_at, test_rules};
use coturn_exporter::state::Settings;
use serde_json::{Value, json};

const TARGET: [(&str, &str); 2] = [("job", "coturn"), ("instance", "turn:10641")];
const REALM: &str = "shop.example";
const FIRST: &str = "192.0.2.1:3478";
const SECOND: &str = "192.0.2.2:3478";
const MINUTE: f64 = 60.0;
const HOUR: f64 = 3600.0;

/// The series of a chronicle and what Prometheus and the process add to them.
fn series(chronicle: &Chronicle) -> Vec<Value> {
    let mut series = chronicle.input_series(&TARGET);
    let minutes = chronicle.length().as_secs() / 60;
    for (name, value) in [("up", 1), ("process_start_time_seconds", 0)] {
        let labels = "{job=\"coturn\", instance=\"turn:10641\"}";
        series.push(json!({"series": format!("{name}{labels}"), "values": format!("{value}x{minutes}")}));
    }
    series
}

fn expect(chronicle: &Chronicle, alerts: &[Value], expressions: &[Value]) {
    if let Err(said) = test_rules(&series(chronicle), alerts, expressions) {
        panic!("{said}");
    }
}

fn tell(lives: &[Life]) -> Vec<Told> {
    sorted(lives.iter().flat_map(Life::told).collect())
}

/// Ids of a thread of coturn begin at a multiple of this; within one they rise as allocations are born.
const THREAD: u64 = 1_000_000_000_000_000;

/// Calls of a quarter of an hour, one a minute, on a server.
fn calls(server: &'static str, first_id: u64, from: f64, until: f64) -> Vec<Life> {
    let mut lives = Vec::new();
    let mut at = from;
    while at + 15.0 * MINUTE < until {
        let id = first_id + lives.len() as u64;
        lives.push(Life::call(REALM, id, at, at + 15.0 * MINUTE).on(server));
        at += MINUTE;
    }
    lives
}

#[test]
fn an_ordinary_day_fires_nothing() {
    let mut chronicle = Chronicle::new(Settings::default(), 0.0);
    let mut lives = [calls(FIRST, 1, 0.0, 10.0 * HOUR), calls(SECOND, 10_000, 0.0, 10.0 * HOUR)].concat();
    for (index, life) in lives.iter_mut().enumerate() {
        // some lids are closed, some connections too, and one in three only gathers
        life.ending = [Ending::Released, Ending::Released, Ending::Expired, Ending::Disconnected][index % 4];
        if index % 3 == 0 {
            life.relays_until = life.from;
        }
    }
    // calls that go on for hours, and then a quiet night
    lives.extend((0..20).map(|n| Life::call(REALM, THREAD + n, HOUR, 9.0 * HOUR)));
    chronicle.hear(&tell(&lives), 14.0 * HOUR);
    assert!(chronicle.value("coturn_allocations", &[], 5.0 * HOUR) > 40.0);
    expect(&chronicle, &[], &[fired_by(14 * 60, &[])]);
}

/// A server is killed at the fourth hour with twelve live allocations; another goes on, or there is none.
fn kill(lifetime: u32, other: bool, hours: usize) -> Chronicle {
    let mut chronicle = Chronicle::new(Settings::default(), 0.0);
    let killed = 4.0 * HOUR;
    let mut lives = calls(FIRST, 1, 0.0, killed);
    // Born over one hour, so that their grants run out over one, too.
    lives.extend((0..12).map(|n| {
        let from = 3.0 * HOUR + 5.0 * MINUTE * n as f64;
        Life::call(REALM, THREAD + n, from, killed).granted(lifetime).ending(Ending::Killed)
    }));
    if other {
        lives.extend(calls(SECOND, 10_000, 0.0, HOUR * hours as f64));
    }
    chronicle.hear(&tell(&lives), HOUR * hours as f64);
    let abandoned = [("server", "192.0.2.1"), ("cause", "abandoned")];
    let abandoned =
        chronicle.count("coturn_server_allocations_closed_total", &abandoned, HOUR * hours as f64);
    assert_eq!(abandoned, 12, "all that were live fell overdue");
    chronicle
}

#[test]
fn a_killed_server_fires_one_alert_and_no_other() {
    const ALERT: [(&str, usize); 1] = [("CoturnAllocationsAbandoned", 1)];
    for (lifetime, other) in [(600, false), (600, true), (3600, false), (3600, true)] {
        let hours = 10;
        let chronicle = kill(lifetime, other, hours);
        println!("lifetime {lifetime} s, another server: {other}");
        // The last grant of an hour ends five hours after the start, and a grace later it is overdue.
        let told = 4 * 60 + if lifetime == 600 { 20 } else { 62 };
        expect(
            &chronicle,
            &[],
            &[
                firing_at(4 * 60, &[]),
                firing_at(told, &ALERT),
                firing_at(60 * hours, &[]),
                fired_by(60 * hours, &ALERT),
            ],
        );
    }
}

#[test]
fn the_alert_names_the_server_that_died() {
    let chronicle = kill(600, true, 6);
    let alert = json!({
        "eval_time": "270m",
        "alertname": "CoturnAllocationsAbandoned",
        "exp_alerts": [{
            "exp_labels": {
                "job": "coturn", "instance": "turn:10641", "source": SOURCE, "server": "192.0.2.1", "severity": "critical",
            },
            "exp_annotations": {
                "summary": "A TURN server has gone silent with live allocations.",
                "description": format!(
                    "12 live allocations of server 192.0.2.1 were lost within an hour without a report of their end, and \
                     it has not been seen since. It died or was killed, or it no longer reaches {SOURCE}."
                ),
                "runbook_url": "https://coturn-exporter.example/runbooks/CoturnAllocationsAbandoned.md",
                "dashboard_url": "https://grafana.example/d/coturn-overview?var-instance=turn%3A10641",
            },
        }],
    });
    expect(&chronicle, &[alert], &[]);
}

/// A server has twelve live allocations at the fourth hour, when its process ends; another process of it serves calls from
/// `back` until `until`, with ids that begin anew.
fn restart(lifetime: u32, other: bool, back: f64, until: f64, hours: usize) -> Chronicle {
    let mut chronicle = Chronicle::new(Settings::default(), 0.0);
    let ended = 4.0 * HOUR;
    let mut lives = calls(FIRST, 1, 0.0, ended);
    lives.extend((0..12).map(|n| {
        let from = 3.0 * HOUR + 5.0 * MINUTE * n as f64;
        Life::call(REALM, THREAD + n, from, ended).granted(lifetime).ending(Ending::Killed)
    }));
    lives.extend(calls(FIRST, 1, back, until));
    if other {
        lives.extend(calls(SECOND, 10_000, 0.0, HOUR * hours as f64));
    }
    chronicle.hear(&tell(&lives), HOUR * hours as f64);
    // Those that are overdue when the server comes back were abandoned, the others are replaced.
    let is_overdue = back > ended + f64::from(lifetime);
    let lost = |cause| {
        let labels = [("server", "192.0.2.1"), ("cause", cause)];
        chronicle.count("coturn_server_allocations_closed_total", &labels, HOUR * hours as f64)
    };
    let expected = if is_overdue { (12, 0) } else { (0, 12) };
    assert_eq!((lost("abandoned"), lost("replaced")), expected, "all that were live are lost");
    chronicle
}

#[test]
fn a_planned_restart_is_no_death() {
    const ALERT: [(&str, usize); 1] = [("CoturnServerRestarted", 1)];
    for (lifetime, other) in [(600, false), (600, true), (3600, false), (3600, true)] {
        let hours = 8;
        let chronicle = restart(lifetime, other, 4.0 * HOUR + 1.0, HOUR * hours as f64, hours);
        println!("lifetime {lifetime} s, another server: {other}");
        expect(
            &chronicle,
            &[],
            &[
                firing_at(4 * 60, &[]),
                firing_at(4 * 60 + if lifetime == 600 { 20 } else { 55 }, &ALERT),
                firing_at(60 * hours, &[]),
                fired_by(60 * hours, &ALERT),
            ],
        );
    }
}

/// Who comes back ends their calls, and then nobody calls for the night: a server without clients says nothing.
#[test]
fn a_server_that_is_restarted_and_then_idle_is_not_called_dead() {
    let hours = 10;
    let chronicle = restart(600, false, 4.0 * HOUR + 1.0, 4.0 * HOUR + 20.0 * MINUTE, hours);
    let alert = json!({
        "eval_time": "261m",
        "alertname": "CoturnServerRestarted",
        "exp_alerts": [{
            "exp_labels": {
                "job": "coturn", "instance": "turn:10641", "source": SOURCE, "server": "192.0.2.1", "severity": "warning",
            },
            "exp_annotations": {
                "summary": "A TURN server was restarted with live allocations.",
                "description": format!(
                    "12 live allocations of server 192.0.2.1, watched through {SOURCE}, were cut off within an hour. The \
                     server is there again: it was restarted, crashed and was started again, or could not report for a \
                     while."
                ),
                "runbook_url": "https://coturn-exporter.example/runbooks/CoturnServerRestarted.md",
                "dashboard_url": "https://grafana.example/d/coturn-overview?var-instance=turn%3A10641",
            },
        }],
    });
    expect(&chronicle, &[alert], &[fired_by(60 * hours, &[("CoturnServerRestarted", 1)])]);
}

/// Half an hour after its death it is started again.
#[test]
fn a_server_that_died_and_comes_back_is_no_longer_called_dead() {
    let hours = 8;
    let chronicle = restart(600, true, 4.5 * HOUR, HOUR * hours as f64, hours);
    expect(
        &chronicle,
        &[],
        &[
            firing_at(4 * 60 + 20, &[("CoturnAllocationsAbandoned", 1)]),
            firing_at(4 * 60 + 40, &[("CoturnServerRestarted", 1)]),
            firing_at(60 * hours, &[]),
            fired_by(60 * hours, &[("CoturnAllocationsAbandoned", 1), ("CoturnServerRestarted", 1)]),
        ],
    );
}

#[test]
fn a_killed_server_with_few_allocations_fires_one_alert_at_most() {
    let mut chronicle = Chronicle::new(Settings::default(), 0.0);
    let lives: Vec<_> = (0..3)
        .map(|n| Life::call(REALM, n + 1, MINUTE * n as f64, 4.0 * HOUR).ending(Ending::Killed))
        .collect();
    chronicle.hear(&tell(&lives), 10.0 * HOUR);
    expect(
        &chronicle,
        &[],
        &[
            firing_at(4 * 60 + 85, &[("CoturnNoMessages", 1)]),
            firing_at(10 * 60, &[]),
            fired_by(10 * 60, &[("CoturnNoMessages", 1)]),
        ],
    );
}

#[test]
fn a_redis_that_is_down_for_hours_fires_one_alert() {
    let mut chronicle = Chronicle::new(Settings::default(), 0.0);
    let told = tell(&calls(FIRST, 1, 0.0, 12.0 * HOUR));
    let (down, up) = (4.0 * HOUR, 7.0 * HOUR);
    let part = |from: f64, until: f64| -> Vec<Told> {
        told.iter().filter(|message| from < message.at && message.at <= until).cloned().collect()
    };
    chronicle.hear(&part(-1.0, down), down);
    chronicle.link_lost();
    chronicle.hear(&[], up);
    chronicle.link_up();
    chronicle.hear(&part(up, 12.0 * HOUR), 12.0 * HOUR);
    expect(
        &chronicle,
        &[],
        &[
            firing_at(5 * 60, &[("CoturnSourceDown", 1)]),
            firing_at(8 * 60, &[]),
            fired_by(12 * 60, &[("CoturnSourceDown", 1)]),
        ],
    );
}

/// Twenty clients are left behind by their viewers after an hour and keep their relays for two more; others are well.
#[test]
fn a_leak_fires_one_alert_and_no_other() {
    let mut chronicle = Chronicle::new(Settings::default(), 0.0);
    let mut lives = calls(FIRST, 1, 0.0, 8.0 * HOUR);
    lives.extend((0..20).map(|n| {
        let from = MINUTE * n as f64;
        Life::call(REALM, THREAD + n, from, 5.0 * HOUR).idle_from(2.0 * HOUR)
    }));
    chronicle.hear(&tell(&lives), 8.0 * HOUR);
    expect(
        &chronicle,
        &[],
        &[
            firing_at(2 * 60 + 25, &[]),
            firing_at(2 * 60 + 40, &[("CoturnAllocationsLeaked", 1)]),
            firing_at(5 * 60 + 10, &[]),
            fired_by(8 * 60, &[("CoturnAllocationsLeaked", 1)]),
        ],
    );
}

/// A recorded leak: the viewer's browser was killed, the phone opened one connection after the other and closed none.
/// The thresholds are those of a coturn that grants ten minutes.
#[test]
fn the_leak_of_real_browsers_is_told_with_its_count_and_its_realm() {
    let events = naive::events(&golden::capture("browser-kill-leak"));
    let begin = events[0].at;
    let told: Vec<_> = events
        .iter()
        .map(|event| Told {
            at: event.at - begin,
            channel: format!("{}/{}", String::from_utf8(event.key.clone()).unwrap(), event.kind),
            payload: event.payload.clone(),
        })
        .collect();
    let settings = Settings {
        max_lifetime: Duration::from_secs(600),
        idle_after: Duration::from_secs(600),
        ..Settings::default()
    };
    let mut chronicle = Chronicle::new(settings, 0.0);
    chronicle.hear(&told, 30.0 * MINUTE);
    let alert = json!({
        "eval_time": "17m",
        "alertname": "CoturnAllocationsLeaked",
        "exp_alerts": [{
            "exp_labels": {
                "job": "coturn", "instance": "turn:10641", "realm": "leak.test", "severity": "warning",
            },
            "exp_annotations": {
                "summary": "Clients keep TURN allocations that nobody uses.",
                "description":
                    "5 allocations of realm \"leak.test\" on turn:10641 are refreshed and relay nothing, 100% of all that \
                     are live. Typically a page that never closes its peer connection after the other side went away.",
                "runbook_url": "https://coturn-exporter.example/runbooks/CoturnAllocationsLeaked.md",
                "dashboard_url":
                    "https://grafana.example/d/coturn-realm?var-instance=turn%3A10641&var-realm=leak.test",
            },
        }],
    });
    expect(
        &chronicle,
        &[alert],
        &[firing_at(9, &[]), firing_at(17, &[("CoturnAllocationsLeaked", 1)]), firing_at(25, &[])],
    );
}
