//! What is compared, and how large each part of it is.

use clap::ValueEnum;

/// A way of using a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, ValueEnum)]
pub(super) enum Case {
    /// One stream: how fast it is written, and how fast a prompt is read
    Stream,
    /// 2, 4, 8 and 16 streams at once: tokens/s of all of them together
    Streams,
    /// An object of five fields by a JSON Schema, after the same instructions: one, and eight at once
    Json,
    /// 8 and 32 requests at once that begin alike: the slowest first token
    Shared,
    /// A new text, and one that says again what the prompt has: tokens/s of each
    Quote,
    /// The first token of an urgent request, idle and while 8 others are written
    Priority,
    /// A client leaves during a long prompt: the first token of the next request
    Cancel,
    /// A kept prompt before and after a restart: the first token of a worker of its own
    Restart,
}

/// Tokens that `stream` writes.
pub(super) const STREAM_TOKENS: u32 = 128;

/// How many streams `streams` has at once.
pub(super) const STREAM_COUNTS: [u32; 4] = [2, 4, 8, 16];

/// Tokens that each of them writes.
pub(super) const STREAMS_TOKENS: u32 = 64;

/// Objects that `json` wants at once.
pub(super) const OBJECTS: u32 = 8;

/// Tokens that an object may have; it takes about a quarter of them.
pub(super) const OBJECT_TOKENS: u32 = 400;

/// How many requests of `shared` come at once.
pub(super) const SHARED_COUNTS: [u32; 2] = [8, 32];

/// Tokens that each of them writes.
pub(super) const SHARED_TOKENS: u32 = 16;

/// Tokens that `quote` writes in each of its answers.
pub(super) const QUOTE_TOKENS: u32 = 192;

/// Streams that keep a server busy in `priority`.
pub(super) const BUSY_STREAMS: u32 = 8;

/// Tokens that each of them writes, unless the urgent request is answered before.
pub(super) const BUSY_TOKENS: u32 = 192;

/// Tokens that a short request of `priority` and `cancel` writes.
pub(super) const SHORT_TOKENS: u32 = 8;

/// Words of a short prompt.
pub(super) const SHORT_WORDS: usize = 16;

/// Words of the prompt that `quote` answers twice.
pub(super) const QUOTE_WORDS: usize = 32;

/// What is left of a context beside the longest prompt.
const CONTEXT_RESERVE: u32 = 128;

/// Lengths of prompts, in tokens, that depend on the context.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Sizes {
    /// Of `stream`.
    pub(super) prompt: u32,
    /// What the requests of `shared` have in common, and what `restart` keeps.
    pub(super) head: u32,
    /// What the client of `cancel` leaves.
    pub(super) left: u32,
}

impl Sizes {
    /// As large as wanted, or as such a context allows.
    pub(super) fn within(context_tokens: u64) -> Self {
        let room = u32::try_from(context_tokens).unwrap_or(u32::MAX);
        let room = room.saturating_sub(CONTEXT_RESERVE).max(1);
        Self {
            prompt: room.min(512),
            head: room.min(1_100),
            left: room.min(4_000),
        }
    }
}

/// One figure of a case.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Row {
    pub(super) case: &'static str,
    pub(super) name: String,
    pub(super) unit: &'static str,
}

impl Row {
    /// Whether more is better: of what is counted by the second, it is.
    pub(super) fn more_is_better(&self) -> bool {
        self.unit.ends_with("/s")
    }
}

impl Case {
    /// The word for the command line.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Stream => "stream",
            Self::Streams => "streams",
            Self::Json => "json",
            Self::Shared => "shared",
            Self::Quote => "quote",
            Self::Priority => "priority",
            Self::Cancel => "cancel",
            Self::Restart => "restart",
        }
    }

    /// Whether a peer has no part in it, and a worker that runs already neither.
    pub(super) fn starts_workers(self) -> bool {
        self == Self::Restart
    }

    /// The figures that each of its rounds gives, in this order.
    pub(super) fn rows(self, sizes: &Sizes) -> Vec<Row> {
        let row = |name: String, unit| Row {
            case: self.name(),
            name,
            unit,
        };
        match self {
            Self::Stream => vec![
                row(format!("generation, {STREAM_TOKENS} tokens"), "tokens/s"),
                row(format!("prompt, {} tokens", sizes.prompt), "tokens/s"),
            ],
            Self::Streams => STREAM_COUNTS
                .map(|count| row(format!("{count} streams, together"), "tokens/s"))
                .to_vec(),
            Self::Json => vec![
                row("an object by a schema".to_owned(), "s"),
                row(format!("{OBJECTS} objects at once"), "objects/s"),
            ],
            Self::Shared => SHARED_COUNTS
                .map(|count| {
                    let name =
                        format!("{count} with {} tokens alike, last first token", sizes.head);
                    row(name, "s")
                })
                .to_vec(),
            Self::Quote => vec![
                row(format!("a new text, {QUOTE_TOKENS} tokens"), "tokens/s"),
                row("a text quoted from the prompt".to_owned(), "tokens/s"),
            ],
            Self::Priority => vec![
                row("urgent, idle: first token".to_owned(), "s"),
                row(
                    format!("urgent, {BUSY_STREAMS} streams busy: first token"),
                    "s",
                ),
            ],
            Self::Cancel => vec![row(
                format!("first token after a left prompt of {} tokens", sizes.left),
                "s",
            )],
            Self::Restart => vec![
                row(
                    format!("a kept prompt of {} tokens, cold: first token", sizes.head),
                    "s",
                ),
                row("the same after a restart: first token".to_owned(), "s"),
            ],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_is_the_one_of_the_command_line() {
        for case in Case::value_variants() {
            let typed = case
                .to_possible_value()
                .map(|value| value.get_name().to_owned());
            assert_eq!(typed.as_deref(), Some(case.name()));
        }
    }

    #[test]
    fn prompts_fit_a_short_context_and_are_full_in_a_long_one() {
        let long = Sizes::within(16_384);
        assert_eq!((long.prompt, long.head, long.left), (512, 1_100, 4_000));
        let short = Sizes::within(1_024);
        assert_eq!((short.prompt, short.head, short.left), (512, 896, 896));
        let rows = Case::Cancel.rows(&short);
        assert!(rows[0].name.contains("896 tokens"), "{rows:?}");
    }
}
