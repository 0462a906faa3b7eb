//! What a question to Redis gave, and the values of settings.

use std::collections::BTreeMap;

/// The result of a question to Redis.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Look<T> {
    /// The answer.
    Seen(T),
    /// The ACL forbids the question.
    Forbidden,
    /// No usable answer: the command is unknown there, or failed. The error of Redis.
    Failed(String),
}

impl<T> Look<T> {
    /// The answer, where there is one.
    pub const fn seen(&self) -> Option<&T> {
        match self {
            Self::Seen(answer) => Some(answer),
            Self::Forbidden | Self::Failed(_) => None,
        }
    }
}

/// Values of `CONFIG GET`, by the setting's name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ConfigValues(BTreeMap<String, String>);

impl ConfigValues {
    /// The value of a setting, where this Redis has it.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    /// Adds values of settings that have none yet.
    pub fn complete<'a>(&mut self, values: impl IntoIterator<Item = (&'a str, &'a str)>) {
        for (name, value) in values {
            self.0.entry(name.to_owned()).or_insert_with(|| value.to_owned());
        }
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }
}

impl FromIterator<(String, String)> for ConfigValues {
    fn from_iter<I: IntoIterator<Item = (String, String)>>(pairs: I) -> Self {
        Self(pairs.into_iter().collect())
    }
}
