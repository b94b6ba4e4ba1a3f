//! What a command text would execute.
//!
//! A text becomes a [`Script`]: the simple commands that would run, with their arguments as the
//! program would get them, and what can't be known without running it. The text is read by a
//! parser of bash's grammar and never searched for words.
//!
//! | file | what it owns |
//! |---|---|
//! | `walk.rs` | every place in the syntax tree where something can be executed |
//! | `tree.rs` | the parser of the grammar, and the bounds that it is held to |
//! | `lex.rs` | the pieces of a word, in one pass |
//! | `braces.rs` | `a{b,c}`, which is several words |
//! | `numbers.rs` | variables that a script calculates with |
//! | `word.rs` | quotes, escapes, substitutions: a word as the program gets it |
//! | `inner.rs`, `inner/` | programs that run their arguments: `sudo`, `xargs`, `find -exec`, `sh -c` |
//! | `input.rs` | what a command is given by the one before it in a pipeline |
//! | `links.rs` | links that a script makes itself |
//! | `options.rs` | where such a program's own options end |
//! | `code.rs`, `code/` | programs that run code which is not shell: `python`, `vim`, `tar --to-command` |
//! | `touch.rs` | which files a command opens, by what is known of its program |
//! | `usage.rs`, `usage/` | the options of each program, and the words of a command told apart by them |
//! | `undo.rs` | the command that undoes another |
//!
//! The rule of all of them: whatever is not known to be harmless is [`Script::opaque`]. Who adds a
//! program to a table here makes *less* be asked for, so every table says what it vouches for.

mod braces;
mod code;
mod inner;
mod input;
mod lex;
mod links;
mod numbers;
mod options;
mod touch;
mod tree;
mod undo;
mod usage;
mod walk;
mod word;

pub(crate) use self::code::{
    harmless_assignment, is_shell, only_asks_about_itself, runs_its_files, special_bits,
};
pub(crate) use self::numbers::is_number;
pub use self::touch::{Access, Touch, files_of, touches};
pub use self::undo::rollback;
pub(crate) use self::usage::{options_in_full, own_words, values_of_option};
pub(crate) use self::walk::PIPE;
use self::walk::Walk;
pub use self::word::Word;

/// The longest command text, in bytes.
pub const COMMAND_BYTES_MAX: usize = 16 * 1024;
/// How many simple commands one text may execute.
pub const COMMANDS_MAX: usize = 256;
/// How deep one text may be nested: parentheses, and shells in shells.
pub const NESTING_MAX: usize = 16;

/// What a command text would execute.
#[derive(Debug, Clone, Default)]
pub struct Script {
    /// Every command that can be known, also those inside of others.
    pub commands: Vec<Command>,
    /// What can't be known before it runs.
    pub opaque: Vec<Opaque>,
    /// A function that starts itself twice, in the background.
    pub fork_bomb: bool,
    /// Whether it gives variables a value, which is nothing by itself.
    pub assigns: bool,
    /// Variables whose values the shell evaluates: whoever gives it one gives it a number.
    pub numbers: Vec<String>,
}

/// One program with its arguments.
#[derive(Debug, Clone, Default)]
pub struct Command {
    /// The program's name or path, as it was written but without quotes.
    pub program: String,
    /// The arguments; of a program that runs another one, only its own.
    pub args: Vec<Word>,
    /// Files that the shell opens for reading.
    pub reads: Vec<Word>,
    /// Files that the shell opens for writing.
    pub writes: Vec<Word>,
    /// Commands with the same number are joined by pipes.
    pub pipeline: usize,
    /// Whether a command after it in the pipeline reads its output, or it reads another's.
    pub piped: bool,
    /// Whether it runs as another user, root if nobody else is named: behind `sudo`.
    pub as_another: bool,
}

/// Something that can't be understood, and so is never allowed without asking.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Opaque {
    /// Why not.
    pub reason: &'static str,
    /// The part of the text.
    pub text: String,
}

impl Opaque {
    /// Keeps the beginning of the text: a person has to read it, and a stranger wrote it.
    fn new(reason: &'static str, text: &str) -> Self {
        Self {
            reason,
            text: text.chars().take(200).collect(),
        }
    }
}

/// A text that is not even asked for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// Longer than [`COMMAND_BYTES_MAX`].
    #[error(
        "the command has {bytes} bytes and {COMMAND_BYTES_MAX} are allowed; write it into a script"
    )]
    TooLong {
        /// How long it is.
        bytes: usize,
    },
    /// Deeper than [`NESTING_MAX`].
    #[error("the command is nested more than {NESTING_MAX} deep; split it")]
    TooDeep,
    /// More than [`COMMANDS_MAX`].
    #[error("the text runs more than {COMMANDS_MAX} commands; split it")]
    TooMany,
    /// Its brackets and `case`s could be read in too many ways.
    #[error(
        "the command is too tangled to be understood in time; split it, or write it into a script"
    )]
    TooTangled,
    /// No program can be given such an argument.
    #[error("the command contains a NUL byte; remove it")]
    Nul,
    /// There is no program at all.
    #[error("the command is empty; name a program")]
    Empty,
}

impl Script {
    /// Understands a text that bash would be given.
    pub fn parse(text: &str) -> Result<Self, Refused> {
        let mut walk = Walk::default();
        walk.text(text)?;
        walk.finish()
    }

    /// Understands a program that is started without a shell.
    pub fn from_argv(argv: &[String]) -> Result<Self, Refused> {
        // With what stands between them: a million empty words are a long command as well.
        let bytes = argv.iter().map(|arg| arg.len() + 1).sum();
        check_text(bytes, argv.iter().flat_map(|arg| arg.bytes()))?;
        let mut walk = Walk::default();
        walk.argv(argv.iter().cloned().map(Word::Literal).collect())?;
        walk.finish()
    }

    /// The program and arguments of a script that is one plain command, so that it can be started
    /// without a shell: what was judged is then what runs, whatever the shell would have made of it.
    #[must_use]
    pub fn plain_argv(&self) -> Option<Vec<String>> {
        self.single_argv().filter(|_| self.opaque.is_empty())
    }

    /// The program and arguments of a script that is one command whose words are all known, whether
    /// or not it is known what it does.
    fn single_argv(&self) -> Option<Vec<String>> {
        let [command] = self.commands.as_slice() else {
            return None;
        };
        if !command.reads.is_empty() || !command.writes.is_empty() {
            return None;
        }
        let args = command.args.iter().map(|arg| match arg {
            Word::Literal(text) if !text.starts_with('~') => Some(text.clone()),
            _ => None,
        });
        std::iter::once(Some(command.program.clone()))
            .chain(args)
            .collect()
    }
}

/// The limits that hold before anything is parsed.
fn check_text(bytes: usize, mut text: impl Iterator<Item = u8>) -> Result<(), Refused> {
    if bytes > COMMAND_BYTES_MAX {
        return Err(Refused::TooLong { bytes });
    }
    if text.any(|byte| byte == 0) {
        return Err(Refused::Nul);
    }
    Ok(())
}

/// Why a person who is asked would not see what the text says.
fn deceptive(text: &str) -> Option<&'static str> {
    let control = |c: char| c.is_control() && !matches!(c, '\n' | '\t');
    // Marks that turn the direction of writing, have no width, or are blanks of another kind.
    let invisible = |c: char| {
        matches!(c, '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}'
            | '\u{2028}'..='\u{202f}' | '\u{205f}'..='\u{206f}' | '\u{feff}' | '\u{a0}'
            | '\u{2000}'..='\u{200a}' | '\u{3000}' | '\u{e0000}'..='\u{e007f}')
    };
    if text.contains(control) {
        return Some("control characters");
    }
    text.contains(invisible).then_some("invisible characters")
}

impl Command {
    /// The name without the directory it was named in.
    #[must_use]
    pub fn name(&self) -> &str {
        self.program.rsplit('/').next().unwrap_or_default()
    }

    /// The command as a person would type it, for messages.
    #[must_use]
    pub fn display(&self) -> String {
        let args = self.args.iter().map(|arg| format!(" {}", arg.text()));
        std::iter::once(self.program.clone()).chain(args).collect()
    }
}

#[cfg(test)]
mod tests;
