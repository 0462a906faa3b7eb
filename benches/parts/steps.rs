//! The steps of an event's way, and the page, each as work that can be repeated: for a stopwatch (`steps`) and for a
//! count of instructions (`instructions`).

use std::fmt;
use std::hint::black_box;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use coturn_exporter::app::ingest::{Ingest, SharedTable};
use coturn_exporter::clock::ManualClock;
use coturn_exporter::details::{Detail, answer};
use coturn_exporter::live::{About, Board, INTERVAL, LookKind, POINTS, SiteFacts, SourceSetup};
use coturn_exporter::metrics::{Format, MetricsPage, Observe as _, Render as _};
use coturn_exporter::resp::Reader;
use coturn_exporter::source::pubsub::{LIMITS, PubSub, PubSubItem, Published};
use coturn_exporter::wire;

use crate::stream::{self, ACTS, Fleet, Holder, Message, SOURCE, START, take_in};

/// Events of one round: few, so that some rounds come to their end before another program has its turn.
const ROUND: u64 = 1000;

/// Rounds until all begins anew: many, so that what a round needs is not in the nearest cache from the last time.
const TURNS: u64 = 20;

/// An id that comes twice tells the table that the server was restarted: births are never repeated.
const PREPARED: &str = "as many rounds as were prepared";

/// Lives of one round.
const LIVES: u64 = 100;

/// Realms on the page.
const REALMS: u64 = 100;

/// What the socket has for one reading.
const READING: usize = 64 << 10;

/// A step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// Bytes into frames.
    Framing,
    /// A report into an event.
    ParseTraffic,
    /// A refresh into an event.
    ParseStatus,
    /// A report into an event, and into the table.
    Traffic,
    /// A refresh, likewise.
    Refresh,
    /// An allocation from birth to totals, likewise.
    Life,
    /// Bytes of busy hours into frames, events, and the table.
    Whole,
    /// The copy of the table that a scrape takes under the lock.
    Snapshot {
        /// Allocations that live.
        live: u64,
    },
    /// That copy, and its text.
    Page {
        /// Allocations that live.
        live: u64,
    },
    /// A look at the table for the live page, with its copy, and the page made anew, with an hour of points.
    Live {
        /// Allocations that live.
        live: u64,
    },
    /// The first page of the details, sorted by turns as people sort it.
    Details {
        /// Allocations that live.
        live: u64,
    },
}

/// What is asked of the details, by turns: as they come, by what must be looked at in each, and with a filter.
const QUERIES: [&str; 4] = ["", "sort=-bytes", "sort=user", "reason=idle"];

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Framing => f.write_str("framing"),
            Self::ParseTraffic => f.write_str("parse: traffic"),
            Self::ParseStatus => f.write_str("parse: refresh"),
            Self::Traffic => f.write_str("parse and apply: traffic"),
            Self::Refresh => f.write_str("parse and apply: refresh"),
            Self::Life => f.write_str("parse and apply: a whole life"),
            Self::Whole => f.write_str("bytes to counters"),
            Self::Snapshot { live } => write!(f, "snapshot: {live} live"),
            Self::Page { live } => write!(f, "page: {live} live"),
            Self::Live { live } => write!(f, "live page: {live} live"),
            Self::Details { live } => write!(f, "details: {live} live"),
        }
    }
}

/// One round of a step.
pub(crate) type Round = Box<dyn FnMut()>;

impl Step {
    /// Events, or pages, of a round.
    pub(crate) fn items(self) -> u64 {
        match self {
            Self::Life => LIVES * ACTS as u64,
            Self::Snapshot { .. } | Self::Page { .. } | Self::Live { .. } => 1,
            Self::Details { .. } => QUERIES.len() as u64,
            _ => ROUND,
        }
    }

    /// Prepares so many rounds of it, among so many live allocations where it is about events.
    pub(crate) fn prepare(self, live: u64, rounds: u64) -> Round {
        let fleet = Fleet::new(live, 10);
        match self {
            Self::Framing => {
                let mut turns = by_turns(bytes(&fleet, TURNS));
                let mut pubsub = PubSub::new(Reader::of_replies(LIMITS));
                Box::new(move || {
                    each_handful(&mut pubsub, &turns(), |published| {
                        black_box(published);
                    });
                })
            }
            Self::ParseTraffic => parse(events(TURNS, |number| report(&fleet, number))),
            Self::ParseStatus => parse(events(TURNS, |number| refresh(&fleet, number))),
            Self::Traffic => apply(fleet.table(), events(TURNS, |number| report(&fleet, number))),
            Self::Refresh => apply(fleet.table(), events(TURNS, |number| refresh(&fleet, number))),
            Self::Life => life(rounds),
            Self::Whole => {
                let mut turns = bytes(&fleet, rounds).into_iter();
                let mut ingest = fleet.table();
                let mut pubsub = PubSub::new(Reader::of_replies(LIMITS));
                let mut now = START;
                Box::new(move || {
                    now = now.plus(Duration::from_millis(1));
                    let turn = turns.next().expect(PREPARED);
                    each_handful(&mut pubsub, &turn, |published| {
                        assert_eq!(ingest.messages(now, SOURCE, published), published.len());
                    });
                })
            }
            Self::Snapshot { live } => {
                let shared = shared_table(live);
                Box::new(move || drop(black_box(shared.observe())))
            }
            Self::Page { live } => {
                let page = MetricsPage::of_capture(shared_table(live));
                Box::new(move || drop(black_box(page.render(Format::Text))))
            }
            Self::Live { live } => live_page(shared_table(live)),
            Self::Details { live } => {
                let shared = shared_table(live);
                Box::new(move || {
                    for query in QUERIES {
                        assert!(black_box(answer(&shared, Detail::Allocations, query)).ok, "{query}");
                    }
                })
            }
        }
    }
}

/// So many rounds of events.
fn events(rounds: u64, event: impl Fn(u64) -> Message) -> Vec<Vec<Message>> {
    (0..rounds).map(|turn| (turn * ROUND..(turn + 1) * ROUND).map(&event).collect()).collect()
}

/// So many rounds of busy hours, as bytes.
fn bytes(fleet: &Fleet, rounds: u64) -> Vec<Vec<u8>> {
    let round = |turn| (turn * ROUND..(turn + 1) * ROUND).map(|number| fleet.busy(number));
    (0..rounds).map(|turn| stream::frames(&round(turn).collect::<Vec<_>>())).collect()
}

/// One after the other, for ever.
fn by_turns<T>(rounds: Vec<Vec<T>>) -> impl FnMut() -> Rc<[T]> {
    let rounds: Vec<Rc<[T]>> = rounds.into_iter().map(Rc::from).collect();
    let mut next = 0;
    move || {
        next = (next + 1) % rounds.len();
        Rc::clone(&rounds[next])
    }
}

fn refresh(fleet: &Fleet, number: u64) -> Message {
    fleet.status(Holder::first(number), "refreshed")
}

fn report(fleet: &Fleet, number: u64) -> Message {
    fleet.report(Holder::first(number / 2), if number.is_multiple_of(2) { "traffic" } else { "traffic/peer" })
}

fn parse(rounds: Vec<Vec<Message>>) -> Round {
    let mut turns = by_turns(rounds);
    Box::new(move || {
        for Message { channel, payload, .. } in turns().iter() {
            black_box(wire::parse(channel.as_bytes(), payload).expect("understood"));
        }
    })
}

fn apply(mut ingest: Ingest, rounds: Vec<Vec<Message>>) -> Round {
    let mut turns = by_turns(rounds);
    Box::new(move || take_in(&mut ingest, START, turns().iter()))
}

/// Lives side by side. Between two rounds there is time enough for all to settle and to be forgotten.
fn life(rounds: u64) -> Round {
    let fleet = Fleet::new(LIVES, 10);
    let mut lives = (0..rounds).map(|round| fleet.lives(round)).collect::<Vec<_>>().into_iter();
    let mut ingest = Fleet::new(0, 10).table();
    let mut now = START;
    Box::new(move || {
        for act in &lives.next().expect(PREPARED) {
            now = now.plus(Duration::from_secs(1));
            take_in(&mut ingest, now, act);
        }
        now = now.plus(Duration::from_secs(60));
        ingest.advance(now);
    })
}

/// The live page, ten seconds later each time.
fn live_page(shared: SharedTable) -> Round {
    let about = About {
        name: "coturn-exporter".to_owned(),
        version: "1".to_owned(),
        revision: None,
        documentation: None,
    };
    let mut board = Board::new(vec![SourceSetup::default()]);
    let mut now = START;
    let mut look = move || {
        let mut table = shared.observe().table;
        now = now.plus(INTERVAL);
        // The table's own time stands still.
        table.now = now;
        board.look(LookKind::Regular, &table, now, &[None], None);
        let site = SiteFacts { about: &about, telemetry_path: "/metrics", has_details: false };
        drop(black_box(board.page(&site, None)));
    };
    (0..POINTS).for_each(|_| look());
    Box::new(look)
}

/// Samples of the page.
#[allow(dead_code, reason = "the stopwatch needs no number of them")]
pub(crate) fn samples(live: u64) -> usize {
    let page = MetricsPage::of_capture(shared_table(live)).render(Format::Text);
    page.split(|&byte| byte == b'\n').filter(|line| !line.is_empty() && !line.starts_with(b"#")).count()
}

/// A table whose page is asked for; its time stands still.
fn shared_table(live: u64) -> SharedTable {
    SharedTable::new(Fleet::new(live, REALMS).table(), Arc::new(ManualClock::at(START)))
}

/// Reads what a socket would give, a reading at a time.
fn each_handful(pubsub: &mut PubSub, bytes: &[u8], mut visit: impl FnMut(&[Published<'_>])) {
    for mut reading in bytes.chunks(READING) {
        while !reading.is_empty() {
            let space = pubsub.space();
            let fits = space.len().min(reading.len());
            let (now, later) = reading.split_at(fits);
            space[..fits].copy_from_slice(now);
            reading = later;
            pubsub.filled(fits);
            while !pubsub.is_drained() {
                let hand_on = |item: PubSubItem<'_>| {
                    let PubSubItem::Published(published) = item else { panic!("{item:?}") };
                    visit(published);
                    Ok(())
                };
                pubsub.take(hand_on).expect("RESP");
            }
        }
    }
}
