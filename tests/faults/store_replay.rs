//! A store's directory read by `replay`: torn, damaged, and as of an earlier moment.

use std::fs;
use std::os::unix::fs::FileExt as _;

use super::killed_store::{IN_REALM, Killed, LOOKS, SOME, content, sent};
use crate::common::readers::page::Page;
use crate::common::servers::command::{self, Ended};

fn replay(store: &Killed, args: &[&str]) -> Ended {
    command::exporter(&[&["replay", store.path().to_str().unwrap()], args].concat())
}

#[track_caller]
fn page(replayed: &Ended) -> Page {
    assert_eq!(replayed.code, Some(0), "{}", replayed.stderr);
    Page::parse(&replayed.stdout)
}

#[test]
fn a_torn_tail_is_left_out_and_said() {
    let store = Killed::new();
    let segment = store.tear();
    let before = content(&store.path());
    let replayed = replay(&store, &[]);
    let sent = sent(&page(&replayed));
    assert!((store.bytes - SOME.sent_bytes..=store.bytes).contains(&sent), "{sent} of {}", store.bytes);
    let said = replayed.stderr;
    assert!(said.contains("not written in full") && said.contains(segment.to_str().unwrap()), "{said}");
    assert!(content(&store.path()) == before, "it was changed");
}

#[test]
fn damage_in_the_middle_is_an_error_that_says_where() {
    let store = Killed::new();
    let segment = store.file("journal");
    let bytes = fs::read(&segment).unwrap();
    let at = bytes.iter().rposition(|&byte| byte != 0).unwrap() / 2;
    let file = fs::OpenOptions::new().write(true).open(&segment).unwrap();
    file.write_all_at(&[!bytes[at]], at as u64).unwrap();
    let before = content(&store.path());
    let refused = replay(&store, &[]);
    assert_eq!((refused.code, &*refused.stdout), (Some(1), ""), "{}", refused.stderr);
    let said = refused.stderr;
    assert!(said.contains(segment.to_str().unwrap()), "{said}");
    let place = said.split_once("at byte ").and_then(|(_, rest)| rest.split(' ').next()).expect("a place");
    let place: usize = place.parse().expect("a number");
    assert!((128..=at).contains(&place), "byte {at} is wrong: {said}");
    assert!(content(&store.path()) == before, "it was changed");
}

#[test]
fn the_page_as_of_an_earlier_moment_has_what_was_there_then() {
    let store = Killed::new();
    let opened = |replayed: &Ended| page(replayed).count("coturn_allocations_opened_total", &IN_REALM);
    let refused = replay(&store, &["--until", "1000"]);
    assert!(refused.code == Some(1) && refused.stdout.is_empty(), "{:?}", refused.code);
    let said = refused.stderr;
    assert!(said.contains("--until") && said.contains(store.path().to_str().unwrap()), "{said}");
    let begin = said.split_once("begins at ").and_then(|(_, rest)| rest.split([' ', ';']).next());
    let begin = begin.expect("the first moment that can be asked for");
    assert_eq!(opened(&replay(&store, &["--until", begin])), LOOKS, "its snapshot, as of {begin}");
    let mut last = LOOKS;
    for milliseconds in (0..).step_by(200) {
        let until = begin.parse::<f64>().expect("seconds") + f64::from(milliseconds) / 1000.0;
        let now = opened(&replay(&store, &["--until", &until.to_string()]));
        assert!(now >= last, "{now} behind {last}");
        last = now;
        if now == 2 * LOOKS {
            break;
        }
    }
    assert_eq!(opened(&replay(&store, &["--until", "9999999999"])), 2 * LOOKS, "and all of it later");
}
