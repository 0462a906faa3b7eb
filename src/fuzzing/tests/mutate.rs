//! Mutations of inputs, by a seed: what fails once fails again.

/// Lengths and numbers at which something may change.
const EDGES: [&[u8]; 12] = [
    b"\x00\x00",
    b"\xff\xff",
    b"\xff\xff\xff\xff\xff\xff\xff\xff",
    b"\x80\x80\x80\x80\x80\x80\x80\x80\x80\x01",
    b"18446744073709551615",
    b"4294967296",
    b"-1",
    b"\r\n",
    b"%00",
    b"\xc3\xa9",
    b", ",
    b"/allocation/",
];

/// The longest input that is made.
const LONGEST: usize = 16 << 10;

pub(super) struct Mutator {
    dice: fastrand::Rng,
    inputs: Vec<Vec<u8>>,
}

impl Mutator {
    pub(super) fn new(seed: u64, inputs: Vec<Vec<u8>>) -> Self {
        Self { dice: fastrand::Rng::with_seed(seed), inputs }
    }

    /// One of the inputs with a few changes.
    pub(super) fn input(&mut self) -> Vec<u8> {
        let mut input = self.any_of_them();
        for _ in 0..=self.dice.usize(0..4) {
            self.change(&mut input);
        }
        input.truncate(LONGEST);
        input
    }

    fn any_of_them(&mut self) -> Vec<u8> {
        self.inputs[self.dice.usize(0..self.inputs.len())].clone()
    }

    fn change(&mut self, input: &mut Vec<u8>) {
        let at = self.dice.usize(0..=input.len());
        // Mostly short, at times all that follows.
        let most = if self.dice.u8(..) < 220 { 8 } else { input.len() };
        let end = (at + self.dice.usize(0..=most)).min(input.len());
        match self.dice.u8(0..7) {
            0 if at < input.len() => input[at] ^= 1 << self.dice.u8(0..8),
            1 if at < input.len() => input[at] = self.dice.u8(..),
            2 => drop(input.drain(at..end)),
            3 => {
                let copy = input[at..end].to_vec();
                let to = self.dice.usize(0..=input.len());
                input.splice(to..to, copy);
            }
            4 => {
                let edge = EDGES[self.dice.usize(0..EDGES.len())];
                input.splice(at..at, edge.iter().copied());
            }
            5 => {
                let other = self.any_of_them();
                let from = self.dice.usize(0..=other.len());
                input.splice(at..end, other[from..].iter().copied());
            }
            _ => input.insert(at, self.dice.u8(..)),
        }
    }
}
