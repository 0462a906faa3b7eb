//! The codec of an image of the table: how values stand in it, in which blocks, and since which version of the format.
//!
//! An image is a row of values in blocks; a block ends at a boundary only, of which there is one before each of a list. The
//! first values say the format, the last block is a digest of all before it, so that an image that lacks a block or has one
//! twice is not taken for a whole one. The codec knows nothing of the table: `table::image` says what stands in an image, and
//! each part, beside its definition, in which form.

mod fields;
pub(super) mod reader;
mod values;
pub(super) mod writer;

pub(in crate::state) use fields::{persist, persist_words};

use reader::{ImageReader, Unreadable};
use writer::ImageWriter;

/// The format that is written. A reader knows the formats up to this one; see `persist` for what a new one takes.
pub const IMAGE_VERSION: u32 = 5;

/// What can stand in an image.
pub(in crate::state) trait Persist: Sized {
    /// Appends the value.
    fn write(&self, to: &mut ImageWriter<'_>);

    /// Takes the value that comes next.
    ///
    /// # Errors
    ///
    /// Why there is no such value.
    fn read(from: &mut ImageReader<'_>) -> Result<Self, Unreadable>;
}

/// A value of a fixed set, which has a number in images for ever: see [`persist_words`].
pub(in crate::state) trait Word: Sized {
    fn number(&self) -> u8;

    fn of_number(number: u8) -> Result<Self, Unreadable>;
}

/// Why there is no table in an image.
#[derive(Debug)]
pub enum ImageError<E> {
    /// A block could not be read.
    Blocks(E),
    /// A later exporter has written it, in this format.
    Newer(u32),
    /// It is not an image of a table; what is wrong with it.
    Malformed(&'static str),
}

impl<E: std::fmt::Display> std::fmt::Display for ImageError<E> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Blocks(_) => write!(f, "the image of the table cannot be read"),
            Self::Newer(version) => {
                write!(
                    f,
                    "the image of the table has format {version}; this exporter knows {IMAGE_VERSION} and older"
                )
            }
            Self::Malformed(what) => write!(f, "the image of the table is damaged: {what}"),
        }
    }
}

impl<E: std::error::Error + 'static> std::error::Error for ImageError<E> {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Blocks(error) => Some(error),
            Self::Newer(_) | Self::Malformed(_) => None,
        }
    }
}
