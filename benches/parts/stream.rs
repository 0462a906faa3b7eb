//! What coturn publishes, the same at each run: whose allocations, which events, as which bytes.

use coturn_exporter::app::ingest::Ingest;
use coturn_exporter::clock::Timestamp;
use coturn_exporter::state::{Settings, SourceId};

/// The one source of the tables here.
pub(crate) const SOURCE: SourceId = SourceId(0);

/// A report of either leg.
pub(crate) const REPORT: &[u8] = b"rcvp=2048, rcvb=307200, sentp=2048, sentb=1843200";

/// Places for an allocation, each of a user of its own.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Fleet {
    /// That live at a time.
    pub(crate) allocations: u64,
    pub(crate) realms: u64,
    /// How long the names of the users are.
    pub(crate) user_bytes: usize,
    /// Of [`APART`], modulo the allocations.
    inverse: u64,
}

/// The allocation that has a place just now.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Holder {
    place: u64,
    id: u64,
}

impl Holder {
    /// The one that is born there at the start.
    pub(crate) const fn first(place: u64) -> Self {
        Self { place, id: place }
    }
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
    pub(crate) fn new(allocations: u64, realms: u64) -> Self {
        Self::of_users(allocations, realms, 23)
    }

    /// With names of so many bytes.
    pub(crate) fn of_users(allocations: u64, realms: u64, user_bytes: usize) -> Self {
        Self { allocations, realms, user_bytes, inverse: inverse(APART, allocations) }
    }

    fn message(&self, Holder { place, id }: Holder, kind: &str, payload: &[u8], key: StatusKey) -> Message {
        let realm = place % self.realms;
        // The end of a credential and a colon before it.
        let digits = self.user_bytes - 15;
        let channel = format!(
            "turn/realm/realm{realm}.example/user/1795343956:user{place:0digits$}/allocation/{id:018}/{kind}"
        );
        Message { channel, payload: payload.to_owned(), key }
    }

    pub(crate) fn status(&self, holder: Holder, word: &str) -> Message {
        let payload = format!(
            "{word} lifetime=600, type=UDP, local=192.0.2.1:3478, remote=198.51.100.{}:{}, ssl=NONE, cipher=NONE",
            holder.place % 250,
            1024 + holder.place % 60_000
        );
        self.message(holder, "status", payload.as_bytes(), StatusKey::Set)
    }

    pub(crate) fn report(&self, holder: Holder, kind: &str) -> Message {
        self.message(holder, kind, REPORT, StatusKey::None)
    }

    fn deleted(&self, holder: Holder) -> Message {
        self.message(holder, "status", b"deleted", StatusKey::Deleted)
    }

    fn total(&self, holder: Holder, kind: &str) -> Message {
        self.message(holder, kind, TOTALS, StatusKey::None)
    }

    /// The births of all.
    pub(crate) fn births(&self) -> impl Iterator<Item = Message> {
        let fleet = *self;
        (0..self.allocations).map(move |place| fleet.status(Holder::first(place), "new"))
    }

    /// An event of busy hours. Of a hundred in a row ninety are reports, those of both legs together, six are refreshes,
    /// and four are the end of an allocation with its totals and the birth of the next in its place; each hundred of as
    /// many allocations that are far apart. Ids rise with each birth, as those of a coturn do: one that came twice would
    /// prove that the server was restarted.
    pub(crate) fn busy(&self, number: u64) -> Message {
        let (hundred, place) = (number / 100, number % 100);
        let replaced = self.holder(hundred, hundred);
        match place {
            96 => self.deleted(replaced),
            97 => self.total(replaced, "total_traffic"),
            98 => self.total(replaced, "total_traffic/peer"),
            99 => self.status(Holder { id: self.allocations + hundred, ..replaced }, "new"),
            90.. => self.status(self.holder(6 * hundred + place - 90, hundred), "refreshed"),
            _ => self.report(self.holder(45 * hundred + place / 2, hundred), either_leg(place)),
        }
    }

    /// The same without births and ends.
    pub(crate) fn steady(&self, number: u64) -> Message {
        let (sixteen, place) = (number / 16, number % 16);
        match place {
            15 => self.status(self.holder(sixteen, 0), "refreshed"),
            14 => self.report(self.holder(sixteen + 7, 0), "traffic"),
            _ => self.report(self.holder(7 * sixteen + place / 2, 0), either_leg(place)),
        }
    }

    /// Who holds a place, far from those of the numbers beside it, when so many hundreds of busy hours are over.
    fn holder(&self, number: u64, hundreds: u64) -> Holder {
        let place = number % self.allocations * APART % self.allocations;
        // The first hundred that gives this place to another; then each that is as many later as there are places.
        let first = place * self.inverse % self.allocations;
        match hundreds.checked_sub(first + 1) {
            None => Holder::first(place),
            Some(since) => {
                let last = first + since / self.allocations * self.allocations;
                Holder { place, id: self.allocations + last }
            }
        }
    }

    /// All lives from birth to totals, side by side, act by act, of the allocations after so many generations.
    pub(crate) fn lives(&self, generations: u64) -> Vec<Vec<Message>> {
        let acts: [&dyn Fn(Holder) -> Message; ACTS] = [
            &|holder| self.status(holder, "new"),
            &|holder| self.report(holder, "traffic"),
            &|holder| self.report(holder, "traffic/peer"),
            &|holder| self.status(holder, "refreshed"),
            &|holder| self.report(holder, "traffic"),
            &|holder| self.report(holder, "traffic/peer"),
            &|holder| self.deleted(holder),
            &|holder| self.total(holder, "total_traffic"),
            &|holder| self.total(holder, "total_traffic/peer"),
        ];
        let holders =
            (0..self.allocations).map(|place| Holder { place, id: generations * self.allocations + place });
        acts.iter().map(|act| holders.clone().map(act).collect()).collect()
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

const fn either_leg(leg: u64) -> &'static str {
    if leg.is_multiple_of(2) { "traffic" } else { "traffic/peer" }
}

/// What times `number` is one, modulo `modulus`; 0 where all is 0. By Euclid's algorithm.
fn inverse(number: u64, modulus: u64) -> u64 {
    if modulus < 2 {
        return 0;
    }
    let wide = i128::from(modulus);
    let (mut left, mut right) = ((wide, 0), (i128::from(number) % wide, 1));
    while right.0 != 0 {
        let times = left.0 / right.0;
        (left, right) = (right, (left.0 - times * right.0, left.1 - times * right.1));
    }
    assert_eq!(left.0, 1, "{number} and {modulus} have a divisor in common");
    u64::try_from(left.1.rem_euclid(wide)).expect("below the modulus")
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
