//! Tests of what is counted beside the table.

mod stats;

use super::*;

#[test]
fn a_db_without_keys_is_the_wrong_one_only_where_keys_would_show() {
    let source = SourceId(0);
    let mut ingest = Ingest::new(Settings::default(), &["a"]);
    let mut judged = |live, absent, doubt| {
        let keys = StatusKeys { live, stale: 0 };
        let is_right = ingest.scan_succeeded(source, keys, absent, doubt, Duration::ZERO);
        assert_eq!(
            ingest.view(Timestamp::ZERO).table.sources[0].stats.settings_ok.get("dbname").copied(),
            is_right,
            "{doubt:?}"
        );
        is_right
    };
    assert_eq!(judged(0, 5, None), Some(false));
    assert_eq!(judged(0, 5, Some(Doubt::UnknownMemory)), Some(false), "evictions leave some");
    for doubt in [Doubt::Cluster, Doubt::Eviction, Doubt::Loss, Doubt::Unknown] {
        assert_eq!(judged(0, 5, Some(doubt)), None);
        assert_eq!(judged(1, 5, Some(doubt)), Some(true), "a key that is found is proof");
    }
    assert_eq!((judged(0, 0, None), judged(1, 5, None)), (Some(true), Some(true)));
    // An empty Redis proves nothing: what was wrong is right when a key is found.
    assert_eq!((judged(0, 5, None), judged(0, 0, None)), (Some(false), Some(false)));
    assert_eq!((judged(1, 0, None), judged(0, 0, None)), (Some(true), Some(true)));
}

/// Whoever may publish must not write the log: a row of rejected messages is two lines.
#[test]
fn rejected_messages_are_logged_once_for_each_reason() {
    let lines = crate::app::testing::Lines::default();
    let _collecting = lines.collect();
    let at = crate::app::testing::at;
    let mut ingest = Ingest::new(Settings::default(), &["a"]);
    for second in 0..100 {
        for payload in [&b"nonsense"[..], &[b'x'; wire::MAX_PAYLOAD + 1]] {
            let channel = b"turn/realm/r/user/u/allocation/000000000000000001/status";
            assert!(ingest.message(at(second), SourceId(0), channel, payload).is_err());
        }
        ingest.advance(at(second));
    }
    assert_eq!(lines.with("a message is rejected"), 2, "{lines:?}");
    ingest.advance(at(99 + 60));
    assert_eq!((lines.with("messages=100"), lines.with("rejected")), (2, 4), "{lines:?}");
    assert!(ingest.message(at(160), SourceId(0), b"turn/", b"").is_err());
    assert_eq!(lines.with("a message is rejected"), 3, "{lines:?}");
}
