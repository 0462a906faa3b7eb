//! Judges the certificates that the exporter itself shows: whether they are valid now, and for long enough.

use super::{Finding, Severity, Verdict, of_source};
use crate::clock::Timestamp;
use crate::validity::{Validity, ValidityFlaw};

/// Who shows a certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CertificateUser {
    /// The listener, to coturn.
    Statsdb,
    /// The web server, to Prometheus.
    Web,
}

/// What is known of a certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificateFacts {
    /// The name of the source, or the web config file.
    pub source: String,
    /// Who shows it.
    pub user: CertificateUser,
    /// Its file and when it is valid, or why that is not known.
    pub seen: Result<(String, Validity), String>,
    /// The moment, by the wall clock.
    pub now: Timestamp,
}

/// Judges when it is valid.
pub fn judge_certificate(facts: &CertificateFacts) -> Finding {
    let CertificateFacts { source, user, seen, now } = facts;
    let id = match user {
        CertificateUser::Statsdb => "listener-certificate",
        CertificateUser::Web => "web-certificate",
    };
    let verdict = match seen {
        Err(problem) => Verdict::new(Severity::Info, id, format!("not judged: the certificate; {problem}")),
        Ok((path, validity)) => known(id, *user, path, *validity, *now),
    };
    of_source(verdict, source)
}

fn known(id: &'static str, user: CertificateUser, path: &str, validity: Validity, now: Timestamp) -> Verdict {
    let Some(flaw) = validity.flaw(now) else {
        let message = format!("the certificate in {path} is valid until {}", seconds(validity.not_after));
        return Verdict::new(Severity::Ok, id, message);
    };
    let severity = match flaw {
        ValidityFlaw::EndsSoon => Severity::Advice,
        ValidityFlaw::NotValidYet | ValidityFlaw::Expired => Severity::Fault,
    };
    let state = match flaw {
        ValidityFlaw::NotValidYet => format!("is not valid yet, but from {}", seconds(validity.not_before)),
        ValidityFlaw::EndsSoon => format!("expires soon, on {}", seconds(validity.not_after)),
        ValidityFlaw::Expired => format!("has expired on {}", seconds(validity.not_after)),
    };
    let why = match user {
        CertificateUser::Statsdb => {
            "a coturn that verifies an invalid certificate (ca= in redis-statsdb) does not connect, and nothing that it reports is \
             counted"
        }
        CertificateUser::Web => {
            "Prometheus refuses an invalid certificate, unless insecure_skip_verify is set, and gets no page"
        }
    };
    Verdict::new(severity, id, format!("the certificate in {path} {state}")).because(why).fix(flaw.fix())
}

fn seconds(moment: Timestamp) -> String {
    moment.rfc3339().replace(".000Z", "Z")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    const DAY: Duration = Duration::from_secs(86_400);

    fn judged(user: CertificateUser, now: Timestamp) -> Finding {
        let begin = Timestamp::from_rfc3339("2026-01-01T00:00:00Z").unwrap();
        let validity = Validity { not_before: begin, not_after: begin.plus(DAY * 90) };
        let seen = Ok(("/etc/a.crt".to_owned(), validity));
        judge_certificate(&CertificateFacts { source: "web.yml".to_owned(), user, seen, now })
    }

    #[test]
    fn an_end_that_is_past_is_a_fault_and_one_that_is_near_is_advice() {
        for (now, severity, message) in [
            ("2025-12-31T00:00:00Z", Severity::Fault, "is not valid yet, but from 2026-01-01T00:00:00Z"),
            ("2026-01-02T00:00:00Z", Severity::Ok, "is valid until 2026-04-01T00:00:00Z"),
            ("2026-03-20T00:00:00Z", Severity::Advice, "expires soon, on 2026-04-01T00:00:00Z"),
            ("2026-04-02T00:00:00Z", Severity::Fault, "has expired on 2026-04-01T00:00:00Z"),
        ] {
            for (user, id) in [
                (CertificateUser::Statsdb, "listener-certificate"),
                (CertificateUser::Web, "web-certificate"),
            ] {
                let finding = judged(user, Timestamp::from_rfc3339(now).unwrap());
                assert_eq!((finding.id, finding.severity), (id, severity), "{now}");
                assert_eq!(finding.message, format!("the certificate in /etc/a.crt {message}"));
                assert_eq!(finding.fix.is_some() && finding.why.is_some(), severity != Severity::Ok);
            }
        }
    }

    #[test]
    fn one_that_cannot_be_read_is_not_judged() {
        let (source, user) = (String::new(), CertificateUser::Web);
        let facts = CertificateFacts { source, user, seen: Err("gone".to_owned()), now: Timestamp::ZERO };
        let finding = judge_certificate(&facts);
        assert_eq!(finding.severity, Severity::Info);
        assert!(finding.message.contains("not judged") && finding.message.contains("gone"), "{finding:?}");
    }
}
