//! What the web server refused or ended, counted by reason. Plain numbers; the server counts, the page shows them.

use std::sync::atomic::{AtomicU64, Ordering};

/// Why a client of the web server did not get a whole answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WebRefusal {
    /// Its connection gave way to a new one: as many as allowed were open.
    ConnectionLimit,
    /// Its connection gave way to a new one of the same address, which had its share.
    AddressLimit,
    /// It took too long to send a request.
    HeadTimeout,
    /// It took too long to read the answer, or the answer took too long to make.
    AnswerTimeout,
    /// It read the slowest while unread pages took all the memory that they may have.
    UnsentLimit,
    /// 503: as many pages as allowed were being rendered.
    Busy,
    /// 403: it asked for details by a host name that is not served.
    Host,
    /// No TLS came of the handshake: another protocol, or a certificate that is not accepted, ours or the client's.
    Handshake,
    /// 401: no login, or a wrong one.
    Login,
    /// 429: more requests came than may, or more logins than can be verified.
    Rate,
}

impl WebRefusal {
    /// Every reason, in the order of the documentation.
    pub const ALL: [Self; 10] = [
        Self::ConnectionLimit,
        Self::AddressLimit,
        Self::HeadTimeout,
        Self::AnswerTimeout,
        Self::UnsentLimit,
        Self::Busy,
        Self::Host,
        Self::Handshake,
        Self::Login,
        Self::Rate,
    ];

    /// The value of the label `reason`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ConnectionLimit => "connection_limit",
            Self::AddressLimit => "address_limit",
            Self::HeadTimeout => "head_timeout",
            Self::AnswerTimeout => "answer_timeout",
            Self::UnsentLimit => "unsent_limit",
            Self::Busy => "busy",
            Self::Host => "host",
            Self::Handshake => "tls_handshake",
            Self::Login => "unauthorized",
            Self::Rate => "rate_limit",
        }
    }
}

/// How often each happened since the start.
#[derive(Debug, Default)]
pub struct WebRefusals {
    counts: [AtomicU64; WebRefusal::ALL.len()],
}

impl WebRefusals {
    /// Counts one more.
    pub fn add(&self, refusal: WebRefusal) {
        if let Some(count) = self.counts.get(refusal as usize) {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// How often that happened.
    pub fn get(&self, refusal: WebRefusal) -> u64 {
        self.counts.get(refusal as usize).map_or(0, |count| count.load(Ordering::Relaxed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_reason_has_a_count_of_its_own() {
        let refusals = WebRefusals::default();
        for (times, &refusal) in WebRefusal::ALL.iter().enumerate() {
            (0..times).for_each(|_| refusals.add(refusal));
        }
        let counts: Vec<u64> = WebRefusal::ALL.iter().map(|&refusal| refusals.get(refusal)).collect();
        assert_eq!(counts, [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
    }
}
