//! What no Redis and no client of one sends.

/// Bytes that are no RESP2, or none that makes sense here. Nothing can be read after them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProtocolError {
    /// A type that does not exist, or that cannot stand here.
    #[error("unexpected type byte {:?}", char::from(*.0))]
    Type(u8),
    /// A length that is no number, or out of bounds.
    #[error("invalid length")]
    Length,
    /// A number that is none.
    #[error("invalid number")]
    Number,
    /// A line or a value that does not end where it must.
    #[error("CR LF expected")]
    LineEnd,
    /// A line without an end.
    #[error("too long a line")]
    Line,
}
