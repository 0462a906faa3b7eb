//! Decisions that bytes make: numbers, places in a list, the lengths of pieces.

/// Bytes that are used up as something is decided by them. At their end every decision is the first one.
#[derive(Clone, Debug)]
pub(super) struct Choices<'a> {
    rest: &'a [u8],
}

impl<'a> Choices<'a> {
    pub(super) const fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    /// The last byte decides, those before it are what it is about: text stays text for whoever looks at an input.
    pub(super) fn last_of(bytes: &'a [u8]) -> (u8, &'a [u8]) {
        bytes.split_last().map_or((0, bytes), |(last, rest)| (*last, rest))
    }

    pub(super) const fn is_over(&self) -> bool {
        self.rest.is_empty()
    }

    pub(super) fn byte(&mut self) -> u8 {
        let Some((first, rest)) = self.rest.split_first() else { return 0 };
        self.rest = rest;
        *first
    }

    /// A number below `many`, of which there are at most 256.
    pub(super) fn below(&mut self, many: usize) -> usize {
        usize::from(self.byte()) % many
    }

    pub(super) fn pick<T: Copy>(&mut self, all: &[T]) -> T {
        all[self.below(all.len())]
    }

    /// A number of up to 64 bits: small ones take a byte, and those at the edges of 32 and 64 bits two.
    pub(super) fn number(&mut self) -> u64 {
        match self.byte() {
            small @ 0..=199 => small.into(),
            200..=219 => u64::from(self.byte()) << 8,
            220..=229 => (1 << 32) - 128 + u64::from(self.byte()),
            230..=239 => u64::MAX - u64::from(self.byte()),
            240..=247 => 1 << (self.byte() % 64),
            _ => self.take(8).iter().fold(0, |number, &byte| number << 8 | u64::from(byte)),
        }
    }

    /// So many bytes, or those that are left.
    pub(super) fn take(&mut self, length: usize) -> &'a [u8] {
        let (taken, rest) = self.rest.split_at(length.min(self.rest.len()));
        self.rest = rest;
        taken
    }

    /// As many bytes as the next two say.
    pub(super) fn part(&mut self) -> &'a [u8] {
        let length = u16::from_le_bytes([self.byte(), self.byte()]);
        self.take(length.into())
    }

    pub(super) const fn rest(&self) -> &'a [u8] {
        self.rest
    }
}

/// The same bytes in pieces, whose lengths a byte decides: all of one length, or short and long ones in turn.
pub(super) fn pieces(bytes: &[u8], decider: u8) -> impl Iterator<Item = &[u8]> {
    let lengths = match decider {
        0..128 => [usize::from(decider) + 1; 2],
        _ => [usize::from(decider & 7) + 1, usize::from(decider & 0x78) * 4 + 1],
    };
    let mut rest = bytes;
    lengths.into_iter().cycle().map_while(move |length| {
        let (piece, behind) = rest.split_at(length.min(rest.len()));
        rest = behind;
        (!piece.is_empty()).then_some(piece)
    })
}
