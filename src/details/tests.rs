//! Whole answers over a small table: the fields, names of clients in JSON and HTML, refused queries.

use std::collections::BTreeSet;
use std::sync::Mutex;
use std::time::Duration;

use serde_json::Value;

use super::*;
use crate::percent::encode;
use crate::state::rows::{AllocationWalk, RowWalk, SessionWalk};
use crate::state::{Settings, SourceId, Table};
use crate::wire::{AllocationId, Event, Grant, Key, Leg, Path, Traffic, Transport, Volume};

/// The clock on the wall is an hour ahead of the table's.
const AHEAD: Duration = Duration::from_secs(3600);

struct Small(Mutex<Table>);

impl Small {
    fn list<W: RowWalk>(&self, wanted: RowQuery) -> Listing<W::Row> {
        let table = self.0.lock().unwrap();
        let mut walking = W::new(wanted);
        while walking.step(&table) {}
        let found = walking.found();
        let wall = found.now.plus(AHEAD);
        Listing { found, wall }
    }
}

impl Inspect for Small {
    fn allocations(&self, wanted: RowQuery) -> Listing<AllocationRow> {
        self.list::<AllocationWalk>(wanted)
    }

    fn sessions(&self, wanted: RowQuery) -> Listing<SessionRow> {
        self.list::<SessionWalk>(wanted)
    }
}

const HOSTILE: [&[u8]; 6] = [
    b"<script>alert(1)</script>",
    b"\"><img/src=x/onerror=alert(1)>",
    b"'onmouseover='alert(1)",
    b"&lt;b&gt;",
    b"caf\xe9\x1b[2J",
    b"\xe2\x80\xaegnirts",
];

fn at(seconds: u64) -> Timestamp {
    Timestamp::from_millis(1_795_343_000_000 + seconds * 1000)
}

/// One orphan, one connection in use, and one allocation of each hostile name, in a realm that is no better.
fn small() -> Small {
    let settings = Settings {
        max_lifetime: Duration::from_secs(60),
        idle_after: Duration::from_secs(60),
        are_rates_kept: true,
        ..Settings::default()
    };
    let mut table = Table::new(settings, &["redis://127.0.0.1:6379/0"]);
    table.link_up(at(0), SourceId(0));
    let mut report = |seconds, realm: &[u8], user: &[u8], id, event: &Event<'_>| {
        let key = Key { realm: Some(realm), user, id: AllocationId(id) };
        table.apply(at(seconds), SourceId(0), &key, event);
    };
    let path = Path { transport: Transport::Tcp, local: b"192.0.2.1:3478", remote: b"198.51.100.7:40000" };
    let new = Event::New(Grant { lifetime: 600, path: Some(path) });
    report(0, b"one.example", b"1795343956:leaky", 1, &new);
    report(0, b"one.example", b"1795343956:busy", 2, &new);
    let volume = |packets, bytes| Volume { packets, bytes };
    let traffic = Traffic { received: volume(100, 20_000), sent: volume(50, 5000) };
    report(90, b"one.example", b"1795343956:busy", 2, &Event::Traffic(Leg::Peer, traffic));
    for (user, id) in HOSTILE.into_iter().zip(10..) {
        report(95, b"<i>realm</i>", user, id, &new);
    }
    table.advance(at(100));
    Small(Mutex::new(table))
}

fn ask(detail: Detail, query: &str) -> (bool, String) {
    let Answer { ok, body } = answer(&small(), detail, query);
    (ok, String::from_utf8(body).unwrap())
}

fn json(detail: Detail, query: &str) -> Value {
    let (ok, body) = ask(detail, query);
    assert!(ok, "{query}: {body}");
    serde_json::from_str(&body).unwrap()
}

fn fields(value: &Value) -> BTreeSet<&str> {
    value.as_object().unwrap().keys().map(String::as_str).collect()
}

#[test]
fn an_allocation_has_the_promised_fields() {
    let list = json(Detail::Allocations, "user=leaky");
    assert_eq!(
        fields(&list),
        BTreeSet::from([
            "now",
            "matched",
            "orphans",
            "start",
            "previous_cursor",
            "next_cursor",
            "allocations"
        ])
    );
    assert_eq!(
        (&list["matched"], &list["orphans"]["idle"], &list["orphans"]["overdue"]),
        (&1.into(), &1.into(), &0.into())
    );
    assert_eq!(list["now"], at(100).plus(AHEAD).rfc3339());
    let row = &list["allocations"][0];
    for (field, expected) in [
        ("source", Value::from("redis://127.0.0.1:6379/0")),
        ("realm", "one.example".into()),
        ("realm_encoded", "one.example".into()),
        ("user", "1795343956:leaky".into()),
        ("user_encoded", "1795343956%3Aleaky".into()),
        ("id", "000000000000000001".into()),
        ("server", "192.0.2.1".into()),
        ("transport", "tcp".into()),
        ("client", "198.51.100.7:40000".into()),
        ("state", "live".into()),
        ("reason", "idle".into()),
        ("started", at(0).plus(AHEAD).rfc3339().into()),
        ("adopted", false.into()),
        ("age_seconds", 100.0.into()),
        ("last_grant", at(0).plus(AHEAD).rfc3339().into()),
        ("lifetime_seconds", 600.0.into()),
        ("expires", at(600).plus(AHEAD).rfc3339().into()),
        ("lifetime_left_seconds", 500.0.into()),
        ("last_active", at(0).plus(AHEAD).rfc3339().into()),
        ("idle_seconds", 100.0.into()),
        ("over_max_lifetime", true.into()),
        ("relayed", false.into()),
        ("bytes", 0.into()),
        ("bytes_per_second", 0.into()),
    ] {
        assert_eq!(row[field], expected, "{field}");
    }
    let busy = &json(Detail::Allocations, "user=busy")["allocations"][0];
    assert_eq!(
        (&busy["bytes"], &busy["traffic"]["peer"]["received"]["bytes"]),
        (&25_000.into(), &20_000.into())
    );
    assert_eq!(busy["traffic"]["client"]["sent"]["packets"], 0);
    assert_eq!(busy["bytes_per_second"], 277);
}

#[test]
fn a_session_has_the_promised_fields() {
    let list = json(Detail::Sessions, "user=leaky");
    assert_eq!(
        fields(&list),
        BTreeSet::from([
            "now",
            "matched",
            "with_orphans",
            "start",
            "previous_cursor",
            "next_cursor",
            "sessions"
        ])
    );
    assert_eq!((&list["matched"], &list["with_orphans"]), (&1.into(), &1.into()));
    let row = &list["sessions"][0];
    let promised = [
        "source",
        "realm",
        "realm_encoded",
        "user",
        "user_encoded",
        "client",
        "state",
        "started",
        "partial",
        "age_seconds",
        "live_allocations",
        "idle_orphans",
        "allocations",
        "last_active",
        "idle_seconds",
        "relayed",
        "bytes",
        "bytes_per_second",
    ];
    assert_eq!(fields(row), BTreeSet::from(promised));
    assert_eq!(
        (&row["live_allocations"], &row["idle_orphans"], &row["client"]),
        (&1.into(), &1.into(), &Value::Null)
    );
}

#[test]
fn names_of_any_bytes_are_told_and_found_again() {
    for name in HOSTILE {
        let list = json(Detail::Allocations, &format!("user={}", encode(name)));
        assert_eq!(list["matched"], 1, "{name:?}");
        let row = &list["allocations"][0];
        assert_eq!(row["user"], String::from_utf8_lossy(name).into_owned());
        assert_eq!(row["user_encoded"], encode(name));
        assert_eq!(row["realm"], "<i>realm</i>");
    }
}

#[test]
fn pages_follow_on_through_cursors() {
    for sort in ["", "&sort=user", "&sort=-user", "&sort=-age", "&sort=realm", "&sort=bytes"] {
        let (mut names, mut cursor) = (Vec::new(), String::new());
        loop {
            let list = json(Detail::Allocations, &format!("limit=3{sort}&cursor={cursor}"));
            names.extend(
                list["allocations"].as_array().unwrap().iter().map(|row| row["user_encoded"].to_string()),
            );
            match list["next_cursor"].as_str() {
                Some(next) => next.clone_into(&mut cursor),
                None => break,
            }
        }
        assert_eq!(names.len(), 8, "{sort}");
        assert_eq!(names.into_iter().collect::<BTreeSet<_>>().len(), 8, "{sort}");
    }
}

#[test]
fn what_is_not_understood_is_refused_with_a_sentence() {
    for query in ["limit=-1", "colour=red", "cursor=x", "user=%f", "sort=<b>"] {
        for detail in [Detail::Allocations, Detail::Sessions] {
            let (ok, body) = ask(detail, query);
            let answered: Value = serde_json::from_str(&body).unwrap();
            assert!(!ok && fields(&answered) == BTreeSet::from(["error"]), "{query}: {body}");
            assert!(
                !answered["error"].as_str().unwrap().is_empty() && body.lines().count() == 1,
                "{query}: {body}"
            );
        }
        let (ok, html) = ask(Detail::AllocationsPage, query);
        assert!(!ok && html.contains("cannot be answered") && !html.contains("<b>"), "{query}: {html}");
        check_markup(&html);
    }
}

/// The policy forbids what stands inside the page; so nothing may.
fn check_markup(html: &str) {
    for tag in html.split('<').skip(1).map(|rest| rest.split('>').next().unwrap()) {
        let is_scripted =
            tag.split_whitespace().skip(1).any(|part| part.starts_with("on") || part.starts_with("style="));
        assert!(!is_scripted && !tag.starts_with("style"), "<{tag}>");
        assert!(!tag.starts_with("script") || tag.contains("src=\"/"), "<{tag}>");
        assert!(!tag.contains("//"), "from elsewhere: <{tag}>");
        let known = [
            "!DOCTYPE", "html", "head", "meta", "title", "link", "script", "noscript", "body", "header",
            "h1", "nav", "a", "main", "form", "label", "input", "select", "option", "button", "span", "div",
            "p", "strong", "time", "table", "thead", "tr", "th", "tbody", "td", "code", "details", "summary",
            "dl", "dt", "dd",
        ];
        let name = tag.trim_start_matches('/').split([' ', '>']).next().unwrap();
        assert!(known.contains(&name), "<{tag}>");
    }
    for tag in [
        "table", "tr", "th", "td", "a", "div", "form", "label", "p", "nav", "main", "body", "html", "span",
        "code", "button", "details", "dl",
    ] {
        let opened = html.matches(&format!("<{tag}>")).count() + html.matches(&format!("<{tag} ")).count();
        assert_eq!(opened, html.matches(&format!("</{tag}>")).count(), "<{tag}>");
    }
}

#[test]
fn the_page_is_harmless_whatever_the_names() {
    let (ok, html) = ask(Detail::AllocationsPage, "realm=%3Ci%3Erealm%3C%2Fi%3E");
    assert!(ok);
    check_markup(&html);
    for shown in [
        "&lt;script&gt;alert(1)&lt;/script&gt;",
        "&quot;&gt;&lt;img/src=x/onerror=alert(1)&gt;",
        "&#39;onmouseover=&#39;alert(1)",
        "&amp;lt;b&amp;gt;",
        "caf\\xe9\\u{1b}[2J",
        "\\u{202e}gnirts",
        "value=\"&lt;i&gt;realm&lt;/i&gt;\"",
        "href=\"/allocations?sort=orphans&amp;realm=%3Ci%3Erealm%3C%2Fi%3E&amp;user=%3Cscript%3Ealert%281%29%3C%2Fscript%3E\"",
    ] {
        assert!(html.contains(shown), "{shown}: {html}");
    }
    assert!(!html.contains('\u{1b}') && !html.contains('\u{202e}'));
}

#[test]
fn the_page_puts_orphans_on_top_in_words() {
    let (_, html) = ask(Detail::AllocationsPage, "");
    check_markup(&html);
    let row = html.split("<tbody").nth(1).unwrap().split("</tr>").next().unwrap();
    assert!(row.contains("<span>Idle orphan</span>"), "{row}");
    assert!(row.contains("1795343956:leaky") && row.contains("class=\"idle\""), "{row}");
    assert!(row.contains("data-label=\"Idle\"><span>1 min 40 s</span>"), "{row}");
    assert!(row.contains("<code>000000000000000001</code>"), "{row}");
    assert!(
        html.contains(
            "1 orphan</strong> (1 idle, 0 overdue) among 8 allocations that match, ended ones included."
        ),
        "{html}"
    );
    let idle = ask(Detail::AllocationsPage, "reason=idle").1;
    assert!(idle.contains("among 1 allocation that match."), "{idle}");
}

/// The addresses of the links whose text is this.
fn links(html: &str, text: &str) -> Vec<String> {
    let anchors = html.split("<a href=\"").skip(1);
    let found = anchors.filter_map(|rest| {
        let (address, rest) = rest.split_once('"')?;
        let shown = rest.split_once('>')?.1.split("</a>").next()?;
        (shown == text).then(|| address.replace("&amp;", "&"))
    });
    found.collect()
}

fn follow(html: &str, text: &str) -> String {
    let link = links(html, text).pop().unwrap_or_else(|| panic!("no link {text} in {html}"));
    let (path, query) = link.split_once('?').unwrap();
    let (ok, html) = ask(Detail::at(path).unwrap(), query);
    assert!(ok, "{link}: {html}");
    html
}

#[test]
fn the_page_keeps_its_filters_while_it_is_sorted_and_turned() {
    let (_, html) = ask(Detail::AllocationsPage, "limit=3&state=live&min_age=0&sort=-bytes");
    assert!(html.contains("scope=\"col\" class=\"number\" aria-sort=\"descending\"><a href=\"/allocations?sort=bytes&amp;limit=3&amp;state=live&amp;min_age=0\""), "{html}");
    assert!(html.contains("<option selected>live</option>"), "{html}");
    assert!(html.contains("Rows 1 to 3 of 8<") && links(&html, "Previous page").is_empty(), "{html}");
    let second = follow(&html, "Next page");
    assert!(second.contains("Rows 4 to 6 of 8<") && second.contains("limit=3&amp;state=live"), "{second}");
    let last = follow(&second, "Next page");
    assert!(last.contains("Rows 7 to 8 of 8<") && links(&last, "Next page").is_empty(), "{last}");
    let back = follow(&last, "Previous page");
    assert!(back.contains("Rows 4 to 6 of 8<"), "{back}");
    let first = follow(&back, "Previous page");
    assert!(first.contains("Rows 1 to 3 of 8<") && links(&first, "Previous page").is_empty(), "{first}");
    assert!(follow(&second, "First page").contains("Rows 1 to 3 of 8<"));
    let json: Value = serde_json::from_str(&follow(&second, "JSON")).unwrap();
    assert_eq!((&json["start"], json["allocations"].as_array().unwrap().len()), (&3.into(), 3));
    assert_eq!(follow(&second, "CSV").lines().count(), 4);
}

#[test]
fn links_in_a_row_narrow_the_list_and_keep_its_other_filters() {
    let (_, html) = ask(Detail::AllocationsPage, "state=live&limit=50");
    for (text, query) in [
        ("192.0.2.1", "server=192.0.2.1"),
        ("tcp", "transport=tcp"),
        ("198.51.100.7:40000", "client=198.51.100.7"),
        ("one.example", "realm=one.example"),
        ("1795343956:busy", "user=1795343956%3Abusy"),
    ] {
        let link = links(&html, text).pop().unwrap_or_else(|| panic!("no link {text} in {html}"));
        assert_eq!(link, format!("/allocations?sort=orphans&state=live&limit=50&{query}"));
        let narrowed = follow(&html, text);
        let without = format!("Without {}", query.replace("%3A", ":"));
        assert_eq!(
            links(&narrowed, &without),
            ["/allocations?sort=orphans&state=live&limit=50"],
            "{narrowed}"
        );
    }
    let matched = |query: &str| json(Detail::Allocations, query)["matched"].as_u64().unwrap();
    for (query, count) in [
        ("server=192.0.2.1", 8),
        ("server=192.0.2", 0),
        ("transport=tcp", 8),
        ("transport=udp", 0),
        ("client=198.51.100.7", 8),
        ("client=%3A%3Affff%3A198.51.100.7", 8),
        ("client=198.51.100.8", 0),
    ] {
        assert_eq!(matched(query), count, "{query}");
    }
}

#[test]
fn sessions_have_a_page_too() {
    let (ok, html) = ask(Detail::SessionsPage, "");
    assert!(ok);
    check_markup(&html);
    assert!(
        html.contains("1 session</strong> with idle orphans among 8 that match, ended ones included."),
        "{html}"
    );
    let row = html.split("<tbody").nth(1).unwrap().split("</tr>").next().unwrap();
    assert!(row.contains("holds idle orphans") && row.contains("1 of 1, 1 idle"), "{row}");
    assert_eq!(links(&html, "1795343956:leaky"), ["/allocations?user=1795343956%3Aleaky"]);
    assert!(!html.contains("name=\"server\"") && !html.contains("<option>overdue</option>"), "{html}");
    assert_eq!(follow(&html, "CSV").lines().count(), 9);
    let (ok, html) = ask(Detail::SessionsPage, "reason=overdue");
    assert!(!ok && html.contains("href=\"/sessions\">All sessions"), "{html}");
}

/// The fields of the CSV are those of the JSON.
#[test]
fn a_csv_has_a_column_for_each_field() {
    for (detail, csv) in
        [(Detail::Allocations, Detail::AllocationsCsv), (Detail::Sessions, Detail::SessionsCsv)]
    {
        let list = json(detail, "user=leaky");
        let row = list.as_object().unwrap().values().find_map(|value| value.get(0)).unwrap();
        let mut names: BTreeSet<String> = fields(row).into_iter().map(str::to_owned).collect();
        if names.remove("traffic") {
            for (leg, directions) in row["traffic"].as_object().unwrap() {
                for (direction, volume) in directions.as_object().unwrap() {
                    names.extend(fields(volume).iter().map(|unit| format!("{leg}_{direction}_{unit}")));
                }
            }
        }
        let (ok, body) = ask(csv, "user=leaky");
        assert!(ok);
        let mut lines = body.lines();
        let columns: BTreeSet<String> = lines.next().unwrap().split(',').map(str::to_owned).collect();
        assert_eq!(columns, names);
        assert!(lines.next().unwrap().contains(",1795343956:leaky,"), "{body}");
    }
    let (_, body) = ask(Detail::AllocationsCsv, "realm=%3Ci%3Erealm%3C%2Fi%3E");
    assert!(body.contains(",caf\u{fffd}\\u{1b}[2J,caf%E9%1B%5B2J,") && !body.contains('\u{1b}'), "{body}");
    let (ok, body) = ask(Detail::AllocationsCsv, "limit=0");
    assert!(!ok && body.starts_with("error\r\n\"limit must be"), "{body}");
}

#[test]
fn every_path_is_known_and_nothing_else() {
    for detail in Detail::ALL {
        assert_eq!(Detail::at(detail.path()), Some(detail));
    }
    for path in
        ["/", "/api/v1/", "/api/v1/allocations/", "/allocations/", "/api", "/metrics", "/sessions.csv"]
    {
        assert_eq!(Detail::at(path), None, "{path}");
    }
}
