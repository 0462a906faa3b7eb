//! The live page and the lists in a real browser: on a desktop and on a phone, light and dark, empty and with ten thousand
//! allocations. Nothing is complained about, nothing runs or loads that the policy forbids, all text has contrast, and a
//! refresh disturbs nobody. What was seen is kept as pictures in `target/tmp/pages`.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use crate::common::models::traffic::Traffic;
use crate::common::net::statsdb::{Allocation, Statsdb};
use crate::common::poll::{self, PATIENCE};
use crate::common::servers::exporter::Exporter;
use crate::common::servers::redis::Redis;
use crate::common::servers::webdriver::{Browser, Window};

const DESKTOP: (u32, u32) = (1280, 900);
const PHONE: (u32, u32) = (390, 844);

struct Viewer {
    browser: Browser,
    window: Window,
    exporter: Exporter,
}

impl Viewer {
    fn of(exporter: Exporter) -> Self {
        let browser = Browser::start();
        let window = browser.first_window();
        Self { browser, window, exporter }
    }

    fn go(&self, path: &str) {
        self.browser.go(&self.window, &format!("http://{}{path}", self.exporter.address));
        // Gone with a reload.
        self.run("window.mark = 1");
    }

    fn run(&self, body: &str) -> Value {
        self.browser.run(&self.window, body, &[])
    }

    fn text(&self, body: &str) -> String {
        self.run(body).as_str().unwrap_or_else(|| panic!("no text: {body}")).to_owned()
    }

    /// Waits for the page to show this by refreshing itself.
    fn until_shown(&self, what: &str, body: &str) {
        poll::until(PATIENCE, what, || {
            assert_eq!(self.run("return window.mark"), 1, "it was loaded anew");
            if self.run(body) == true { Ok(()) } else { Err(self.text("return document.body.innerText")) }
        });
    }

    fn resize(&self, (width, height): (u32, u32)) {
        let is_phone = width == PHONE.0;
        let metrics = json!({ "width": width, "height": height, "deviceScaleFactor": 1, "mobile": is_phone });
        self.browser.develop(&self.window, "Emulation.setDeviceMetricsOverride", &metrics);
    }

    fn prefer(&self, scheme: &str) {
        let features = json!({ "features": [{ "name": "prefers-color-scheme", "value": scheme }] });
        self.browser.develop(&self.window, "Emulation.setEmulatedMedia", &features);
    }

    /// Looks at the page in each size and scheme, and keeps pictures.
    fn look_at_all(&self, name: &str, is_whole: bool) {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("pages");
        fs::create_dir_all(&folder).expect("a folder");
        for (size_name, size) in [("desktop", DESKTOP), ("phone", PHONE)] {
            self.resize(size);
            for scheme in ["light", "dark"] {
                self.prefer(scheme);
                let what = format!("{name}-{size_name}-{scheme}");
                let picture = self.browser.picture(&self.window, is_whole);
                assert!(picture.starts_with(b"\x89PNG"), "{what}");
                fs::write(folder.join(format!("{what}.png")), picture).expect("a picture is kept");
                let too_wide =
                    "return document.documentElement.scrollWidth - document.documentElement.clientWidth";
                assert_eq!(self.run(too_wide), 0, "{what} scrolls sideways");
                assert_eq!(self.run(FAINT_TEXT), json!([]), "{what}: text without contrast");
                assert_eq!(self.run(NAMELESS), json!([]), "{what}: without a name");
            }
        }
        self.resize(DESKTOP);
        self.prefer("light");
    }

    /// Nothing was complained about, nothing came from elsewhere, and what stands in the page does not run.
    fn obeys_the_policy(&self) {
        let complaints = self.browser.complaints();
        assert!(complaints.is_empty(), "{complaints:#?}");
        let foreign = "return performance.getEntriesByType('resource').filter((one) => !one.name.startsWith(location.origin)).length";
        assert_eq!(self.run(foreign), 0, "something from elsewhere");
        let inline = "const script = document.createElement('script'); script.textContent = 'window.ran = 1'; \
                      document.body.append(script); script.remove(); return window.ran ?? 0";
        assert_eq!(self.run(inline), 0, "a script within the page ran");
        let policy = self.exporter.get("/").expect("a page");
        let policy = policy.header("content-security-policy").expect("a policy");
        assert!(!policy.contains("unsafe"), "{policy}");
        // What the browser said to that.
        assert_eq!(self.browser.complaints().len(), 1);
    }
}

/// Visible text whose contrast with its background is below that of WCAG AA.
const FAINT_TEXT: &str = r"
const parts = (colour) => colour.match(/[\d.]+/g).map(Number);
const light = (colour) => {
  const [r, g, b] = parts(colour).slice(0, 3).map((part) => {
    const linear = part / 255;
    return linear <= 0.03928 ? linear / 12.92 : ((linear + 0.055) / 1.055) ** 2.4;
  });
  return 0.2126 * r + 0.7152 * g + 0.0722 * b;
};
const isClear = (colour) => colour === 'transparent' || parts(colour)[3] === 0;
const behind = (element) => {
  for (let at = element; at; at = at.parentElement) {
    const colour = getComputedStyle(at).backgroundColor;
    if (!isClear(colour)) return colour;
  }
  return 'rgb(255, 255, 255)';
};
const faint = [];
const walk = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
while (walk.nextNode()) {
  const element = walk.currentNode.parentElement;
  if (!walk.currentNode.nodeValue.trim() || !element.getClientRects().length) continue;
  const [a, b] = [light(getComputedStyle(element).color), light(behind(element))];
  const contrast = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
  if (contrast < 4.5) faint.push(`${walk.currentNode.nodeValue.trim()}: ${contrast}`);
}
return faint;";

/// What can be used or is a picture and has no name for those who do not see it.
const NAMELESS: &str = r"
const named = (one) => one.getAttribute('aria-label') || one.textContent.trim() || one.closest('label')?.textContent.trim();
const all = document.querySelectorAll('a, button, input:not([type=hidden]), select, svg[role=img], th, [role=region]');
return [...all].filter((one) => !named(one)).map((one) => one.outerHTML);";

const LIVE_NUMBER: &str =
    "const one = [...document.querySelectorAll('.totals li')].find((one) => one.textContent.startsWith(";

/// Allocations of a web client that leaks, a call, and a quiet realm.
fn publish(redis: &Redis) -> Vec<Allocation> {
    let mut statsdb = Statsdb::connect(redis, 0);
    let realms = ["calls.example", "meetings.example", "support.example"];
    let all: Vec<_> = (1..=12)
        .zip(realms.into_iter().cycle())
        .map(|(id, realm)| Allocation::new(realm, &format!("2147483647:user{id}"), id))
        .collect();
    for allocation in &all {
        statsdb.open(allocation, 600);
    }
    let leg = |packets| Traffic {
        received_packets: packets,
        received_bytes: packets * 900,
        sent_packets: packets,
        sent_bytes: packets * 400,
    };
    for (allocation, packets) in all.iter().zip([4096, 2048, 100]) {
        statsdb.report(allocation, leg(packets), leg(packets));
    }
    all
}

#[test]
fn the_live_page_from_its_first_minute_on() {
    let redis = Redis::start();
    let flags = ["--web.enable-details", "--allocation.max-lifetime=2s", "--allocation.idle-after=2s"];
    let viewer = Viewer::of(Exporter::watching_with(&redis.url(0), &flags));
    viewer.go("/");
    viewer.until_shown(
        "why it is empty",
        "return document.querySelector('.notice')?.textContent.includes('No coturn has reported') ?? false",
    );
    let line = viewer.text("return document.querySelector('.notice code').textContent");
    let port = redis.url(0).rsplit(':').next().unwrap().trim_end_matches("/0").to_owned();
    assert_eq!(line, format!("redis-statsdb=\"ip=127.0.0.1 dbname=0 port={port} connect_timeout=30\""));
    viewer.look_at_all("live-empty", true);

    let all = publish(&redis);
    let shows = |name: &str, value: usize| {
        format!("{LIVE_NUMBER}'{name}')); return one?.querySelector('strong').textContent === '{value}'")
    };
    viewer.until_shown("the allocations", &shows("Allocations", all.len()));
    assert_eq!(viewer.run("return document.querySelector('.notice')?.textContent ?? ''"), "");
    let realms = "return [...document.querySelectorAll('table.realms tbody tr')].length";
    assert_eq!(viewer.run(realms), 3);
    viewer.until_shown("the leaks", &shows("Leaked allocations", all.len()));
    // More than one point makes a line.
    viewer.until_shown(
        "lines",
        "return document.querySelector('svg.chart .first').getAttribute('d').includes(' ', 12)",
    );
    viewer.look_at_all("live", true);
    let names = viewer.text("return document.documentElement.outerHTML");
    assert!(!names.contains("user1"), "no user is named");

    // By keyboard: the first stop is a link of the page's head.
    viewer.browser.press(&viewer.window, '\u{e004}');
    let focused = "return document.activeElement.closest('header nav') !== null";
    assert_eq!(viewer.run(focused), true);
    viewer.obeys_the_policy();

    // What a source that is gone looks like.
    drop(redis);
    viewer.until_shown(
        "that the source is down",
        "return [...document.querySelectorAll('.notice.wrong')].some((one) => one.textContent.includes('is down'))",
    );
    viewer.look_at_all("live-down", true);
}

/// The head of the table stays in sight while its rows scroll.
const SCROLLED_HEADING: &str = "
const region = document.querySelector('.scroll');
region.scrollTop = 1000;
const heading = region.querySelector('thead th').getBoundingClientRect();
return [region.scrollTop, Math.round(heading.top - region.getBoundingClientRect().top)];";

/// Selects the number in the tenth row.
const SELECT: &str = "
const code = document.querySelectorAll('tbody tr')[9].querySelector('code');
getSelection().selectAllChildren(code);
return code.textContent;";

#[test]
fn ten_thousand_allocations_in_a_list_that_stands_still() {
    const MANY: u64 = 10_000;
    let redis = Redis::start();
    let viewer = Viewer::of(Exporter::watching_with(&redis.url(0), &["--web.enable-details"]));
    let mut statsdb = Statsdb::connect(&redis, 0);
    for id in 1..=MANY {
        let realm = if id % 3 == 0 { "meetings.example" } else { "calls.example" };
        statsdb.open(&Allocation::new(realm, &format!("2147483647:user{id}"), id), 600);
    }
    viewer.exporter.until_value("coturn_exporter_source_allocations", &[], MANY as f64);
    viewer.go("/allocations");
    let range = "return document.querySelector('[data-key=range]').textContent";
    assert_eq!(viewer.text(range), "Rows 1 to 100 of 10,000");
    assert_eq!(viewer.run("return document.querySelectorAll('tbody tr').length"), 100);
    viewer.look_at_all("allocations", false);

    assert_eq!(viewer.run(SCROLLED_HEADING), json!([1000, 0]));
    let selected = viewer.text(SELECT);
    assert_eq!(selected.len(), 18);
    let before = viewer.text("return document.querySelector('time').dateTime");
    // Another row comes to the list meanwhile.
    statsdb.open(&Allocation::new("calls.example", "2147483647:late", MANY + 1), 600);
    viewer.until_shown(
        "a refresh",
        &format!(
            "return document.querySelector('time').dateTime !== '{before}' && \
             document.getElementById('summary').textContent.includes('10,001')"
        ),
    );
    assert_eq!(viewer.text("return getSelection().toString()"), selected, "the selection stays");
    assert_eq!(viewer.run("return document.querySelector('.scroll').scrollTop"), 1000, "and the place");

    // With the keyboard, for a browser lets nobody copy but its user; and without a refresh that would come between.
    viewer.run(
        "document.querySelector('#refresh input').checked = false; \
         document.querySelectorAll('tbody tr')[9].querySelector('button').focus()",
    );
    viewer.browser.press(&viewer.window, '\u{e007}');
    viewer.until_shown(
        "that it was copied",
        "return [...document.querySelectorAll('[data-copy]')].some((one) => one.textContent === 'Copied')",
    );

    let follow = |key: &str| {
        viewer.run(&format!("document.querySelector('[data-key=\"{key}\"]').click()"));
        poll::until(PATIENCE, &format!("the page behind {key}"), || {
            let left = viewer.run("return window.mark ?? 0");
            if left == 0 && viewer.run("return document.readyState") == "complete" {
                Ok(())
            } else {
                Err(left.to_string())
            }
        });
        viewer.run("window.mark = 1");
        viewer.text(range)
    };
    assert_eq!(follow("next"), "Rows 101 to 200 of 10,001");
    assert_eq!(follow("next"), "Rows 201 to 300 of 10,001");
    assert_eq!(follow("previous"), "Rows 101 to 200 of 10,001");
    assert_eq!(follow("first"), "Rows 1 to 100 of 10,001");
    viewer.obeys_the_policy();

    viewer.go("/allocations?user=late");
    viewer.look_at_all("allocation-of-one-user", true);
    viewer.resize(PHONE);
    let card = "const cell = document.querySelector('tbody td.number'); \
                return [getComputedStyle(cell).display, getComputedStyle(cell, '::before').content]";
    assert_eq!(viewer.run(card), json!(["grid", "\"Age\""]), "a row is a card");
    viewer.resize(DESKTOP);
    viewer.go("/sessions?realm=meetings.example");
    assert_eq!(viewer.text(range), "Rows 1 to 100 of 3,333");
    viewer.look_at_all("sessions", false);
    viewer.go("/allocations?user=nobody");
    viewer.look_at_all("allocations-empty", true);
    let complaints = viewer.browser.complaints();
    assert!(complaints.is_empty(), "{complaints:#?}");
}
