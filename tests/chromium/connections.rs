//! Real Chromium pages that talk through a real coturn, with TURN REST credentials and relays only: what the exporter
//! makes of connections that are closed, leaked and killed, and what its page shows of them in the same browser.
//!
//! The judge is coturn's log. How much a busy machine relays in a second is nobody's promise, so nothing here goes by
//! the rate of frames: what must be silent to be called idle is silent by the log.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::common::models::sums::legs_of_all;
use crate::common::poll::{self, PATIENCE, Stopwatch};
use crate::common::readers::coturn_log::{Cause, CoturnLog};
use crate::common::readers::page::Page;
use crate::common::servers::coturn::{Coturn, Settings};
use crate::common::servers::exporter::Exporter;
use crate::common::servers::page_server::serve_peers;
use crate::common::servers::redis::Redis;
use crate::common::servers::webdriver::{Browser, Window};
use serde_json::{Value, json};

const REALM: &str = "browser.example";
const SECRET: &str = "shared-with-the-service";

/// A TURN REST name that is good until 2038, as far as coturn's 32 bits can tell; each connection has a credential of
/// its own, as services hand them out.
fn name_of(connection: &str) -> String {
    format!("2147483647:{connection}")
}

/// Everything that one case needs.
struct Stage {
    browser: Browser,
    exporter: Exporter,
    coturn: Coturn,
    pages: String,
    _redis: Redis,
}

/// A page in a window.
struct Actor<'a> {
    stage: &'a Stage,
    window: Window,
    urls: &'a [&'a str],
}

const TCP: &[&str] = &["tcp"];
/// A connection uses one of its allocations; the other is spare.
const BOTH: &[&str] = &["udp", "tcp"];

impl Stage {
    fn set(flags: &[&str]) -> Self {
        let redis = Redis::start();
        let settings = Settings { ip: "127.0.0.1", realm: REALM, users: &[], max_lifetime: 600 };
        let coturn = Coturn::start_with_secret(&redis, 0, settings, SECRET);
        let exporter = Exporter::watching_with(&redis.url(0), flags);
        let pages = format!("http://{}/", serve_peers());
        Self { browser: Browser::start(), exporter, coturn, pages, _redis: redis }
    }

    fn actor<'a>(&'a self, window: Window, urls: &'a [&'a str]) -> Actor<'a> {
        self.browser.go(&window, &self.pages);
        Actor { stage: self, window, urls }
    }

    /// The log, once every allocation in it is over.
    fn log_of_the_end(&self) -> CoturnLog {
        poll::until(PATIENCE, "coturn to have ended all allocations", || {
            let log = self.coturn.log();
            if log.opened() > 0 && log.live() == 0 && log.allocations().all(|one| one.reason.is_some()) {
                Ok(log)
            } else {
                Err(format!("{log:#?}"))
            }
        })
    }

    /// All of it against the log: what was opened, how it ended, what it relayed, and whose sessions they were.
    fn agrees(&self, log: &CoturnLog) {
        self.exporter.until("the page to agree with coturn's log", |page| {
            let told = (
                page.count("coturn_allocations_opened_total", &[]),
                causes(page),
                legs_of_all(page, "relayed"),
                page.count("coturn_allocations", &[]) + page.count("coturn_sessions", &[]),
                page.count("coturn_sessions_closed_total", &[]),
            );
            let users: BTreeSet<_> = log.allocations().map(|one| one.user.as_str()).collect();
            let logged = (log.opened(), log.causes(), log.relayed(), 0, users.len() as u64);
            if told == logged { Ok(()) } else { Err(format!("told {told:?}\nlogged {logged:?}")) }
        });
        let page = self.exporter.page();
        assert_eq!(page.count("coturn_allocations_adopted_total", &[]), 0);
        assert_eq!(page.count("coturn_exporter_accounting_anomalies_total", &[]), 0);
        assert_eq!(page.count("coturn_orphaned_allocations", &[]), 0);
    }

    fn api(&self, query: &str) -> Result<Value, String> {
        let response = self.exporter.get(&format!("/api/v1/{query}"))?;
        assert_eq!(response.status, 200, "{query}: {}", response.body);
        serde_json::from_str(&response.body).map_err(|error| error.to_string())
    }

    /// Users of the allocations that the details list, with their ids.
    fn listed(&self, filter: &str) -> BTreeSet<(String, u64)> {
        let list =
            poll::until(PATIENCE, "an answer of the details", || self.api(&format!("allocations?{filter}")));
        let rows = list["allocations"].as_array().expect("rows").iter();
        let pair = |row: &Value| {
            let id = row["id"].as_str().expect("an id").parse().expect("a number");
            (row["user"].as_str().expect("a user").to_owned(), id)
        };
        rows.map(pair).collect()
    }
}

fn causes(page: &Page) -> BTreeMap<Cause, u64> {
    let count =
        |cause: Cause| page.count("coturn_allocations_closed_total", &[("cause", &cause.to_string())]);
    let all = [Cause::Released, Cause::Expired, Cause::Disconnected];
    let known: BTreeMap<_, _> =
        all.into_iter().map(|cause| (cause, count(cause))).filter(|(_, n)| *n > 0).collect();
    assert_eq!(
        known.values().sum::<u64>(),
        page.count("coturn_allocations_closed_total", &[]),
        "other causes"
    );
    known
}

/// Frames of a call that certainly relayed: twice what `--session.relayed-packets` wants by default.
const RELAYED_FRAMES: u64 = 100;

impl Actor<'_> {
    fn run(&self, body: &str, arguments: &[Value]) -> Value {
        self.stage.browser.run(&self.window, body, arguments)
    }

    fn settings(&self, connection: &str) -> Value {
        let port = self.stage.coturn.port();
        let url = |transport: &&str| format!("turn:127.0.0.1:{port}?transport={transport}");
        json!({
            "urls": self.urls.iter().map(url).collect::<Vec<_>>(),
            "secret": SECRET,
            "user": name_of(connection),
        })
    }

    /// Sends video to the viewer, until the viewer has seen so much of it that both have relayed: a frame is one packet at
    /// least, and a session is relayed from 50 of them.
    fn calls(&self, connection: &str, viewer: &Self, of_viewer: &str) {
        let offer = self.run("return offer(...arguments)", &[json!(connection), self.settings(connection)]);
        let answer = [json!(of_viewer), viewer.settings(of_viewer), offer];
        let answer = viewer.run("return answer(...arguments)", &answer);
        self.run("return accept(...arguments)", &[json!(connection), answer]);
        poll::until(PATIENCE, "video to be seen", || {
            let state = viewer.run("return stateOf(...arguments)", &[json!(of_viewer)]);
            let frames = viewer.run("return framesSeen(...arguments)", &[json!(of_viewer)]);
            if frames.as_u64() > Some(RELAYED_FRAMES) {
                Ok(())
            } else {
                Err(format!("{state}, {frames} frames"))
            }
        });
    }

    /// Goes on to another page, without a word to its connections. Chromium releases what they hold then; when a window is
    /// closed it does not always find the time, and what is left over UDP has to expire.
    fn leaves(&self) {
        self.stage.browser.go(&self.window, &format!("{}left", self.stage.pages));
    }

    fn ends(&self, connection: &str) {
        self.run("end(...arguments)", &[json!(connection)]);
    }
}

/// (a) Both sides close.
#[test]
fn connections_that_are_closed_leave_nothing_behind() {
    let stage = Stage::set(&["--web.enable-details"]);
    let phone = stage.actor(stage.browser.first_window(), BOTH);
    let web = stage.actor(stage.browser.open_window(), BOTH);
    phone.calls("phone", &web, "web");
    let live = stage.coturn.log().live();
    assert!(live >= 4, "two allocations on each side, {live} in all");
    poll::until(PATIENCE, "the details to list them", || {
        let listed = stage.listed("state=live").len() as u64;
        if listed == live { Ok(()) } else { Err(format!("{listed} of {live}")) }
    });
    web.ends("web");
    phone.ends("phone");

    let log = stage.log_of_the_end();
    assert!(log.causes().keys().all(|cause| *cause != Cause::Expired), "{:?}", log.causes());
    stage.agrees(&log);
    let page = stage.exporter.page();
    assert_eq!(page.count("coturn_sessions_closed_total", &[("path", "relayed")]), 2);
    assert_eq!(page.count("coturn_session_duration_seconds_count", &[("path", "relayed")]), 2);
    assert_eq!(page.count("coturn_session_relay_duration_seconds_count", &[]), 2);
    assert_eq!(page.count("coturn_allocations_orphaned_total", &[]), 0, "none ever was an orphan");
}

/// (c) Both are killed, over TCP: coturn sees the connections close.
#[test]
fn killed_tcp_clients_are_disconnected() {
    let mut stage = Stage::set(&[]);
    {
        let phone = stage.actor(stage.browser.first_window(), TCP);
        let web = stage.actor(stage.browser.open_window(), TCP);
        phone.calls("phone", &web, "web");
    }
    stage.browser.kill();
    let log = stage.log_of_the_end();
    assert!(log.opened() >= 2);
    assert_eq!(log.causes(), BTreeMap::from([(Cause::Disconnected, log.opened())]));
    stage.agrees(&log);
    assert_eq!(stage.exporter.page().count("coturn_allocations_orphaned_total", &[]), 0);
}

/// How long the leak is held at least, from the reload on.
const HELD: Duration = Duration::from_secs(150);

/// `--allocation.max-lifetime` and `--allocation.idle-after` of the leaking case.
const IDLE_AFTER: Duration = Duration::from_secs(60);

/// Less, by what two looks and the way to the exporter may take.
const SURELY_SILENT: Duration = Duration::from_secs(57);

/// Between two looks at everything; what happens in between is dated to the earlier one.
const LOOKS: Duration = Duration::from_secs(1);

/// When each user's allocations last reported, by looking at coturn's log now and then.
struct Reports {
    watch: Stopwatch,
    /// Reports seen of a user, and the look before the one that saw the last of them.
    by_user: BTreeMap<String, (u64, Duration)>,
    last_look: Duration,
}

impl Reports {
    fn begin() -> Self {
        Self { watch: Stopwatch::start(), by_user: BTreeMap::new(), last_look: Duration::ZERO }
    }

    fn look(&mut self, log: &CoturnLog) {
        let now = self.watch.elapsed();
        let mut sums: BTreeMap<&str, u64> = BTreeMap::new();
        for session in log.allocations() {
            *sums.entry(&session.user).or_default() += session.reports + session.opened;
        }
        for (user, sum) in sums {
            let known = self.by_user.entry(user.to_owned()).or_insert((0, self.last_look));
            if sum > known.0 {
                *known = (sum, self.last_look);
            }
        }
        self.last_look = now;
    }

    /// Users that may have been silent for so long.
    fn silent_for(&self, time: Duration) -> BTreeSet<&str> {
        let now = self.watch.elapsed();
        let silent = self.by_user.iter().filter(|(_, (_, at))| now.saturating_sub(*at) >= time);
        silent.map(|(user, _)| user.as_str()).collect()
    }
}

/// (b) The viewer is reloaded without closing; the phone keeps its old connection and makes a new one.
#[test]
fn a_leak_is_shown_while_it_lasts_and_nothing_beside_it() {
    let seconds = format!("{}s", IDLE_AFTER.as_secs());
    let flags =
        ["--allocation.max-lifetime", &seconds, "--allocation.idle-after", &seconds, "--web.enable-details"];
    let stage = Stage::set(&flags);
    let phone = stage.actor(stage.browser.first_window(), BOTH);
    let web = stage.actor(stage.browser.open_window(), BOTH);
    let details = stage.browser.open_window();
    stage.browser.go(&details, &format!("http://{}/allocations", stage.exporter.address));
    // Gone with a reload: what the page shows later, it shows by refreshing itself.
    stage.browser.run(&details, "window.mark = 1", &[]);

    let mut reports = Reports::begin();
    phone.calls("first", &web, "viewer-1");
    let leaked_user = name_of("first");
    poll::until(PATIENCE, "the first connection to be reported by coturn", || {
        let log = stage.coturn.log();
        reports.look(&log);
        let relayed = log.allocations().any(|one| one.user == leaked_user && one.legs.peer.sent_packets > 0);
        if relayed { Ok(()) } else { Err(format!("{log:?}")) }
    });
    stage.browser.reload(&web.window);
    let reloaded = Stopwatch::start();
    phone.calls("second", &web, "viewer-2");

    // What the phone still holds of its first connection is leaked, with its spare allocation; by coturn's log.
    let leaked = || -> BTreeSet<(String, u64)> {
        let log = stage.coturn.log();
        let held = log.sessions.iter().filter(|(_, one)| one.user == leaked_user && one.is_live());
        held.map(|(id, one)| (one.user.clone(), *id)).collect()
    };
    assert!(leaked().len() >= 2, "{:?}", leaked());
    let mut next_look = Duration::ZERO;
    let mut shown = false;
    poll::until(HELD + 2 * PATIENCE, "the leak, and only it, to be listed for long enough", || {
        if reports.watch.elapsed() < next_look {
            return Err("between two looks".to_owned());
        }
        // A report that is in the log is soon with the exporter.
        let listed = poll::until(PATIENCE, "only those to be listed that are silent", || {
            let listed = stage.listed("reason=idle");
            let silent = reports.silent_for(SURELY_SILENT);
            let talks = listed.iter().any(|(user, _)| !silent.contains(user.as_str()));
            if talks { Err(format!("{listed:?}; {:?}", reports.by_user)) } else { Ok(listed) }
        });
        reports.look(&stage.coturn.log());
        next_look = reports.watch.elapsed() + LOOKS;
        if listed == leaked() && !shown {
            look_at_the_page(&stage, &details, &listed);
            shown = true;
        }
        let long_enough = shown && reloaded.elapsed() >= HELD && listed == leaked();
        if long_enough { Ok(()) } else { Err(format!("listed {listed:?}, leaked {:?}", leaked())) }
    });

    let live: BTreeSet<_> = stage.listed("state=live").into_iter().map(|(user, _)| user).collect();
    assert_eq!(live, ["first", "second", "viewer-2"].map(name_of).into());
    poll::until(PATIENCE, "its session to be listed, and no other", || {
        let sessions = stage.api("sessions?reason=idle")?;
        let row = &sessions["sessions"][0];
        let is_it = row["user"] == *leaked_user && row["idle_orphans"] == leaked().len();
        if is_it && sessions["matched"] == 1 { Ok(()) } else { Err(sessions.to_string()) }
    });
    let held = leaked().len() as u64;
    stage.exporter.until_value("coturn_orphaned_allocations", &[("reason", "idle")], held as f64);

    phone.leaves();
    stage.exporter.until_value("coturn_orphaned_allocations", &[("reason", "idle")], 0.0);
    assert_eq!(stage.listed("reason=idle"), BTreeSet::new());
    poll::until(PATIENCE, "the page to show no orphan", || {
        let summary = "return document.getElementById('summary').textContent + window.mark";
        let summary = stage.browser.run(&details, summary, &[]);
        let text = summary.as_str().expect("text");
        if text.starts_with("0 orphans") && text.ends_with('1') { Ok(()) } else { Err(text.to_owned()) }
    });
    web.leaves();
    let complaints = stage.browser.complaints();
    assert!(complaints.is_empty(), "{complaints:#?}");
    stage.agrees(&stage.log_of_the_end());
}

/// The page in the window was opened before there was a leak.
fn look_at_the_page(stage: &Stage, window: &Window, leaked: &BTreeSet<(String, u64)>) {
    let rows = "return [...document.querySelectorAll('tbody tr')].map((row) => \
                [row.className, row.dataset.id, row.querySelector('th').textContent, row.cells[0].textContent])";
    poll::until(PATIENCE, "the page to refresh itself and list the leak on top", || {
        assert_eq!(stage.browser.run(window, "return window.mark", &[]), 1, "it was loaded anew");
        let rows = stage.browser.run(window, rows, &[]);
        let rows = rows.as_array().expect("rows");
        let text = |row: &Value, at: usize| row[at].as_str().expect("text").to_owned();
        let on_top: BTreeSet<_> =
            rows.iter().take(leaked.len()).map(|row| (text(row, 2), text(row, 1))).collect();
        let wanted = leaked.iter().map(|(user, id)| (user.clone(), format!("{id:018}"))).collect();
        let in_words = rows.iter().filter(|row| text(row, 3) == "Idle orphan").count();
        let others = rows.iter().skip(leaked.len()).filter(|row| text(row, 0) == "live").count();
        if on_top == wanted && in_words == leaked.len() && others >= 4 {
            Ok(())
        } else {
            Err(format!("{rows:#?}"))
        }
    });
    let foreign = "return performance.getEntriesByType('resource').filter((one) => !one.name.startsWith(location.origin)).length";
    assert_eq!(stage.browser.run(window, foreign, &[]), 0, "nothing from elsewhere");

    let colours = || {
        let both =
            "const style = getComputedStyle(document.body); return [style.backgroundColor, style.color]";
        stage.browser.run(window, both, &[])
    };
    let mut schemes = Vec::new();
    for scheme in ["light", "dark"] {
        let features = json!({ "features": [{ "name": "prefers-color-scheme", "value": scheme }] });
        stage.browser.develop(window, "Emulation.setEmulatedMedia", &features);
        schemes.push(colours());
    }
    assert!(schemes[0][0] != schemes[1][0] && schemes[0][1] != schemes[1][1], "{schemes:?}");

    by_keyboard(stage, window);
}

/// Sorts the table with nothing but a keyboard, in a window of its own.
fn by_keyboard(stage: &Stage, other: &Window) {
    const TAB: char = '\u{e004}';
    const ENTER: char = '\u{e007}';
    let window = stage.browser.open_window();
    stage.browser.go(&window, &format!("http://{}/allocations?state=live", stage.exporter.address));
    let focused = || stage.browser.run(&window, "return document.activeElement.dataset.key ?? ''", &[]);
    let presses = (0..60).find(|_| {
        stage.browser.press(&window, TAB);
        focused() == "sort bytes"
    });
    assert!(presses.is_some(), "no way to the heading");
    stage.browser.press(&window, ENTER);
    poll::until(PATIENCE, "the table to be sorted by bytes", || {
        let sorted = "return [document.querySelector('th[aria-sort]')?.textContent, \
                      document.querySelector('th[aria-sort]')?.ariaSort, document.querySelector('[name=state]').value]";
        let sorted = stage.browser.run(&window, sorted, &[]);
        let is_so = sorted[0].as_str().is_some_and(|text| text.starts_with("Bytes"))
            && sorted[1] == "descending"
            && sorted[2] == "live";
        if is_so { Ok(()) } else { Err(sorted.to_string()) }
    });
    stage.browser.close(&window);
    assert_eq!(stage.browser.run(other, "return window.mark", &[]), 1);
}
