//! The findings as text and as JSON.

use super::*;
use crate::doctor::listener::{ListenerFacts, ListenerSeen, PasswordOrigin, judge_listener};

#[test]
fn text_fits_a_terminal_and_is_harmless() {
    let mut findings = judged(|seen| {
        seen.user = Look::Seen("a\u{1b}[2J\nfault".to_owned());
        seen.excess = Look::Seen(vec!["FLUSHALL".to_owned()]);
        seen.settings = Look::Seen(values(&[("timeout", "60")]));
    });
    findings.extend(
        judged(|_| {}).into_iter().map(|finding| Finding { source: "unix:///s".to_owned(), ..finding }),
    );
    let text = text(&findings, true);
    assert!(text.starts_with("redis://h:6379/0\n  ok      reachable: "), "{text}");
    assert!(text.contains("\nunix:///s\n") && text.contains("\nSomething is wrong. Faults: 1, advice: 0.\n"));
    assert!(
        text.contains("\n  fault   timeout: timeout is 60, it must be 0\n          why Redis closes"),
        "{text}"
    );
    assert!(text.contains("\n          fix redis-cli -h h -p 6379 CONFIG SET timeout 0\n"), "{text}");
    assert!(!text.chars().any(|c| c.is_control() && c != '\n'), "{text:?}");
    for line in text.lines().filter(|line| !line.starts_with("          fix ")) {
        assert!(line.chars().count() <= 100, "{line}");
        assert_eq!(line.trim_end(), line);
    }
}

#[test]
fn the_short_text_is_at_length_about_what_is_wrong_only() {
    let findings = judged(|seen| {
        seen.excess = Look::Seen(vec!["FLUSHALL".to_owned()]);
        seen.settings = Look::Seen(values(&[("timeout", "60")]));
    });
    let (short, long) = (text(&findings, false), text(&findings, true));
    for line in [
        "info    excess-rights: the user may also call FLUSHALL",
        "fix redis-cli -h h -p 6379 CONFIG SET timeout 0",
    ] {
        assert!(short.contains(line) && long.contains(line), "{short}");
    }
    let hidden = "ACL SETUSER";
    assert!(long.contains(hidden) && !short.contains(hidden), "{short}");
    assert!(short.contains("--verbose") && !long.contains("--verbose"), "{short}");
    let nothing = judged(|_| {});
    assert!(!text(&nothing, false).contains("--verbose"), "nothing is left out");
    // The one thing that is to be copied although nothing is wrong.
    let seen = ListenerSeen::OtherProgram;
    let facts = ListenerFacts {
        name: "statsdb://:6390".to_owned(),
        listen: ":6390".to_owned(),
        ip: "127.0.0.1".to_owned(),
        port: 6390,
        password_of: PasswordOrigin::Flag,
        password: None,
        line: "redis-statsdb=\"\"".to_owned(),
        seen,
    };
    assert!(text(&judge_listener(&facts), false).contains("fix redis-statsdb="));
}

#[test]
fn json_has_these_fields() {
    let unreachable = Unreachable { obstacle: Obstacle::Login, text: "NOAUTH".to_owned() };
    let mut findings = judge(&Facts { subject: subject(), seen: Err(unreachable) });
    findings.extend(judged(|_| {}).into_iter().take(1));
    let value: serde_json::Value = serde_json::from_str(&json(&findings).unwrap()).unwrap();
    let expected = serde_json::json!({
        "ok": false,
        "findings": [
            {
                "source": "redis://h:6379/0",
                "id": "login",
                "severity": "fault",
                "message": "the login is refused: NOAUTH",
                "why": "without it the exporter sees nothing",
                "fix": "--redis.password-file FILE with the right password, or --redis.url redis://USER@HOST/DB",
            },
            {
                "source": "redis://h:6379/0",
                "id": "reachable",
                "severity": "ok",
                "message": "Redis answers; logged in as watcher",
                "why": null,
                "fix": null,
            },
        ],
    });
    assert_eq!(value, expected);
}

#[test]
fn words_are_quoted_for_the_shell_where_they_need_it() {
    for (word, quoted) in [
        ("h", "h"),
        ("/run/redis.sock", "/run/redis.sock"),
        ("", "''"),
        ("a b", "'a b'"),
        ("$(x)'", r"'$(x)'\'''"),
    ] {
        assert_eq!(shell_word(word), quoted);
    }
}
