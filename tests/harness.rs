//! The instruments themselves: a reader that overlooks something would make every other test worth less.

mod common;

use std::time::Duration;

use common::coturn_log::{Cause, CoturnLog};
use common::page::Page;
use common::poll;
use common::traffic::Traffic;

#[test]
fn a_page_is_read_with_labels_escapes_and_histograms() {
    let page = Page::parse(concat!(
        "# HELP plain_total Text.\n# TYPE plain_total counter\n",
        "plain_total{realm=\"\",user=\"a\\\\b \\\"c\\\" \\n}\"} 3\nplain_total{realm=\"x\",user=\"y\"} 4.5e3\n",
        "# HELP length Text.\n# TYPE length histogram\n",
        "length_bucket{le=\"+Inf\"} 2\nlength_sum 7.25\nlength_count 2\n",
    ));
    assert_eq!(page.value("plain_total", &[("user", "a\\b \"c\" \n}")]), Some(3.0));
    assert_eq!(page.count("plain_total", &[]), 4_503);
    assert_eq!(page.count("plain_total", &[("realm", "x")]), 4_500);
    assert_eq!(page.value("length_sum", &[]), Some(7.25));
    assert_eq!(page.value("plain_total", &[("realm", "absent")]), None);
    assert!(page.iter().all(|(series, _)| page.is_cumulative(series)));
}

#[test]
#[should_panic(expected = "twice on a page")]
fn a_series_twice_on_a_page_is_an_error() {
    Page::parse("# HELP a A.\n# TYPE a gauge\na{b=\"c\"} 1\na{b=\"c\"} 1\n");
}

#[test]
#[should_panic(expected = "outside its family")]
fn a_sample_without_its_type_is_an_error() {
    Page::parse("# HELP a A.\n# TYPE a gauge\nb 1\n");
}

#[test]
#[should_panic(expected = "names more than one series")]
fn a_value_that_is_ambiguous_is_an_error() {
    Page::parse("# HELP a A.\n# TYPE a gauge\na{b=\"c\"} 1\na{b=\"d\"} 1\n").value("a", &[]);
}

#[test]
fn coturns_log_is_read_session_by_session() {
    let log = CoturnLog::parse(concat!(
        "0: : IPv4. UDP listener opened on: 127.0.0.1:20002\n",
        "2: : session 001000000000000001: new, realm=<one.example>, username=<tcp>, lifetime=15\n",
        "2: : session 001000000000000001: refreshed, realm=<one.example>, username=<tcp>, lifetime=15\n",
        "2: : session 001000000000000001: usage: realm=<one.example>, username=<tcp>, rp=3, rb=292, sp=4, sb=300\n",
        "2: : session 001000000000000001: peer usage: realm=<one.example>, username=<tcp>, rp=1, rb=2, sp=3, sb=4\n",
        "2: : session 000000000000000005: usage: realm=<one.example>, username=<>, rp=1, rb=20, sp=1, sb=80\n",
        "3: : session 001000000000000001: usage: realm=<one.example>, username=<tcp>, rp=1, rb=1, sp=1, sb=1\n",
        "3: : session 001000000000000001: closed (2nd stage), user <tcp> realm <one.example> origin <>, local ",
        "127.0.0.1:20002, remote 127.0.0.1:40782, reason: TCP connection closed by client (callback)\n",
        "3: : session 001000000000000001: delete: realm=<one.example>, username=<tcp>\n",
        "3: : session 001000000000000002: new, realm=<one.example>, userna",
    ));
    assert_eq!(log.sessions.len(), 2, "the half line counts for nothing");
    let session = log.allocations().next().expect("an allocation");
    assert_eq!(session.cause(), Cause::Disconnected);
    assert_eq!((session.refreshed, session.released, session.is_live()), (1, 0, false));
    let client = Traffic { received_packets: 4, received_bytes: 293, sent_packets: 5, sent_bytes: 301 };
    let peer = Traffic { received_packets: 1, received_bytes: 2, sent_packets: 3, sent_bytes: 4 };
    assert_eq!((log.relayed().client, log.relayed().peer), (client, peer));
    let probe = log.unallocated().next().expect("a probe");
    assert_eq!(probe.legs.client.sent_bytes, 80);
}

#[test]
#[should_panic(expected = "last seen:\nstill 1")]
fn waiting_in_vain_says_what_was_seen() {
    poll::until(Duration::ZERO, "two", || -> Result<(), String> { Err("still 1".to_owned()) });
}
