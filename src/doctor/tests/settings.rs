//! The settings of Redis, from `CONFIG` and `INFO`.

use super::*;

#[test]
fn settings_are_judged_by_their_values() {
    use Severity::{Advice, Fault, Info, Ok};
    let buffers = "client-output-buffer-limit";
    let fixed = "'pubsub 33554432 8388608 60'";
    for (name, value, severity, fix) in [
        ("timeout", "0", Ok, ""),
        ("timeout", "1", Fault, "timeout 0"),
        ("tcp-keepalive", "0", Fault, "tcp-keepalive 60"),
        ("tcp-keepalive", "1", Ok, ""),
        ("tcp-keepalive", "60", Ok, ""),
        ("tcp-keepalive", "300", Info, "tcp-keepalive 60"),
        ("tcp-keepalive", "7200", Advice, "tcp-keepalive 60"),
        (buffers, "normal 0 0 0 pubsub 33554432 8388608 60", Ok, ""),
        (buffers, "pubsub 67108864 16777216 120 normal 1 1 1", Ok, ""),
        (buffers, "pubsub 33554431 8388608 60", Fault, fixed),
        (buffers, "pubsub 33554432 8388607 60", Fault, fixed),
        (buffers, "pubsub 33554432 8388608 59", Fault, fixed),
        (buffers, "pubsub 33554432 0 0", Ok, ""),
        (buffers, "pubsub 33554432 33554432 1", Ok, ""),
        (buffers, "pubsub 0 0 0", Info, ""),
        (buffers, "pubsub 0 1048576 60", Fault, fixed),
        ("maxmemory-policy", "noeviction", Ok, ""),
        ("maxmemory-policy", "volatile-lru", Ok, ""),
        ("maxmemory-policy", "allkeys-lru", Fault, "volatile-lru"),
        ("maxmemory-policy", "allkeys-random", Fault, "volatile-random"),
        ("maxmemory-policy", "volatile-lfu", Fault, "volatile-lru"),
        ("cluster-enabled", "no", Ok, ""),
    ] {
        let findings = judged(|seen| {
            seen.settings = Look::Seen(values(&[(name, value)]));
            seen.retention = Look::Forbidden;
        });
        let (found, message, command) = about(name, &findings);
        assert_eq!(found, severity, "{name} {value}: {message}");
        let expected = if fix.is_empty() {
            String::new()
        } else {
            let words = fix.strip_prefix(name).unwrap_or(fix).trim_start();
            format!("redis-cli -h h -p 6379 CONFIG SET {name} {words}")
        };
        assert_eq!(command, expected, "{name} {value}");
    }
}

#[test]
fn evicting_matters_where_memory_is_limited() {
    for (limit, severity) in [("0", Severity::Info), ("1000", Severity::Fault)] {
        let pairs = [("maxmemory-policy", "allkeys-lru"), ("maxmemory", limit)];
        let findings = judged(|seen| {
            seen.settings = Look::Seen(values(&pairs));
            seen.retention = Look::Forbidden;
        });
        assert_eq!(about("maxmemory-policy", &findings).0, severity);
    }
}

#[test]
fn a_setting_alone_is_good_bad_or_unknown() {
    let values = values(&[
        ("timeout", "5"),
        ("tcp-keepalive", "300"),
        ("client-output-buffer-limit", "odd"),
        ("cluster-enabled", "yes"),
        ("maxmemory-policy", "allkeys-lru"),
    ]);
    let states = setting_states(&values);
    let seen = |state: &SettingState| (state.setting.as_str(), state.value.clone(), state.ok);
    let expected = [
        ("timeout", "5", false),
        ("tcp-keepalive", "300", true),
        ("cluster-enabled", "yes", false),
        ("maxmemory-policy", "allkeys-lru", false),
    ];
    let expected = expected.map(|(setting, value, ok)| (setting, value.to_owned(), ok));
    assert_eq!(states.iter().map(seen).collect::<Vec<_>>(), expected);
    assert_eq!(states[0].fix.as_deref(), Some("CONFIG SET timeout 0"));
    assert!(states.iter().filter(|state| !state.ok).all(|state| state.fix.is_some() && state.why.is_some()));
}

#[test]
fn a_redis_that_does_not_take_and_keep_every_key_is_found_by_info_or_by_its_settings() {
    let info = |text: &str| Look::Seen(Retention::of_info(text));
    let by_info = judged(|seen| seen.retention = info("redis_mode:cluster\r\nmaxmemory:0\r\n"));
    let by_config = judged(|seen| {
        seen.settings = Look::Seen(values(&[("cluster-enabled", "yes"), ("maxmemory", "0")]));
        seen.retention = Look::Forbidden;
    });
    for findings in [by_info, by_config] {
        let (severity, message, fix) = about("cluster-enabled", &findings);
        assert_eq!(severity, Severity::Fault, "{message}");
        assert!(fix.contains("standalone Redis") && fix.contains("--statsdb.listen-address"), "{fix}");
    }

    let evicts = "cluster_enabled:0\r\nmaxmemory:9\r\nmaxmemory_policy:allkeys-lru\r\nevicted_keys:3\r\n";
    let findings = judged(|seen| {
        seen.settings = Look::Forbidden;
        seen.retention = info(evicts);
    });
    assert_eq!(about("maxmemory-policy", &findings).0, Severity::Fault);
    assert!(about("evicted-keys", &findings).1.contains("3 key(s)"));
    let findings = judged(|seen| {
        seen.settings = Look::Forbidden;
        seen.retention = info(&evicts.replace("allkeys", "volatile"));
    });
    assert_eq!(remarks(&findings), [("config", Severity::Info)], "those have a time to live");

    let refused =
        "cluster_enabled:0\r\nmaxmemory:9\r\nmaxmemory_policy:noeviction\r\nerrorstat_OOM:count=2\r\n";
    let findings = judged(|seen| seen.retention = info(refused));
    let (severity, message, _) = about("maxmemory", &findings);
    assert!(severity == Severity::Fault && message.contains("refused 2 write(s)"), "{message}");
}

#[test]
fn what_info_would_say_is_missed() {
    let said = |retention: Look<Retention>| {
        let findings = judged(|seen| {
            seen.settings = Look::Forbidden;
            seen.retention = retention;
        });
        about("info", &findings)
    };
    let (severity, message, fix) = said(Look::Forbidden);
    assert!(severity == Severity::Advice && message.contains("INFO is forbidden"), "{message}");
    assert_eq!(fix, "redis-cli -h h -p 6379 ACL SETUSER watcher +info");
    assert!(said(Look::Failed("ERR unknown command".to_owned())).1.contains("unknown command"));
    assert!(said(Look::Seen(Retention::default())).1.contains("INFO does not say"));
}
