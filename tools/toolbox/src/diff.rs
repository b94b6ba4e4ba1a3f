//! The difference between two texts, as people read it.

use std::time::Duration;

use similar::TextDiff;

/// How long looking for the smallest difference may take.
const TIME_MAX: Duration = Duration::from_secs(1);

/// How much of it is told, in bytes.
const BYTES_MAX: usize = 64 << 10;

/// As `diff -u` shows it; `name` is the file's.
#[must_use]
pub fn diff(name: &str, old: &str, new: &str) -> String {
    let diff = TextDiff::configure().timeout(TIME_MAX).diff_lines(old, new);
    let text = diff.unified_diff().header(name, name).to_string();
    let some = &text[..text.floor_char_boundary(BYTES_MAX)];
    if some.len() == text.len() {
        return text;
    }
    format!("{some}\n(the difference has {} bytes)\n", text.len())
}
