//! An exporter that is ended and started again over one store, another one that never stops, and coturn's part, which both
//! are told.

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use rustix::process::Signal;

use super::durations::Durations;
use crate::common::models::lives::Publish;
use crate::common::net::ports::Port;
use crate::common::net::statsdb::Statsdb;
use crate::common::poll::{self, PATIENCE};
use crate::common::readers::page::Page;
use crate::common::servers::exporter::Exporter;
use crate::common::servers::redis::Redis;
use crate::common::servers::scraper::scrape;
use crate::common::temp_dir::TempDir;

/// How events come to the exporters.
#[derive(Debug)]
enum Way {
    Redis(Redis),
    /// To a port of each.
    Straight([Port; 2]),
}

/// See the file's head.
pub(crate) struct Stage {
    way: Way,
    port: Port,
    twin_port: Port,
    pub(crate) dir: TempDir,
    exporter: Option<Exporter>,
    /// More arguments of its next life.
    pub(crate) args: Vec<String>,
    /// No file grows beyond so many bytes, from the start of its next life on.
    pub(crate) file_limit: Option<u64>,
    _twin: Exporter,
    /// To the Redis, or to the exporter and its twin.
    publishers: Vec<Statsdb>,
    /// Rejected on purpose, to know how far each has come: by the one that is restarted, and by its twin.
    marks: [u64; 2],
    /// Messages that mean something.
    pub(crate) published: u64,
    /// Keys of lives whose end is not told.
    open_keys: BTreeSet<Vec<u8>>,
    pub(crate) durations: Durations,
}

impl Stage {
    pub(crate) fn through_redis() -> Self {
        Self::new(Way::Redis(Redis::start()))
    }

    pub(crate) fn straight() -> Self {
        Self::new(Way::Straight([Port::claim(), Port::claim()]))
    }

    fn new(way: Way) -> Self {
        let (port, twin_port, dir) = (Port::claim(), Port::claim(), TempDir::new("continuity"));
        let twin = start(&way, 1, &twin_port, None, &[]);
        twin.wait_ready();
        let mut stage = Self {
            way,
            port,
            twin_port,
            dir,
            exporter: None,
            args: Vec::new(),
            file_limit: None,
            _twin: twin,
            publishers: Vec::new(),
            marks: [0; 2],
            published: 0,
            open_keys: BTreeSet::new(),
            durations: Durations::default(),
        };
        stage.begin();
        stage
    }

    pub(crate) fn store(&self) -> PathBuf {
        self.dir.path().join("store")
    }

    /// Where the exporter is scraped, life after life.
    pub(crate) fn address(&self) -> SocketAddr {
        SocketAddr::from((Ipv4Addr::LOCALHOST, self.port.number))
    }

    pub(crate) fn twin_address(&self) -> SocketAddr {
        SocketAddr::from((Ipv4Addr::LOCALHOST, self.twin_port.number))
    }

    /// The next life.
    pub(crate) fn begin(&mut self) {
        let store = self.store().display().to_string();
        let args = [&["--store.path".to_owned(), store], &self.args[..]].concat();
        let exporter = start(&self.way, 0, &self.port, self.file_limit, &args);
        exporter.wait_ready();
        self.exporter = Some(exporter);
        self.publishers = match &self.way {
            Way::Redis(redis) if self.publishers.is_empty() => vec![Statsdb::connect(redis, 0)],
            Way::Redis(_) => std::mem::take(&mut self.publishers),
            // The connection to the twin stays: one that is closed says that a coturn may have died.
            Way::Straight(ports) => {
                let twins = self.publishers.pop().unwrap_or_else(|| connected(&ports[1]));
                vec![connected(&ports[0]), twins]
            }
        };
    }

    /// Ends a life.
    #[track_caller]
    pub(crate) fn end(&mut self, is_kill: bool) {
        let mut exporter = self.exporter.take().expect("it runs");
        if is_kill {
            exporter.kill();
        } else {
            let status = exporter.stop(Signal::TERM);
            assert_eq!(status.code(), Some(0), "{status}\n{}", exporter.log());
        }
    }

    /// The same in the middle of an answer to a scraper.
    #[track_caller]
    pub(crate) fn end_mid_scrape(&mut self, is_kill: bool) {
        let address = self.address();
        let reader = std::thread::spawn(move || scrape(address, false).is_some());
        poll::pass(Duration::from_millis(fastrand::u64(..20)));
        self.end(is_kill);
        // It has a page, or none.
        reader.join().expect("a page, or none: not half of one");
    }

    /// The same where its store fails: it may say so by its exit code, and must end all the same.
    #[track_caller]
    pub(crate) fn end_somehow(&mut self) {
        let mut exporter = self.exporter.take().expect("it runs");
        let status = exporter.stop(Signal::TERM);
        assert!(status.code().is_some(), "{status}\n{}", exporter.log());
    }

    /// Waits until both have taken in all that was published, which the page of either says: so the journal has it.
    #[track_caller]
    pub(crate) fn settle(&mut self) {
        self.mark();
        for at in 0..self.marks.len() {
            self.taken_in(at);
        }
        self.durations.round();
    }

    /// The same of the twin alone.
    #[track_caller]
    pub(crate) fn settle_twin(&mut self) {
        self.mark();
        self.taken_in(1);
    }

    fn mark(&mut self) {
        for publisher in &mut self.publishers {
            publisher.tell(b"turn/realm/none/user/none/allocation/000000000000000001/traffic", "no numbers");
        }
        self.marks = self.marks.map(|marks| marks + 1);
    }

    #[track_caller]
    fn taken_in(&self, at: usize) {
        let (address, marks) = ([self.address(), self.twin_address()][at], self.marks[at]);
        poll::until(PATIENCE, "all to be taken in", || {
            let page = scrape(address, false).ok_or_else(|| "no page".to_owned())?;
            match page.count("coturn_exporter_rejected_messages_total", &[]) {
                seen if seen == marks => Ok(()),
                seen => Err(format!("{seen} of {marks}\n{}", self.log())),
            }
        });
    }

    /// A life after one whose counters may be gone: what it counts begins where its first page says.
    pub(crate) fn begin_anew(&mut self) {
        self.begin();
        let page = poll::until(PATIENCE, "a page", || {
            scrape(self.address(), false).ok_or_else(|| "no page".to_owned())
        });
        self.marks[0] = page.count("coturn_exporter_rejected_messages_total", &[]);
    }

    /// The running exporter.
    pub(crate) fn exporter(&self) -> &Exporter {
        self.exporter.as_ref().expect("it runs")
    }

    fn log(&self) -> String {
        self.exporter.as_ref().map(Exporter::log).unwrap_or_default()
    }

    /// The pages of both, once nobody waits for anything any more.
    #[track_caller]
    pub(crate) fn last_pages(&self, unallocated_packets: u64) -> [Page; 2] {
        [self.address(), self.twin_address()].map(|address| last_page(address, 0, unallocated_packets))
    }

    /// As [`Self::last_pages`] of an exporter that may lack some of what the twin has received: packets of nobody, and so
    /// many ends at most, whose allocations are live there still.
    #[track_caller]
    pub(crate) fn last_pages_but(&self, unheard_ends: u64, unallocated_packets: u64) -> [Page; 2] {
        [last_page(self.address(), unheard_ends, 0), last_page(self.twin_address(), 0, unallocated_packets)]
    }
}

#[track_caller]
fn last_page(address: SocketAddr, unheard_ends: u64, unallocated_packets: u64) -> Page {
    poll::until(PATIENCE, "the last to be settled, what nobody claimed to be given up", || {
        let page = scrape(address, false).ok_or_else(|| "no page".to_owned())?;
        let sessions = |what: &str| page.count(&format!("coturn_sessions_{what}_total"), &[]);
        let unsettled = (sessions("opened") + sessions("adopted")).saturating_sub(sessions("closed"));
        let seen = page.count("coturn_unallocated_packets_total", &[]);
        if unsettled <= unheard_ends && seen >= unallocated_packets {
            Ok(page)
        } else {
            Err(format!(
                "{unsettled} sessions, {unheard_ends} may stay; {seen} packets of {unallocated_packets}"
            ))
        }
    })
}

impl Publish for Stage {
    fn publish(&mut self, channel: &[u8], payload: &[u8]) {
        let text = std::str::from_utf8(payload).expect("coturn's payloads are text");
        self.published += 1;
        self.durations.hear(channel, text);
        if channel.ends_with(b"/status") {
            let _ = match payload {
                b"deleted" => self.open_keys.remove(channel),
                _ => self.open_keys.insert(channel.to_vec()),
            };
        } else if let (Some(name), Way::Redis(redis)) = (channel.strip_suffix(b"/total_traffic"), &self.way) {
            // Where the message of an end is lost, the key is gone all the same.
            let key = [name, b"/status"].concat();
            if self.open_keys.remove(&key) {
                redis.run(&["DEL", std::str::from_utf8(&key).expect("a key of the model")]);
            }
        }
        for publisher in &mut self.publishers {
            publisher.tell(channel, text);
        }
    }
}

fn connected(port: &Port) -> Statsdb {
    Statsdb::at(SocketAddr::from((Ipv4Addr::LOCALHOST, port.number)))
}

/// Number `at` of the two.
fn start(way: &Way, at: usize, port: &Port, file_limit: Option<u64>, more: &[String]) -> Exporter {
    let mut args = match way {
        Way::Redis(redis) => vec!["--redis.url".to_owned(), redis.url(0)],
        Way::Straight(ports) => {
            vec!["--statsdb.listen-address".to_owned(), format!("127.0.0.1:{}", ports[at].number)]
        }
    };
    args.extend_from_slice(more);
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port.number));
    Exporter::start_heedless_of_limits_at(address, file_limit, &args)
}
