//! The exporter's own pages over hours that take no time: the library on a clock of the test's, looked at every minute.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use coturn_exporter::app::ingest::{Ingest, SharedTable};
use coturn_exporter::clock::{Clock, ManualClock, Timestamp};
use coturn_exporter::doctor::setting_states;
use coturn_exporter::metrics::{Format, MetricsPage, Render};
use coturn_exporter::state::StatusKeys;
use coturn_exporter::state::{Settings, SourceId};

use super::story::Told;
use crate::common::readers::page::{Page, Series};
use crate::common::readers::vocabulary;

/// The name of its one source.
pub const SOURCE: &str = "redis://redis.example:6379/0";

/// Between two pages.
pub const STEP: f64 = 60.0;

/// See the file's head.
#[derive(Debug)]
pub struct Chronicle {
    clock: Arc<ManualClock>,
    shared: SharedTable,
    page: MetricsPage,
    /// Where the time line begins, in seconds since 1970.
    begin: f64,
    /// A value for each page; none where a page lacks the series.
    samples: BTreeMap<Series, Vec<Option<f64>>>,
    pages: usize,
}

impl Chronicle {
    /// Begins at `begin`, with a source that is up.
    pub fn new(settings: Settings, begin: f64) -> Self {
        let at = Timestamp::from_secs_f64(begin).unwrap();
        let clock = Arc::new(ManualClock::at(at));
        let shared = SharedTable::new(Ingest::new(settings, &[SOURCE]), Arc::clone(&clock) as Arc<dyn Clock>);
        let page = MetricsPage::of_capture(shared.clone());
        let mut chronicle = Self { clock, shared, page, begin, samples: BTreeMap::new(), pages: 0 };
        chronicle.link_up();
        chronicle
    }

    /// Moves on to `until`, seconds from the beginning: hears what is told by then, and keeps the pages of the minutes
    /// between. `told` is in order and not older than now.
    pub fn hear(&mut self, told: &[Told], until: f64) {
        let mut told = told.iter().peekable();
        loop {
            let look = self.next_look();
            let target = look.min(until);
            while let Some(message) = told.next_if(|message| message.at <= target) {
                self.clock.set(self.moment(message.at));
                let now = self.clock.now();
                let (channel, payload) = (message.channel.as_bytes(), message.payload.as_bytes());
                // What is not understood is counted, and the page says so.
                let _ = self.shared.lock().message(now, SourceId(0), channel, payload);
            }
            self.clock.set(self.moment(target));
            if look > until {
                return;
            }
            self.keep_page();
        }
    }

    /// The subscription is there and the keys are read; nothing was in them.
    pub fn link_up(&mut self) {
        let now = self.clock.now();
        let mut ingest = self.shared.lock();
        ingest.subscribed(now, SourceId(0));
        ingest.link_up(now, SourceId(0));
        ingest.received_until(SourceId(0), Timestamp::MAX);
    }

    /// The subscription is lost.
    pub fn link_lost(&mut self) {
        let now = self.clock.now();
        let mut ingest = self.shared.lock();
        ingest.received_until(SourceId(0), now);
        ingest.link_lost(now, SourceId(0));
    }

    /// A resync finds so many keys, and a Redis that is set as it must be.
    pub fn resync(&mut self, live: u64, stale: u64) {
        let now = self.clock.now();
        let set = [
            ("timeout", "0"),
            ("tcp-keepalive", "60"),
            ("client-output-buffer-limit", "pubsub 33554432 8388608 60"),
            ("cluster-enabled", "no"),
            ("maxmemory-policy", "noeviction"),
        ];
        let set = set.map(|(name, value)| (name.to_owned(), value.to_owned()));
        let mut ingest = self.shared.lock();
        ingest.scan_begins(now, SourceId(0));
        ingest.scan_succeeded(
            SourceId(0),
            StatusKeys { live, stale },
            0,
            None,
            Duration::from_millis(2 + live / 10),
        );
        ingest.configured(SourceId(0), &setting_states(&set.into_iter().collect()));
    }

    fn next_look(&self) -> f64 {
        STEP * self.pages as f64
    }

    fn moment(&self, at: f64) -> Timestamp {
        Timestamp::from_secs_f64(self.begin + at).unwrap()
    }

    fn keep_page(&mut self) {
        let text = String::from_utf8(self.page.render(Format::Text)).unwrap();
        for (series, value) in Page::parse(&text).iter() {
            let values = self.samples.entry(series.clone()).or_default();
            values.resize(self.pages, None);
            values.push(Some(value));
        }
        self.pages += 1;
    }

    /// The page of a moment that was kept, `at` seconds from the beginning.
    #[track_caller]
    pub fn value(&self, name: &str, labels: &[(&str, &str)], at: f64) -> f64 {
        vocabulary::check(name, labels, |_| Vec::new());
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "the index of a page")]
        let index = (at / STEP) as usize;
        let matches = |series: &Series| {
            series.name == name
                && labels
                    .iter()
                    .all(|(label, value)| series.labels.get(*label).is_some_and(|have| have == value))
        };
        let found = self.samples.iter().filter(|(series, _)| matches(series));
        found.filter_map(|(_, values)| values.get(index).copied().flatten()).sum()
    }

    /// The same for counts, which are whole numbers.
    #[track_caller]
    pub fn count(&self, name: &str, labels: &[(&str, &str)], at: f64) -> u64 {
        let value = self.value(name, labels, at);
        assert!(value >= 0.0 && value.fract() == 0.0, "{name} {labels:?} is {value}, not a count");
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "just checked")]
        {
            value as u64
        }
    }

    /// As `promtool test rules` reads series, under these target labels.
    pub fn input_series(&self, target: &[(&str, &str)]) -> Vec<serde_json::Value> {
        let one = |(series, values): (&Series, &Vec<Option<f64>>)| {
            let values = values.iter().map(|value| value.map_or("_".to_owned(), |value| value.to_string()));
            let values: Vec<_> = values.collect();
            serde_json::json!({ "series": selector(series, target), "values": values.join(" ") })
        };
        self.samples.iter().map(one).collect()
    }

    /// As `promtool tsdb create-blocks-from openmetrics` reads it, without the end mark.
    pub fn openmetrics(&self, target: &[(&str, &str)]) -> String {
        let mut text = String::new();
        for (series, values) in &self.samples {
            let selector = selector(series, target);
            for (index, value) in values.iter().enumerate() {
                let Some(value) = value else { continue };
                let at = self.begin + STEP * index as f64;
                writeln!(text, "{selector} {value} {at}").unwrap();
            }
        }
        text
    }

    /// How long it is.
    pub fn length(&self) -> Duration {
        Duration::from_secs_f64(STEP * self.pages.saturating_sub(1) as f64)
    }
}

/// `name{label="value", ...}`, with these labels besides its own.
fn selector(series: &Series, target: &[(&str, &str)]) -> String {
    let own = series.labels.iter().map(|(label, value)| (label.as_str(), value.as_str()));
    let labels: Vec<_> =
        own.chain(target.iter().copied()).map(|(label, value)| format!("{label}={value:?}")).collect();
    format!("{}{{{}}}", series.name, labels.join(","))
}
