//! Tables that are cards on a narrow screen: each cell has its heading with it, and the roles are written out, because a
//! table that is laid out otherwise is none to a screen reader.

use std::fmt::Write as _;

use crate::escape::Html;

/// A table that is being written.
#[derive(Debug)]
pub struct MarkupTable<'a> {
    out: &'a mut String,
}

/// How a cell is set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CellKind {
    /// A word that is not broken.
    Word,
    /// Words.
    Words,
    /// Says what state the row is in.
    State,
    /// A number.
    Number,
}

impl CellKind {
    const fn class(self) -> &'static str {
        match self {
            Self::Word => "",
            Self::Words => " class=\"words\"",
            Self::State => " class=\"state\"",
            Self::Number => " class=\"number\"",
        }
    }
}

impl<'a> MarkupTable<'a> {
    /// Begins a table; its headings come next.
    pub fn begin(out: &'a mut String, name: &str, class: &str) -> Self {
        let _ = write!(
            out,
            "<div class=\"scroll\" role=\"region\" aria-label=\"{}\" tabindex=\"0\">\n<table role=\"table\" class=\"{class}\">\n\
             <thead role=\"rowgroup\"><tr role=\"row\">",
            Html(name)
        );
        Self { out }
    }

    /// A heading, which is HTML, with more attributes.
    pub fn heading(&mut self, kind: CellKind, attributes: &str, html: &str) {
        let class = if kind == CellKind::Number { kind.class() } else { "" };
        let _ = write!(self.out, "<th role=\"columnheader\" scope=\"col\"{class}{attributes}>{html}</th>");
    }

    /// Headings of words.
    pub fn headings(&mut self, headings: &[(&str, CellKind)]) {
        for (text, kind) in headings {
            self.heading(*kind, "", &Html(text).to_string());
        }
    }

    /// The headings are complete.
    pub fn body(&mut self) {
        self.out.push_str("</tr></thead>\n<tbody role=\"rowgroup\">\n");
    }

    /// Begins a row. `key` tells it from others when the page is refreshed.
    pub fn row(&mut self, class: &str, key: &str, attributes: &str) {
        let _ = write!(
            self.out,
            "<tr role=\"row\" class=\"{}\" data-key=\"{}\"{attributes}>",
            Html(class),
            Html(key)
        );
    }

    /// The cell that names the row; HTML.
    pub fn row_heading(&mut self, heading: &str, html: &str) {
        let _ = write!(
            self.out,
            "<th role=\"rowheader\" scope=\"row\" data-label=\"{}\"><span>{html}</span></th>",
            Html(heading)
        );
    }

    /// Another cell; HTML.
    pub fn cell(&mut self, heading: &str, kind: CellKind, html: &str) {
        let _ = write!(
            self.out,
            "<td role=\"cell\"{} data-label=\"{}\"><span>{html}</span></td>",
            kind.class(),
            Html(heading)
        );
    }

    /// Ends a row.
    pub fn end_row(&mut self) {
        self.out.push_str("</tr>\n");
    }

    /// Ends the table.
    pub fn end(self) {
        self.out.push_str("</tbody>\n</table>\n</div>\n");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_cell_has_its_heading_and_nothing_breaks_out() {
        let mut out = String::new();
        let mut table = MarkupTable::begin(&mut out, "a \"name\"", "list");
        table.headings(&[("A & B", CellKind::Word), ("C", CellKind::Number)]);
        table.body();
        table.row("wrong", "k\"ey", "");
        table.row_heading("A & B", "x");
        table.cell("C", CellKind::Number, "1");
        table.end_row();
        table.end();
        for part in [
            "aria-label=\"a &quot;name&quot;\"",
            "scope=\"col\">A &amp; B</th>",
            "scope=\"col\" class=\"number\">C</th>",
            "class=\"wrong\" data-key=\"k&quot;ey\">",
            "scope=\"row\" data-label=\"A &amp; B\"><span>x</span></th>",
            "<td role=\"cell\" class=\"number\" data-label=\"C\"><span>1</span></td></tr>",
        ] {
            assert!(out.contains(part), "no {part} in {out}");
        }
    }
}
