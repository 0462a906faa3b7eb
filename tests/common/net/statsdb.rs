//! Speaks to Redis the way coturn does: SET or DEL of the status key, then PUBLISH.

use std::net::SocketAddr;

use crate::common::models::traffic::Traffic;
use crate::common::servers::redis::Redis;

/// One allocation's name on the channels.
#[derive(Clone, Debug)]
pub struct Allocation {
    prefix: String,
    address: String,
}

impl Allocation {
    pub fn new(realm: &str, user: &str, id: u64) -> Self {
        Self {
            prefix: format!("turn/realm/{realm}/user/{user}/allocation/{id:018}"),
            // A client port per id, as real clients have.
            address: format!("local=127.0.0.1:3478, remote=127.0.0.1:{}", 40_000 + id % 20_000),
        }
    }

    pub fn key(&self) -> String {
        format!("{}/status", self.prefix)
    }

    pub fn channel(&self, kind: &str) -> String {
        format!("{}/{kind}", self.prefix)
    }

    /// As a server at another address says it.
    #[must_use]
    pub fn of_server(mut self, local: &str) -> Self {
        let (_, remote) = self.address.split_once(", ").unwrap();
        self.address = format!("local={local}, {remote}");
        self
    }

    pub fn status(&self, word: &str, lifetime: u32) -> String {
        format!("{word} lifetime={lifetime}, type=UDP, {}, ssl=NONE, cipher=NONE", self.address)
    }
}

/// The payload of the four counter channels.
pub fn counters(traffic: Traffic) -> String {
    let Traffic { received_packets, received_bytes, sent_packets, sent_bytes } = traffic;
    format!("rcvp={received_packets}, rcvb={received_bytes}, sentp={sent_packets}, sentb={sent_bytes}")
}

/// The connection of one relay thread.
pub struct Statsdb(redis::Connection);

impl Statsdb {
    pub fn connect(redis: &Redis, db: u8) -> Self {
        Self(redis.connect(db))
    }

    /// To an exporter's own port.
    pub fn at(address: SocketAddr) -> Self {
        let client = redis::Client::open(format!("redis://{address}/0")).expect("a URL");
        Self(client.get_connection().expect("the exporter listens"))
    }

    /// The same with its password.
    pub fn with_password(address: SocketAddr, password: &str) -> Self {
        let client = redis::Client::open(format!("redis://:{password}@{address}/0")).expect("a URL");
        Self(client.get_connection().expect("the exporter takes the password"))
    }

    /// Any message, with what coturn does to the key along with it.
    pub fn tell(&mut self, channel: &[u8], payload: &str) {
        if channel.ends_with(b"/status") {
            let mut command = if payload == "deleted" {
                redis::cmd("DEL").arg(channel).arg("").clone()
            } else {
                redis::cmd("SET").arg(channel).arg(payload).clone()
            };
            command.query::<()>(&mut self.0).expect("SET or DEL");
            command = redis::cmd("PUBLISH");
            command.arg(channel).arg(payload).query::<()>(&mut self.0).expect("PUBLISH");
        } else {
            redis::cmd("PUBLISH").arg(channel).arg(payload).query::<()>(&mut self.0).expect("PUBLISH");
        }
    }

    /// `new`: key and message.
    pub fn open(&mut self, allocation: &Allocation, lifetime: u32) {
        self.tell(allocation.key().as_bytes(), &allocation.status("new", lifetime));
    }

    /// `refreshed`: key and message.
    pub fn refresh(&mut self, allocation: &Allocation, lifetime: u32) {
        self.tell(allocation.key().as_bytes(), &allocation.status("refreshed", lifetime));
    }

    /// The key alone, as one finds it that was not there when the message went out.
    pub fn leave_key(&mut self, allocation: &Allocation, lifetime: u32) {
        redis::cmd("SET")
            .arg(allocation.key())
            .arg(allocation.status("refreshed", lifetime))
            .query::<()>(&mut self.0)
            .expect("SET");
    }

    /// A report of both legs.
    pub fn report(&mut self, allocation: &Allocation, client: Traffic, peer: Traffic) {
        self.counters(allocation, "traffic", client);
        self.counters(allocation, "traffic/peer", peer);
    }

    /// The final block of an allocation: nothing new since the last report, then the end and the sums.
    pub fn close(&mut self, allocation: &Allocation, client: Traffic, peer: Traffic) {
        self.report(allocation, Traffic::default(), Traffic::default());
        self.tell(allocation.key().as_bytes(), "deleted");
        self.counters(allocation, "total_traffic", client);
        self.counters(allocation, "total_traffic/peer", peer);
    }

    fn counters(&mut self, allocation: &Allocation, kind: &str, traffic: Traffic) {
        self.tell(allocation.channel(kind).as_bytes(), &counters(traffic));
    }
}
