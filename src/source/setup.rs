//! What a Redis says of its own settings, mode and memory, asked before each scan over its keys. Judges nothing.
//!
//! What is refused is not asked for again on the same link: Redis' ACL log keeps each attempt.

use std::collections::HashMap;

use redis::{FromRedisValue, RedisError, cmd, pipe};

use super::reply_error::is_elsewhere;
use super::resync::{KeyScan, ScanError};
use crate::doctor::Setting;
use crate::doctor::facts::ConfigValues;
use crate::doctor::retention::Retention;

/// Keys that no coturn sets, one in each eighth of a cluster's slots: no node of several holds all of these.
const PROBES: [&str; 8] = [
    "turn/coturn-exporter-slot-1",
    "turn/coturn-exporter-slot-12",
    "turn/coturn-exporter-slot-0",
    "turn/coturn-exporter-slot-13",
    "turn/coturn-exporter-slot-3",
    "turn/coturn-exporter-slot-10",
    "turn/coturn-exporter-slot-2",
    "turn/coturn-exporter-slot-11",
];

/// How a Redis is set up, as far as it says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Setup {
    /// Its settings.
    pub values: ConfigValues,
    /// Whether it takes and keeps every key.
    pub retention: Retention,
}

/// Asks for it on one link.
#[derive(Debug, Default)]
pub struct SetupQuestions {
    /// `CONFIG GET` was refused.
    no_config: bool,
    /// `INFO` was refused.
    no_info: bool,
}

impl SetupQuestions {
    /// Asks over the connection of `scan`, for these settings among others.
    ///
    /// # Errors
    ///
    /// [`ScanError::Command`] when the connection is gone.
    pub async fn ask(&mut self, scan: &mut KeyScan, names: &[&str]) -> Result<Setup, ScanError> {
        let mut values = Vec::new();
        for name in names {
            let get: Option<HashMap<String, String>> =
                ask(scan, &mut self.no_config, cmd("CONFIG").arg("GET").arg(*name)).await?;
            let Some(pairs) = get else {
                // Half of the settings would look like all of them.
                values.clear();
                break;
            };
            values.extend(pairs);
        }
        let mut values: ConfigValues = values.into_iter().collect();
        let info: Option<String> = ask(scan, &mut self.no_info, &cmd("INFO")).await?;
        let mut retention = info.map(|info| Retention::of_info(&info)).unwrap_or_default();
        retention.complete(&values);
        if retention.is_cluster().is_none()
            && let Some(is_cluster) = lacks_slots(scan).await
        {
            let enabled = if is_cluster { "yes" } else { "no" };
            retention.values.complete([(Setting::ClusterEnabled.as_str(), enabled)]);
        }
        values.complete(retention.values.iter());
        Ok(Setup { values, retention })
    }
}

/// One answer; `refused` is true from the first refusal on.
async fn ask<T: FromRedisValue>(
    scan: &mut KeyScan,
    refused: &mut bool,
    question: &redis::Cmd,
) -> Result<Option<T>, ScanError> {
    if *refused {
        return Ok(None);
    }
    match question.query_async(scan.connection()).await {
        Ok(answer) => Ok(Some(answer)),
        // Nothing more can be asked there, and this says why.
        Err(error) if error.is_io_error() && !error.is_timeout() => Err(error.into()),
        Err(error) => {
            *refused = !matches!(ScanError::from(error), ScanError::Command(_));
            Ok(None)
        }
    }
}

/// Whether this is a node of a cluster that does not hold every slot, by the one right that the resync needs anyway.
async fn lacks_slots(scan: &mut KeyScan) -> Option<bool> {
    let mut gets = pipe();
    for probe in PROBES {
        gets.get(probe);
    }
    let answers: Vec<Result<redis::Value, RedisError>> =
        gets.ignore_errors().query_async(scan.connection()).await.ok()?;
    let mut is_cluster = false;
    for answer in answers {
        match answer {
            Ok(_) => {}
            Err(error) if is_elsewhere(&error) => is_cluster = true,
            Err(_) => return None,
        }
    }
    Some(is_cluster)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// CRC-16/XMODEM, as the specification of Redis Cluster says it.
    fn slot(key: &str) -> u16 {
        let shift = |crc: u16, _| if crc & 0x8000 == 0 { crc << 1 } else { (crc << 1) ^ 0x1021 };
        let crc = key.bytes().fold(0, |crc, byte| (0..8).fold(crc ^ (u16::from(byte) << 8), shift));
        crc % 16384
    }

    #[test]
    fn the_probes_lie_all_over_the_slots() {
        assert_eq!(slot("123456789"), 12739);
        let eighths: Vec<u16> = PROBES.iter().map(|probe| slot(probe) / 2048).collect();
        assert_eq!(eighths, [0, 1, 2, 3, 4, 5, 6, 7]);
    }
}
