//! What daemons and the kernel say. Texts of one shape are told of once: numbers, addresses and
//! hexadecimal words are left out of the comparison.

use super::table::Table;
use super::window::{Counter, Rate};
use super::{Finding, hash};
use crate::event::{Category, Event, Severity};
use crate::time::Timestamp;

const SHAPES_MAX: usize = 65_536;
/// New shapes that are told of in a minute: strangers make up texts.
const NEW_MAX: u32 = 60;
/// A shape is told of again after this long, in seconds.
const AGAIN_S: i64 = 3_600;
/// Words of a text that make its shape.
const WORDS_MAX: usize = 24;

#[derive(Debug)]
pub(super) struct Unknown {
    shapes: Table<u64, Option<Timestamp>>,
    /// New ones, and those of them that are called bad.
    new: [Rate; 2],
}

impl Default for Unknown {
    fn default() -> Self {
        Self {
            shapes: Table::new(SHAPES_MAX),
            new: Default::default(),
        }
    }
}

impl Unknown {
    pub(super) fn look<'e>(
        &mut self,
        event: &'e Event<'_>,
        now: Timestamp,
        found: &mut Vec<Finding<'e>>,
    ) {
        let known = event.category.is_some();
        let severity = event.severity.unwrap_or_default();
        // What the rules know to be routine, and what says nothing.
        if (known && severity == Severity::Info) || event.message.is_empty() {
            return;
        }
        if severity <= Severity::Info && event.process.is_empty() && !known {
            return;
        }
        let shape = self
            .shapes
            .entry(hash(&(&*event.process, shape(&event.message))));
        let recent = shape.is_some_and(|then| then.plus_s(AGAIN_S) > now);
        if recent && severity < Severity::High {
            return;
        }
        let new = &mut self.new[usize::from(severity >= Severity::High)];
        if !recent && !known && new.add(now, 60, 1) > NEW_MAX {
            return;
        }
        *shape = Some(now);
        let category = event.category.unwrap_or(Category::Service);
        let rule = if event.process.is_empty() {
            "log line".to_owned()
        } else {
            format!(
                "log line of {}",
                crate::judge::prompt::clean(&event.process, 40)
            )
        };
        let mut finding = Finding::of(event, rule, severity, category);
        finding.clear = known;
        found.push(finding);
    }
}

fn shape(text: &str) -> u64 {
    let words = text.split(|c: char| c.is_whitespace() || c == '=' || c == ':');
    let fixed = |word: &&str| !word.is_empty() && !word.bytes().any(|byte| byte.is_ascii_digit());
    words
        .take(WORDS_MAX)
        .filter(fixed)
        .fold(0, |shape, word| hash(&(shape, word)))
}
