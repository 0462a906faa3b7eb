//! The way of the bytes that the exporter takes, frames read in place out of a buffer, against the client library's own
//! parser: the same stream, cut in any way, ends in the same page.

use std::sync::Arc;
use std::time::Duration;

use crate::common::models::hostile;
use crate::common::readers::capture::{self, Message};
use crate::common::readers::golden::{self, LATER};
use crate::common::readers::page::Page;
use crate::common::servers::fake_redis::pmessage;
use coturn_exporter::app::ingest::{Ingest, SharedTable};
use coturn_exporter::clock::{Clock, ManualClock, Timestamp};
use coturn_exporter::metrics::{Format, MetricsPage, Render};
use coturn_exporter::resp::Reader;
use coturn_exporter::source::pubsub::{LIMITS, PubSub, PubSubItem, Published};
use coturn_exporter::state::{Settings, SourceId};
use proptest::prelude::*;
use proptest::test_runner::FileFailurePersistence;

const SOURCE: SourceId = SourceId(0);

/// Frames as a subscriber gets them, and when each message of them comes.
#[derive(Clone, Debug, Default)]
struct Stream {
    bytes: Vec<u8>,
    /// Where each frame begins.
    frames: Vec<usize>,
    /// The moments of the messages.
    moments: Vec<Timestamp>,
}

impl Stream {
    /// What is item between messages.
    fn frame(&mut self, bytes: &[u8]) {
        self.frames.push(self.bytes.len());
        self.bytes.extend_from_slice(bytes);
    }

    fn message(&mut self, at: Timestamp, channel: &[u8], payload: &[u8]) {
        self.frame(&pmessage(channel, payload));
        self.moments.push(at);
    }

    /// The same, heard a minute's worth at once.
    fn by_the_minute(mut self) -> Self {
        for moment in &mut self.moments {
            let seconds = moment.as_millis() / 1000;
            *moment = Timestamp::from_millis((seconds - seconds % 60 + 60) * 1000);
        }
        self
    }

    /// Where each frame begins and ends.
    fn bounds(&self) -> impl Iterator<Item = (usize, usize)> {
        let ends = self.frames.iter().skip(1).copied().chain([self.bytes.len()]);
        self.frames.iter().copied().zip(ends)
    }

    fn longest(&self) -> usize {
        self.bounds().map(|(start, end)| end - start).max().expect("a frame")
    }

    /// Pieces that end `at` bytes into each frame that is longer: over all `at`, each place of the stream.
    fn cut_at(&self, at: usize) -> impl Iterator<Item = &[u8]> {
        let cuts = self.bounds().map(move |(start, end)| end.min(start + at));
        let mut from = 0;
        cuts.chain([self.bytes.len()]).filter_map(move |cut| {
            let piece = &self.bytes[from..cut];
            from = cut;
            (!piece.is_empty()).then_some(piece)
        })
    }
}

/// An exporter without a network.
struct Bench {
    clock: Arc<ManualClock>,
    shared: SharedTable,
    moments: std::vec::IntoIter<Timestamp>,
}

impl Bench {
    fn new(stream: &Stream) -> Self {
        let clock = Arc::new(ManualClock::at(Timestamp::from_millis(1)));
        let ingest = Ingest::new(Settings::default(), &["bench"]);
        let shared = SharedTable::new(ingest, Arc::clone(&clock) as Arc<dyn Clock>);
        shared.lock().link_up(clock.now(), SOURCE);
        Self { clock, shared, moments: stream.moments.clone().into_iter() }
    }

    /// One message; `None` for one that was too long.
    fn take(&mut self, message: Option<(&[u8], &[u8])>) {
        let now = self.moments.next().expect("no more messages than were sent");
        self.clock.set(now);
        let mut ingest = self.shared.lock();
        match message {
            Some((channel, payload)) => drop(ingest.message(now, SOURCE, channel, payload)),
            None => drop(ingest.messages(now, SOURCE, &[Published::TooLong])),
        }
    }

    /// Some that were handed on together: those of one moment are taken in together.
    fn take_together(&mut self, mut published: &[Published<'_>]) {
        let moments: Vec<Timestamp> = self.moments.by_ref().take(published.len()).collect();
        assert_eq!(moments.len(), published.len(), "no more messages than were sent");
        for alike in moments.chunk_by(|one, next| one == next) {
            let (now, later) = published.split_at(alike.len());
            self.clock.set(alike[0]);
            self.shared.lock().messages(alike[0], SOURCE, now);
            published = later;
        }
    }

    /// The page at the end, and that of a day later.
    fn pages(mut self) -> [String; 2] {
        assert_eq!(self.moments.next(), None, "messages are missing");
        let page = MetricsPage::of_capture(self.shared.clone());
        let render = || String::from_utf8(page.render(Format::Text)).expect("UTF-8");
        let now = render();
        self.clock.set(self.clock.now().plus(Duration::from_secs_f64(LATER)));
        [now, render()]
    }
}

/// As the subscription takes messages: what stands in the buffer is read before more is put there.
fn fast<'a>(stream: &Stream, pieces: impl Iterator<Item = &'a [u8]>) -> [String; 2] {
    let mut bench = Bench::new(stream);
    let mut pubsub = PubSub::new(Reader::of_replies(LIMITS));
    for mut piece in pieces {
        while !piece.is_empty() {
            let space = pubsub.space();
            let (now, rest) = piece.split_at(piece.len().min(space.len()));
            space[..now.len()].copy_from_slice(now);
            pubsub.filled(now.len());
            piece = rest;
            while !pubsub.is_drained() {
                let visit = |item: PubSubItem<'_>| {
                    match item {
                        PubSubItem::Published(published) => bench.take_together(published),
                        PubSubItem::Pong | PubSubItem::Error(_) => {}
                    }
                    Ok(())
                };
                pubsub.take(visit).expect("RESP2");
            }
        }
    }
    bench.pages()
}

/// Each frame by itself through the client library.
fn plain(stream: &Stream) -> [String; 2] {
    let mut bench = Bench::new(stream);
    for (start, end) in stream.bounds() {
        let value = redis::parse_redis_value(&stream.bytes[start..end]).expect("RESP2");
        let redis::Value::Array(values) = value else { continue };
        let [kind, _, channel, payload] = values.as_slice() else { continue };
        if let (redis::Value::BulkString(channel), redis::Value::BulkString(payload)) = (channel, payload) {
            assert_eq!(kind, &redis::Value::BulkString(b"pmessage".to_vec()));
            bench.take((end - start <= LIMITS.frame).then_some((channel, payload)));
        }
    }
    bench.pages()
}

#[track_caller]
fn assert_same(got: &[String; 2], expected: &[String; 2], how: &str) {
    for (got, expected) in got.iter().zip(expected) {
        let differing: Vec<_> =
            got.lines().zip(expected.lines()).filter(|(got, expected)| got != expected).collect();
        assert!(got == expected, "{how}: {differing:#?}");
    }
}

/// However it is cut, it is what the plain parser makes of it.
fn assert_all_cuts_are_alike(stream: &Stream) -> [String; 2] {
    let expected = plain(stream);
    assert_same(&fast(stream, [stream.bytes.as_slice()].into_iter()), &expected, "in one piece");
    assert_same(&fast(stream, stream.bytes.chunks(1)), &expected, "byte by byte");
    for at in 1..stream.longest() {
        assert_same(&fast(stream, stream.cut_at(at)), &expected, &format!("cut {at} bytes into each frame"));
    }
    expected
}

fn moment(seconds: f64) -> Timestamp {
    Timestamp::from_secs_f64(seconds).expect("a moment")
}

/// Captures one after the other, each when what the one before has left is forgotten.
fn captures(cases: &[String]) -> Stream {
    let mut stream = Stream::default();
    let mut begin = 0.0;
    for case in cases {
        let mut last = 0.0;
        for (at, Message { channel, payload }) in capture::read_with_times(&format!("{case}.jsonl")) {
            last = at;
            stream.message(moment(begin + at), &channel, payload.as_bytes());
        }
        begin += last + LATER;
    }
    stream
}

/// That something was counted, and no more than there was.
#[track_caller]
fn assert_counted(page: &str, stream: &Stream) {
    let page = Page::parse(page);
    let (heard, sent) = (page.sum("coturn_exporter_messages_total", &[]), stream.moments.len() as f64);
    assert!(heard > 0.9 * sent && heard <= sent, "{heard} of {sent}");
    assert!(page.count("coturn_relayed_bytes_total", &[]) > 0);
}

#[test]
fn every_capture_in_pieces_ends_in_the_page_of_the_plain_parser() {
    let stream = captures(&golden::names(".jsonl"));
    for (when, stream) in [("each at its moment", stream.clone()), ("by the minute", stream.by_the_minute())]
    {
        let expected = plain(&stream);
        assert_counted(&expected[0], &stream);
        for length in [1, 2, 3, 7, 61, 199, 1448, 4096, 65_536] {
            let how = format!("{when}, {length} bytes at a time");
            assert_same(&fast(&stream, stream.bytes.chunks(length)), &expected, &how);
        }
    }
}

#[test]
fn captures_cut_at_every_place_end_in_the_page_of_the_plain_parser() {
    for case in ["mixed-4.6.1", "odd-usernames-4.6.1"] {
        let stream = captures(&[case.to_owned()]);
        assert_counted(&assert_all_cuts_are_alike(&stream)[0], &stream);
    }
}

/// What looks like the protocol within a message, and the protocol where no message is.
#[test]
fn a_hostile_stream_cut_at_every_place_ends_in_the_page_of_the_plain_parser() {
    const STATUS: &[u8] = b"turn/realm/example.org/user/alice/allocation/000000000000000001/status";
    const TRAFFIC: &[u8] = b"turn/realm/example.org/user/alice/allocation/000000000000000001/traffic";
    let messages: [(&[u8], &[u8]); 12] = [
        (STATUS, b"new lifetime=600"),
        (TRAFFIC, b"rcvp=1, rcvb=20, sentp=3, sentb=40"),
        (TRAFFIC, b"rcvp=1, rcvb=20, sentp=3, sentb=40\r\n"),
        (TRAFFIC, b"rcvp=18446744073709551616, rcvb=1, sentp=1, sentb=1"),
        (TRAFFIC, b""),
        (b"", b""),
        (b"turn/\r\n\x00\xff*$", b"\r\n$3\r\nabc\r\n"),
        (b"turn/*4\r\n$8\r\npmessage\r\n$6\r\nturn/*\r\n", STATUS),
        (b"turn/realm/\xff\xfe/user/\x00/allocation/000000000000000002/status", b"new lifetime=600"),
        (b"turn/realm/x/user/\r\n$7\r\ndeleted\r\n/allocation/000000000000000003/status", b"new lifetime=1"),
        (b"turn/realm/example.org/user/bob/allocation/99999999999999999999/status", b"new lifetime=600"),
        (STATUS, b"deleted"),
    ];
    let mut stream = Stream::default();
    stream.frame(b"*3\r\n$10\r\npsubscribe\r\n$6\r\nturn/*\r\n:1\r\n");
    for (second, (channel, payload)) in (1_u32..).zip(messages) {
        stream.message(moment(f64::from(second)), channel, payload);
        stream.frame(b"*2\r\n$4\r\npong\r\n$0\r\n\r\n");
    }
    for between in
        [&b"+OK\r\n"[..], b"-ERR no\r\n", b":7\r\n", b"$-1\r\n", b"*-1\r\n", b"*0\r\n", b"$0\r\n\r\n"]
    {
        stream.frame(between);
    }
    let [page, _] = assert_all_cuts_are_alike(&stream);
    assert_eq!(Page::parse(&page).count("coturn_allocations_opened_total", &[]), 3);
}

#[test]
fn a_message_that_is_too_long_is_the_only_one_that_is_left_out() {
    let channel =
        |id: u32| format!("turn/realm/example.org/user/alice/allocation/{id:018}/status").into_bytes();
    let mut stream = Stream::default();
    let long = vec![b'7'; 70_000];
    stream.message(moment(1.0), &channel(1), b"new lifetime=600");
    stream.message(moment(2.0), &channel(2), &long);
    stream.message(moment(3.0), &long, b"deleted");
    stream.message(moment(4.0), &channel(1), b"deleted");
    let expected = plain(&stream);
    for length in [1, 2, 3, 7, 1448, 4096, 65_535, 65_536, 65_537, 140_000] {
        let how = format!("{length} bytes at a time");
        assert_same(&fast(&stream, stream.bytes.chunks(length)), &expected, &how);
    }
    let page = Page::parse(&expected[0]);
    assert_eq!(page.count("coturn_exporter_rejected_messages_total", &[("reason", "too_long")]), 2);
    assert_eq!(page.count("coturn_allocations_closed_total", &[]), 1);
}

fn config() -> ProptestConfig {
    let failure_persistence = Some(Box::new(FileFailurePersistence::WithSource("regressions")) as Box<_>);
    ProptestConfig { cases: 60, failure_persistence, ..ProptestConfig::default() }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn whatever_is_published_ends_in_the_page_of_the_plain_parser_however_it_comes(
        messages in prop::collection::vec(
            (prop_oneof![3 => Just(0), 1 => 0..100_000_u64], hostile::message(), prop::option::of(hostile::message())),
            1..40,
        ),
        lengths in prop::collection::vec(1..3000_usize, 1..20),
    ) {
        let mut stream = Stream::default();
        let mut now = Timestamp::from_millis(1_000);
        for (pause, (channel, payload), peers) in &messages {
            now = now.plus(Duration::from_millis(*pause));
            stream.message(now, channel, payload);
            // Both legs report together.
            if let Some((_, payload)) = peers {
                stream.message(now, &[channel, &b"/peer"[..]].concat(), payload);
            }
        }
        let expected = plain(&stream);
        let mut rest = stream.bytes.as_slice();
        let mut lengths = lengths.iter().cycle();
        let pieces = std::iter::from_fn(|| {
            let (piece, more) = rest.split_at((*lengths.next()?).min(rest.len()));
            rest = more;
            (!piece.is_empty()).then_some(piece)
        });
        assert_same(&fast(&stream, pieces), &expected, "in pieces");
        assert_same(&fast(&stream, stream.bytes.chunks(1)), &expected, "byte by byte");
    }
}
