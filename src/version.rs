//! What this program is: name, version, revision, compiler. Fixed when it is built; reads nothing when it runs.

use once_cell::sync::Lazy;

/// The program's name, as it appears in front of its messages.
pub const NAME: &str = env!("CARGO_PKG_NAME");
/// The released version.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");
/// The commit it was built from, when the build knew it (`COTURN_EXPORTER_REVISION`; the Makefile does).
pub const REVISION: Option<&str> = option_env!("COTURN_EXPORTER_REVISION");
/// The compiler's version, when the build knew it (`COTURN_EXPORTER_RUSTC`; the Makefile does).
pub const RUSTC: Option<&str> = option_env!("COTURN_EXPORTER_RUSTC");

/// The version with what else is known of the build, for `--version`: `0.2.0 (revision 1a2b3c4d, rustc 1.95.0)`.
pub fn line() -> &'static str {
    #[expect(
        clippy::non_std_lazy_statics,
        reason = "once_cell is one of the crates this program is asked to use"
    )]
    static LINE: Lazy<String> = Lazy::new(|| describe(VERSION, REVISION, RUSTC));
    &LINE
}

fn describe(version: &str, revision: Option<&str>, rustc: Option<&str>) -> String {
    let known = |word: &str, value: Option<&str>| {
        value.filter(|value| !value.is_empty()).map(|value| format!("{word} {value}"))
    };
    let details: Vec<_> =
        [known("revision", revision), known("rustc", rustc)].into_iter().flatten().collect();
    if details.is_empty() { version.to_owned() } else { format!("{version} ({})", details.join(", ")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_known_is_said() {
        assert_eq!(describe("1.2.3", None, Some("")), "1.2.3");
        assert_eq!(describe("1.2.3", Some("abc"), None), "1.2.3 (revision abc)");
        assert_eq!(describe("1.2.3", Some("abc"), Some("1.95.0")), "1.2.3 (revision abc, rustc 1.95.0)");
    }
}
