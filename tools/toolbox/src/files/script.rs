//! A script in JavaScript or Python, run by a small program of ours that is written before it.
//!
//! Our program, the script and its parameters go to the interpreter by standard input. So what runs
//! is what was read, whatever lies on the disk by then; the record has the script's hash among the
//! arguments. The answer comes as one line that begins with a mark which nobody can know who did
//! not see this input; all other lines are what the tool prints.

use std::collections::BTreeSet;
use std::hash::{BuildHasher, RandomState};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use fazai_tools::{Action, Exec, How, Input, Piece, Risk, Source, ToolCall};
use serde::Deserialize;
use serde_json::{Value, json};

use super::call_of;
use super::description::clean;
use super::manifest::Manifest;
use super::tail::Tail;
use crate::error::ToolError;
use crate::host::{Host, follow, input_of};
use crate::tool::{About, Origin, Params, Tool};
use crate::toolbox::ANSWER_BYTES_MAX;

const SHIM_JS: &str = include_str!("shim.mjs");
const SHIM_PY: &str = include_str!("shim.py");

/// How long a script may take to say what it is.
const DESCRIBE_TIMEOUT: Duration = Duration::from_secs(5);

/// How much it may write then.
const DESCRIBE_OUTPUT_BYTES_MAX: u64 = 256 << 10;

/// What runs a script.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Language {
    JavaScript,
    Python,
}

impl Language {
    /// The interpreter's name, and how to get it.
    pub(super) fn interpreter(self) -> (&'static str, &'static str) {
        match self {
            Self::JavaScript => ("node", "install Node.js 18 or newer (package `nodejs`)"),
            Self::Python => ("python3", "install Python 3.7 or newer (package `python3`)"),
        }
    }

    /// Arguments that make it run what comes by standard input.
    fn flags(self) -> &'static [&'static str] {
        match self {
            Self::JavaScript => &[
                "--no-warnings",
                "--experimental-vm-modules",
                "--input-type=module",
                "-",
            ],
            Self::Python => &["-I", "-B", "-X", "utf8", "-"],
        }
    }

    /// Our program, with what it is told.
    fn program(self, order: &Value) -> String {
        // Text in text, so that both languages read it as JSON and not as their own.
        let order = Value::from(order.to_string());
        match self {
            Self::JavaScript => format!("const order = {order};\n{SHIM_JS}"),
            Self::Python => format!("order = {order}\n{SHIM_PY}"),
        }
    }
}

/// A script as it was read.
#[derive(Debug)]
pub(super) struct Code {
    pub(super) name: String,
    pub(super) language: Language,
    pub(super) path: PathBuf,
    pub(super) source: String,
    /// Of the source, in hexadecimal digits.
    pub(super) sha256: String,
    pub(super) manifest: Manifest,
    /// Where the marks come from.
    pub(super) marks: RandomState,
}

/// What it says of itself.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
pub(super) struct Described {
    pub(super) description: String,
    pub(super) interactive: bool,
}

/// A script that can be called.
#[derive(Debug)]
pub(super) struct Script {
    about: About,
    interpreter: String,
    code: Arc<Code>,
}

/// What is told by the line with the mark.
#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum Said {
    Answer(Params),
    Error(String),
}

/// One run of the interpreter: what it is started with, and the mark of its answer.
struct Start {
    exec: Exec,
    stdin: Vec<u8>,
    mark: String,
}

impl Code {
    fn directory(&self) -> &Path {
        self.path.parent().unwrap_or(Path::new("/"))
    }

    fn start(&self, interpreter: &str, task: &str, params: &Params) -> Start {
        // The same call has the same mark, so that a yes for the session finds it again.
        let told = (&self.sha256, task, json!(params).to_string());
        let mark = format!("fazai-{:016x}:", self.marks.hash_one(told));
        let order = json!({
            "marker": mark,
            "task": task,
            "path": self.path,
            "params": params,
            "source": self.source,
        });
        let stdin = self.language.program(&order).into_bytes();
        let mut argv = vec![interpreter.to_owned()];
        argv.extend(self.language.flags().iter().map(|flag| (*flag).to_owned()));
        argv.push(task.to_owned());
        argv.push(self.path.display().to_string());
        argv.push(format!("sha256={}", self.sha256));
        let exec = Exec {
            stdin: Some(Input::of(&stdin)),
            ..Exec::plain(argv, self.directory())
        };
        Start { exec, stdin, mark }
    }

    /// Asks it what it is: it runs without any right, and not for long.
    pub(super) fn describe(
        &self,
        interpreter: &str,
        host: &dyn Host,
    ) -> Result<Described, ToolError> {
        let params = Params::new();
        let start = self.start(interpreter, "describe", &params);
        let action = Action::CallTool(Box::new(ToolCall {
            name: self.name.clone(),
            rights: BTreeSet::new(),
            risk: Risk::Low,
            input: input_of(&params),
            exec: Some(start.exec.clone()),
        }));
        let answer = perform(start, action, host, false, |how| How {
            timeout: how.timeout.min(DESCRIBE_TIMEOUT),
            output_bytes_max: how.output_bytes_max.min(DESCRIBE_OUTPUT_BYTES_MAX),
            ..how
        })?;
        serde_json::from_value(answer)
            .map_err(|error| ToolError::Failed(format!("its info is none: {error}")))
    }
}

impl Script {
    pub(super) fn new(code: Arc<Code>, interpreter: String, said: &Described) -> Self {
        let path = code.path.clone();
        let description = code.manifest.description.as_ref();
        let about = About {
            name: code.name.clone(),
            description: clean(description.unwrap_or(&said.description)),
            parameters: code.manifest.schema(),
            risk: code.manifest.risk,
            rights: code.manifest.rights.clone(),
            origin: match code.language {
                Language::JavaScript => Origin::JavaScript { path },
                Language::Python => Origin::Python { path },
            },
            interactive: said.interactive,
        };
        Self {
            about,
            interpreter,
            code,
        }
    }
}

impl Tool for Script {
    fn about(&self) -> &About {
        &self.about
    }

    fn wants(&self, params: &Params) -> Result<Vec<Action>, ToolError> {
        let start = self.code.start(&self.interpreter, "run", params);
        Ok(vec![call_of(&self.about, params, start.exec)])
    }

    fn call(&self, params: &Params, host: &dyn Host) -> Result<Value, ToolError> {
        let start = self.code.start(&self.interpreter, "run", params);
        let action = call_of(&self.about, params, start.exec.clone());
        perform(start, action, host, true, |how| How {
            timeout: self.code.manifest.timeout(how.timeout),
            ..how
        })
    }
}

/// Runs the interpreter until it ends, and takes the answer out of what it writes.
fn perform(
    start: Start,
    action: Action,
    host: &dyn Host,
    aloud: bool,
    limit: impl FnOnce(How) -> How,
) -> Result<Value, ToolError> {
    let permit = host.permit(action)?;
    let how = limit(How {
        stdin: Some(start.stdin),
        ..host.how(&permit)
    });
    let most = how.output_bytes_max;
    let mut answer = Answer::new(&start.mark);
    let mut last = Tail::default();
    let ended = follow(permit, how, host, &mut |piece| {
        let Some(piece) = answer.take(piece) else {
            return;
        };
        if piece.from == Source::Stderr {
            last.push(&piece);
        }
        // Our own line begins anew, and may leave an empty one before it.
        if aloud && !piece.text.is_empty() {
            host.say(&piece.text);
        }
    })?;
    match answer.read()? {
        Some(Said::Answer(answer)) => Ok(Value::Object(answer)),
        Some(Said::Error(error)) => Err(ToolError::Failed(clean(&error))),
        None if ended.cut => Err(ToolError::Failed(format!(
            "it wrote {} bytes, of which {most} are taken, and its answer was after that; let it \
             print less",
            ended.bytes
        ))),
        None => Err(ToolError::Failed(format!(
            "it ended without an answer ({}); let `run` return one{}",
            ended_how(&ended),
            last.after(": ")
        ))),
    }
}

/// How a process ended, in words.
pub(super) fn ended_how(ended: &fazai_tools::Ended) -> String {
    match (ended.exit_code, ended.signal) {
        (Some(code), _) => format!("exit code {code}"),
        (None, Some(signal)) => format!("signal {signal}"),
        (None, None) => "it could not be ended".into(),
    }
}

/// The line with the mark, among all others.
struct Answer<'a> {
    mark: &'a str,
    text: String,
    /// Whether the next piece of standard output begins a line.
    line_begins: bool,
    /// Whether the line with the mark has begun and not ended.
    open: bool,
}

impl<'a> Answer<'a> {
    fn new(mark: &'a str) -> Self {
        Self {
            mark,
            text: String::new(),
            line_begins: true,
            open: false,
        }
    }

    /// Gives back what is not the answer's.
    fn take(&mut self, piece: Piece) -> Option<Piece> {
        if piece.from == Source::Stderr {
            return Some(piece);
        }
        let begins = std::mem::replace(&mut self.line_begins, piece.ends_line);
        if begins && let Some(text) = piece.text.strip_prefix(self.mark) {
            self.text = text.to_owned();
            self.open = !piece.ends_line;
            return None;
        }
        if !self.open {
            return Some(piece);
        }
        // One that is too long is kept too long, so that it is refused.
        if self.text.len() <= 2 * ANSWER_BYTES_MAX {
            self.text.push_str(&piece.text);
        }
        self.open = !piece.ends_line;
        None
    }

    fn read(self) -> Result<Option<Said>, ToolError> {
        if self.text.is_empty() || self.open {
            return Ok(None);
        }
        let bytes = self.text.len();
        if bytes > 2 * ANSWER_BYTES_MAX {
            return Err(ToolError::Failed(format!(
                "its answer has more than {ANSWER_BYTES_MAX} bytes; let it give less"
            )));
        }
        serde_json::from_str(&self.text)
            .map(Some)
            .map_err(|error| ToolError::Failed(format!("its answer is no JSON: {error}")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken(pieces: &[(&str, bool)]) -> (Vec<String>, Option<Said>) {
        let mut answer = Answer::new("mark:");
        let mut others = Vec::new();
        for (text, ends_line) in pieces {
            let piece = Piece {
                from: Source::Stdout,
                text: (*text).to_owned(),
                ends_line: *ends_line,
            };
            others.extend(answer.take(piece).map(|piece| piece.text));
        }
        (others, answer.read().expect("JSON"))
    }

    #[test]
    fn the_answer_is_the_line_with_the_mark() {
        let (others, said) = taken(&[
            ("x", false),
            ("mark:{\"answer\":{}}", true),
            ("a mark:{}", true),
            ("mark:{\"answer\":", false),
            ("{\"a\":1}}", true),
            ("after", true),
        ]);
        assert_eq!(others, ["x", "mark:{\"answer\":{}}", "a mark:{}", "after"]);
        assert!(matches!(said, Some(Said::Answer(answer)) if answer["a"] == 1));
    }

    #[test]
    fn half_an_answer_is_none() {
        assert!(taken(&[("mark:{\"answer\":{}}", false)]).1.is_none());
        assert!(taken(&[("text", true)]).1.is_none());
    }
}
