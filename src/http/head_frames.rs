//! Whether the head of a request has begun and is not complete, by the frames of HTTP/2 (RFC 9113, section 4.1): hyper does
//! not say, and a client may take its time over one.

/// What a client says first.
const PREFACE: usize = 24;

const FRAME_HEADER: usize = 9;
const HEADERS: u8 = 1;
const CONTINUATION: u8 = 9;
const END_OF_HEAD: u8 = 4;

/// Reads along with hyper; judges nothing, for hyper ends a connection that does it wrong.
#[derive(Debug)]
pub(super) struct HeadFrames {
    /// Bytes that are no beginning of a frame: of the preface, or of a frame's content.
    to_skip: usize,
    header: [u8; FRAME_HEADER],
    has: usize,
    is_in_head: bool,
    /// Whether the head is complete with the frame that is being read.
    ends_with_frame: bool,
}

impl HeadFrames {
    pub(super) const fn new() -> Self {
        Self {
            to_skip: PREFACE,
            header: [0; FRAME_HEADER],
            has: 0,
            is_in_head: false,
            ends_with_frame: false,
        }
    }

    /// Looks at what has come; whether that ends within a head.
    pub(super) fn look(&mut self, mut bytes: &[u8]) -> bool {
        while !bytes.is_empty() {
            if self.to_skip > 0 {
                let skipped = self.to_skip.min(bytes.len());
                self.to_skip -= skipped;
                bytes = bytes.get(skipped..).unwrap_or_default();
                self.end_frame();
                continue;
            }
            if let (Some((next, rest)), Some(place)) = (bytes.split_first(), self.header.get_mut(self.has)) {
                (*place, bytes) = (*next, rest);
                self.has += 1;
            }
            if self.has == FRAME_HEADER {
                self.has = 0;
                self.begin_frame();
            }
        }
        self.is_in_head
    }

    fn begin_frame(&mut self) {
        let [high, middle, low, kind, flags, ..] = self.header;
        self.to_skip = usize::from(high) << 16 | usize::from(middle) << 8 | usize::from(low);
        if kind == HEADERS || kind == CONTINUATION {
            self.is_in_head = true;
            self.ends_with_frame = flags & END_OF_HEAD != 0;
        }
        self.end_frame();
    }

    fn end_frame(&mut self) {
        if self.to_skip == 0 && self.ends_with_frame {
            (self.is_in_head, self.ends_with_frame) = (false, false);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(kind: u8, flags: u8, length: u8) -> Vec<u8> {
        let mut frame = vec![0, 0, length, kind, flags, 0, 0, 0, 1];
        frame.extend(std::iter::repeat_n(HEADERS, length.into()));
        frame
    }

    #[test]
    fn a_head_is_open_from_its_frame_header_to_its_last_byte_however_it_is_cut() {
        // With each byte, whether it is within a head afterwards.
        let parts: [(Vec<u8>, bool); 9] = [
            (vec![HEADERS; PREFACE], false),
            (frame(4, 0, 6), false),
            (frame(HEADERS, 1, 5), true),
            (frame(CONTINUATION, 0, 0), true),
            (frame(CONTINUATION, END_OF_HEAD, 3), false),
            (frame(6, 0, 8), false),
            (frame(HEADERS, END_OF_HEAD, 20), false),
            (frame(8, END_OF_HEAD, 4), false),
            (frame(HEADERS, END_OF_HEAD, 0), false),
        ];
        let whole: Vec<u8> = parts.iter().flat_map(|(bytes, _)| bytes.clone()).collect();
        for step in 1..=whole.len() {
            let mut frames = HeadFrames::new();
            let (mut seen, mut at) = (Vec::new(), 0);
            for bytes in whole.chunks(step) {
                at += bytes.len();
                seen.push((at, frames.look(bytes)));
            }
            let mut end = 0;
            for (bytes, is_open) in &parts {
                end += bytes.len();
                if let Some((_, seen)) = seen.iter().find(|(at, _)| *at == end) {
                    assert_eq!(seen, is_open, "at {end} by {step}");
                }
            }
            assert!(step > 1 || seen.iter().filter(|(_, is_open)| *is_open).count() > 20);
        }
    }
}
