//! Where a snapshot stands among the segments.

/// A place between two segments: a snapshot made here holds every batch before it and none behind it.
#[derive(Debug)]
pub struct Boundary {
    _private: (),
}

impl Boundary {
    pub(super) const fn new() -> Self {
        Self { _private: () }
    }
}
