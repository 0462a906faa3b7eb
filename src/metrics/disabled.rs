//! Families that are left off the page. What they count is kept all the same, so a store and the totals stay right, and a
//! family that is back goes on where it was.

use super::names::{self, Family};

/// Which families are left off the page; none by default.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DisabledFamilies(Vec<&'static str>);

impl DisabledFamilies {
    /// Families that cannot be disabled: one series for each source or exporter, by which alerts and dashboards tell silence
    /// from health and find their targets.
    pub const REQUIRED: [Family; 2] = [names::SOURCE_UP, names::BUILD_INFO];

    /// Whether the page leaves it out.
    pub fn contains(&self, family: &Family) -> bool {
        self.0.contains(&family.name)
    }

    /// Their names, each once.
    pub fn names(&self) -> &[&'static str] {
        &self.0
    }
}

impl FromIterator<Family> for DisabledFamilies {
    fn from_iter<T: IntoIterator<Item = Family>>(families: T) -> Self {
        let mut names: Vec<_> = families.into_iter().map(|family| family.name).collect();
        names.sort_unstable();
        names.dedup();
        Self(names)
    }
}
