//! The landing page: small, valid, without anything from elsewhere.
//!
//! Pure text; every word that comes from outside is escaped.

use crate::details;
use crate::escape::Html;

/// What the landing page says about the program.
#[derive(Clone, Debug)]
pub struct About {
    /// The program's name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// The revision it was built from, if known.
    pub revision: Option<String>,
    /// Address of the documentation; no link is shown without one.
    pub documentation: Option<String>,
}

/// The page as HTML5.
///
/// `no_page_yet` says why the metrics are not there yet, if so.
pub(super) fn page(
    about: &About,
    telemetry_path: &str,
    has_details: bool,
    no_page_yet: Option<&str>,
) -> String {
    let name = Html(&about.name);
    let version = Html(&about.version);
    let path = Html(telemetry_path);
    let revision = match &about.revision {
        Some(revision) => format!(", revision <code>{}</code>", Html(revision)),
        None => String::new(),
    };
    let details = if has_details {
        format!("\n<li><a href=\"{}\">Allocations</a>: who holds what, and the orphans</li>", details::PAGE)
    } else {
        String::new()
    };
    let no_page_yet = match no_page_yet {
        Some(reason) => format!("\n<p>No metrics yet: {}.</p>", Html(reason)),
        None => String::new(),
    };
    let documentation = match &about.documentation {
        Some(address) => format!("\n<li><a href=\"{}\">Documentation</a></li>", Html(address)),
        None => String::new(),
    };
    format!(
        r#"<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>{name}</title>
<style>
:root {{ color-scheme: light dark; }}
body {{ font: 1rem/1.6 system-ui, sans-serif; max-width: 40rem; margin: 3rem auto; padding: 0 1rem; }}
h1 {{ margin-bottom: 0; }}
</style>
</head>
<body>
<main>
<h1>{name}</h1>
<p>Version {version}{revision}</p>{no_page_yet}
<ul>
<li><a href="{path}">Metrics</a></li>{details}
<li><a href="/-/healthy">Health</a>: is the process serving?</li>
<li><a href="/-/ready">Readiness</a>: does it see what it watches?</li>{documentation}
</ul>
</main>
</body>
</html>
"#
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn about() -> About {
        About {
            name: "a <b> & \"c\"".to_owned(),
            version: "1.2.3".to_owned(),
            revision: Some("abc'123".to_owned()),
            documentation: Some("https://docs.example/?a=1&b=2".to_owned()),
        }
    }

    #[test]
    fn tells_everything_and_escapes_it() {
        let html = page(&about(), "/m&m", false, Some("loading <41 %>"));
        for part in [
            "<title>a &lt;b&gt; &amp; &quot;c&quot;</title>",
            "Version 1.2.3, revision <code>abc&#39;123</code>",
            "href=\"/m&amp;m\"",
            "href=\"/-/healthy\"",
            "href=\"/-/ready\"",
            "href=\"https://docs.example/?a=1&amp;b=2\"",
            "color-scheme: light dark",
            "No metrics yet: loading &lt;41 %&gt;.",
        ] {
            assert!(html.contains(part), "no {part} in {html}");
        }
    }

    #[test]
    fn leaves_out_what_is_not_known() {
        let html = page(&About { revision: None, documentation: None, ..about() }, "/metrics", false, None);
        assert!(!html.contains("revision") && !html.contains("Documentation"), "{html}");
        assert!(!html.contains("/allocations"), "{html}");
        assert!(!html.contains("No metrics yet"), "{html}");
        let html = page(&about(), "/metrics", true, None);
        assert!(html.contains("href=\"/allocations\""), "{html}");
    }

    #[test]
    fn every_element_is_closed() {
        let html = page(&about(), "/metrics", true, Some("loading"));
        for tag in ["html", "head", "body", "main", "title", "style", "h1", "p", "ul", "li", "a", "code"] {
            let opened =
                html.matches(&format!("<{tag}>")).count() + html.matches(&format!("<{tag} ")).count();
            assert_eq!(opened, html.matches(&format!("</{tag}>")).count(), "<{tag}> in {html}");
            assert!(opened > 0, "no <{tag}> in {html}");
        }
    }
}
