//! The exporter killed and ended thirty times under traffic, with a store: nobody who scrapes it sees that it was gone.
//!
//! Beside it runs a twin that is told the same and never stops. Whatever the lives came to, the two pages are equal, and no
//! scraper, however many there are and whenever they come, saw a sample fall.

use std::collections::BTreeMap;
use std::time::Duration;

use super::restarts::compare::{assert_equal, assert_summed, counted, without_source};
use super::restarts::stage::Stage;
use super::restarts::{random, scrapers};
use super::usage::usage;
use crate::common::models::lives::{End, Lives, Rules};
use crate::common::poll::{self, PATIENCE};
use crate::common::readers::page::{Page, Series};
use crate::common::readers::tally::Tally;
use crate::common::servers::prometheus::Prometheus;
use crate::common::servers::scraper::Scraper;
use crate::common::turns;

/// How often it is ended.
const ENDS: u64 = 30;

/// A lifetime of a second has as good as expired when it is granted.
const RULES: Rules = Rules {
    lifetime: 3600,
    last_lifetime: 1,
    ends: &[End::Released, End::Disconnected, End::Expired, End::Untold, End::Replaced],
};

/// Ends whose cause does not hang on the last refresh, with totals.
const RULES_OF_GAPS: Rules = Rules { ends: &[End::Disconnected], ..RULES };

/// Without `job` and `instance`.
fn without_target((series, samples): (Series, (f64, usize))) -> (Series, (f64, usize)) {
    let mut series = series.as_stored();
    series.labels.retain(|name, _| name != "job" && name != "instance");
    (series, samples)
}

/// Lives of allocations between the ends of the exporter; it is told nothing while it is gone.
fn lives_between_ends(stage: &mut Stage, random: &mut fastrand::Rng) -> Lives {
    let mut lives = Lives::new(RULES, random.u64(..));
    for end in 0..ENDS {
        for _ in 0..random.u32(1..=6) {
            lives.come(stage);
        }
        for at in (0..lives.living()).rev() {
            lives.go_on(at, stage);
        }
        stage.settle();
        let (is_kill, is_mid_scrape) = (random.bool(), random.bool());
        println!(
            "end {end}: {} {}",
            if is_kill { "killed" } else { "ended" },
            if is_mid_scrape { "mid-scrape" } else { "" }
        );
        if is_mid_scrape {
            stage.end_mid_scrape(is_kill);
        } else {
            poll::pass(Duration::from_millis(random.u64(..200)));
            stage.end(is_kill);
        }
        poll::pass(Duration::from_millis(random.u64(..400)));
        stage.begin();
    }
    while lives.living() > 0 {
        for at in (0..lives.living()).rev() {
            lives.go_on(at, stage);
        }
        stage.settle();
    }
    lives
}

/// Lives, ledger, durations and all scrapers agree; gives the last page.
fn assert_exact(stage: &Stage, lives: &Lives, scrapers: Vec<Scraper>) -> Page {
    let [page, twin] = stage.last_pages(lives.unallocated_packets());
    let tallies: Vec<Tally> = scrapers.into_iter().map(Scraper::finish).collect();
    for (number, tally) in tallies.iter().enumerate() {
        println!("scraper {number}: {} pages", tally.pages());
        assert_summed(&format!("scraper {number}"), tally, &page);
    }
    lives.assert_told(&page);
    stage.durations.assert_told(&page);
    assert_equal(&page, &twin, stage.durations.longest_round());
    assert_eq!(page.count("coturn_exporter_messages_total", &[]), stage.published);
    assert_eq!(page.count("coturn_exporter_store_ok", &[]), 1);
    assert_ledger(stage, &page);
    page
}

/// The ledger has each session once.
fn assert_ledger(stage: &Stage, page: &Page) {
    poll::until(PATIENCE, "the ledger to have all sessions", || {
        let used = usage(&stage.store(), &[]);
        let figure = |name: &str| used.iter().map(|row| row.count(name)).sum::<u64>();
        let told = ["sessions", "allocations", "client_received_bytes", "client_sent_packets"].map(figure);
        let of_client =
            |name: &str, direction: &str| page.count(name, &[("leg", "client"), ("direction", direction)]);
        let truth = [
            page.count("coturn_sessions_closed_total", &[]),
            page.count("coturn_allocations_closed_total", &[]),
            of_client("coturn_relayed_bytes_total", "received"),
            of_client("coturn_relayed_packets_total", "sent"),
        ];
        if told == truth { Ok(()) } else { Err(format!("{told:?}, and on the page {truth:?}")) }
    });
}

#[test]
fn five_scrapers_and_two_prometheus_see_no_restart_behind_a_redis() {
    let _turn = turns::take();
    let mut random = random();
    let mut stage = Stage::through_redis();
    let scrapers = scrapers(5, &stage);
    let pair = ["1s", "1700ms"].map(|interval| Prometheus::scraping_every(interval, stage.address()));
    let lives = lives_between_ends(&mut stage, &mut random);
    let page = assert_exact(&stage, &lives, scrapers);
    let all = format!("{{__name__=~\"coturn_.+\",job=\"{}\"}}[1h]", crate::common::servers::prometheus::JOB);
    for (number, prometheus) in pair.iter().enumerate() {
        poll::until(PATIENCE, "a Prometheus to have the last page", || {
            let stored: BTreeMap<Series, (f64, usize)> =
                prometheus.last_and_falls(&all).into_iter().map(without_target).collect();
            for (series, value) in counted(&page) {
                let its = stored.get(&series.as_stored());
                match its {
                    Some(&(last, 0)) if (last - value).abs() < 1e-6 => {}
                    Some(&(_, falls)) if falls > 0 => panic!("{series} fell {falls} times"),
                    other => return Err(format!("{series} is {value}, stored is {other:?}")),
                }
            }
            Ok(())
        });
        for name in counted(&page).keys().map(|series| &series.name) {
            let resets = prometheus.query(&format!("max(resets({name}[1h]))"));
            assert!(resets.values().all(|&resets| resets == 0.0), "Prometheus {number}: {name} {resets:?}");
        }
    }
}

#[test]
fn two_scrapers_see_no_restart_where_coturn_reports_straight() {
    let _turn = turns::take();
    let mut random = random();
    let mut stage = Stage::straight();
    let scrapers = scrapers(2, &stage);
    let lives = lives_between_ends(&mut stage, &mut random);
    assert_exact(&stage, &lives, scrapers);
}

/// Traffic goes on while the exporter dies, is gone and begins. What nobody took in comes back with the totals, to the byte;
/// of all else there is at most what was published, and at least what was published while the exporter was there.
#[test]
fn what_is_published_while_it_is_gone_comes_with_the_totals_and_nothing_falls() {
    let _turn = turns::take();
    let mut random = random();
    let mut stage = Stage::through_redis();
    let scrapers = scrapers(2, &stage);
    let mut lives = Lives::new(RULES_OF_GAPS, random.u64(..));
    let mut in_gaps = 0;
    for _ in 0..ENDS {
        for _ in 0..random.u32(1..=4) {
            lives.come(&mut stage);
        }
        stage.settle();
        let relay = |lives: &mut Lives, stage: &mut Stage, events: u32, random: &mut fastrand::Rng| {
            for _ in 0..events {
                lives.relay_on(random.usize(..lives.living()), stage);
            }
        };
        let before = stage.published;
        relay(&mut lives, &mut stage, random.u32(..60), &mut random);
        // What was just published may be on its way, or taken in and not yet written: it is gone with a kill.
        if random.bool() {
            stage.end(random.bool());
        } else {
            stage.end_mid_scrape(random.bool());
        }
        relay(&mut lives, &mut stage, random.u32(..60), &mut random);
        stage.begin();
        in_gaps += stage.published - before;
        relay(&mut lives, &mut stage, random.u32(..20), &mut random);
        stage.settle();
    }
    while lives.living() > 0 {
        for at in (0..lives.living()).rev() {
            lives.go_on(at, &mut stage);
        }
        stage.settle();
    }
    let [page, twin] = stage.last_pages(lives.unallocated_packets());
    for (number, scraper) in scrapers.into_iter().enumerate() {
        assert_summed(&format!("scraper {number}"), &scraper.finish(), &page);
    }
    lives.assert_told_but_for(in_gaps, &page);
    stage.durations.assert_told(&page);
    let seen = page.count("coturn_exporter_messages_total", &[]);
    assert!((stage.published - in_gaps..=stage.published).contains(&seen), "{seen} of {}", stage.published);
    let twin = without_source(counted(&twin));
    for (series, value) in without_source(counted(&page)) {
        let is_measured = series.name.contains("_duration_seconds_") && !series.name.ends_with("_count");
        let is_exempt = is_measured || series.name.starts_with("coturn_recovered_");
        let most = twin.get(&series).copied().unwrap_or_default();
        assert!(is_exempt || value <= most, "{series} is {value}, and {most} of one that never stopped");
    }
    assert_ledger(&stage, &page);
}
