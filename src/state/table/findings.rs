//! What the table found out that an operator should know of when it happens: taken by whoever logs.

use super::Table;
use crate::state::model::discovery::Discovery;

/// More than so many do not wait to be taken; the page counts what they are about.

/// More than so many do not wait to be taken; the page counts what they are about.
const MAX_WAITING: usize = 64;

impl Table {
    /// What was found out since this was last asked, in its order.
    pub fn take_findings(&mut self) -> Vec<Discovery> {
        std::mem::take(&mut self.findings.0)
    }

    /// Notes a finding, unless it waits already: each connection of a process says the same.
    pub(super) fn found(&mut self, finding: Discovery) {
        let waiting = &mut self.findings.0;
        if waiting.len() < MAX_WAITING && !waiting.contains(&finding) {
            waiting.push(finding);
        }
    }
}
