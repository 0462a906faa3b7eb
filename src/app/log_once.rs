//! What is said of something that goes wrong again and again: once, not at each attempt.

use std::fmt::Display;

/// The last thing that was said.
#[derive(Debug, Default)]
pub(super) struct LogOnce(Option<String>);

impl LogOnce {
    pub(super) const fn none() -> Self {
        Self(None)
    }

    /// Whether it is to be said: it is not what was said last, or that was [over](Self::is_over) meanwhile.
    pub(super) fn is_new(&mut self, what: &impl Display) -> bool {
        let what = what.to_string();
        let is_new = self.0.as_ref() != Some(&what);
        self.0 = Some(what);
        is_new
    }

    /// It goes well again.
    pub(super) fn is_over(&mut self) {
        self.0 = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_said_once_and_again_when_it_changes_or_comes_back() {
        let mut complaint = LogOnce::none();
        assert!(complaint.is_new(&"a"));
        assert!(!complaint.is_new(&"a"));
        assert!(complaint.is_new(&"b"));
        assert!(complaint.is_new(&"a"));
        complaint.is_over();
        assert!(complaint.is_new(&"a"));
    }
}
