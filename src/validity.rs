//! From when to when a certificate of our own is valid, and what is wrong with that at a moment. Pure: the time is an
//! argument.

use std::time::Duration;

use crate::clock::Timestamp;

/// An end that is nearer than this is a problem. Clients of ACME renew a certificate of 90 days when 30 are left: with 14
/// left that has failed for two weeks, and as long remains to renew it by hand. The alert has the same number.
pub const WARN_BEFORE: Duration = Duration::from_secs(14 * 86_400);

/// Of a certificate that lives shorter than 84 days, this part of its life: one for six days is renewed when three are left.
pub const WARN_PART: u32 = 6;

/// From when to when a certificate is valid, both included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Validity {
    /// Its first second.
    pub not_before: Timestamp,
    /// Its last second.
    pub not_after: Timestamp,
}

/// What is wrong with a certificate at a moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ValidityFlaw {
    /// It begins later.
    NotValidYet,
    /// It ends soon.
    EndsSoon,
    /// It has ended.
    Expired,
}

impl Validity {
    /// What is wrong with it now, by the wall clock.
    pub fn flaw(self, now: Timestamp) -> Option<ValidityFlaw> {
        let lifetime = self.not_after.since(self.not_before);
        let warn_before = WARN_BEFORE.min(lifetime / WARN_PART);
        if now.whole_second() > self.not_after {
            Some(ValidityFlaw::Expired)
        } else if now < self.not_before {
            Some(ValidityFlaw::NotValidYet)
        } else if self.not_after.since(now) < warn_before {
            Some(ValidityFlaw::EndsSoon)
        } else {
            None
        }
    }
}

impl ValidityFlaw {
    /// What mends it, for a certificate in a file that is read again when it changes.
    pub const fn fix(self) -> &'static str {
        match self {
            Self::NotValidYet => {
                "check the clock of this host; if it is right, put a certificate that is valid there"
            }
            Self::EndsSoon | Self::Expired => {
                "renew it and put the new one there, with its key; a running exporter reads both again by itself"
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: Duration = Duration::from_secs(86_400);

    fn of_days(days: u32) -> Validity {
        let not_before = Timestamp::from_millis(1_700_000_000_000);
        Validity { not_before, not_after: not_before.plus(DAY * days) }
    }

    #[test]
    fn a_certificate_is_judged_at_both_ends() {
        let certificate @ Validity { not_before, not_after } = of_days(90);
        let second = Duration::from_secs(1);
        for (now, flaw) in [
            (not_before.minus(second), Some(ValidityFlaw::NotValidYet)),
            (not_before, None),
            (not_after.minus(WARN_BEFORE), None),
            (not_after.minus(WARN_BEFORE).plus(second), Some(ValidityFlaw::EndsSoon)),
            (not_after.plus(second / 2), Some(ValidityFlaw::EndsSoon)),
            (not_after.plus(second), Some(ValidityFlaw::Expired)),
        ] {
            assert_eq!(certificate.flaw(now), flaw, "{}", now.rfc3339());
        }
    }

    #[test]
    fn a_short_one_is_not_called_out_from_its_first_day() {
        let certificate = of_days(6);
        assert_eq!(certificate.flaw(certificate.not_before), None);
        assert_eq!(certificate.flaw(certificate.not_after.minus(DAY)), None);
        assert_eq!(certificate.flaw(certificate.not_after.minus(DAY / 2)), Some(ValidityFlaw::EndsSoon));
    }
}
