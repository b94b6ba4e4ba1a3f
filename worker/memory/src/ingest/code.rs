//! Source code, cut where its functions, types and modules begin.
//!
//! What nearly all languages have in common is enough: what belongs to a definition is further in
//! than the line that begins it, or between its braces. No grammar is needed for that, and a file
//! that is written otherwise loses nothing but good joints.

use super::read::{Document, Section};

/// Endings of names.
const ENDINGS: &[&str] = &[
    "awk", "bash", "c", "cc", "cjs", "cpp", "cs", "cxx", "dart", "ex", "exs", "fish", "go",
    "gradle", "groovy", "h", "hcl", "hh", "hpp", "java", "jl", "js", "jsx", "kt", "kts", "lua",
    "m", "mjs", "nix", "php", "pl", "pm", "pp", "proto", "ps1", "py", "pyi", "r", "rb", "rs",
    "scala", "sh", "sql", "swift", "tcl", "tf", "ts", "tsx", "vue", "zig", "zsh",
];

/// How deep definitions are looked for in definitions.
const DEPTH_MAX: usize = 6;

/// The longest heading, in bytes.
const HEADING_BYTES_MAX: usize = 160;

/// How wide a tab is.
const TAB: usize = 4;

/// Words that go on with what stands before them.
const ONWARD: &[&str] = &[
    "else", "elif", "elsif", "elseif", "except", "finally", "catch", "rescue", "ensure", "end",
    "fi", "done", "esac", "then", "do", "begin", "where", "until",
];

/// Whether a file is a program, by its name or by its first line.
pub(super) fn is_code(ending: &str, text: &str) -> bool {
    ENDINGS.contains(&ending) || (ending.is_empty() && text.starts_with("#!"))
}

/// Cuts a program. What is longer than `room` bytes is cut inside, too.
pub(super) fn document(name: &str, text: &str, room: usize) -> Document {
    let lines: Vec<&str> = text.lines().map(str::trim_end).collect();
    let mut cutter = Cutter {
        room,
        sections: Vec::new(),
    };
    cutter.cut(&lines, "", 0);
    Document {
        title: name.to_owned(),
        sections: cutter.sections,
        lossy: false,
    }
}

struct Cutter {
    room: usize,
    sections: Vec<Section>,
}

/// Lines that belong together.
struct Unit<'t> {
    lines: &'t [&'t str],
    /// The line that says what it is, behind comments and attributes.
    head: usize,
    has_body: bool,
}

impl Cutter {
    fn cut(&mut self, lines: &[&str], outer: &str, depth: usize) {
        let mut loose: Vec<&str> = Vec::new();
        for unit in units(lines) {
            // A few lines without anything in them, such as imports and constants, stay together.
            if !unit.has_body {
                loose.extend(unit.lines);
                continue;
            }
            self.push(outer, &std::mem::take(&mut loose));
            let head = heading(unit.lines[unit.head]);
            let heading = match outer.is_empty() {
                true => head.to_owned(),
                false => format!("{outer} > {head}"),
            };
            let bytes: usize = unit.lines.iter().map(|line| line.len() + 1).sum();
            let inside = unit.head + 1;
            if bytes <= self.room || depth >= DEPTH_MAX || inside >= unit.lines.len() {
                self.push(&heading, unit.lines);
                continue;
            }
            // What it begins with stays with the first lines inside.
            let before = self.sections.len();
            self.cut(&unit.lines[inside..], &heading, depth + 1);
            let begin = unit.lines[..inside].join("\n");
            match self.sections.get_mut(before) {
                Some(first) => first.text.insert_str(0, &(begin + "\n")),
                None => self.push(&heading, unit.lines),
            }
        }
        self.push(outer, &loose);
    }

    fn push(&mut self, heading: &str, lines: &[&str]) {
        let text = lines.join("\n");
        if !text.trim().is_empty() {
            let end = heading.floor_char_boundary(HEADING_BYTES_MAX * 2);
            let heading = heading[..end].to_owned();
            self.sections.push(Section { heading, text });
        }
    }
}

/// Cuts lines where something begins that is as far out as the outermost of them.
fn units<'t>(lines: &'t [&'t str]) -> Vec<Unit<'t>> {
    // What only ends the block around these lines is no measure of them.
    let words = lines
        .iter()
        .filter(|line| !line.is_empty() && !goes_on(line.trim_start()));
    let base = words.map(|line| indent(line)).min().unwrap_or_default();
    // Where something begins, and the line that says what.
    let mut begins: Vec<(usize, usize)> = Vec::new();
    let (mut open, mut quoted, mut leader) = (0_i32, false, None);
    for (at, line) in lines.iter().enumerate() {
        let outermost = !line.is_empty() && indent(line) == base;
        let onward = goes_on(line.trim_start());
        if outermost && onward {
            // Braces in strings may have been counted; here all of them are closed.
            open = 0;
        } else if outermost && open <= 0 && !quoted {
            if is_leader(line.trim_start()) {
                leader.get_or_insert(at);
            } else {
                begins.push((leader.take().unwrap_or(at), at));
            }
        } else if line.is_empty() && open <= 0 {
            // A comment that stands alone leads nothing.
            if let Some(at) = leader.take() {
                begins.push((at, at));
            }
        }
        if !is_comment(line.trim_start()) {
            open = (open + balance(line)).max(0);
        }
        quoted ^= line.matches("\"\"\"").count() % 2 == 1;
    }
    if let Some(at) = leader {
        begins.push((at, at));
    }
    if begins.is_empty() {
        return vec![unit(lines, 0, base)];
    }
    let ends = begins.iter().skip(1).map(|(start, _)| *start);
    let ends: Vec<usize> = ends.chain([lines.len()]).collect();
    let mut units = Vec::new();
    if let Some((first, _)) = begins.first().filter(|(first, _)| *first > 0) {
        units.push(unit(&lines[..*first], 0, base));
    }
    for ((start, head), end) in begins.into_iter().zip(ends) {
        units.push(unit(&lines[start..end], head - start, base));
    }
    units
}

fn unit<'t>(lines: &'t [&'t str], head: usize, base: usize) -> Unit<'t> {
    let further = |line: &&str| !line.is_empty() && indent(line) > base;
    let begins = lines.get(head).copied().unwrap_or_default().trim_start();
    Unit {
        lines,
        head,
        has_body: lines.iter().skip(head).any(further) && !is_comment(begins),
    }
}

fn indent(line: &str) -> usize {
    let blank = line.chars().take_while(|c| matches!(c, ' ' | '\t'));
    blank.map(|c| if c == '\t' { TAB } else { 1 }).sum()
}

/// How many more braces are opened than closed.
fn balance(line: &str) -> i32 {
    line.bytes().fold(0, |open, byte| match byte {
        b'{' => open + 1,
        b'}' => open - 1,
        _ => open,
    })
}

/// Whether a line belongs to what stands before it.
fn goes_on(line: &str) -> bool {
    let word = line.split(|c: char| !c.is_alphanumeric()).next();
    line.starts_with(['}', ')', ']', '{']) || word.is_some_and(|word| ONWARD.contains(&word))
}

fn is_comment(line: &str) -> bool {
    ["//", "/*", "*", "#", "--", "\"\"\"", "<!--", ";"]
        .iter()
        .any(|mark| line.starts_with(mark))
        && !is_directive(line)
}

/// What looks like a comment in other languages, and is none in C.
fn is_directive(line: &str) -> bool {
    let word = line.strip_prefix('#').map(str::trim_start);
    let words = ["include", "define", "undef", "pragma", "import"];
    word.is_some_and(|word| words.iter().any(|name| word.starts_with(name)))
}

/// Whether a line belongs to what comes behind it: comments, attributes, decorators, templates, and
/// a type on a line of its own.
fn is_leader(line: &str) -> bool {
    let is_type = |line: &str| {
        let named = |c: char| c.is_alphanumeric() || matches!(c, '_' | ' ' | '*' | '&');
        line.contains(char::is_alphabetic) && line.chars().all(named) && !line.starts_with("end")
    };
    (is_comment(line) && !line.starts_with("\"\"\""))
        || line.starts_with(['@', '['])
        || line.starts_with("template")
        || is_type(line)
}

/// What stands before the body.
fn heading(line: &str) -> &str {
    let line = line.trim();
    let line = line.strip_suffix('{').unwrap_or(line);
    let line = line.strip_suffix(':').unwrap_or(line).trim_end();
    &line[..line.floor_char_boundary(HEADING_BYTES_MAX)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, room: usize, headings: &[&str]) -> Document {
        let document = document("it", text, room);
        let found: Vec<&str> = document
            .sections
            .iter()
            .map(|section| section.heading.as_str())
            .collect();
        assert_eq!(found, headings, "{document:#?}");
        // Nothing is lost, and nothing is there twice.
        let all: Vec<&str> = document
            .sections
            .iter()
            .flat_map(|section| section.text.lines())
            .filter(|line| !line.trim().is_empty())
            .collect();
        let lines: Vec<&str> = text.lines().map(str::trim_end).collect();
        let lines: Vec<&str> = lines.into_iter().filter(|line| !line.is_empty()).collect();
        assert_eq!(all, lines);
        document
    }

    const RUST: &str = "\
use std::fs;
use std::io;

const MAX: usize = 4;

/// Sorts.
#[inline]
pub fn sort(items: &mut [u8]) {
    items.sort();

    if items.len() > MAX {
        println!(\"}\");
    }
}

impl Sorter {
    /// Makes one.
    fn new() -> Self {
        Self
    }

    fn run(&self) -> io::Result<()> {
        Ok(())
    }
}
";

    #[test]
    fn functions_stay_whole_with_what_is_said_about_them() {
        let document = check(
            RUST,
            4000,
            &["", "pub fn sort(items: &mut [u8])", "impl Sorter"],
        );
        assert!(
            document.sections[1]
                .text
                .starts_with("/// Sorts.\n#[inline]")
        );
        assert!(document.sections[1].text.trim_end().ends_with('}'));
    }

    #[test]
    fn what_is_too_long_is_cut_at_its_methods() {
        let document = check(
            RUST,
            135,
            &[
                "",
                "pub fn sort(items: &mut [u8])",
                "impl Sorter > fn new() -> Self",
                "impl Sorter > fn run(&self) -> io::Result<()>",
            ],
        );
        assert!(
            document.sections[2]
                .text
                .starts_with("impl Sorter {\n    /// Makes one.")
        );
    }

    #[test]
    fn python_is_cut_by_its_indentation() {
        let text = "\
import os

@cache
def first(x):
    \"\"\"Says
at the margin what it does.
    \"\"\"
    return x

class Mail:
    def send(self):
        try:
            pass
        except OSError:
            pass

if __name__ == \"__main__\":
    first(1)
else:
    pass
";
        let headings = [
            "",
            "def first(x)",
            "class Mail",
            "if __name__ == \"__main__\"",
        ];
        let document = check(text, 4000, &headings);
        assert!(document.sections[1].text.starts_with("@cache"));
        assert!(document.sections[3].text.contains("else:"));
    }

    #[test]
    fn c_and_shell_are_cut_by_their_braces() {
        let c = "\
#include <stdio.h>
#define X 1

/*
 * Frees it.
 */
static int
release(struct thing *thing)
{
#ifdef DEBUG
    puts(\"x\");
#endif
    if (!thing)
        goto out;
out:
    return 0;
}

int main(void) {
    return release(0);
}
";
        check(
            c,
            4000,
            &["", "release(struct thing *thing)", "int main(void)"],
        );
        let sh = "#!/bin/sh\nset -e\n\nbackup() {\n  cat <<EOF\nat the margin\nEOF\n}\n\nfor host in a b; do\n  backup \"$host\"\ndone\n";
        check(sh, 4000, &["", "backup()", "for host in a b; do"]);
    }

    #[test]
    fn what_is_no_program_as_we_know_it_loses_nothing() {
        for text in [
            "",
            "}\n}\n{\n",
            "\t\tdeep\nout\n",
            "a\n  b\n c\nd\n\n\n# e\n",
            "\"\"\"\nx\n",
        ] {
            let document = document("it", text, 10);
            let count = |text: &str| text.lines().filter(|line| !line.trim().is_empty()).count();
            let kept: usize = document
                .sections
                .iter()
                .map(|section| count(&section.text))
                .sum();
            assert_eq!(kept, count(text), "{text:?} {document:?}");
        }
        assert!(is_code("rs", "") && is_code("", "#!/bin/sh\n") && !is_code("txt", "#!/bin/sh"));
    }
}
