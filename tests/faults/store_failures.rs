//! A store that fails, and the exporter killed or ended then: nobody is told anything twice, and the page said that it could
//! not be sure.
//!
//! Not simulated: a disk that answers `EIO` or hangs, which takes a device or a file system of one's own. To the exporter an
//! `EFBIG` of a limit is an error of `write` like theirs.

use std::fs;
use std::path::{Path, PathBuf};

use super::restarts::compare::{assert_nothing_doubled, counted};
use super::restarts::stage::Stage;
use super::restarts::{random, scrapers};
use super::usage::usage;
use crate::common::models::lives::{End, Lives, Rules};
use crate::common::poll::{self, PATIENCE};
use crate::common::readers::tally::Tally;
use crate::common::servers::scraper::{Scraper, scrape};
use crate::common::turns;

const RULES: Rules = Rules { lifetime: 3600, last_lifetime: 1, ends: &[End::Disconnected, End::Released] };

/// What the log says once of a journal that cannot be written.
const JOURNAL_FAILS: &str = "the store cannot be written";

/// What it says once of a ledger that cannot be written.
const LEDGER_FAILS: &str = "sessions wait for the ledger";

/// The state file and the log have room for so much, the segment that is being written and the ledger have not.
const ROOM: u64 = 64 << 10;

/// What is done to the store of a running exporter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Harm {
    /// No file grows beyond so many bytes, as on a full disk, until the journal has met that.
    Full(u64),
    /// The same, when only the ledger has met it.
    FullForLedger,
    /// The directory is deleted.
    Removed,
    /// The directory is moved away.
    Moved,
    /// The directory is moved away, and put back before the next start.
    MovedAndPutBack,
    /// A file stands in its place, until the next start.
    Replaced,
    /// The file that is being written is deleted.
    SegmentRemoved,
}

impl Harm {
    fn begin(self, stage: &Stage) {
        let store = stage.store();
        match self {
            Self::Full(bytes) => stage.exporter().limit_files(Some(bytes)),
            Self::FullForLedger => stage.exporter().limit_files(Some(ROOM)),
            Self::Removed => fs::remove_dir_all(store).unwrap(),
            Self::Moved | Self::MovedAndPutBack => fs::rename(&store, aside(&store)).unwrap(),
            Self::Replaced => {
                fs::rename(&store, aside(&store)).unwrap();
                fs::write(&store, "somebody's notes\n").unwrap();
            }
            Self::SegmentRemoved => {
                let files = fs::read_dir(&store).unwrap().map(|entry| entry.unwrap().path());
                let is_segment =
                    |file: &PathBuf| file.file_name().unwrap().to_string_lossy().starts_with("journal");
                fs::remove_file(files.filter(is_segment).max().expect("a segment")).unwrap();
            }
        }
    }

    /// That the store is unsure can be noted for certain, so that the page goes on.
    const fn has_room_for_marks(self) -> bool {
        matches!(self, Self::Full(1..) | Self::FullForLedger)
    }

    /// The log says so, too, once the store has failed as it is to.
    const fn complaint(self) -> &'static str {
        match self {
            // Without room for anything there is no log.
            Self::Full(1..) => JOURNAL_FAILS,
            Self::FullForLedger => LEDGER_FAILS,
            _ => "",
        }
    }

    /// After the end, before the next start; what is left of the exporter's own is not touched.
    fn is_over(self, store: &Path) {
        match self {
            Self::MovedAndPutBack => fs::rename(aside(store), store).unwrap(),
            Self::Replaced => {
                assert_eq!(fs::read_to_string(store).unwrap(), "somebody's notes\n", "not ours");
                fs::remove_file(store).unwrap();
            }
            // A journal with a hole is damaged: the operator does what the error says.
            Self::SegmentRemoved => fs::rename(store, aside(store)).unwrap(),
            Self::Full(_) | Self::FullForLedger | Self::Removed | Self::Moved => {}
        }
    }
}

fn aside(store: &Path) -> PathBuf {
    store.with_extension("aside")
}

/// Allocations come, relay and go, as far as the twin says.
fn pass(stage: &mut Stage, lives: &mut Lives, random: &mut fastrand::Rng) {
    for _ in 0..20 {
        lives.come(stage);
    }
    for _ in 0..50 {
        lives.relay_on(random.usize(..lives.living()), stage);
    }
    for at in (0..lives.living()).rev() {
        lives.go_on(at, stage);
    }
}

/// Publishes until the page, and the log, say that the store fails.
fn until_it_fails(harm: Harm, stage: &mut Stage, lives: &mut Lives, random: &mut fastrand::Rng) {
    poll::until(PATIENCE, "the store to fail", || {
        pass(stage, lives, random);
        let page = scrape(stage.address(), false).ok_or_else(|| "no page".to_owned())?;
        match page.count("coturn_exporter_store_ok", &[]) {
            0 if stage.exporter().log().contains(harm.complaint()) => Ok(()),
            ok => Err(format!("{ok}\n{}", stage.exporter().log())),
        }
    });
}

fn is_ok(stage: &Stage) {
    poll::until(PATIENCE, "the store to be written", || {
        let page = scrape(stage.address(), false).ok_or_else(|| "no page".to_owned())?;
        match page.count("coturn_exporter_store_ok", &[]) {
            1 => Ok(()),
            ok => Err(format!("{ok}\n{}", stage.exporter().log())),
        }
    });
}

/// Everything ends, and is compared. `unheard_ends`: so many may stay live for the rest of their lifetime, for an end that was not
/// received is proven by a missing key only where the server has one that is seconds older, and all of this takes a few seconds.
fn finish(mut stage: Stage, mut lives: Lives, scrapers: Vec<Scraper>, harm: Harm, unheard_ends: u64) {
    while lives.living() > 0 {
        for at in (0..lives.living()).rev() {
            lives.go_on(at, &mut stage);
        }
        stage.settle();
    }
    let [page, twin] = stage.last_pages_but(unheard_ends, lives.unallocated_packets());
    let truth = twin.count("coturn_sessions_closed_total", &[]);
    for (number, scraper) in scrapers.into_iter().enumerate() {
        let tally: Tally = scraper.finish();
        println!("{harm:?}: scraper {number} has {} pages, {} falls", tally.pages(), tally.falls());
        assert_nothing_doubled(&format!("{harm:?}: scraper {number}"), &tally, &twin);
    }
    assert_eq!(page.count("coturn_exporter_store_ok", &[]), 1);
    let in_ledger: u64 = usage(&stage.store(), &[]).iter().map(|row| row.count("sessions")).sum();
    // A session whose open row was closed as partial may have gone on, and has another row for that part.
    let adopted = page.count("coturn_sessions_adopted_total", &[]);
    assert!(
        in_ledger <= truth + adopted,
        "{in_ledger} sessions in the ledger, {truth} there were, {adopted} twice met"
    );
}

/// The harm, an end in the midst of it, and two lives after it.
fn ends_while_it_fails(harm: Harm, is_kill: bool, random: &mut fastrand::Rng) {
    println!("{harm:?}, {}", if is_kill { "killed" } else { "ended" });
    let mut stage = Stage::through_redis();
    let scrapers = scrapers(2, &stage);
    let mut lives = Lives::new(RULES, random.u64(..));
    pass(&mut stage, &mut lives, random);
    stage.settle();
    is_ok(&stage);

    let ended = lives.ended();
    harm.begin(&stage);
    until_it_fails(harm, &mut stage, &mut lives, random);
    // More that is answered and that no file has; but where not even that can be noted, the page stands still.
    pass(&mut stage, &mut lives, random);
    if harm.has_room_for_marks() {
        // The journal may go on where only the ledger fails: then each end must have been heard.
        stage.settle();
    } else {
        stage.settle_twin();
    }
    if is_kill {
        stage.end(true);
    } else {
        stage.end_somehow();
    }
    // Only a store that is put back as it was has allocations whose end it lacks.
    let unheard_ends = if harm == Harm::MovedAndPutBack { lives.ended() - ended } else { 0 };
    harm.is_over(&stage.store());

    stage.begin_anew();
    is_ok(&stage);
    pass(&mut stage, &mut lives, random);
    stage.settle();
    // From here on it is sure again: nothing falls any more.
    let before = counted(&scrape(stage.address(), false).expect("a page"));
    stage.end(true);
    stage.begin();
    let after = scrape(stage.address(), false).expect("a page");
    for (series, value) in before {
        assert!(
            after.get(&series).is_some_and(|after| after >= value),
            "{series} fell from {value}: {after:?}"
        );
    }
    finish(stage, lives, scrapers, harm, unheard_ends);
}

fn all_ends(harm: Harm) {
    let _turn = turns::take();
    let mut random = random();
    for is_kill in [true, false] {
        ends_while_it_fails(harm, is_kill, &mut random);
    }
}

#[test]
fn a_disk_that_fills_up_and_an_end_then() {
    all_ends(Harm::Full(ROOM));
}

#[test]
fn a_disk_that_is_full_for_the_ledger_alone_and_an_end_then() {
    all_ends(Harm::FullForLedger);
}

#[test]
fn a_disk_on_which_nothing_can_be_written_and_an_end_then() {
    all_ends(Harm::Full(0));
}

#[test]
fn a_directory_that_is_removed_and_an_end_then() {
    all_ends(Harm::Removed);
}

#[test]
fn a_directory_that_is_moved_away_and_an_end_then() {
    all_ends(Harm::Moved);
}

#[test]
fn a_directory_that_is_put_back_after_the_end() {
    all_ends(Harm::MovedAndPutBack);
}

#[test]
fn a_directory_in_whose_place_is_a_file_at_the_end() {
    all_ends(Harm::Replaced);
}

#[test]
fn a_segment_that_is_removed_and_an_end_then() {
    all_ends(Harm::SegmentRemoved);
}

/// Whoever restarts the exporter while the disk has no room has pages all the same, and a ledger without open sessions
/// once there is room.
#[test]
fn a_disk_that_is_still_full_at_the_next_start() {
    let _turn = turns::take();
    let mut random = random();
    let mut stage = Stage::through_redis();
    let scrapers = scrapers(2, &stage);
    let mut lives = Lives::new(RULES, random.u64(..));
    pass(&mut stage, &mut lives, &mut random);
    stage.settle();
    is_ok(&stage);
    stage.exporter().limit_files(Some(ROOM));
    for harm in [Harm::Full(ROOM), Harm::FullForLedger] {
        until_it_fails(harm, &mut stage, &mut lives, &mut random);
    }
    stage.settle();
    stage.end(true);

    stage.file_limit = Some(ROOM);
    stage.begin_anew();
    until_it_fails(Harm::FullForLedger, &mut stage, &mut lives, &mut random);
    stage.settle();
    let page = scrape(stage.address(), false).expect("a page");
    assert!(page.count("coturn_allocations_opened_total", &[]) > 0, "it counts");
    stage.exporter().limit_files(None);
    is_ok(&stage);
    stage.end(true);
    stage.file_limit = None;
    stage.begin();
    let page = scrape(stage.address(), false).expect("a page");
    assert!(
        page.count("coturn_allocations_opened_total", &[]) > 0,
        "it goes on from what the disk had room for"
    );
    pass(&mut stage, &mut lives, &mut random);
    finish(stage, lives, scrapers, Harm::Full(ROOM), 0);
}

/// A disk that has room again heals by itself: a snapshot makes good what the journal lacks, and the next kill is as any
/// other.
#[test]
fn a_disk_that_has_room_again_and_a_kill_after_that() {
    let _turn = turns::take();
    let mut random = random();
    let mut stage = Stage::through_redis();
    let scrapers = scrapers(2, &stage);
    let mut lives = Lives::new(RULES, random.u64(..));
    stage.settle();
    let harm = Harm::Full(ROOM);
    harm.begin(&stage);
    until_it_fails(harm, &mut stage, &mut lives, &mut random);
    for _ in 0..5 {
        pass(&mut stage, &mut lives, &mut random);
        stage.settle();
    }
    let log = stage.exporter().log();
    let complaints = [JOURNAL_FAILS, LEDGER_FAILS].map(|line| log.matches(line).count());
    assert!(complaints[0] == 1 && complaints[1] <= 1, "once, not at each scrape:\n{log}");
    stage.exporter().limit_files(None);
    is_ok(&stage);
    stage.end(true);
    stage.begin();
    pass(&mut stage, &mut lives, &mut random);
    stage.settle();
    while lives.living() > 0 {
        for at in (0..lives.living()).rev() {
            lives.go_on(at, &mut stage);
        }
        stage.settle();
    }
    let [page, _] = stage.last_pages(lives.unallocated_packets());
    lives.assert_told(&page);
    for (number, scraper) in scrapers.into_iter().enumerate() {
        scraper.finish().assert_nothing_fell(&format!("scraper {number}"));
    }
}
