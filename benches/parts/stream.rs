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
    /// coturn stores it as a key, too.
    pub(crate) is_kept: bool,
}

impl Fleet {
    /// With names as TURN REST makes them.
    pub(crate) const fn new(allocations: u64, realms: u64) -> Self {
        Self { allocations, realms, user_bytes: 23 }
    }

    fn message(&self, allocation: u64, kind: &str, payload: &[u8], is_kept: bool) -> Message {
        let realm = allocation % self.realms;
        // The end of a credential and a colon before it.
        let digits = self.user_bytes - 15;
        let channel = format!(
            "turn/realm/realm{realm}.example/user/1795343956:user{allocation:0digits$}/allocation/{allocation:018}/{kind}"
        );
        Message { channel, payload: payload.to_owned(), is_kept }
    }

    pub(crate) fn status(&self, allocation: u64, word: &str) -> Message {
        let payload = format!(
            "{word} lifetime=600, type=UDP, local=192.0.2.1:3478, remote=198.51.100.{}:{}, ssl=NONE, cipher=NONE",
            allocation % 250,
            1024 + allocation % 60_000
        );
        self.message(allocation, "status", payload.as_bytes(), true)
    }

    pub(crate) fn report(&self, allocation: u64, kind: &str) -> Message {
        self.message(allocation, kind, REPORT, false)
    }

    /// The births of all.
    pub(crate) fn births(&self) -> impl Iterator<Item = Message> {
        let fleet = *self;
        (0..self.allocations).map(move |allocation| fleet.status(allocation, "new"))
    }

    /// An event of busy hours: of ten in a row nine are reports, by turns of both legs, and one is a refresh.
    pub(crate) fn busy(&self, number: u64) -> Message {
        let allocation = number / 10 % self.allocations;
        match number % 10 {
            9 => self.status(allocation, "refreshed"),
            leg if leg % 2 == 0 => self.report(allocation, "traffic"),
            _ => self.report(allocation, "traffic/peer"),
        }
    }

    /// All lives from birth to totals, side by side, act by act.
    pub(crate) fn lives(&self) -> Vec<Vec<Message>> {
        let totals = b"rcvp=4096, rcvb=614400, sentp=4096, sentb=3686400";
        let acts: [&dyn Fn(u64) -> Message; ACTS] = [
            &|allocation| self.status(allocation, "new"),
            &|allocation| self.report(allocation, "traffic"),
            &|allocation| self.report(allocation, "traffic/peer"),
            &|allocation| self.status(allocation, "refreshed"),
            &|allocation| self.report(allocation, "traffic"),
            &|allocation| self.report(allocation, "traffic/peer"),
            &|allocation| self.message(allocation, "status", b"deleted", false),
            &|allocation| self.message(allocation, "total_traffic", totals, false),
            &|allocation| self.message(allocation, "total_traffic/peer", totals, false),
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
    for Message { channel, payload, is_kept } in messages {
        if is_kept {
            coturn_exporter::resp::command(out, &[b"SET", channel.as_bytes(), &payload]);
            count += 1;
        }
        coturn_exporter::resp::command(out, &[b"PUBLISH", channel.as_bytes(), &payload]);
        count += 1;
    }
    count
}
