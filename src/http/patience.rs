//! How long a scraper waits for its answer, by what it says.

use std::time::Duration;

use hyper::HeaderMap;

use super::WebLimits;

/// In which Prometheus, and who does as it does, says when it gives up.
const SCRAPE_TIMEOUT: &str = "x-prometheus-scrape-timeout-seconds";

/// Of that time, what the page itself takes, on its way too.
const MARGIN: Duration = Duration::from_millis(500);

/// How long this request waits for the first page: until just before its scraper gives up, and so that the answer is still
/// within its limit.
pub(super) fn for_first_page(headers: &HeaderMap, limits: &WebLimits) -> Duration {
    let said = headers.get(SCRAPE_TIMEOUT).and_then(|value| value.to_str().ok()?.parse().ok());
    let said = said.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    let most = limits.answer.saturating_sub(limits.first_page);
    said.map_or(limits.first_page, |timeout| timeout.saturating_sub(MARGIN).min(most))
}

#[cfg(test)]
mod tests {
    use super::*;
    use hyper::header::HeaderValue;

    #[test]
    fn a_scraper_is_answered_before_it_gives_up() {
        let limits = WebLimits {
            first_page: Duration::from_secs(5),
            answer: Duration::from_secs(30),
            ..WebLimits::default()
        };
        for (said, milliseconds) in [
            (None, 5_000),
            (Some("10"), 9_500),
            (Some("1.5"), 1_000),
            (Some("0.2"), 0),
            (Some("60.000000"), 25_000),
            (Some("1e300"), 5_000),
            (Some("-3"), 5_000),
            (Some("NaN"), 5_000),
            (Some("soon"), 5_000),
            (Some(""), 5_000),
        ] {
            let mut headers = HeaderMap::new();
            if let Some(said) = said {
                headers.insert("X-Prometheus-Scrape-Timeout-Seconds", HeaderValue::from_static(said));
            }
            assert_eq!(for_first_page(&headers, &limits), Duration::from_millis(milliseconds), "{said:?}");
        }
    }
}
