//! The certificates that the exporter itself shows, to coturn and to Prometheus: one line in the log when one has expired, ends soon or is
//! not valid yet, at the start, after its file has changed, or because time has passed.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use super::log_once::LogOnce;
use crate::clock::{Clock, SystemClock, Timestamp};
use crate::http::WebConfig;
use crate::metrics::CertificateView;
use crate::net::tls::OwnCertificate;
use crate::reload::{Reload, Reloaded, Reread};
use crate::source::statsdb::ListenerTls;
use crate::validity::ValidityFlaw;

/// Files with a certificate.
trait CertificateFiles: Reload {
    /// The certificate in use, if there is one.
    fn certificate(&self) -> Option<OwnCertificate>;
}

impl CertificateFiles for Reloaded<ListenerTls> {
    fn certificate(&self) -> Option<OwnCertificate> {
        self.current().certificate().cloned()
    }
}

impl CertificateFiles for Reloaded<WebConfig> {
    fn certificate(&self) -> Option<OwnCertificate> {
        self.current().certificate().cloned()
    }
}

/// The certificate of one who listens; it is looked at whenever its files are looked after.
pub(super) struct WatchedCertificate {
    /// Who shows it: a label of metrics.
    listener: &'static str,
    files: Box<dyn CertificateFiles>,
    clock: Arc<dyn Clock>,
    log: Mutex<CertificateLog>,
}

impl WatchedCertificate {
    /// That of the listener.
    pub(super) fn of_statsdb(tls: &Reloaded<ListenerTls>) -> Arc<Self> {
        Self::new("statsdb", Box::new(tls.clone()))
    }

    /// That of the web server, if the file has one.
    pub(super) fn of_web(config: &Reloaded<WebConfig>) -> Arc<Self> {
        Self::new("web", Box::new(config.clone()))
    }

    fn new(listener: &'static str, files: Box<dyn CertificateFiles>) -> Arc<Self> {
        let clock = Arc::new(SystemClock::new());
        Arc::new(Self { listener, files, clock, log: Mutex::default() })
    }

    /// For the page.
    pub(super) fn view(&self) -> Option<CertificateView> {
        let validity = self.files.certificate()?.validity;
        let (not_before, not_after) = (validity.not_before, validity.not_after);
        Some(CertificateView { listener: self.listener, not_before, not_after })
    }

    /// Logs what is wrong with it now, unless that was logged already.
    pub(super) fn look(&self) {
        let certificate = self.files.certificate();
        let now = self.clock.to_wall(self.clock.now());
        let news = self.log.lock().unwrap_or_else(PoisonError::into_inner).news(certificate.as_ref(), now);
        let listener = self.listener;
        match (news, certificate) {
            (Some(News::Flaw(flaw)), Some(OwnCertificate { path, validity })) => tracing::warn!(
                listener,
                path = %path.display(),
                not_before = (flaw == ValidityFlaw::NotValidYet).then(|| validity.not_before.rfc3339()),
                not_after = validity.not_after.rfc3339(),
                fix = flaw.fix(),
                "{}",
                says(flaw)
            ),
            (Some(News::Mended), Some(OwnCertificate { path, validity })) => tracing::info!(
                listener,
                path = %path.display(),
                not_after = validity.not_after.rfc3339(),
                "the certificate of this exporter is valid, and not near its end any more"
            ),
            _ => {}
        }
    }
}

impl Reload for WatchedCertificate {
    fn flag(&self) -> &'static str {
        self.files.flag()
    }

    fn reload(&self, any_case: bool) -> Reread {
        let reread = self.files.reload(any_case);
        self.look();
        reread
    }
}

impl fmt::Debug for WatchedCertificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WatchedCertificate").field("listener", &self.listener).finish_non_exhaustive()
    }
}

const fn says(flaw: ValidityFlaw) -> &'static str {
    match flaw {
        ValidityFlaw::NotValidYet => {
            "the certificate of this exporter is not valid yet; clients that verify it do not connect"
        }
        ValidityFlaw::EndsSoon => "the certificate of this exporter expires soon",
        ValidityFlaw::Expired => {
            "the certificate of this exporter has expired; clients that verify it do not connect"
        }
    }
}

/// What was logged of a certificate.
#[derive(Debug, Default)]
struct CertificateLog {
    flaw: LogOnce<(OwnCertificate, ValidityFlaw)>,
}

/// What is to be logged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum News {
    Flaw(ValidityFlaw),
    Mended,
}

impl CertificateLog {
    fn news(&mut self, certificate: Option<&OwnCertificate>, now: Timestamp) -> Option<News> {
        let flaw = certificate.and_then(|certificate| certificate.validity.flaw(now));
        match certificate.zip(flaw) {
            Some((certificate, flaw)) => {
                self.flaw.is_news((certificate.clone(), flaw)).then_some(News::Flaw(flaw))
            }
            None => self.flaw.solve().then_some(News::Mended),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::validity::Validity;
    use std::time::Duration;

    const DAY: Duration = Duration::from_secs(86_400);

    #[test]
    fn a_flaw_is_logged_once_and_again_of_another_certificate_or_when_it_becomes_another() {
        let start = Timestamp::from_millis(1_800_000_000_000);
        let until = |end: Timestamp| OwnCertificate {
            path: "/etc/a.crt".into(),
            validity: Validity { not_before: start.minus(DAY), not_after: end },
        };
        let mut log = CertificateLog::default();
        let (soon, late) = (until(start.plus(DAY * 100)), until(start.plus(DAY * 400)));
        let ends_soon = Some(News::Flaw(ValidityFlaw::EndsSoon));
        assert_eq!(log.news(Some(&soon), start), None);
        assert_eq!(log.news(Some(&soon), start.plus(DAY * 90)), ends_soon);
        assert_eq!(log.news(Some(&soon), start.plus(DAY * 91)), None);
        let renewed = until(start.plus(DAY * 101));
        assert_eq!(log.news(Some(&renewed), start.plus(DAY * 91)), ends_soon);
        let expired = Some(News::Flaw(ValidityFlaw::Expired));
        assert_eq!(log.news(Some(&renewed), start.plus(DAY * 102)), expired);
        assert_eq!(log.news(Some(&late), start.plus(DAY * 102)), Some(News::Mended));
        assert_eq!(log.news(Some(&late), start.plus(DAY * 102)), None);
        assert_eq!(log.news(None, start), None);
    }
}
