//! What all pages for people share: the document around them, the one script and the one style sheet, and quantities as
//! text. Pure.
//!
//! The pages work without the script. It fetches the page that it stands in again now and then and exchanges what has
//! changed, and copies to the clipboard. Neither file contains data.

mod quantity;
mod table;

use std::fmt::Write as _;

use crate::escape::Html;
pub use quantity::{bits_per_second, bytes, count, span};
pub use table::{CellKind, MarkupTable};

/// A file that pages are made with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PageFile {
    /// The script.
    Script,
    /// The style sheet.
    Style,
}

impl PageFile {
    /// Each of them.
    pub const ALL: [Self; 2] = [Self::Script, Self::Style];

    /// Where it lies. No page of metrics can lie below `/-/`.
    pub const fn path(self) -> &'static str {
        match self {
            Self::Script => "/-/page.js",
            Self::Style => "/-/page.css",
        }
    }

    /// The file at a path.
    pub fn at(path: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|file| file.path() == path)
    }

    /// Its type.
    pub const fn content_type(self) -> &'static str {
        match self {
            Self::Script => "text/javascript; charset=utf-8",
            Self::Style => "text/css; charset=utf-8",
        }
    }

    /// Its text.
    pub const fn text(self) -> &'static str {
        match self {
            Self::Script => include_str!("page.js"),
            Self::Style => include_str!("page.css"),
        }
    }
}

/// What stands for a server whose address coturn has not reported: before 4.6 never, later with the next status.
pub const UNKNOWN_SERVER: &str = "address unknown";

/// The page that shows what is live.
pub const LIVE_PAGE: &str = "/";
/// The page of the allocations.
pub const ALLOCATIONS_PAGE: &str = "/allocations";
/// The page of the sessions.
pub const SESSIONS_PAGE: &str = "/sessions";

/// What stands around the content of a page.
#[derive(Clone, Copy, Debug)]
pub struct Document<'a> {
    /// The heading.
    pub heading: &'a str,
    /// The title of the window; the heading stands in it.
    pub title: &'a str,
    /// Links to other pages: address and text.
    pub links: &'a [(&'a str, &'a str)],
    /// The address among them that is this page's.
    pub here: &'a str,
    /// What the head has beside that, as HTML.
    pub head: &'a str,
}

impl Document<'_> {
    /// The whole page around `main`, which is HTML; with the script if `has_script`.
    pub fn around(&self, main: &str, has_script: bool) -> String {
        let script = if has_script {
            format!("<script src=\"{}\" defer></script>\n", PageFile::Script.path())
        } else {
            String::new()
        };
        let mut links = String::new();
        for (address, text) in self.links {
            let current = if *address == self.here { " aria-current=\"page\"" } else { "" };
            let _ = write!(links, "<a href=\"{}\"{current}>{}</a> ", Html(address), Html(text));
        }
        format!(
            "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
             <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
             <meta name=\"color-scheme\" content=\"light dark\">\n<title>{}</title>\n\
             <link rel=\"stylesheet\" href=\"{}\">\n{script}{}</head>\n<body>\n\
             <header>\n<h1>{}</h1>\n<nav aria-label=\"Pages of the exporter\">{}</nav>\n</header>\n<main>\n{main}</main>\n\
             </body>\n</html>\n",
            Html(self.title),
            PageFile::Style.path(),
            self.head,
            Html(self.heading),
            links.trim_end(),
        )
    }
}

/// Text that a click copies, where there is the script; without it a click selects all of it.
pub fn copyable(text: &str, what: &str) -> String {
    format!(
        "<span class=\"copy\"><code>{}</code><button type=\"button\" hidden data-copy aria-label=\"Copy {}\">Copy</button></span>",
        Html(text),
        Html(what)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_document_escapes_what_it_is_given_and_names_the_page() {
        let document = Document {
            heading: "a <b>",
            title: "c & d",
            links: &[("/", "Live"), ("/x?a&b", "\"X\"")],
            here: "/",
            head: "",
        };
        let html = document.around("<p>text</p>\n", false);
        for part in [
            "<h1>a &lt;b&gt;</h1>",
            "<title>c &amp; d</title>",
            "<a href=\"/\" aria-current=\"page\">Live</a> <a href=\"/x?a&amp;b\">&quot;X&quot;</a></nav>",
            "<main>\n<p>text</p>\n</main>",
        ] {
            assert!(html.contains(part), "no {part} in {html}");
        }
        assert!(!html.contains("<script"), "{html}");
        assert!(document.around("", true).contains("<script src=\"/-/page.js\" defer></script>"));
    }

    #[test]
    fn what_is_copied_is_escaped() {
        assert!(copyable("a<b", "the \"id\"").contains("<code>a&lt;b</code>"));
        assert!(copyable("a", "the \"id\"").contains("aria-label=\"Copy the &quot;id&quot;\""));
    }

    /// The policy allows the files of this server and nothing else.
    #[test]
    fn the_files_load_nothing() {
        for file in [PageFile::Script, PageFile::Style] {
            assert_eq!(PageFile::at(file.path()), Some(file));
            for foreign in ["http:", "https:", "@import", "url(", "eval(", "innerHTML"] {
                assert!(!file.text().contains(foreign), "{foreign} in {}", file.path());
            }
        }
        assert_eq!(PageFile::at("/"), None);
    }
}
