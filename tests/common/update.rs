//! Files that a test can write anew instead of comparing: `UPDATE_<WHAT>=1`. Not where `CI` is set, for a test that
//! writes what it expects has no way to fail.

use std::ffi::OsStr;

/// Whether `UPDATE_<what>` asks for it.
#[track_caller]
pub fn is_wanted(what: &str) -> bool {
    let variable = format!("UPDATE_{what}");
    let set = |name: &str| std::env::var_os(name);
    decide(&variable, set(&variable).as_deref(), set("CI").as_deref()).unwrap_or_else(|why| panic!("{why}"))
}

/// The same for values of the variable and of `CI`; an empty one is as good as none.
pub fn decide(variable: &str, value: Option<&OsStr>, ci: Option<&OsStr>) -> Result<bool, String> {
    let is_set = |value: Option<&OsStr>| value.is_some_and(|value| !value.is_empty());
    match (is_set(value), is_set(ci)) {
        (true, true) => {
            Err(format!("{variable} is set and so is CI, where nothing is written anew: unset {variable}"))
        }
        (true, false) if value == Some(OsStr::new("1")) => Ok(true),
        (true, false) => Err(format!("{variable} is {value:?}; 1 writes the files anew")),
        (false, _) => Ok(false),
    }
}
