//! What coturn publishes, the same at each run: whose allocations, which events, as which bytes.

use coturn_exporter::app::ingest::Ingest;
use coturn_exporter::clock::Timestamp;
use coturn_exporter::state::{Settings, SourceId};

/// The one source of the tables here.
pub(crate) const SOURCE: SourceId = SourceId(0);

/// A report of either leg.
pub(crate) const REPORT: &[u8] = b"rcvp=2048, rcvb=307200, sentp=2048, sentb=1843200";

/// Allocations, each of a user of its own.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Fleet {
    pub(crate) allocations: u64,
    pub(crate) realms: u64,
    /// How long the names of the users are.
    pub(crate) user_bytes: usize,
}

/// One message.
#[derive(Clone, Debug)]
pub(crate) struct Message {
    pub(crate) channel: String,
    pub(crate) payload: Vec<u8>,
    /// What coturn does to the key of the same name.
    pub(crate) key: StatusKey,
}

/// See [`Message::key`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum StatusKey {
    Set,
    Deleted,
    None,
}

/// Neighbours in the stream are no neighbours in a table: their numbers are so far apart. A prime, so that each has its
/// turn.
const APART: u64 = 40_487;

/// What coturn says of an allocation at its end.
const TOTALS: &[u8] = b"rcvp=4096, rcvb=614400, sentp=4096, sentb=3686400";

impl Fleet {
    /// With names as TURN REST makes them.
    pub(crate) const fn new(allocations: u64, realms: u64) -> Self {
        Self { allocations, realms, user_bytes: 23 }
    }

    fn message(&self, allocation: u64, kind: &str, payload: &[u8], key: StatusKey) -> Message {
        let realm = allocation % self.realms;
        // The end of a credential and a colon before it.
        let digits = self.user_bytes - 15;
        let channel = format!(
            "turn/realm/realm{realm}.example/user/1795343956:user{allocation:0digits$}/allocation/{allocation:018}/{kind}"
        );
        Message { channel, payload: payload.to_owned(), key }
    }

    pub(crate) fn status(&self, allocation: u64, word: &str) -> Message {
        let payload = format!(
            "{word} lifetime=600, type=UDP, local=192.0.2.1:3478, remote=198.51.100.{}:{}, ssl=NONE, cipher=NONE",
            allocation % 250,
            1024 + allocation % 60_000
        );
        self.message(allocation, "status", payload.as_bytes(), StatusKey::Set)
    }

    pub(crate) fn report(&self, allocation: u64, kind: &str) -> Message {
        self.message(allocation, kind, REPORT, StatusKey::None)
    }

    /// Without an address, as of coturn before 4.6: with one, an id that comes again proves that its server was restarted.
    fn born_again(&self, allocation: u64) -> Message {
        self.message(allocation, "status", b"new lifetime=600", StatusKey::Set)
    }

    fn deleted(&self, allocation: u64) -> Message {
        self.message(allocation, "status", b"deleted", StatusKey::Deleted)
    }

    fn total(&self, allocation: u64, kind: &str) -> Message {
        self.message(allocation, kind, TOTALS, StatusKey::None)
    }

    /// The births of all.
    pub(crate) fn births(&self) -> impl Iterator<Item = Message> {
        let fleet = *self;
        (0..self.allocations).map(move |allocation| fleet.status(allocation, "new"))
    }

    /// An event of busy hours. Of a hundred in a row ninety are reports, those of both legs together, six are refreshes,
    /// and four are the end of an allocation with its totals and the birth of the next in its place; each hundred of as
    /// many allocations that are far apart.
    pub(crate) fn busy(&self, number: u64) -> Message {
        let (hundred, place) = (number / 100, number % 100);
        let next = self.far(hundred);
        match place {
            96 => self.deleted(next),
            97 => self.total(next, "total_traffic"),
            98 => self.total(next, "total_traffic/peer"),
            99 => self.born_again(next),
            90.. => self.status(self.far(6 * hundred + place - 90), "refreshed"),
            _ => self.either_leg(45 * hundred + place / 2, place),
        }
    }

    /// The same without births and ends.
    pub(crate) fn steady(&self, number: u64) -> Message {
        let (sixteen, place) = (number / 16, number % 16);
        match place {
            15 => self.status(self.far(sixteen), "refreshed"),
            14 => self.report(self.far(sixteen + 7), "traffic"),
            _ => self.either_leg(7 * sixteen + place / 2, place),
        }
    }

    fn either_leg(&self, number: u64, leg: u64) -> Message {
        self.report(self.far(number), if leg.is_multiple_of(2) { "traffic" } else { "traffic/peer" })
    }

    const fn far(&self, number: u64) -> u64 {
        number * APART % self.allocations
    }

    /// All lives from birth to totals, side by side, act by act.
    pub(crate) fn lives(&self) -> Vec<Vec<Message>> {
        let acts: [&dyn Fn(u64) -> Message; ACTS] = [
            &|allocation| self.status(allocation, "new"),
            &|allocation| self.report(allocation, "traffic"),
            &|allocation| self.report(allocation, "traffic/peer"),
            &|allocation| self.status(allocation, "refreshed"),
            &|allocation| self.report(allocation, "traffic"),
            &|allocation| self.report(allocation, "traffic/peer"),
            &|allocation| self.deleted(allocation),
            &|allocation| self.total(allocation, "total_traffic"),
            &|allocation| self.total(allocation, "total_traffic/peer"),
        ];
        acts.iter().map(|act| (0..self.allocations).map(act).collect()).collect()
    }

    /// A table in which all of them live.
    pub(crate) fn table(&self) -> Ingest {
        let settings = Settings { max_allocations: usize::MAX, ..Settings::default() };
        let mut ingest = Ingest::new(settings, &["redis"]);
        ingest.link_up(START, SOURCE);
        take_in(&mut ingest, START, self.births());
        ingest
    }
}

/// Acts of a life.
pub(crate) const ACTS: usize = 9;

/// When all begins.
pub(crate) const START: Timestamp = Timestamp::from_millis(1_795_000_000_000);

/// Takes messages in; each must be understood.
pub(crate) fn take_in(
    ingest: &mut Ingest,
    now: Timestamp,
    messages: impl IntoIterator<Item = impl std::borrow::Borrow<Message>>,
) {
    for message in messages {
        let Message { channel, payload, .. } = message.borrow();
        let done = ingest.message(now, SOURCE, channel.as_bytes(), payload);
        done.expect("understood");
    }
}

/// As a subscriber of `turn/*` reads them.
pub(crate) fn frames<'a>(messages: impl IntoIterator<Item = &'a Message>) -> Vec<u8> {
    let mut bytes = Vec::new();
    for Message { channel, payload, .. } in messages {
        let parts: [&[u8]; 4] = [b"pmessage", b"turn/*", channel.as_bytes(), payload];
        coturn_exporter::resp::command(&mut bytes, &parts);
    }
    bytes
}

/// As coturn sends them to Redis; gives how many commands they are.
pub(crate) fn commands(out: &mut Vec<u8>, messages: impl IntoIterator<Item = Message>) -> u64 {
    let mut count = 0;
    for Message { channel, payload, key } in messages {
        match key {
            StatusKey::Set => coturn_exporter::resp::command(out, &[b"SET", channel.as_bytes(), &payload]),
            StatusKey::Deleted => coturn_exporter::resp::command(out, &[b"DEL", channel.as_bytes()]),
            StatusKey::None => {}
        }
        count += u64::from(key != StatusKey::None);
        coturn_exporter::resp::command(out, &[b"PUBLISH", channel.as_bytes(), &payload]);
        count += 1;
    }
    count
}
