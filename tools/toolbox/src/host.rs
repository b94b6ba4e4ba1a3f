//! What a tool needs from whoever runs it.

use std::ops::ControlFlow;

use fazai_sandbox::Stop;
use fazai_tools::{Action, Ended, How, Input, Permit, Piece, Source, Why};

use crate::error::ToolError;
use crate::tool::Params;

/// Whoever runs a tool.
pub trait Host: Sync {
    /// Asks the gate for the right to do something; may wait for a person.
    fn permit(&self, action: Action) -> Result<Permit, ToolError>;

    /// The same for what a person has to say yes to, also where the policy allows it by itself.
    fn permit_by_person(&self, action: Action) -> Result<Permit, ToolError> {
        let _ = action;
        Err(ToolError::Refused("nobody can be asked here".into()))
    }

    /// Tells whoever waits something, while the tool goes on: a line or part of one.
    fn say(&self, text: &str);

    /// Raised when nobody wants the answer any more.
    fn stop(&self) -> &Stop;

    /// In what way a program runs that has this permit.
    fn how(&self, permit: &Permit) -> How;
}

/// What a program wrote.
#[derive(Debug)]
pub struct Output {
    /// On its standard output, as far as [`How::output_bytes_max`] goes.
    pub stdout: String,
    /// On its standard error.
    pub stderr: String,
    /// How it ended.
    pub ended: Ended,
}

/// Runs the program that a permit is for. That it fails is no error here; that it did not end by
/// itself is.
pub fn run(permit: Permit, stdin: Option<Vec<u8>>, host: &dyn Host) -> Result<Output, ToolError> {
    let how = How {
        stdin,
        ..host.how(&permit)
    };
    run_told(permit, how, host, &mut |_| ())
}

/// The same in a way of one's own; hands over what the program writes as it comes.
pub fn run_told(
    permit: Permit,
    how: How,
    host: &dyn Host,
    heard: &mut dyn FnMut(&str),
) -> Result<Output, ToolError> {
    let (mut stdout, mut stderr) = (String::new(), String::new());
    let ended = follow(permit, how, host, &mut |mut piece| {
        if piece.ends_line {
            piece.text.push('\n');
        }
        heard(&piece.text);
        match piece.from {
            Source::Stdout => stdout.push_str(&piece.text),
            Source::Stderr => stderr.push_str(&piece.text),
        }
    })?;
    Ok(Output {
        stdout,
        stderr,
        ended,
    })
}

/// As [`run`], for whoever has limits of their own or wants each line while the program runs.
/// `how` is the host's, with what is to be stricter.
pub fn follow(
    permit: Permit,
    how: How,
    host: &dyn Host,
    reader: &mut dyn FnMut(Piece),
) -> Result<Ended, ToolError> {
    let how = How {
        merge_stderr: false,
        ..how
    };
    let ended = fazai_tools::run(permit, &how, Some(host.stop()), &mut |piece: Piece| {
        reader(piece);
        ControlFlow::Continue(())
    })?;
    match ended.why {
        Why::Finished => Ok(ended),
        Why::TimedOut => Err(ToolError::TimedOut),
        Why::Stopped => Err(ToolError::Stopped),
        Why::MemoryLimit => Err(ToolError::Failed(
            "it was ended because it took too much memory".into(),
        )),
        Why::OutputLimit => Err(ToolError::Failed(
            "it was ended because it wrote too much".into(),
        )),
    }
}

/// What a tool is told, as the record has it.
#[must_use]
pub fn input_of(params: &Params) -> Input {
    let text = serde_json::to_vec(params).unwrap_or_default();
    Input::of(&text)
}
