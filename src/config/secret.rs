//! Passwords: kept so that no log line, error or debug print can show them, and read from files.

use std::fmt;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::Arc;

use super::ConfigError;
use crate::reload::{FileReader, Reloaded};

/// The longest password file that is read, in bytes.
const MAX_FILE: usize = 4096;

/// Text that must not be shown; `Debug` prints `***`.
#[derive(Clone, PartialEq, Eq, serde::Deserialize)]
pub struct Secret(String);

impl Secret {
    /// Keeps `text`.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text itself, for sending it.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// Whether others than its owner may do anything with a file. One that cannot be looked at is not said to be exposed.
    pub fn is_exposed(path: &Path) -> bool {
        std::fs::metadata(path).is_ok_and(|file| file.permissions().mode() & 0o077 != 0)
    }

    /// The password in a file, without the newline at its end.
    fn from_file(files: &mut FileReader, path: &Path) -> Result<Self, ConfigError> {
        let unreadable = |error| ConfigError::PasswordFile { path: path.to_owned(), error };
        let bytes = files.read(path).map_err(unreadable)?;
        let too_long = bytes.len() > MAX_FILE;
        let text = String::from_utf8(bytes).unwrap_or_default();
        let line =
            text.strip_suffix('\n').map_or(text.as_str(), |line| line.strip_suffix('\r').unwrap_or(line));
        if too_long || line.is_empty() || line.contains(['\n', '\r', '\0']) {
            return Err(ConfigError::NotAPassword { path: path.to_owned(), max: MAX_FILE });
        }
        Ok(Self::new(line))
    }
}

impl Secret {
    /// The lines of a file as one text: secrets of which any will do; `flag` names the file.
    ///
    /// # Errors
    ///
    /// [`ConfigError::PasswordFile`] when it cannot be read, [`ConfigError::NoSecrets`] when it is empty, longer than 4096
    /// bytes, or not UTF-8.
    pub fn lines_of_file(flag: &'static str, path: &Path) -> Result<Reloaded<Self>, ConfigError> {
        let path = path.to_owned();
        Reloaded::new(flag, move |files, _| {
            let unreadable = |error| ConfigError::PasswordFile { path: path.clone(), error };
            let bytes = files.read(&path).map_err(unreadable)?;
            let text = String::from_utf8(bytes).unwrap_or_default();
            if text.len() > MAX_FILE || text.trim().is_empty() || text.contains('\0') {
                return Err(ConfigError::NoSecrets { path: path.clone(), max: MAX_FILE });
            }
            Ok(Self::new(text.trim_end()))
        })
    }
}

/// A password as it is now.
#[derive(Clone, Debug)]
pub enum Password {
    /// One that was given and does not change.
    Fixed(Secret),
    /// What a file holds.
    File(Reloaded<Secret>),
}

impl Password {
    /// The password in a file, without the newline at its end; `flag` names the file.
    ///
    /// # Errors
    ///
    /// [`ConfigError::PasswordFile`] when it cannot be read, [`ConfigError::NotAPassword`] when it is empty, longer
    /// than 4096 bytes, not UTF-8 or of several lines.
    pub fn from_file(flag: &'static str, path: &Path) -> Result<Reloaded<Secret>, ConfigError> {
        let path = path.to_owned();
        Reloaded::new(flag, move |files, _| Secret::from_file(files, &path))
    }

    /// What it is now.
    pub fn current(&self) -> Arc<Secret> {
        match self {
            Self::Fixed(secret) => Arc::new(secret.clone()),
            Self::File(file) => file.current(),
        }
    }
}

impl PartialEq for Password {
    /// Whether they are the same now.
    fn eq(&self, other: &Self) -> bool {
        self.current() == other.current()
    }
}

impl Eq for Password {}

impl From<Secret> for Password {
    fn from(secret: Secret) -> Self {
        Self::Fixed(secret)
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::PathBuf;

    fn file(name: &str, content: &[u8]) -> PathBuf {
        let path = std::env::temp_dir().join(format!("coturn-exporter-{}-{name}", std::process::id()));
        std::fs::write(&path, content).unwrap();
        path
    }

    #[test]
    fn one_newline_at_the_end_is_cut_and_blanks_are_kept() {
        for (content, password) in
            [("geheim\n", "geheim"), ("geheim\r\n", "geheim"), (" ge heim ", " ge heim ")]
        {
            let path = file("password", content.as_bytes());
            let secret = Password::from_file("--p", &path).unwrap().current();
            std::fs::remove_file(path).unwrap();
            assert_eq!(secret.expose(), password);
            assert_eq!(format!("{secret:?}"), "***");
        }
    }

    #[test]
    fn a_file_that_others_may_read_is_exposed() {
        let path = file("exposed", b"geheim");
        for (mode, expected) in
            [(0o600, false), (0o400, false), (0o640, true), (0o604, true), (0o444, true), (0o620, true)]
        {
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
            assert_eq!(Secret::is_exposed(&path), expected, "{mode:o}");
        }
        std::fs::remove_file(&path).unwrap();
        assert!(!Secret::is_exposed(&path));
    }

    #[test]
    fn what_cannot_be_a_password_is_refused_by_the_name_of_its_file() {
        let long = vec![b'x'; 4097];
        for content in [b"".as_slice(), b"\n", b"a\nb\n", b"\xff", &long] {
            let path = file("bad", content);
            let error = Password::from_file("--p", &path).unwrap_err();
            std::fs::remove_file(&path).unwrap();
            assert!(
                matches!(&error, ConfigError::NotAPassword { path: named, .. } if *named == path),
                "{error}"
            );
        }
        let error = Password::from_file("--p", Path::new("/nowhere/password")).unwrap_err().to_string();
        assert!(error.contains("/nowhere/password") && error.contains("No such file"), "{error}");
    }
}
