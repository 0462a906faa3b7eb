//! README.zh-CN.md keeps step with README.md: the same headings, commands, flags and links, in the same order.

use std::fmt::Debug;

const ENGLISH: &str = include_str!("../../README.md");
const CHINESE: &str = include_str!("../../README.zh-CN.md");

/// The lines, each with whether it stands in a code block; fences are left out.
fn lines(text: &str) -> Vec<(bool, &str)> {
    let mut in_block = false;
    let mut lines = Vec::new();
    for line in text.lines() {
        if line.starts_with("```") {
            in_block = !in_block;
        } else {
            lines.push((in_block, line));
        }
    }
    lines
}

fn prose(text: &str) -> String {
    let lines = lines(text).into_iter().filter(|(in_block, _)| !in_block);
    lines.flat_map(|(_, line)| [line, "\n"]).collect()
}

fn levels(text: &str) -> Vec<usize> {
    let headings = lines(text).into_iter().filter(|(in_block, line)| !in_block && line.starts_with('#'));
    headings.map(|(_, line)| line.chars().take_while(|c| *c == '#').count()).collect()
}

/// The languages of the blocks, and their lines without what a comment says of a command.
fn blocks(text: &str) -> Vec<&str> {
    let fences = text.lines().filter(|line| line.starts_with("```") && line.len() > 3);
    let code = lines(text).into_iter().filter(|(in_block, _)| *in_block);
    fences.chain(code.map(|(_, line)| line.split("  #").next().unwrap().trim_end())).collect()
}

/// Targets of links. Those to a heading of the same document are told by their number, for headings are translated.
fn links(text: &str) -> Vec<&str> {
    let prose = text.split("](").skip(1).map(|rest| rest.split(')').next().unwrap());
    prose
        .map(|target| match target {
            "README.md" | "README.zh-CN.md" => "the other language",
            _ if target.starts_with('#') => "a heading",
            _ => target,
        })
        .collect()
}

/// What stands in code quotes.
fn quoted(text: &str) -> Vec<String> {
    let prose = prose(text);
    let mut quoted: Vec<_> = prose.split('`').skip(1).step_by(2).map(str::to_owned).collect();
    // Sentences may have another order.
    quoted.sort_unstable();
    quoted
}

fn quotations(text: &str) -> Vec<&str> {
    text.lines().filter(|line| line.starts_with('>')).collect()
}

fn rows(text: &str) -> Vec<usize> {
    text.lines().filter(|line| line.starts_with('|')).map(|line| line.split('|').count()).collect()
}

#[track_caller]
fn same<T: PartialEq + Debug>(what: &str, of: impl Fn(&'static str) -> T) {
    assert_eq!(of(ENGLISH), of(CHINESE), "{what}: README.zh-CN.md is behind README.md, or ahead of it");
}

#[test]
fn the_chinese_readme_keeps_step() {
    same("headings", levels);
    same("code blocks", blocks);
    same("links", links);
    same("words in code quotes", quoted);
    same("quotations", quotations);
    same("tables", rows);
    let is_item = |line: &&str| line.starts_with("- ");
    same("items", |text| text.lines().filter(is_item).count());
}
