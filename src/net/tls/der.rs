//! Walks over DER, the form of certificates: a value is its tag, its length and its content. `None` where it is not as it
//! should be.

/// The tag of values that follow each other.
pub(super) const SEQUENCE: u8 = 0x30;

/// One value after another; ends behind one that is broken.
pub(super) struct DerFields<'a>(pub(super) &'a [u8]);

impl<'a> Iterator for DerFields<'a> {
    type Item = Option<(u8, &'a [u8])>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        let taken = take(self.0);
        self.0 = taken.map_or(&[], |(.., rest)| rest);
        Some(taken.map(|(tag, content, _)| (tag, content)))
    }
}

/// A value of this tag and nothing behind it.
pub(super) fn only(bytes: &[u8], tag: u8) -> Option<&[u8]> {
    expect(bytes, tag).filter(|(_, rest)| rest.is_empty()).map(|(content, _)| content)
}

/// The content of a value of this tag, and what comes behind it.
pub(super) fn expect(bytes: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
    take(bytes).filter(|(found, ..)| *found == tag).map(|(_, content, rest)| (content, rest))
}

/// Tag, content, rest. Tags of more than one byte are in no certificate.
fn take(bytes: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (&[tag, first], mut rest) = bytes.split_first_chunk::<2>()?;
    let mut length = usize::from(first);
    if first & 0x80 != 0 {
        let digits;
        (digits, rest) =
            rest.split_at_checked(usize::from(first & 0x7f)).filter(|(digits, _)| digits.len() <= 4)?;
        length = digits.iter().fold(0, |length, digit| length << 8 | usize::from(*digit));
    }
    let (content, rest) = rest.split_at_checked(length)?;
    Some((tag, content, rest))
}
