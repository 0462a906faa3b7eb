//! Grants above the largest that the settings name.

use crate::state::image::persist_words;

/// What became of a granted lifetime above [`Settings::max_lifetime`](super::settings::Settings::max_lifetime).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LongLifetime {
    /// It is believed.
    Believed,
    /// It is above a day, and taken as a day.
    Cut,
}

impl LongLifetime {
    /// Both, in the order of their discriminants.
    pub const ALL: [Self; 2] = [Self::Believed, Self::Cut];

    /// The label value.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Believed => "believed",
            Self::Cut => "cut",
        }
    }
}

persist_words! { LongLifetime { Believed = 0, Cut = 1 } }
