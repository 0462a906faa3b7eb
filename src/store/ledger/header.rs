//! The first bytes of an SQLite file (<https://www.sqlite.org/fileformat.html>): whose it is, without SQLite, which could
//! change it.

/// In the header of our files (bytes 68 to 71): "coTU".
pub(super) const APPLICATION_ID: u32 = 0x636f_5455;

/// The bytes of a header that say what the file is.
pub(super) const HEADER: usize = 100;

/// The number at a place of a header.
pub(super) fn header_number(header: &[u8], at: usize) -> Option<u32> {
    let bytes = header.get(at..at + 4).and_then(|bytes| bytes.try_into().ok());
    bytes.map(u32::from_be_bytes)
}

/// The version of the tables.
pub(super) fn tables_version(header: &[u8]) -> Option<u32> {
    header_number(header, 60)
}

/// The header is that of a ledger, or of an old store.
pub(super) fn is_ours(header: &[u8]) -> bool {
    header.starts_with(b"SQLite format 3\0") && header_number(header, 68) == Some(APPLICATION_ID)
}
