//! `docs/benchmarks.md`: figures between markers, the rest by hand.

use std::path::{Path, PathBuf};

fn path() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/benchmarks.md")
}

/// Splits the document into what is before, between and after the markers of `part`.
fn split(document: &str, part: &str) -> [String; 3] {
    let (begin, end) = (format!("<!-- {part} -->\n"), format!("<!-- end of {part} -->"));
    let (before, rest) = document.split_once(&begin).unwrap_or_else(|| panic!("no place for {part}"));
    let (between, after) = rest.split_once(&end).unwrap_or_else(|| panic!("no end of {part}"));
    [format!("{before}{begin}"), between.to_owned(), format!("{end}{after}")]
}

/// What stands between the markers of `part`.
pub(crate) fn read(part: &str) -> String {
    let [_, between, _] = split(&std::fs::read_to_string(path()).expect("docs/benchmarks.md"), part);
    between
}

/// Puts `text` there.
pub(crate) fn write(part: &str, text: &str) {
    let document = std::fs::read_to_string(path()).expect("docs/benchmarks.md");
    let [before, _, after] = split(&document, part);
    std::fs::write(path(), format!("{before}{}\n\n{after}", text.trim_end())).expect("docs/benchmarks.md");
}
