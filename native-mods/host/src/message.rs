//! What the frames between the host and a module's process say.

use fazai_sandbox::Report;
use serde::{Deserialize, Serialize};

use crate::abi;
use crate::manifest::{Capabilities, valid_name};

/// The largest command.
pub(crate) const COMMAND_BYTES_MAX: usize = 1 << 20;
/// The largest frame from a module's process: its descriptor, as JSON.
pub(crate) const REPLY_BYTES_MAX: usize = 512 << 10;
/// What larger results are read from the shared memory for, and pieces are cut at.
pub(crate) const INLINE_BYTES_MAX: usize = 64 << 10;
/// The texts of a descriptor.
pub(crate) const VERSION_BYTES_MAX: usize = 64;
pub(crate) const DESCRIPTION_BYTES_MAX: usize = 1024;
pub(crate) const COMMANDS_BYTES_MAX: usize = 64 << 10;

/// The kinds of frames. The host sends the first five.
pub(crate) mod kind {
    /// JSON of [`super::Start`].
    pub(crate) const START: u32 = 1;
    /// A command.
    pub(crate) const EXEC: u32 = 2;
    /// Nobody wants more of this call's pieces.
    pub(crate) const STOP: u32 = 3;
    /// `fazai_mod_health`.
    pub(crate) const HEALTH: u32 = 4;
    /// `fazai_mod_cleanup`, then the end.
    pub(crate) const CLEANUP: u32 = 5;
    /// JSON of [`super::Ready`].
    pub(crate) const READY: u32 = 16;
    /// A text: why the module did not load.
    pub(crate) const REFUSED: u32 = 17;
    /// Bytes of a streamed answer.
    pub(crate) const PIECE: u32 = 18;
    /// The code, and the answer.
    pub(crate) const DONE: u32 = 19;
    /// The code, and where in the shared memory the answer is: two numbers of 64 bits, its first
    /// byte and its length.
    pub(crate) const DONE_SHARED: u32 = 20;
    /// Sent from the handler of a fatal signal: the code is one of [`super::fault`].
    pub(crate) const FAULT: u32 = 21;
    /// `fazai_mod_cleanup` has returned.
    pub(crate) const CLEAN: u32 = 22;
}

/// What a fatal signal was about.
pub(crate) mod fault {
    pub(crate) const BUFFER: i32 = 1;
    pub(crate) const STACK: i32 = 2;
}

/// What a module's process is told at first.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Start {
    pub(crate) name: String,
    /// False: only the sandbox is wanted, to see which layers it has.
    pub(crate) loads: bool,
    pub(crate) capabilities: Capabilities,
    pub(crate) memory_bytes_max: u64,
    /// How large the shared memory is, which is the largest result.
    pub(crate) shared_bytes: usize,
    /// Whom to become, if the process is root.
    pub(crate) user: Option<u32>,
    /// The host, to notice that it is gone.
    pub(crate) parent: i32,
}

/// What it says when the module has loaded.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Ready {
    pub(crate) report: Report,
    pub(crate) descriptor: Option<RawDescriptor>,
}

/// The descriptor as it came, in lengths that were cut but not looked at further: the process may
/// say anything, so the host checks.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct RawDescriptor {
    pub(crate) capabilities: u64,
    pub(crate) flags: u64,
    pub(crate) name: String,
    pub(crate) version: String,
    pub(crate) description: String,
    pub(crate) commands: String,
}

/// What a module tells about itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Descriptor {
    /// Its own version.
    pub version: String,
    /// One sentence.
    pub description: String,
    /// The rights that it asks for and was not given: calls that need them fail.
    pub not_granted: Vec<&'static str>,
    /// What can be called.
    pub commands: Vec<Command>,
}

/// A command of a module.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Command {
    /// The first word of the command.
    pub name: String,
    /// What it does.
    #[serde(default)]
    pub description: String,
    /// A JSON Schema of its arguments; none: it takes plain text.
    #[serde(default)]
    pub args: Option<serde_json::Value>,
}

impl RawDescriptor {
    /// Checks everything that was said, and says what is wrong with it.
    pub(crate) fn check(self, module: &str, granted: &Capabilities) -> Result<Descriptor, String> {
        if self.name != module {
            let name: String = self.name.chars().take(64).collect();
            return Err(format!(
                "its descriptor calls it `{name}`; use that name in modules.toml, or correct the \
                 descriptor"
            ));
        }
        if self.version.len() > VERSION_BYTES_MAX || self.description.len() > DESCRIPTION_BYTES_MAX
        {
            return Err(format!(
                "its version or description is too long; at most {VERSION_BYTES_MAX} and \
                 {DESCRIPTION_BYTES_MAX} bytes are allowed"
            ));
        }
        let commands: Vec<Command> = if self.commands.is_empty() {
            Vec::new()
        } else {
            serde_json::from_str(&self.commands).map_err(|error| {
                format!("its descriptor's `commands` is no JSON list of commands: {error}")
            })?
        };
        for command in &commands {
            if !valid_name(&command.name) {
                let name: String = command.name.chars().take(64).collect();
                return Err(format!(
                    "its command `{name}` can't be called; use 1 to 64 characters of a-z, 0-9, _, -"
                ));
            }
            if command.args.as_ref().is_some_and(|args| !args.is_object()) {
                return Err(format!(
                    "the args of its command `{}` are no schema",
                    command.name
                ));
            }
        }
        let files = !granted.files.is_empty() || !granted.files_writable.is_empty();
        let not_granted = [
            (abi::NETWORK, "network", granted.network),
            (abi::FILES, "files", files),
            (abi::EXEC, "exec", granted.exec),
        ]
        .into_iter()
        .filter(|(bit, _, has)| self.capabilities & bit != 0 && !has)
        .map(|(_, name, _)| name)
        .collect();
        let Self {
            version,
            description,
            ..
        } = self;
        Ok(Descriptor {
            version,
            description,
            not_granted,
            commands,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn raw(commands: &str) -> RawDescriptor {
        RawDescriptor {
            name: "m".into(),
            commands: commands.into(),
            ..RawDescriptor::default()
        }
    }

    #[test]
    fn what_a_process_says_is_checked() {
        let none = Capabilities::default();
        let good = raw(r#"[{"name": "echo", "args": {"type": "object"}}]"#);
        let asks = RawDescriptor {
            capabilities: 5,
            ..good
        };
        let descriptor = asks.check("m", &none).expect("valid");
        assert_eq!(descriptor.not_granted, ["network", "exec"]);
        assert_eq!(descriptor.commands[0].name, "echo");
        for (commands, said) in [
            ("{}", "no JSON list"),
            (r#"[{"name": "a b"}]"#, "can't be called"),
            (r#"[{"name": "a", "args": 1}]"#, "no schema"),
        ] {
            let error = raw(commands).check("m", &none).expect_err(commands);
            assert!(error.contains(said), "{error}");
        }
        assert!(
            raw("")
                .check("other", &none)
                .expect_err("name")
                .contains("calls it `m`")
        );
        let long = RawDescriptor {
            version: "1".repeat(65),
            ..raw("")
        };
        assert!(
            long.check("m", &none)
                .expect_err("length")
                .contains("too long")
        );
    }
}
