//! What comes most often takes no memory: reports of known allocations and refreshes, from bytes to counters.
//!
//! A program of its own with a single test: the allocator counts for the whole process.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "clippy.toml allows these in test functions only; helpers of a test are part of it"
)]

pub mod common;

use std::alloc::System;
use std::time::Duration;

use common::models::traffic::Traffic;
use common::net::statsdb::{Allocation, counters};
use common::servers::fake_redis::pmessage;
use coturn_exporter::app::ingest::Ingest;
use coturn_exporter::clock::Timestamp;
use coturn_exporter::metrics::{Format, MetricsPage, Observe, Render as _, View};
use coturn_exporter::resp::Reader;
use coturn_exporter::source::pubsub::{LIMITS, PubSub, PubSubItem};
use coturn_exporter::state::{Settings, SourceId};
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};

#[global_allocator]
static HEAP: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

const SOURCE: SourceId = SourceId(0);

const ALLOCATIONS: u64 = 1_000;
const ROUNDS: u32 = 50;

/// coturn reports about so often.
const ROUND: Duration = Duration::from_secs(25);

const REPORT: Traffic =
    Traffic { received_packets: 2048, received_bytes: 307_200, sent_packets: 2048, sent_bytes: 1_843_200 };

/// Two allocations of each user, in two realms, at two servers.
fn allocation(id: u64) -> Allocation {
    let realm = if id.is_multiple_of(2) { "one.example" } else { "two.example" };
    let allocation = Allocation::new(realm, &format!("1795343956:user{:06}", id / 4), id);
    allocation.of_server(&format!("192.0.2.{}:3478", 1 + id / 2 % 2))
}

/// Each allocation's status, and its reports of both legs.
fn round(word: &str, reports: bool) -> Vec<u8> {
    let mut bytes = Vec::new();
    for id in 1..=ALLOCATIONS {
        let allocation = allocation(id);
        bytes.extend(pmessage(allocation.key().as_bytes(), allocation.status(word, 600).as_bytes()));
        if reports {
            for kind in ["traffic", "traffic/peer"] {
                bytes.extend(pmessage(allocation.channel(kind).as_bytes(), counters(REPORT).as_bytes()));
            }
        }
    }
    bytes
}

/// From bytes to counters, in pieces as a socket gives them; gives how many messages were understood.
fn take(ingest: &mut Ingest, pubsub: &mut PubSub, now: Timestamp, bytes: &[u8]) -> u64 {
    const PIECE: usize = 60_000;
    let mut understood = 0;
    for mut piece in bytes.chunks(PIECE) {
        while !piece.is_empty() {
            let space = pubsub.space();
            let (part, rest) = piece.split_at(piece.len().min(space.len()));
            space[..part.len()].copy_from_slice(part);
            pubsub.filled(part.len());
            piece = rest;
            while !pubsub.is_drained() {
                let visit = |item: PubSubItem<'_>| {
                    let PubSubItem::Published(published) = item else { return Ok(()) };
                    understood += ingest.messages(now, SOURCE, published) as u64;
                    Ok(())
                };
                pubsub.take(visit).expect("RESP2");
            }
        }
    }
    understood
}

/// What a page took.
#[derive(Debug)]
struct PageCost {
    samples: usize,
    allocations: usize,
}

/// A source of pages whose moment stands still.
struct Still(View);

impl Observe for Still {
    fn observe(&self) -> View {
        self.0.clone()
    }
}

/// The view with each realm so many times.
fn realms_times(times: usize, mut view: View) -> View {
    let realms = view.table.realms.clone();
    view.table.realms = std::iter::repeat_n(realms, times).flatten().collect();
    view
}

fn memory_of_a_page(view: View, format: Format) -> PageCost {
    let text = MetricsPage::of_capture(Still(view.clone())).render(Format::Text);
    let samples = text.split(|&byte| byte == b'\n').filter(|line| !line.starts_with(b"#")).count();
    let page = MetricsPage::of_capture(Still(view));
    // The first one finds out how much room a page needs.
    drop(page.render(format));
    let region = Region::new(HEAP);
    drop(page.render(format));
    PageCost { samples, allocations: region.change().allocations }
}

#[test]
fn reports_and_refreshes_of_known_allocations_take_no_memory() {
    let mut ingest = Ingest::new(Settings::default(), &["heap"]);
    let mut pubsub = PubSub::new(Reader::of_replies(LIMITS));
    let mut now = Timestamp::from_millis(1_000);
    ingest.link_up(now, SOURCE);
    assert_eq!(take(&mut ingest, &mut pubsub, now, &round("new", false)), ALLOCATIONS);
    let steady = round("refreshed", true);
    let go_on = |ingest: &mut Ingest, pubsub: &mut PubSub, now: &mut Timestamp| {
        let mut understood = 0;
        for _ in 0..ROUNDS {
            *now = now.plus(ROUND);
            understood += take(ingest, pubsub, *now, &steady);
        }
        assert_eq!(understood, 3 * ALLOCATIONS * u64::from(ROUNDS));
    };
    go_on(&mut ingest, &mut pubsub, &mut now);

    let region = Region::new(HEAP);
    go_on(&mut ingest, &mut pubsub, &mut now);
    let change = region.change();
    assert_eq!((change.allocations, change.reallocations, change.deallocations), (0, 0, 0), "{change:?}");

    // A scrape copies lists of realms, servers and sources; what histograms have seen is shared.
    let copied = |ingest: &Ingest| {
        let region = Region::new(HEAP);
        let view = ingest.view(Timestamp::ZERO);
        (region.change().allocations, view.table.realms.len())
    };
    let (before, _) = copied(&ingest);
    for id in 1..=ALLOCATIONS {
        let allocation = allocation(id);
        take(&mut ingest, &mut pubsub, now, &pmessage(allocation.key().as_bytes(), b"deleted"));
    }
    now = now.plus(ROUND);
    ingest.advance(now);
    let observed: u64 =
        ingest.view(now).table.realms.iter().map(|realm| realm.series.session_bytes.count()).sum();
    assert!(observed > 0, "no session has ended");
    assert_eq!(copied(&ingest), (before, 2), "a scrape after all have ended");

    // A page takes no memory for a sample: with twice the realms, whose series are most of it, it takes that of their labels.
    for format in [Format::Text, Format::OpenMetrics(None), Format::Protobuf(None)] {
        let [one, two, three] =
            [1, 2, 3].map(|times| memory_of_a_page(realms_times(times, ingest.view(now)), format));
        assert!(one.samples > 300 && two.samples - one.samples > 100, "{one:?}, {two:?}");
        let [more, as_many_more] = [two.allocations - one.allocations, three.allocations - two.allocations];
        assert!(more <= 8 && as_many_more <= 8, "{format:?}: {one:?}, {two:?}, {three:?}");
    }

    // The instrument itself: a birth is seen.
    let region = Region::new(HEAP);
    take(
        &mut ingest,
        &mut pubsub,
        now,
        &pmessage(allocation(ALLOCATIONS + 1).key().as_bytes(), b"new lifetime=600"),
    );
    let stranger = Allocation::new("three.example", "somebody", 1);
    take(&mut ingest, &mut pubsub, now, &pmessage(stranger.key().as_bytes(), b"new lifetime=600"));
    assert!(region.change().allocations > 0, "nothing is counted at all");
}
