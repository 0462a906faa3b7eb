//! Whole pages over small tables, and the memory of an hour.

use std::mem::size_of;
use std::sync::Arc;
use std::time::Duration;

use super::history::{Figures, History, Point};
use super::rates::PayloadRates;
use super::*;
use crate::clock::Timestamp;
use crate::state::{Cause, ClosedBy, Settings, SourceId, Table};
use crate::wire::{AllocationId, Event, Grant, Key, Leg, Path, Traffic, Transport, Volume};

const REDIS: SourceId = SourceId(0);

fn at(seconds: u64) -> Timestamp {
    Timestamp::from_millis(1_795_343_000_000 + seconds * 1000)
}

/// A table that is subscribed at 0 s.
fn table() -> Table {
    let settings = Settings {
        max_lifetime: Duration::from_secs(60),
        idle_after: Duration::from_secs(60),
        max_realms: 1000,
        ..Settings::default()
    };
    let mut table = Table::new(settings, &["redis://127.0.0.1:6379/0"]);
    table.link_up(at(0), REDIS);
    table
}

fn tell(table: &mut Table, seconds: u64, (realm, user, id): (&str, &str, u64), event: &Event<'_>) {
    let key = Key { realm: Some(realm.as_bytes()), user: user.as_bytes(), id: AllocationId(id) };
    table.apply(at(seconds), REDIS, &key, event);
}

fn new() -> Event<'static> {
    new_for(600)
}

fn new_for(lifetime: u32) -> Event<'static> {
    let path = Path { transport: Transport::Tcp, local: b"192.0.2.1:3478", remote: b"198.51.100.7:40000" };
    Event::New(Grant { lifetime, path: Some(path) })
}

fn reported(received: u64, sent: u64) -> Traffic {
    let volume = |bytes| Volume { packets: 100, bytes };
    Traffic { received: volume(received), sent: volume(sent) }
}

fn setup(line: &str) -> SourceSetup {
    SourceSetup { line: Some(line.to_owned()), note: Some("a note".to_owned()) }
}

fn board() -> Board {
    Board::new(vec![setup("redis-statsdb=\"ip=127.0.0.1 dbname=0 port=6379 connect_timeout=30\"")])
}

fn look(board: &mut Board, table: &mut Table, seconds: u64) {
    table.advance(at(seconds));
    board.look(LookKind::Regular, &table.snapshot(), at(seconds), &[None], None);
}

fn about() -> About {
    About {
        name: "a <b> & \"c\"".to_owned(),
        version: "1.2.3".to_owned(),
        revision: Some("abc'123".to_owned()),
        documentation: Some("https://docs.example/?a=1&b=2".to_owned()),
    }
}

fn html(board: &mut Board, has_details: bool) -> String {
    let about = about();
    let site = SiteFacts { about: &about, telemetry_path: "/m&m", has_details };
    let html = String::from_utf8(board.page(&site, None).to_vec()).unwrap();
    check_markup(&html);
    html
}

/// The policy forbids script and style within the page; and every element is closed.
fn check_markup(html: &str) {
    for tag in html.split('<').skip(1).map(|rest| rest.split('>').next().unwrap()) {
        let parts = || tag.split_whitespace().skip(1);
        assert!(
            !parts().any(|part| part.starts_with("on") && part.contains('=') || part.starts_with("style=")),
            "<{tag}>"
        );
        assert!(!tag.starts_with("style"), "<{tag}>");
        assert!(!tag.starts_with("script") || tag.contains("src=\"/-/page.js\""), "<{tag}>");
    }
    for tag in [
        "html",
        "head",
        "body",
        "main",
        "header",
        "nav",
        "footer",
        "title",
        "h1",
        "h2",
        "p",
        "ul",
        "li",
        "a",
        "code",
        "div",
        "figure",
        "figcaption",
        "svg",
        "span",
        "table",
        "thead",
        "tbody",
        "tr",
        "th",
        "td",
        "strong",
        "button",
    ] {
        let opened = html.matches(&format!("<{tag}>")).count() + html.matches(&format!("<{tag} ")).count();
        assert_eq!(opened, html.matches(&format!("</{tag}>")).count(), "<{tag}> in {html}");
    }
    // A chart says in words what it shows.
    for svg in html.split("<svg ").skip(1).map(|rest| rest.split('>').next().unwrap()) {
        assert!(svg.contains("aria-label=\"") || svg.contains("aria-hidden"), "{svg}");
    }
    let ids: Vec<&str> = html.split(" id=\"").skip(1).map(|rest| rest.split('"').next().unwrap()).collect();
    let distinct: std::collections::BTreeSet<_> = ids.iter().collect();
    assert_eq!(distinct.len(), ids.len(), "{ids:?}");
}

/// The text of the cell of a row.
fn cell<'a>(html: &'a str, key: &str, heading: &str) -> &'a str {
    let row = html.split(&format!("data-key=\"{key}\"")).nth(1).unwrap_or_else(|| panic!("no {key}: {html}"));
    let row = row.split("</tr>").next().unwrap();
    let cell =
        row.split(&format!("data-label=\"{heading}\"><span>")).nth(1).unwrap_or_else(|| panic!("{row}"));
    cell.split("</span>").next().unwrap()
}

#[test]
fn memory_and_page_are_bounded_whatever_the_realms() {
    let (mut table, mut board) = (table(), board());
    for realm in 0..100_u64 {
        let name = format!("realm-{realm:02}.of-a-long-name.example");
        for id in 0..=realm / 4 {
            tell(&mut table, 1, (&name, "user", realm * 1000 + id), &new_for(40_000));
        }
    }
    for tick in 0..POINTS as u64 + 50 {
        look(&mut board, &mut table, 10 * (tick + 1));
    }
    let history = &board.history;
    assert_eq!((history.points().len(), history.realms().len()), (POINTS, REALMS));
    assert!(history.realms().iter().all(|realm| realm.figures.len() == POINTS));
    // As much as the queues reserve, which double.
    let places = POINTS.next_power_of_two();
    let most = places * (size_of::<Point>() + REALMS * size_of::<Figures>());
    assert!(most <= 320 << 10, "docs/architecture.md says how much: {most}");

    let page = html(&mut board, true);
    assert!((32 << 10..64 << 10).contains(&page.len()), "docs/live-page.md says how much: {}", page.len());
    assert!(page.contains("data-label=\"Realm\"><span>84 smaller</span>"), "{page}");
    assert_eq!(cell(&page, "others", "Allocations"), "924", "four times the sum of 1 to 21");
    assert_eq!(cell(&page, "realm realm-99.of-a-long-name.example", "Allocations"), "25");
}

/// Names are as long as they may be, of what takes the most room in HTML.
#[test]
fn the_page_is_bounded_whatever_the_names() {
    let (mut table, mut board) = (table(), board());
    for realm in 0..100_u64 {
        let name = format!("{}{realm:02}", "\"".repeat(126));
        tell(&mut table, 1, (&name, "user", realm), &new_for(40_000));
    }
    for tick in 0..POINTS as u64 {
        look(&mut board, &mut table, 10 * (tick + 1));
    }
    let page = html(&mut board, true);
    assert!((64 << 10..128 << 10).contains(&page.len()), "docs/live-page.md says how much: {}", page.len());
}

#[test]
fn a_realm_that_has_become_large_takes_the_place_of_the_smallest() {
    let (mut table, mut board) = (table(), board());
    for realm in 0..REALMS as u64 {
        for id in 0..2 {
            tell(&mut table, 1, (&format!("old-{realm}"), "user", realm * 10 + id), &new());
        }
    }
    tell(&mut table, 1, ("late", "user", 1000), &new());
    look(&mut board, &mut table, 10);
    let has = |board: &Board, name: &str| board.history.realms().iter().any(|realm| &*realm.label == name);
    assert!(!has(&board, "late"), "one is less than two");
    tell(&mut table, 11, ("late", "user", 1001), &new());
    look(&mut board, &mut table, 20);
    assert!(!has(&board, "late"), "two are not more than two");
    tell(&mut table, 21, ("late", "user", 1002), &new());
    look(&mut board, &mut table, 30);
    assert!(has(&board, "late"));
    assert_eq!(board.history.realms().len(), REALMS);
    assert_eq!(board.history.realms()[0].figures.len(), 1, "it is the largest, and new");
    look(&mut board, &mut table, 40);
    assert_eq!(board.history.realms()[0].figures.len(), 2);
}

#[test]
fn what_was_relayed_before_the_first_look_is_in_no_rate() {
    let (mut table, mut history) = (table(), History::default());
    let busy = ("one.example", "busy", 1);
    tell(&mut table, 0, busy, &new());
    tell(&mut table, 5, busy, &Event::Traffic(Leg::Peer, reported(900_000, 900_000)));
    let add = |history: &mut History, table: &mut Table, seconds| {
        table.advance(at(seconds));
        history.add(&table.snapshot(), LookKind::Regular);
    };
    add(&mut history, &mut table, 10);
    assert_eq!(PayloadRates::of_all(&history).now(), (0, 0));
    tell(&mut table, 15, busy, &Event::Traffic(Leg::Peer, reported(10_000, 2_000)));
    add(&mut history, &mut table, 20);
    // What peers sent goes to clients.
    assert_eq!(PayloadRates::of_all(&history).now(), (8_000, 1_600), "over ten seconds");
    add(&mut history, &mut table, 30);
    assert_eq!(PayloadRates::of_all(&history).now(), (4_000, 800), "over twenty");
    for seconds in [40, 50, 60, 70] {
        add(&mut history, &mut table, seconds);
    }
    assert_eq!(PayloadRates::of_all(&history).now(), (1_333, 266), "over the last minute");
    add(&mut history, &mut table, 80);
    assert_eq!(PayloadRates::of_all(&history).now(), (0, 0), "it is more than a minute ago");
    // A second look at one moment is none.
    let points = history.points().len();
    add(&mut history, &mut table, 80);
    assert_eq!(history.points().len(), points);
}

/// A source that flaps makes many of them.
#[test]
fn looks_between_two_points_show_what_is_now_and_leave_nothing_behind() {
    let (mut table, mut regular, mut often) = (table(), board(), board());
    let between = |board: &mut Board, table: &mut Table, seconds| {
        table.advance(at(seconds));
        board.look(LookKind::Between, &table.snapshot(), at(seconds), &[None], None);
    };
    for point in 1..=POINTS as u64 + 10 {
        let now = 10 * point;
        for board in [&mut regular, &mut often] {
            look(board, &mut table, now);
        }
        let user = format!("user-{point}");
        let known = ("one.example", user.as_str(), point);
        tell(&mut table, now + 1, known, &new());
        tell(&mut table, now + 2, known, &Event::Traffic(Leg::Peer, reported(10_000, 2_000)));
        if point == 5 {
            tell(&mut table, now + 2, ("late.example", "user", 1), &new_for(40_000));
        }
        between(&mut often, &mut table, now + 4);
        tell(&mut table, now + 5, known, &Event::Deleted);
        between(&mut often, &mut table, now + 6);
        if point == 5 {
            let page = html(&mut often, false);
            assert_eq!(cell(&page, "realm late.example", "Allocations"), "1");
            assert_eq!(often.history.ended().iter().sum::<u64>(), 5);
            assert_eq!((often.history.points().len(), regular.history.points().len()), (6, 5));
        }
    }
    assert_ne!(html(&mut often, false), html(&mut regular, false));
    for board in [&mut regular, &mut often] {
        look(board, &mut table, 10 * (POINTS as u64 + 11));
    }
    assert_eq!(html(&mut often, false), html(&mut regular, false));
}

#[test]
fn a_new_realm_has_its_rate_from_its_first_point_on() {
    let (mut table, mut board) = (table(), board());
    look(&mut board, &mut table, 10);
    tell(&mut table, 12, ("late.example", "user", 1), &new());
    tell(&mut table, 15, ("late.example", "user", 1), &Event::Traffic(Leg::Peer, reported(10_000, 2_000)));
    look(&mut board, &mut table, 20);
    let page = html(&mut board, false);
    assert_eq!(cell(&page, "realm late.example", "To clients"), "8.0 kbit/s");
    assert_eq!(cell(&page, "realm late.example", "To peers"), "1.6 kbit/s");
}

#[test]
fn a_coturn_that_reports_no_peers_is_measured_at_its_clients() {
    let (mut table, mut history) = (table(), History::default());
    let old = ("one.example", "old", 1);
    tell(&mut table, 0, old, &new());
    table.advance(at(10));
    history.add(&table.snapshot(), LookKind::Regular);
    tell(&mut table, 15, old, &Event::Traffic(Leg::Client, reported(1_000, 5_000)));
    table.advance(at(20));
    history.add(&table.snapshot(), LookKind::Regular);
    assert_eq!(PayloadRates::of_all(&history).now(), (4_000, 800), "what clients sent goes to peers");
}

#[test]
fn ends_and_leaks_are_counted() {
    let (mut table, mut board) = (table(), board());
    tell(&mut table, 1, ("r", "gone", 1), &new());
    tell(&mut table, 1, ("r", "leaky", 2), &new());
    look(&mut board, &mut table, 10);
    tell(&mut table, 15, ("r", "gone", 1), &Event::Deleted);
    look(&mut board, &mut table, 20);
    let disconnected = Cause::ALL.iter().position(|cause| *cause == Cause::Disconnected).unwrap();
    assert_eq!(board.history.ended()[disconnected], 1);
    look(&mut board, &mut table, 100);
    let page = html(&mut board, true);
    assert_eq!(cell(&page, "disconnected", "Ends"), "1");
    assert_eq!(cell(&page, "released", "Ends"), "0");
    assert_eq!((cell(&page, "idle", "Now"), cell(&page, "overdue", "Now")), ("1", "0"));
    assert!(page.contains("<li>Leaked allocations <strong class=\"bad\">1</strong></li>"), "{page}");
    assert!(
        page.contains("href=\"/allocations?reason=idle\"") && page.contains("href=\"/allocations?realm=r\"")
    );
    // What was made is kept for one site until the next look.
    look(&mut board, &mut table, 110);
    assert!(!html(&mut board, false).contains("/allocations"), "there is no such page");
}

#[test]
fn nobody_is_named_and_no_name_breaks_out() {
    let (mut table, mut board) = (table(), board());
    let hostile = "\"><script>alert(1)</script>\u{202e}";
    for (id, realm) in ["one.example", hostile, ""].into_iter().enumerate() {
        tell(&mut table, 1, (realm, "1795343956:alice", id as u64), &new());
    }
    look(&mut board, &mut table, 10);
    let page = html(&mut board, true);
    for secret in ["alice", "198.51.100.7", "40000"] {
        assert!(!page.contains(secret), "{secret} in {page}");
    }
    assert!(!page.contains("<script>") && !page.contains('\u{202e}'), "{page}");
    assert!(page.contains("&quot;&gt;&lt;script&gt;alert(1)&lt;/script&gt;\\u{202e}"), "{page}");
    assert!(page.contains("192.0.2.1"), "servers are named, as among the metrics");
}

/// coturn before 4.6 says neither its address nor the transport.
#[test]
fn what_coturn_has_not_said_is_called_so() {
    let (mut table, mut board) = (table(), board());
    tell(&mut table, 1, ("", "u", 1), &Event::New(Grant { lifetime: 600, path: None }));
    look(&mut board, &mut table, 10);
    let page = html(&mut board, false);
    let servers = page.split("<h2>Servers</h2>").nth(1).unwrap().split("<h2>").next().unwrap();
    assert!(servers.contains("address unknown") && !servers.contains("(none)"), "{servers}");
    let realms = page.split("<h2>Realms</h2>").nth(1).unwrap().split("<h2>").next().unwrap();
    assert!(realms.contains("(none)"), "coturn has no realm: {realms}");
}

#[test]
fn the_page_is_made_once_for_a_look() {
    let (mut table, mut board) = (table(), board());
    look(&mut board, &mut table, 10);
    let about = about();
    let site = SiteFacts { about: &about, telemetry_path: "/metrics", has_details: false };
    let first = board.page(&site, None);
    assert!(Arc::ptr_eq(&first, &board.page(&site, None)));
    look(&mut board, &mut table, 20);
    assert!(!Arc::ptr_eq(&first, &board.page(&site, None)));
}

#[test]
fn an_empty_page_says_why() {
    let (mut table, mut board) = (table(), board());
    let about = about();
    let site = SiteFacts { about: &about, telemetry_path: "/m&m", has_details: false };
    let text = |page: Arc<[u8]>| String::from_utf8(page.to_vec()).unwrap();
    let page = text(board.page(&site, None));
    assert!(page.contains("No metrics yet: starting."), "{page}");
    let page = text(board.page(&site, Some("loading the store: <41 %>")));
    check_markup(&page);
    assert!(page.contains("No metrics yet: loading the store: &lt;41 %&gt;."), "{page}");

    look(&mut board, &mut table, 10);
    let page = html(&mut board, false);
    assert!(page.contains("No coturn has reported to redis://127.0.0.1:6379/0 yet."), "{page}");
    assert!(page.contains("Put this line into turnserver.conf and restart coturn:"), "{page}");
    let line = "<code>redis-statsdb=&quot;ip=127.0.0.1 dbname=0 port=6379 connect_timeout=30&quot;</code>";
    assert!(page.contains(line) && page.contains("a note"), "{page}");

    let down = "redis://127.0.0.1:6379/0: connection refused".to_owned();
    board.look(LookKind::Regular, &table.snapshot(), at(20), &[Some(down)], Some(false));
    let page = html(&mut board, false);
    let sentence = "<p>Source redis://127.0.0.1:6379/0 is down: connection refused.</p>";
    assert!(page.contains(sentence) && !page.contains("Put this line"), "{page}");
    assert!(page.contains("The store cannot be written"), "{page}");
    assert_eq!(cell(&page, "source redis://127.0.0.1:6379/0", "Last event"), "none yet");

    tell(&mut table, 25, ("r", "alice", 1), &new());
    look(&mut board, &mut table, 30);
    let page = html(&mut board, false);
    assert!(!page.contains("class=\"notice\"><p>No coturn") && !page.contains("Put this line"), "{page}");
}

#[test]
fn what_is_wrong_with_a_source_that_is_up_is_said() {
    let (mut table, mut board) = (table(), board());
    table.advance(at(10));
    let mut snapshot = table.snapshot();
    let stats = &mut snapshot.sources[0].stats;
    stats.settings_ok.insert("timeout".into(), false);
    stats.settings_ok.insert("tcp-keepalive".into(), true);
    stats.resync_ok = Some(false);
    board.look(LookKind::Regular, &snapshot, at(10), &[None], None);
    let page = html(&mut board, false);
    let faults =
        "the setting timeout is not as required; the status keys could not be read to their end. &quot;";
    assert!(page.contains(faults), "{page}");
    snapshot.sources[0].stats.settings_ok.insert("dbname".into(), false);
    board.look(LookKind::Regular, &snapshot, at(20), &[None], None);
    let page = html(&mut board, false);
    assert!(
        page.contains("has its key in this db; dbname of redis-statsdb must be the db of --redis.url"),
        "{page}"
    );
}

#[test]
fn a_listener_says_whether_coturn_has_come() {
    let mut table = Table::new(Settings::default(), &["statsdb://127.0.0.1:6390"]);
    table.listens(at(0), REDIS, &[], &[]);
    let mut board = Board::new(vec![setup("the line")]);
    look(&mut board, &mut table, 10);
    let page = html(&mut board, false);
    assert!(page.contains("No coturn has connected to statsdb://127.0.0.1:6390 yet."), "{page}");
    assert!(page.contains("<code>the line</code>"), "{page}");
    table.callers(REDIS, 2, true);
    let connection = table.connection_opened(at(15), REDIS, [192, 0, 2, 1].into());
    look(&mut board, &mut table, 20);
    let page = html(&mut board, false);
    assert!(
        page.contains("coturn has connected to statsdb://127.0.0.1:6390, and has not reported"),
        "{page}"
    );
    assert!(
        page.contains("2 client address(es) connect to statsdb://127.0.0.1:6390 with no or a wrong"),
        "{page}"
    );
    tell(&mut table, 21, ("r", "alice", 1), &new());
    look(&mut board, &mut table, 25);
    assert!(!html(&mut board, false).contains("coturn is connected"));
    // It was taken elsewhere.
    table.connection_closed(at(30), connection, ClosedBy::Other);
    look(&mut board, &mut table, 41);
    let page = html(&mut board, false);
    let says = "No coturn is connected to statsdb://127.0.0.1:6390 now, the last event came 20 s ago.";
    assert!(page.contains(says) && page.contains("<code>the line</code>"), "{page}");
}

/// One coturn reports, another one is refused: numbers that come must not hide those that do not.
#[test]
fn a_refused_client_is_told_beside_one_that_reports() {
    const LISTENER: &str = "source statsdb://127.0.0.1:6390";
    let mut table = Table::new(Settings::default(), &["statsdb://127.0.0.1:6390"]);
    table.listens(at(0), REDIS, &[], &[]);
    table.link_up(at(0), REDIS);
    table.connection_opened(at(0), REDIS, [192, 0, 2, 1].into());
    let mut board = Board::new(vec![setup("the line")]);
    for (refused, says) in [(0, false), (1, true), (0, false)] {
        table.callers(REDIS, refused, true);
        tell(&mut table, 5, ("r", "alice", 1), &new());
        look(&mut board, &mut table, 10);
        let page = html(&mut board, false);
        assert!(!page.contains("No coturn") && !page.contains("Put this line"), "{page}");
        assert_eq!(page.contains("1 client address(es) connect to statsdb://127.0.0.1:6390"), says, "{page}");
        let state = cell(&page, LISTENER, "State");
        assert_eq!(state.contains("; 1 client address(es) refused for their password"), says, "{state}");
        assert_eq!(page.contains("<tr role=\"row\" class=\"wrong\""), says, "{page}");
    }
}

#[test]
fn the_page_has_the_facts_of_the_program_and_its_links() {
    let (mut table, mut board) = (table(), board());
    look(&mut board, &mut table, 10);
    let page = html(&mut board, true);
    for part in [
        "<title>a &lt;b&gt; &amp; &quot;c&quot;</title>",
        "Version 1.2.3, revision <code>abc&#39;123</code>",
        "href=\"/m&amp;m\"",
        "href=\"/-/healthy\"",
        "href=\"/-/ready\"",
        "href=\"/allocations\"",
        "href=\"/sessions\"",
        "href=\"https://docs.example/?a=1&amp;b=2\"",
        "<noscript><p class=\"notice\">Reload the page",
        "data-every=\"10\"",
    ] {
        assert!(page.contains(part), "no {part} in {page}");
    }
    let about = About { revision: None, documentation: None, ..about() };
    let site = SiteFacts { about: &about, telemetry_path: "/metrics", has_details: false };
    let page = String::from_utf8(super::page::without_numbers(&site, None).into_bytes()).unwrap();
    assert!(!page.contains("revision") && !page.contains("Documentation"), "{page}");
    assert!(!page.contains("/allocations") && page.contains("--web.enable-details"), "{page}");
}
