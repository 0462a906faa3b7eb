//! Text that an operator gives: addresses, numbers, moments, and the URLs of a Redis.

use std::sync::Arc;

use crate::config::{
    self, ListenAddress, Password, RedisAddress, RedisSource, Secret, TelemetryPath,
    message_without_credentials, split_redis_urls, value, without_credentials,
};

/// A value of any flag.
pub(super) fn run(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    if let Ok(address) = text.parse::<ListenAddress>() {
        assert_eq!(address.to_string().parse::<ListenAddress>().unwrap(), address);
    }
    if let Ok(path) = text.parse::<TelemetryPath>() {
        assert!(path.as_str().starts_with('/'));
        assert_eq!(path.as_str().parse::<TelemetryPath>().unwrap().as_str(), path.as_str());
    }
    if let Ok(number) = value::count(text, 1..=1000) {
        assert!((1..=1000).contains(&number));
        assert_eq!(text.trim_start_matches('0'), number.to_string());
    }
    if let Ok(name) = value::host_name(text) {
        assert_eq!(value::host_name(&name).unwrap(), name);
        assert_eq!(name, name.to_ascii_lowercase());
    }
    assert!(value::positive_duration(text).is_err() || value::duration(text).is_ok());
    if let Ok(separator) = value::separator(text) {
        assert_eq!(text.as_bytes(), [separator]);
    }
    if let Ok(moment) = value::seconds(text) {
        assert!(moment.as_secs_f64().is_finite());
    }
    let _ = value::moment(text);
    for error in errors(text) {
        assert!(!error.chars().any(char::is_control), "an error is one line: {error:?}");
        assert!(error.len() < 400 + 10 * text.len());
    }
}

fn errors(text: &str) -> impl Iterator<Item = String> {
    let errors: [Option<config::ConfigError>; 9] = [
        text.parse::<ListenAddress>().err(),
        text.parse::<TelemetryPath>().err(),
        value::count(text, 1..=5).err(),
        value::duration(text).err(),
        value::positive_duration(text).err(),
        value::moment(text).err(),
        value::seconds(text).err(),
        value::separator(text).err(),
        value::host_name(text).err(),
    ];
    errors.into_iter().flatten().map(|error| error.to_string())
}

/// The URL of a Redis, and URLs with these bytes as a password: no message shows it.
pub(super) fn run_redis_url(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    for url in split_redis_urls(text) {
        assert!(!url.is_empty() && text.contains(url.split(',').next().unwrap()));
        one_url(&url);
    }
    one_url(text);
    let _ = message_without_credentials(text);
    let encoded = bytes.iter().fold(String::new(), |text, byte| text + &format!("%{byte:02x}"));
    for url in [
        format!("redis://user:{encoded}@host:6379/0"),
        format!("rediss://:{encoded}@[::1]"),
        format!("redis+sentinel://:{encoded}@a,b:1/master/3"),
        format!("redis+sentinel://a,b:1/master/3?sentinel-pass={encoded}"),
        format!("unix:///run/redis.sock?pass={encoded}"),
    ] {
        let source = url.parse::<RedisSource>().expect("a URL");
        let found = passwords(&source).next().map(|secret| secret.expose().to_owned());
        assert_eq!(found.unwrap_or_default(), text, "{url}");
        assert!(!source.name.contains(&encoded) || text.is_empty());
        assert!(!format!("{source:?}").contains(&encoded) || text.is_empty());
    }
}

fn one_url(url: &str) {
    let shown = without_credentials(url);
    match url.parse::<RedisSource>() {
        Ok(source) => {
            let again = source.name.parse::<RedisSource>().expect("a name is a URL without a login");
            assert_eq!((&again.name, again.db), (&source.name, source.db));
            assert!(again.address.is_same(&source.address));
            assert!(again.username.is_none() && passwords(&again).next().is_none());
            for secret in passwords(&source) {
                for text in [&source.name, &shown, &message_without_credentials(url)] {
                    hides(text, url, secret.expose());
                }
            }
        }
        Err(error) => assert!(error.to_string().len() < 600 + 10 * url.len()),
    }
}

/// A password that stands in a URL once is not in what anybody may see of it.
fn hides(text: &str, url: &str, secret: &str) {
    if secret.len() >= 4 && url.matches(secret).count() == 1 {
        assert!(!text.contains(secret), "{text} shows the password of {url}");
    }
}

/// The password of a source, and that of its sentinels.
fn passwords(source: &RedisSource) -> impl Iterator<Item = Arc<Secret>> {
    let of_sentinels = match &source.address {
        RedisAddress::Sentinel(sentinels) => sentinels.password.as_ref(),
        _ => None,
    };
    source.password.iter().chain(of_sentinels).map(Password::current).collect::<Vec<_>>().into_iter()
}
