//! What no profile opens: patterns on the parsed commands, not on their text.
//!
//! | file | what it owns |
//! |---|---|
//! | `files.rs` | which paths are a disk, the system, a secret, the record of what happened |
//! | `commands.rs` | the patterns that look at one command |
//!
//! A pattern is here because nobody who runs a machine through an assistant wants it done without
//! typing it into a terminal. It is no complete list of what breaks a machine: the profiles are.

mod commands;
mod files;

use crate::reach::{Place, Reach};
use crate::shell::{Access, Command, Script, Word, touches};

/// A pattern that matched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Blocked {
    /// Its stable name, such as `remove-system`.
    pub name: &'static str,
    /// Why it is blocked.
    pub reason: &'static str,
}

/// One command and the places that it touches.
pub(crate) struct Seen<'a> {
    pub(crate) command: &'a Command,
    /// First those that the shell opens for it.
    pub(crate) touched: Vec<(Access, Vec<Place>)>,
}

/// The first pattern that a script matches, if it runs in this directory.
#[must_use]
pub fn blocked(script: &Script, cwd: &str) -> Option<Blocked> {
    let reach = Reach::of_script(None, script, cwd);
    // Where it is unknown, the root is the directory in which it does the most harm.
    let reach = if reach.is_whole {
        reach
    } else {
        Reach::of_path(None)
    };
    blocked_commands(script, &seen(script, &reach))
}

/// The commands of a script, with the places that they touch.
pub(crate) fn seen<'a>(script: &'a Script, reach: &Reach<'_>) -> Vec<Seen<'a>> {
    let commands = script.commands.iter();
    commands.map(|command| Seen::new(command, reach)).collect()
}

/// The first pattern that a script matches, by its commands and the places that they touch.
pub(crate) fn blocked_commands(script: &Script, seen: &[Seen<'_>]) -> Option<Blocked> {
    if script.fork_bomb {
        return Some(Blocked {
            name: "fork-bomb",
            reason: "it is a function that starts itself without end",
        });
    }
    let one = seen.iter().find_map(Seen::blocked);
    one.or_else(|| leak(seen))
}

/// The pattern that writing to this path matches, if any; for actions that are no commands.
#[must_use]
pub fn blocked_write(path: &str) -> Option<Blocked> {
    files::write(&Word::Literal(crate::path::lexical("/", path)))
}

/// A secret that is read where something is sent over the network as well.
fn leak(seen: &[Seen<'_>]) -> Option<Blocked> {
    let secret = seen
        .iter()
        .flat_map(Seen::paths)
        .any(|(access, path)| match access {
            Access::ReadTree => files::holds_secret(path),
            _ => files::is_secret(path),
        });
    let network = seen.iter().any(|seen| commands::sends(seen.command));
    (secret && network).then_some(Blocked {
        name: "leak-secret",
        reason: "it reads passwords or private keys and speaks to the network",
    })
}

impl<'a> Seen<'a> {
    fn new(command: &'a Command, reach: &Reach<'_>) -> Self {
        let touched = touches(command).into_iter();
        let touched = touched.map(|touch| (touch.access, reach.places(&touch.path, touch.access)));
        Self {
            command,
            touched: touched.collect(),
        }
    }

    /// Each form of each path.
    pub(crate) fn paths(&self) -> impl Iterator<Item = (Access, &Word)> {
        let touched = self.touched.iter();
        touched.flat_map(|(access, places)| {
            let forms = places.iter().flat_map(Place::forms);
            forms.map(|path| (*access, path))
        })
    }

    fn blocked(&self) -> Option<Blocked> {
        commands::pattern(self).or_else(|| self.written().find_map(files::write))
    }

    fn written(&self) -> impl Iterator<Item = &Word> {
        let written = self.paths().filter(|(access, _)| access.writes());
        written.map(|(_, path)| path)
    }

    /// Whether it changes a directory of the system as a whole.
    fn writes_system(&self) -> bool {
        self.written().any(files::is_system)
    }

    fn has(&self, wanted: &[&str]) -> bool {
        self.command
            .args
            .iter()
            .any(|arg| wanted.contains(&arg.text()))
    }

    /// Whether a letter is among the options.
    fn flag(&self, letter: char, long: &str) -> bool {
        self.command.args.iter().map(Word::text).any(|text| {
            // A long one may be shortened.
            (text.len() > 3 && long.starts_with(text) || text == long)
                || (text.starts_with('-') && !text.starts_with("--") && text.contains(letter))
        })
    }
}

#[cfg(test)]
mod tests;
