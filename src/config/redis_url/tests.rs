//! Tests of URLs: every form is understood, what is wrong is said, and no message shows a password.

use super::*;

fn parse(url: &str) -> RedisSource {
    url.parse().unwrap_or_else(|error| panic!("{url}: {error}"))
}

#[test]
fn tcp_urls_in_every_form() {
    for (url, name, host, port, db) in [
        ("redis://127.0.0.1:6379/0", "redis://127.0.0.1:6379/0", "127.0.0.1", 6379, 0),
        ("redis://Redis.example", "redis://redis.example:6379/0", "redis.example", 6379, 0),
        ("REDIS://h:7/", "redis://h:7/0", "h", 7, 0),
        ("redis://[::1]:7/13", "redis://[::1]:7/13", "::1", 7, 13),
        ("redis://[::1]", "redis://[::1]:6379/0", "::1", 6379, 0),
        ("redis://u:p@h/2", "redis://h:6379/2", "h", 6379, 2),
        // One name for one Redis, however its URL begins.
        ("valkey://h:7/2", "redis://h:7/2", "h", 7, 2),
        ("Valkey://u:p@h", "redis://h:6379/0", "h", 6379, 0),
    ] {
        let source = parse(url);
        assert_eq!(source.name, name, "{url}");
        assert_eq!(source.address, RedisAddress::Tcp(Endpoint { host: host.to_owned(), port }), "{url}");
        assert_eq!(source.tls, None, "{url}");
        assert_eq!(source.db, db, "{url}");
    }
}

#[test]
fn unix_urls_in_every_form() {
    let source = parse("unix:///run/redis.sock");
    assert_eq!(source.name, "unix:///run/redis.sock");
    assert_eq!(source.address, RedisAddress::Unix { path: "/run/redis.sock".into() });
    let source = parse("redis+unix://u:p%20w@/run/a%20b?db=3");
    assert_eq!((source.name.as_str(), source.db), ("unix:///run/a%20b?db=3", 3));
    assert_eq!(source.address, RedisAddress::Unix { path: "/run/a b".into() });
    assert_eq!((source.username.as_deref(), source.password), (Some("u"), Some(Secret::new("p w").into())));
    let source = parse("unix:///s?user=u&pass=a%26b&db=0");
    assert_eq!(source.name, "unix:///s");
    assert_eq!((source.username.as_deref(), source.password), (Some("u"), Some(Secret::new("a&b").into())));
}

#[test]
fn tls_is_part_of_the_scheme_and_of_the_name() {
    let source = parse("rediss://u:p@Redis.example/2");
    assert_eq!(parse("valkeys://u:p@Redis.example/2"), source);
    assert_eq!((source.name.as_str(), source.tls), ("rediss://redis.example:6379/2", Some(Tls::default())));
    let source = parse("rediss+sentinel://a/m");
    assert_eq!((source.name.as_str(), source.tls), ("rediss+sentinel://a:26379/m/0", Some(Tls::default())));
}

#[test]
fn sentinels_in_every_form() {
    let endpoint = |host: &str, port| Endpoint { host: host.to_owned(), port };
    let source = parse("redis+sentinel://a,[::1]:1/mymaster");
    assert_eq!(source.name, "redis+sentinel://a:26379,[::1]:1/mymaster/0");
    let plain = Sentinels {
        endpoints: vec![endpoint("a", 26379), endpoint("::1", 1)],
        master: "mymaster".to_owned(),
        username: None,
        password: None,
    };
    assert_eq!(source.address, RedisAddress::Sentinel(plain.clone()));
    assert_eq!((source.username, source.password, source.tls), (None, None, None));

    let url = "redis+sentinel://u:p@w@A:26379,[::1]:1/mymaster/3?sentinel-user=s&sentinel-pass=x%26@y";
    let source = parse(url);
    assert_eq!((source.name.as_str(), source.db), ("redis+sentinel://a:26379,[::1]:1/mymaster/3", 3));
    assert_eq!((source.username.as_deref(), source.password), (Some("u"), Some(Secret::new("p@w").into())));
    let (username, password) = (Some("s".to_owned()), Some(Secret::new("x&@y").into()));
    assert_eq!(source.address, RedisAddress::Sentinel(Sentinels { username, password, ..plain }));
}

#[test]
fn a_list_keeps_sentinels_together() {
    assert_eq!(split_list(" redis://a , redis://b,"), ["redis://a", "redis://b"]);
    assert_eq!(
        split_list("redis://a,redis+sentinel://b:1, c:2/m/0,unix:///s,rediss+sentinel://d/m"),
        ["redis://a", "redis+sentinel://b:1,c:2/m/0", "unix:///s", "rediss+sentinel://d/m"]
    );
    assert_eq!(split_list("localhost,redis://a,b"), ["localhost", "redis://a", "b"]);
    assert_eq!(split_list(" ,").len(), 0);
}

#[test]
fn user_and_password_may_be_odd_or_missing() {
    for (url, user, password) in [
        ("redis://h", None, None),
        ("redis://:pw@h", None, Some("pw")),
        ("redis://user@h", Some("user"), None),
        ("redis://us%3Aer:p%40w%2F@h", Some("us:er"), Some("p@w/")),
        ("redis://u:p@w/x?y#z:1@h:1/2", Some("u"), Some("p@w/x?y#z:1")),
    ] {
        let source = parse(url);
        assert_eq!(source.username.as_deref(), user, "{url}");
        assert_eq!(source.password, password.map(|password| Secret::new(password).into()), "{url}");
    }
}

#[test]
fn what_is_wrong_is_said() {
    use RedisUrlError as E;
    let error = |url: &str| url.parse::<RedisSource>().unwrap_err();
    assert!(matches!(error(""), E::Scheme { .. }));
    assert!(matches!(error("127.0.0.1:6379"), E::Scheme { .. }));
    assert!(matches!(error("http://h"), E::Scheme { .. }));
    assert!(matches!(error("sentinel://h/m"), E::Scheme { .. }));
    for url in [
        "redis://",
        "redis:///0",
        "redis://:6379",
        "redis://a%20b",
        "redis://[::1",
        "redis://[x]:1",
        "rediss://",
        "redis+sentinel://",
        "redis+sentinel:///mymaster",
        "redis+sentinel://a,,b/mymaster",
    ] {
        assert!(matches!(error(url), E::Host { .. }), "{url}: {}", error(url));
    }
    for url in [
        "redis://h:",
        "redis://h:x",
        "redis://h:0",
        "redis://h:65536",
        "redis://h:+1",
        "redis://::1",
        "redis://[::1]x",
        "redis+sentinel://a,b:x/mymaster",
    ] {
        assert!(matches!(error(url), E::Port { .. }), "{url}: {}", error(url));
    }
    for url in [
        "redis://h/x",
        "redis://h/-1",
        "redis://h/1/2",
        "redis://h/99999999999",
        "unix:///s?db=x",
        "redis+sentinel://h/m/x",
    ] {
        assert!(matches!(error(url), E::Db { .. }), "{url}: {}", error(url));
    }
    for url in ["unix://", "unix:///", "unix://run/redis.sock", "unix:///a%00b"] {
        assert!(matches!(error(url), E::Socket { .. }), "{url}: {}", error(url));
    }
    for url in [
        "redis://h?db=1",
        "redis://h#x",
        "redis://h/0?protocol=resp3",
        "unix:///s?x=1",
        "redis+sentinel://h/m?db=1",
        "redis+sentinel://h/m?sentinel-x=1",
    ] {
        assert!(matches!(error(url), E::Parameter { .. }), "{url}: {}", error(url));
    }
    for url in [
        "redis+sentinel://h",
        "redis+sentinel://h/",
        "redis+sentinel://h//0",
        "redis+sentinel://h/my%20master",
    ] {
        assert!(matches!(error(url), E::Master { .. }), "{url}: {}", error(url));
    }
    for url in [
        "redis+sentinel://h/m?sentinel-pass=%",
        "redis://:%@h",
        "redis://:%4@h",
        "redis://:%zz@h",
        "redis://:%ff@h",
        "unix:///%",
    ] {
        assert!(matches!(error(url), E::Percent { .. }), "{url}: {}", error(url));
    }
}

#[test]
fn a_blank_is_written_as_an_escape() {
    for url in [
        "redis://:a b@h",
        "redis://h/0 ",
        "redis://h\n",
        "unix:///a\tb",
        "unix:///s?pass=a\nb",
        "redis+sentinel://a, b/m",
    ] {
        let error = url.parse::<RedisSource>().unwrap_err();
        assert!(matches!(error, RedisUrlError::Blank { .. }), "{url}: {error}");
        assert!(error.to_string().contains("%20") && !error.to_string().contains(['\t', '\n']), "{error}");
    }
    let source = parse("redis://:a%20b@h");
    assert_eq!(source.password.unwrap().current().expose(), "a b");
}

#[test]
fn no_message_and_no_debug_print_shows_a_password() {
    for url in [
        "rediss://user:geheim@h:x",
        "redis+sentinel://user:geheim@h",
        "redis+sentinel://:geheim,h:26379/m",
        "redis+sentinel://a:26379,b:geheim/m",
        "redis+sentinel://h/m/x?sentinel-pass=geheim",
        "redis+sentinel://h/m/x?sentinel-pass=a@geheim",
        "http://user:geheim@h",
        "redis://user:geheim@h:x",
        "redis://user:geheim@h/x",
        "redis://user:geheim%@h",
        "redis://user:gehe/geheim@:1",
        "unix://user:geheim@/s?x=1",
        "unix:///s?pass=geheim&x=1",
        "unix:///s?pass=geheim%",
        "redis://:geheim",
        "redis://h:geheim/1",
        "redis://:x/geheim",
        "user:geheim@h",
        "user:geheim@h:6379/0",
        ":geheim@h",
        "geheim@h",
        "user:ge@heim:gehe@h",
        "/run/redis.sock?pass=a@geheim",
        "redis:user:geheim@h",
        "h:6379#geheim",
        "redis://h#geheim",
        "redis://h/0#geheim",
        "redis://h:6379/0?x=1#geheim",
        "redis://user:12#geheim",
        "redis://user:geheim@h/0#geheim",
        "redis+sentinel://h/m/0#geheim",
        "unix:///s?x=1#geheim",
    ] {
        let error = url.parse::<RedisSource>().unwrap_err();
        assert!(!format!("{error} {error:?}").contains("gehe"), "{error}");
    }
    let messages = [
        ("cannot read \"redis://user:geheim@h/0\": no", "cannot read \"redis://***@h/0\": no"),
        ("cannot open user:geheim@h: no", "cannot open ***@h: no"),
        ("a statsdb://127.0.0.1:6390: in use", "a statsdb://127.0.0.1:6390: in use"),
        ("write redis://[user:password@]host[:port][/db]", "write redis://[user:password@]host[:port][/db]"),
        ("cannot open redis://u[:port]:geheim@h/[user:password@]", "cannot open redis://***@]"),
        ("cannot open redis://u:geheim@h/[:port]", "cannot open redis://***@h/[:port]"),
        ("cannot open unix:///[:port]?pass=geheim", "cannot open unix:///[:port]?***"),
        ("write redis://host[:port][/db], or", "write redis://host[:port][/db], or"),
        ("cannot open /run/coturn@home/x", "cannot open /run/coturn@home/x"),
        ("cannot open /run/a?b&c: no", "cannot open /run/a?b&c: no"),
        ("cannot open @/s?db=2&pass=geheim: no", "cannot open ***@/s?***: no"),
        // Blanks in a URL.
        ("cannot open redis://u:a b@ geheim c@h/0: no", "cannot open redis://***@h/0: no"),
        ("redis://u:12 geheim@h: x, or redis://h:1 is", "redis://***@h: x, or redis://h:1 is"),
        ("cannot open unix://@/a @/s?db=2&pass=geheim: no", "cannot open unix://***@/s?***: no"),
        ("cannot open unix:///s?db=2 &pass=geheim: no", "cannot open unix:///s?db=2 &***: no"),
    ];
    for (message, shown) in messages {
        assert_eq!(message_without_credentials(message), shown);
    }
    let source = parse("redis://user:geheim@h");
    assert!(!format!("{source} {source:?}").contains("geheim"));
}
