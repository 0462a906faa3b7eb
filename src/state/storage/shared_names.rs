//! Names in an image: each stands where it is used first; whoever shares it names it by its number.

use std::collections::HashMap;

use super::interner::{Interner, NameId};
use crate::state::image::Persist;
use crate::state::image::reader::{ImageReader, Unreadable};
use crate::state::image::writer::ImageWriter;

/// The name itself follows, and nobody else uses it.
const SOLE: u32 = 0;
/// The name itself follows, and gets the next number.
const FIRST: u32 = 1;
/// The first number of a name that others use too.
const SHARED: u32 = 2;

/// Writes the names that an interner holds.
#[derive(Debug)]
pub(crate) struct NameWriter<'a> {
    names: &'a Interner,
    shared: HashMap<NameId, u32, ahash::RandomState>,
}

impl<'a> NameWriter<'a> {
    pub(crate) fn new(names: &'a Interner) -> Self {
        Self { names, shared: HashMap::default() }
    }

    pub(crate) fn write(&mut self, name: NameId, to: &mut ImageWriter<'_>) {
        if !self.names.is_shared(name) {
            SOLE.write(to);
        } else if let Some(number) = self.shared.get(&name) {
            number.write(to);
            return;
        } else {
            let number = u32::try_from(self.shared.len()).unwrap_or(u32::MAX).saturating_add(SHARED);
            self.shared.insert(name, number);
            FIRST.write(to);
        }
        let name = self.names.get(name);
        name.len().write(to);
        to.raw(name);
    }
}

/// Reads names, and has an interner hold each for the one who uses it.
#[derive(Debug)]
pub(crate) struct NameReader {
    pub(crate) names: Interner,
    shared: Vec<NameId>,
}

impl NameReader {
    pub(crate) fn new() -> Self {
        Self { names: Interner::new(), shared: Vec::new() }
    }

    pub(crate) fn read(&mut self, from: &mut ImageReader<'_>) -> Result<NameId, Unreadable> {
        let number = u32::read(from)?;
        if let Some(number) = number.checked_sub(SHARED) {
            let known = self.shared.get(number as usize).copied();
            let known = known.ok_or(Unreadable::Malformed("a name has a number before it is there"))?;
            return Ok(self.names.hold(known));
        }
        let len = usize::read(from)?;
        let name = self.names.acquire(from.raw(len)?);
        if number == FIRST {
            self.shared.push(name);
        }
        Ok(name)
    }
}
