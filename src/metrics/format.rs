//! The formats that a page can have, by their content types.

use std::fmt;

/// How names that older readers do not understand are written. Ours need none of it, so each scheme gives equal pages; the
/// answer names the one that was requested.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Escaping {
    /// As they are.
    AllowUtf8,
    /// Other characters become underscores.
    Underscores,
    /// Dots become `_dot_`, other characters underscores.
    Dots,
    /// Other characters become their code points.
    Values,
}

impl Escaping {
    const ALL: [Self; 4] = [Self::AllowUtf8, Self::Underscores, Self::Dots, Self::Values];

    /// The scheme of that name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|scheme| scheme.as_str() == name)
    }

    const fn as_str(self) -> &'static str {
        match self {
            Self::AllowUtf8 => "allow-utf-8",
            Self::Underscores => "underscores",
            Self::Dots => "dots",
            Self::Values => "values",
        }
    }
}

/// A format of the page. `Display` is its content type.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Format {
    /// Prometheus text 0.0.4.
    #[default]
    Text,
    /// Prometheus text 1.0.0: that of 0.0.4 for names like ours.
    Text1(Escaping),
    /// `OpenMetrics` 1.0.0; the scheme if one was requested.
    OpenMetrics(Option<Escaping>),
    /// `OpenMetrics` 0.0.1, which differs from 1.0.0 in nothing that is used here.
    OpenMetrics0,
    /// Messages `io.prometheus.client.MetricFamily`, each after its length; the scheme if one was requested.
    Protobuf(Option<Escaping>),
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (content_type, escaping) = match *self {
            Self::Text => ("text/plain; version=0.0.4; charset=utf-8", None),
            Self::Text1(escaping) => ("text/plain; version=1.0.0; charset=utf-8", Some(escaping)),
            Self::OpenMetrics(escaping) => {
                ("application/openmetrics-text; version=1.0.0; charset=utf-8", escaping)
            }
            Self::OpenMetrics0 => ("application/openmetrics-text; version=0.0.1; charset=utf-8", None),
            Self::Protobuf(escaping) => (
                "application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; encoding=delimited",
                escaping,
            ),
        };
        f.write_str(content_type)?;
        escaping.map_or(Ok(()), |escaping| write!(f, "; escaping={}", escaping.as_str()))
    }
}
