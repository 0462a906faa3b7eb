//! Reads what `healthcheck` asks: a URL, or the variables that the exporter itself is started with.

use std::str::FromStr as _;

use super::args::WebArgs;
use super::given::{Given, UsageError};
use crate::config::value::positive_duration;
use crate::config::{ConfigError, HealthCheck, ListenAddress, WEB_PORT, asks_for_tls};

/// The question.
///
/// # Errors
///
/// What is wrong with a flag, a variable or the web config file.
pub(super) fn read_health_check(
    given: &Given<'_>,
    url: Option<&str>,
    ready: bool,
    timeout: &str,
    web: &WebArgs,
) -> Result<HealthCheck, UsageError> {
    let timeout = given.one("timeout", timeout, positive_duration)?;
    let probe = if ready { "/-/ready" } else { "/-/healthy" };
    if let Some(url) = url {
        let check =
            HealthCheck::of_url(url, probe, timeout).map_err(|problem| given.wrong("url", problem))?;
        return match check {
            check if ready && check.path != probe => Err(given.wrong("ready", ConfigError::HealthPath)),
            check => Ok(check),
        };
    }
    let addresses = given.each("web.listen-address", &web.listen_address, ListenAddress::from_str)?;
    let any = ListenAddress::Any { port: WEB_PORT };
    let file = given.file("web.config.file", web.config_file.as_ref());
    let is_tls = file.map(|path| asks_for_tls(&path)).transpose();
    let is_tls = is_tls.map_err(|problem| given.wrong("web.config.file", problem))?.unwrap_or(false);
    Ok(HealthCheck::of_listener(addresses.first().unwrap_or(&any), is_tls, probe, timeout))
}
