//! The captures of `tests/golden`, and their replay as a library call.

use std::path::{Path, PathBuf};

use coturn_exporter::app::replay;
use coturn_exporter::clock::Timestamp;
use coturn_exporter::metrics::{Format, MetricsPage, Render as _};
use coturn_exporter::state::Settings;

use super::page::Page;

/// A day and two hours: longer than anything is remembered (overdue allocations and silent servers: 24 h after they
/// were due, and the longest lifetime of the captures is 777 s).
pub const LATER: f64 = 26.0 * 3600.0;

/// Where the captures are.
pub fn dir() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden")
}

/// The file of a capture.
pub fn capture(case: &str) -> PathBuf {
    dir().join(format!("{case}.jsonl"))
}

/// The names of all files with this ending, without it, in order.
pub fn names(ending: &str) -> Vec<String> {
    let entries = std::fs::read_dir(dir()).expect("tests/golden");
    let names =
        entries.map(|entry| entry.expect("an entry").file_name().into_string().expect("a plain name"));
    let mut names: Vec<_> = names.filter_map(|name| name.strip_suffix(ending).map(str::to_owned)).collect();
    names.sort_unstable();
    names
}

/// A JSON file of what is known from elsewhere.
pub fn json(name: &str) -> serde_json::Value {
    let path = dir().join(name);
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The page of a capture, as the program prints it.
pub fn page(settings: Settings, file: &Path, until: Option<f64>) -> String {
    let page = page_of_any_format(settings, file, until).render(Format::Text);
    String::from_utf8(page).expect("UTF-8")
}

/// That page, to be rendered in any format.
pub fn page_of_any_format(settings: Settings, file: &Path, until: Option<f64>) -> MetricsPage {
    let until = until.map(|until| Timestamp::from_secs_f64(until).expect("a moment"));
    replay::replayed_page(settings, &[file.to_owned()], until)
        .unwrap_or_else(|error| panic!("{}: {error}", file.display()))
}

/// The same, read.
pub fn replayed(settings: Settings, file: &Path, until: Option<f64>) -> Page {
    Page::parse(&page(settings, file, until))
}
