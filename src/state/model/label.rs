//! Label values: how long one may be, and what stands for those past a cap.

/// The label value shared by those past the cap.
pub const OTHER: &str = "_other";

/// The longest label value, in bytes as they stand on the page. coturn's realms are host names as a rule; a longer name shares
/// [`OTHER`], for each stands on the page some 160 times, for ever.
pub(crate) const MAX_LABEL: usize = 128;
