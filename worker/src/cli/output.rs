//! Text for people, JSON for pipes.

use std::borrow::Cow;
use std::io::{self, IsTerminal, Write};
use std::path::Path;

use anyhow::Context as _;
use fazai::text_file;
use fazai_protocol::client::ClientError;
use fazai_protocol::{Done, Line, WireError};
use serde_json::Value;

/// Whether standard output goes to a program.
pub(super) fn piped() -> bool {
    !io::stdout().is_terminal()
}

/// The text of a file that the user named.
pub(super) fn read(path: &Path) -> anyhow::Result<String> {
    text_file::read(path).with_context(|| path.display().to_string())
}

/// Prints `data` as JSON if standard output is a pipe or `json` is wished, and `text` otherwise.
pub(super) fn print(json: bool, text: &str, data: &Value) -> anyhow::Result<()> {
    let mut out = io::stdout().lock();
    if json || piped() {
        serde_json::to_writer(&mut out, data)?;
        writeln!(out)?;
    } else {
        writeln!(out, "{}", clean(text.trim_end()))?;
    }
    Ok(())
}

/// The text of a list, which says that it is empty.
pub(super) fn or_none(text: Option<String>) -> String {
    let text = text.filter(|text| !text.trim().is_empty());
    text.unwrap_or_else(|| "none".to_owned())
}

/// Prints what a request came to: its data as JSON, or its result for people.
pub(super) fn answer(json: bool, done: Done) -> anyhow::Result<()> {
    let data = done.data.unwrap_or(Value::Null);
    print(json, &done.result.unwrap_or_default(), &data)
}

/// Prints a line of the protocol as it came.
pub(super) fn json_line(line: &Line) -> io::Result<()> {
    let mut out = io::stdout().lock();
    serde_json::to_writer(&mut out, line)?;
    out.write_all(b"\n")?;
    out.flush()
}

/// Prints a line of text, in a pipe as well.
pub(super) fn say(line: &str) -> anyhow::Result<()> {
    writeln!(io::stdout().lock(), "{}", clean(line))?;
    Ok(())
}

/// Says something beside the answer, on standard error.
pub(super) fn warn(text: &str) -> io::Result<()> {
    writeln!(io::stderr().lock(), "fazai: {}", clean(text))
}

/// Without what would steer a terminal, if standard output is one: others wrote the text.
pub(super) fn clean(text: &str) -> Cow<'_, str> {
    // Control characters, and those that turn the direction of what follows.
    let steers = |c: char| match c {
        '\n' | '\t' => false,
        '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => true,
        c => c.is_control(),
    };
    if piped() || !text.contains(steers) {
        return Cow::Borrowed(text);
    }
    Cow::Owned(text.replace(steers, "\u{fffd}"))
}

/// Says on standard error what went wrong and what to do next.
pub(super) fn complain(fault: &anyhow::Error) {
    let mut err = anstream::stderr().lock();
    let _ = match refusal(fault) {
        Some(error) => {
            let hint = error.hint.as_ref().map(|hint| format!("\n  hint: {hint}"));
            let hint = hint.unwrap_or_default();
            writeln!(err, "fazai: {} ({}){hint}", error.message, error.code)
        }
        None => writeln!(err, "fazai: {fault:#}"),
    };
}

/// What a worker, here or elsewhere, answered.
fn refusal(fault: &anyhow::Error) -> Option<&WireError> {
    match fault.downcast_ref::<ClientError>() {
        Some(ClientError::Refused(error)) => Some(error),
        _ => fault.downcast_ref::<WireError>(),
    }
}

/// A number of bytes for people.
pub(super) fn bytes(count: u64) -> String {
    indicatif::HumanBytes(count).to_string()
}

/// A number of parameters for people: 600M, 4.0B.
#[expect(clippy::cast_precision_loss, reason = "rounded anyway")]
pub(super) fn parameters(count: u64) -> String {
    match count {
        0..1_000_000 => format!("{}K", count / 1_000),
        1_000_000..1_000_000_000 => format!("{:.1}M", count as f64 / 1e6),
        _ => format!("{:.1}B", count as f64 / 1e9),
    }
}

/// JSON for people: `name: value`, and what a value has within indented below its name.
pub(super) fn plain(data: &Value) -> String {
    lines(data).join("\n")
}

fn lines(data: &Value) -> Vec<String> {
    match data {
        Value::Object(fields) if !fields.is_empty() => {
            let fields = fields.iter();
            fields
                .flat_map(|(name, value)| field(name, value))
                .collect()
        }
        Value::Array(items) if !items.is_empty() => items.iter().flat_map(item).collect(),
        Value::Object(_) | Value::Array(_) | Value::Null => vec!["none".to_owned()],
        Value::String(text) => text.lines().map(str::to_owned).collect(),
        other => vec![other.to_string()],
    }
}

/// The name, with the value behind it if that is a single thing.
fn field(name: &str, value: &Value) -> Vec<String> {
    let within = lines(value);
    let nested = matches!(value, Value::Object(fields) if !fields.is_empty())
        || matches!(value, Value::Array(items) if !items.is_empty());
    match within.as_slice() {
        [] => vec![format!("{name}:")],
        [line] if !nested => vec![format!("{name}: {line}")],
        within => {
            let within = within.iter().map(|line| format!("  {line}"));
            std::iter::once(format!("{name}:")).chain(within).collect()
        }
    }
}

/// A dash, with the value behind it.
fn item(value: &Value) -> Vec<String> {
    let marks = std::iter::once("- ").chain(std::iter::repeat("  "));
    let within = lines(value).into_iter();
    marks
        .zip(within)
        .map(|(mark, line)| format!("{mark}{line}"))
        .collect()
}

/// What is shown of a cell, in characters.
const CELL_CHARS_MAX: usize = 300;

/// A cell is one line: what others wrote must not look like rows.
fn cell(text: &str) -> String {
    let plain = text.chars().map(|c| if c.is_control() { ' ' } else { c });
    plain.take(CELL_CHARS_MAX).collect()
}

/// Lines up columns; the first row is the heading.
pub(super) fn table(rows: &[Vec<String>]) -> String {
    let rows: Vec<Vec<String>> = rows
        .iter()
        .map(|row| row.iter().map(|text| cell(text)).collect())
        .collect();
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column));
        cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let mut text = String::new();
    for row in &rows {
        let cells: Vec<String> = row
            .iter()
            .zip(&widths)
            .map(|(cell, width)| format!("{cell:width$}"))
            .collect();
        text.push_str(cells.join("  ").trim_end());
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn json_becomes_lines_for_people() {
        let data = json!({
            "load": [0.5, 1],
            "disks": [{ "path": "/", "free": 7, "flags": [] }, { "path": "/home" }],
            "log": "one\ntwo\n",
            "units": { "failed": null },
            "name": "",
        });
        let expected = "load:\n  - 0.5\n  - 1\n\
                        disks:\n  - path: /\n    free: 7\n    flags: none\n  - path: /home\n\
                        log:\n  one\n  two\n\
                        units:\n  failed: none\n\
                        name:";
        assert_eq!(plain(&data), expected);
        assert_eq!(plain(&json!("text")), "text");
        assert_eq!(plain(&json!([])), "none");
    }
}
