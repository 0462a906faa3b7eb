//! Tests of what is counted beside the table.

use super::*;

#[test]
fn a_db_without_keys_is_the_wrong_one_only_where_keys_would_show() {
    let source = SourceId(0);
    let mut ingest = Ingest::new(Settings::default(), &["a"]);
    let mut judged = |live, absent, doubt| {
        let keys = StatusKeys { live, stale: 0 };
        let is_right = ingest.scan_succeeded(source, keys, absent, doubt, Duration::ZERO);
        assert_eq!(ingest.sources[0].settings_ok.get("dbname").copied(), is_right, "{doubt:?}");
        is_right
    };
    assert_eq!(judged(0, 5, None), Some(false));
    assert_eq!(judged(0, 5, Some(Doubt::UnknownMemory)), Some(false), "evictions leave some");
    for doubt in [Doubt::Cluster, Doubt::Eviction, Doubt::Loss, Doubt::Unknown] {
        assert_eq!(judged(0, 5, Some(doubt)), None);
        assert_eq!(judged(1, 5, Some(doubt)), Some(true), "a key that is found is proof");
    }
    assert_eq!((judged(0, 0, None), judged(1, 5, None)), (Some(true), Some(true)));
}
