//! A native module of the FazAI worker, written in Rust: a trait and a macro.
//!
//! ```
//! use fazai_module::{Module, fazai_module, split};
//!
//! struct Echo;
//!
//! impl Module for Echo {
//!     fn init() -> Result<Self, String> {
//!         Ok(Echo)
//!     }
//!
//!     fn exec(&self, command: &str) -> Result<String, String> {
//!         match split(command) {
//!             ("echo", text) => Ok(text.to_owned()),
//!             (other, _) => Err(format!("no command '{other}': say `echo TEXT`")),
//!         }
//!     }
//! }
//!
//! fazai_module! {
//!     module: Echo,
//!     name: "echo",
//!     commands: r#"[{"name": "echo", "description": "Says TEXT again."}]"#,
//! }
//! ```
//!
//! In a crate with `crate-type = ["cdylib"]` this exports the symbols of `fazai_mod.h`. The border
//! to C is in this crate, so a module needs no `unsafe`: panics become errors of their call, and
//! answers are ended by a NUL and cut between characters where the worker's buffer ends.
//!
//! What can't be caught: a stack overflow, running out of memory, `process::exit`, and panics in
//! a crate that is built with `panic = "abort"`. They end the module's process, not the worker.

#[doc(hidden)]
pub mod border;
mod commands;
mod descriptor;

use std::error::Error;
use std::fmt;

pub use commands::{COMMANDS_MAX, check_commands};
pub use descriptor::{ABI, Descriptor, EXEC, FILES, GROW, MAGIC, NETWORK, THREADS};

/// What a module does. [`fazai_module!`] exports it.
///
/// Calls may come from any thread, and with [`THREADS`] from several at once, hence `Sync`: state
/// that changes is kept in a `Mutex` or an atomic.
pub trait Module: Sized + Send + Sync + 'static {
    /// Called once, before anything else. An error refuses the load; its text goes to standard
    /// error, since the C function has no room for it.
    fn init() -> Result<Self, String>;

    /// Runs a command, such as `echo hi`. See [`split`].
    fn exec(&self, command: &str) -> Result<String, String>;

    /// Runs a command as `exec` does, and hands over the answer in pieces. The worker prefers
    /// this one; as it is here it sends the whole answer of `exec`, of any length. An error's
    /// text is sent as the last piece.
    fn stream(&self, command: &str, pieces: &mut Pieces<'_>) -> Result<(), String> {
        Ok(pieces.send(&self.exec(command)?)?)
    }

    /// Whether the module can work. Called between calls, at most once a second.
    fn health(&self) -> Result<(), String> {
        Ok(())
    }

    /// Called once before the module goes away, but not after a crash or a time-out.
    fn cleanup(self) {}
}

/// The name of a command and what follows it, without the space around either.
#[must_use]
pub fn split(command: &str) -> (&str, &str) {
    let command = command.trim();
    match command.split_once(char::is_whitespace) {
        Some((name, rest)) => (name, rest.trim_start()),
        None => (command, ""),
    }
}

/// Where [`Module::stream`] hands over its answer.
pub struct Pieces<'a> {
    take: &'a mut dyn FnMut(&str) -> bool,
    stopped: bool,
}

impl<'a> Pieces<'a> {
    /// Pieces go to `take`, which returns whether it wants more. For a module's own tests.
    pub fn new(take: &'a mut dyn FnMut(&str) -> bool) -> Self {
        Self {
            take,
            stopped: false,
        }
    }

    /// Sends a piece. After [`Stopped`] nothing more is sent, and the module should return soon.
    pub fn send(&mut self, piece: &str) -> Result<(), Stopped> {
        if !self.stopped && !piece.is_empty() {
            self.stopped = !(self.take)(piece);
        }
        if self.stopped { Err(Stopped) } else { Ok(()) }
    }
}

impl fmt::Debug for Pieces<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pieces")
            .field("stopped", &self.stopped)
            .finish_non_exhaustive()
    }
}

/// Nobody wants more of this answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stopped;

impl fmt::Display for Stopped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("stopped: nobody wants more of this answer")
    }
}

impl Error for Stopped {}

/// For `?` in [`Module::stream`].
impl From<Stopped> for String {
    fn from(stopped: Stopped) -> Self {
        stopped.to_string()
    }
}

/// Exports a [`Module`] through the C symbols of `fazai_mod.h`. Once in a library.
///
/// In this order, and all but the first two may be left out:
///
/// | field | is |
/// |---|---|
/// | `module` | the type |
/// | `name` | `[a-z0-9_-]`, 1 to 64 characters; anything else does not compile |
/// | `version` | the module's own; else the package's |
/// | `description` | one sentence; else the package's |
/// | `commands` | a JSON list, see [`check_commands`]; `cargo test` of the module checks it |
/// | `capabilities` | [`NETWORK`] and [`FILES`] and [`EXEC`], joined by a bar; else none |
/// | `flags` | [`THREADS`] and [`GROW`], joined by a bar; else none |
///
/// The texts and numbers are constants: `include_str!("commands.json")` is one too.
///
/// A name that the header does not allow:
///
/// ```compile_fail,E0080
/// # use fazai_module::{Module, fazai_module};
/// # struct Echo;
/// # impl Module for Echo {
/// #     fn init() -> Result<Self, String> { Ok(Echo) }
/// #     fn exec(&self, command: &str) -> Result<String, String> { Ok(command.to_owned()) }
/// # }
/// fazai_module! {
///     module: Echo,
///     name: "Echo 2",
/// }
/// ```
#[macro_export]
macro_rules! fazai_module {
    (@or $given:expr; $default:expr) => { $given };
    (@or; $default:expr) => { $default };
    (@text $text:expr) => {{
        const TEXT: &str = $text;
        const BYTES: [u8; TEXT.len() + 1] = $crate::border::with_nul(TEXT);
        $crate::border::c_str(&BYTES)
    }};
    (
        module: $module:ty,
        name: $name:expr,
        $(version: $version:expr,)?
        $(description: $description:expr,)?
        $(commands: $commands:expr,)?
        $(capabilities: $capabilities:expr,)?
        $(flags: $flags:expr,)?
    ) => {
        const _: () = {
            use ::core::ffi::{c_char, c_int, c_void};

            static SLOT: $crate::border::Slot<$module> = $crate::border::Slot::new();

            #[unsafe(no_mangle)]
            #[allow(non_upper_case_globals)]
            static fazai_mod_descriptor: $crate::Descriptor = $crate::Descriptor::new(
                $crate::fazai_module!(@text $name),
                $crate::fazai_module!(@text
                    $crate::fazai_module!(@or $($version)?; env!("CARGO_PKG_VERSION"))),
                $crate::fazai_module!(@text
                    $crate::fazai_module!(@or $($description)?; env!("CARGO_PKG_DESCRIPTION"))),
                $crate::fazai_module!(@text $crate::fazai_module!(@or $($commands)?; "[]")),
                $crate::fazai_module!(@or $($capabilities)?; 0),
                $crate::fazai_module!(@or $($flags)?; 0),
            );

            #[unsafe(no_mangle)]
            extern "C" fn fazai_mod_init() -> c_int {
                $crate::border::init(&SLOT, $name)
            }

            #[unsafe(no_mangle)]
            unsafe extern "C" fn fazai_mod_exec(
                command: *const c_char,
                result: *mut c_char,
                result_len: c_int,
            ) -> c_int {
                // SAFETY: the worker keeps to fazai_mod.h, whose rules `border` relies on.
                unsafe { $crate::border::exec(&SLOT, command, result, result_len) }
            }

            #[unsafe(no_mangle)]
            unsafe extern "C" fn fazai_mod_exec_stream(
                command: *const c_char,
                emit: $crate::border::Emit,
                context: *mut c_void,
            ) -> c_int {
                // SAFETY: as above.
                unsafe { $crate::border::stream(&SLOT, command, emit, context) }
            }

            #[unsafe(no_mangle)]
            unsafe extern "C" fn fazai_mod_health(result: *mut c_char, result_len: c_int) -> c_int {
                // SAFETY: as above.
                unsafe { $crate::border::health(&SLOT, result, result_len) }
            }

            #[unsafe(no_mangle)]
            extern "C" fn fazai_mod_cleanup() {
                $crate::border::cleanup(&SLOT, $name);
            }
        };

        #[cfg(test)]
        mod fazai_module_test {
            #[allow(unused_imports)]
            use super::*;

            #[test]
            fn commands_are_right() {
                const COMMANDS: &str = $crate::fazai_module!(@or $($commands)?; "[]");
                if let Err(reason) = $crate::check_commands(COMMANDS) {
                    panic!("the commands of the module: {reason}");
                }
            }
        }
    };
}

/// The module in the guide is one that compiles.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
struct Guide;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_split_at_their_first_space() {
        for (command, expected) in [
            ("echo hi there", ("echo", "hi there")),
            ("  echo \t hi  ", ("echo", "hi")),
            ("status", ("status", "")),
            ("say {\"a\": 1}", ("say", "{\"a\": 1}")),
            ("", ("", "")),
        ] {
            assert_eq!(split(command), expected, "{command:?}");
        }
    }

    #[test]
    fn nothing_is_sent_after_a_stop() {
        let mut seen = Vec::new();
        let mut take = |piece: &str| {
            seen.push(piece.to_owned());
            seen.len() < 2
        };
        let mut pieces = Pieces::new(&mut take);
        assert_eq!(pieces.send("a"), Ok(()));
        assert_eq!(pieces.send(""), Ok(()));
        assert_eq!(pieces.send("b"), Err(Stopped));
        assert_eq!(pieces.send("c"), Err(Stopped));
        assert_eq!(seen, ["a", "b"]);
    }
}
