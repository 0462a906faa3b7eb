//! Links of the documents, and of comments to them: each leads to a file and a heading that exist.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// Folders whose files are searched, and files at the root besides.
const FOLDERS: &[&str] = &["src", "tests", "benches", "examples", "alerts", "dashboards", "docs"];

/// Kinds of text that name documents.
const KINDS: &[&str] = &["md", "rs", "yaml", "toml", "sh"];

/// A place in a document, as a file names it.
#[derive(Debug)]
struct Link {
    from: PathBuf,
    to: PathBuf,
    /// Empty if the whole document is meant.
    anchor: String,
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn collect(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
        let is_wanted = |path: &Path| path.extension().is_some_and(|kind| KINDS.iter().any(|k| kind == *k));
        if entry.is_dir() && !entry.ends_with("node_modules") {
            collect(&entry, found);
        } else if is_wanted(&entry) {
            found.push(entry);
        }
    }
}

fn files() -> Vec<PathBuf> {
    let mut found = Vec::new();
    for folder in FOLDERS {
        collect(&root().join(folder), &mut found);
    }
    let at_root = fs::read_dir(root()).unwrap().map(|entry| entry.unwrap().path());
    found.extend(at_root.filter(|path| path.is_file() && path.extension().is_some_and(|kind| kind == "md")));
    found
}

/// The lines of a document outside its code blocks.
fn prose(text: &str) -> impl Iterator<Item = &str> {
    let mut in_block = false;
    text.lines().filter(move |line| {
        let is_fence = line.trim_start().starts_with("```");
        in_block ^= is_fence;
        !in_block && !is_fence
    })
}

/// The anchor of a heading, as GitHub makes it.
fn anchor_of(heading: &str) -> String {
    let kept = heading.chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
    kept.map(|c| if c == ' ' { '-' } else { c.to_ascii_lowercase() }).collect()
}

/// Headings of a document, which may not repeat: the anchor of the second would depend on the order.
fn anchors(document: &Path) -> BTreeSet<String> {
    let mut anchors = BTreeSet::new();
    for line in prose(&read(document)).filter(|line| line.starts_with('#')) {
        let anchor = anchor_of(line.trim_start_matches('#').trim());
        assert!(anchors.insert(anchor), "{}: a second {line:?}", document.display());
    }
    anchors
}

fn split(from: &Path, target: &str, base: &Path) -> Link {
    let (path, anchor) = target.split_once('#').unwrap_or((target, ""));
    let to = if path.is_empty() { from.to_owned() } else { base.join(path) };
    Link { from: from.to_owned(), to, anchor: anchor.to_owned() }
}

/// `](target)` in a Markdown document; targets on other hosts are left out.
fn markdown_links(from: &Path) -> Vec<Link> {
    let text = read(from);
    let folder = from.parent().unwrap();
    let targets = prose(&text).flat_map(|line| line.split("](").skip(1)).filter_map(|rest| {
        let (target, _) = rest.split_once(')')?;
        (!target.contains("://")).then_some(target)
    });
    targets.map(|target| split(from, target, folder)).collect()
}

/// A document with an anchor behind it in source text, as a path from the root of the repository.
fn source_links(from: &Path) -> Vec<Link> {
    let text = read(from);
    let is_path = |c: char| c.is_ascii_alphanumeric() || matches!(c, '/' | '.' | '-' | '_' | ':');
    let is_anchor = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
    let links = text.match_indices(".md#").filter_map(|(at, mark)| {
        let (before, after) = (text.get(..at)?, text.get(at + mark.len()..)?);
        let path = before.rsplit(|c| !is_path(c)).next()?;
        let anchor = after.split(|c| !is_anchor(c)).next()?;
        let is_link = !path.is_empty() && !anchor.is_empty() && !path.contains(':');
        is_link.then(|| split(from, &format!("{path}.md#{anchor}"), root()))
    });
    links.collect()
}

#[test]
fn every_link_leads_to_a_heading() {
    let mut wrong = Vec::new();
    for file in files() {
        let is_markdown = file.extension().is_some_and(|kind| kind == "md");
        for Link { from, to, anchor } in if is_markdown { markdown_links(&file) } else { source_links(&file) }
        {
            let is_document = to.extension().is_some_and(|kind| kind == "md");
            if !to.exists() {
                wrong.push(format!("{}: there is no {}", from.display(), to.display()));
            } else if is_document && !anchor.is_empty() && !anchors(&to).contains(&anchor) {
                wrong.push(format!("{}: {} has no heading #{anchor}", from.display(), to.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn links_are_found_in_both_kinds_of_text() {
    let semantics = markdown_links(&root().join("docs/semantics.md"));
    assert!(semantics.iter().any(|link| link.anchor == "due"), "{semantics:?}");
    assert!(anchors(&root().join("docs/semantics.md")).contains("which-keys-are-read"));
    assert_eq!(anchor_of("Is everything set up right? `doctor`"), "is-everything-set-up-right-doctor");
}

/// Whoever types `make test` as root is told before what it installs.
#[test]
fn the_readme_names_each_package_that_make_test_installs() {
    let script = read(&root().join("tests/install-tools.sh"));
    let tools =
        script.lines().filter_map(|line| line.strip_prefix("  \"")?.strip_suffix('"')?.split_once(' '));
    let packages: BTreeSet<&str> = tools.map(|(_, package)| package).collect();
    assert!(packages.contains("valgrind") && packages.len() >= 17, "{packages:?}");
    for name in ["README.md", "README.zh-CN.md"] {
        let readme = read(&root().join(name));
        let paragraph =
            readme.split("\n\n").find(|text| text.starts_with("`make test` ")).expect("a paragraph");
        let words: BTreeSet<&str> = paragraph.split('`').skip(1).step_by(2).collect();
        let others = ["make test", "rustfmt", "clippy", "sudo"];
        let named: BTreeSet<&str> = words.into_iter().filter(|word| !others.contains(word)).collect();
        assert_eq!(named, packages, "{name}");
    }
}
