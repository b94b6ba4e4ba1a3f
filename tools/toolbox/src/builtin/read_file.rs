//! `read_file`: the text of a file, or some lines of it.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::PathBuf;

use fazai_tools::Action;
use rustix::fs::FileType;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, json};

use super::define::{Call, Define, perform, text_of};
use super::file::{check, failed, find};
use crate::error::ToolError;

/// How much of a file is answered, in bytes.
const TEXT_BYTES_MAX: usize = 256 << 10;

/// How far into a file lines are counted, in bytes.
const SKIPPED_BYTES_MAX: usize = 1 << 30;

pub(super) struct ReadFile;

/// A file, or some lines of it.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Told {
    /// The file, absolute.
    path: PathBuf,
    /// The first line that is wanted; the file's first is 1.
    #[serde(default = "first")]
    #[schemars(range(min = 1))]
    from_line: u64,
    /// How many lines; all by default.
    #[schemars(range(min = 1))]
    lines: Option<u64>,
}

fn first() -> u64 {
    1
}

impl Define for ReadFile {
    type Params = Told;
    const NAME: &'static str = "read_file";
    const DESCRIPTION: &'static str =
        "Reads a text file, at most 256 KiB of it; name lines to read on.";

    fn wants(&self, told: Told, _: Action) -> Result<Vec<Action>, ToolError> {
        check(&told.path)?;
        Ok(vec![Action::ReadFile { path: told.path }])
    }

    fn call(&self, told: Told, call: &Call) -> Result<Value, ToolError> {
        let (permit, found) = find(&told.path, call, |path| Action::ReadFile { path })?;
        perform(permit, || {
            let file = found.open(FileType::RegularFile)?;
            let read = Lines::new(file, call).read(&told);
            let (text, lines, truncated) = read.map_err(|fault| match fault {
                Fault::Io(error) => failed("can't be read", &found.path, &error),
                Fault::Told(error) => error,
            })?;
            Ok(json!({
                "path": found.path,
                "file_bytes": found.bytes(),
                "from_line": told.from_line,
                "lines": lines,
                "text": text,
                "truncated": truncated,
            }))
        })
    }
}

enum Fault {
    Io(std::io::Error),
    Told(ToolError),
}

struct Lines<'a> {
    file: BufReader<File>,
    call: &'a Call<'a>,
}

impl<'a> Lines<'a> {
    fn new(file: File, call: &'a Call<'a>) -> Self {
        let file = BufReader::with_capacity(64 << 10, file);
        Self { file, call }
    }

    /// The text, how many lines it has, and whether the size cut it off.
    fn read(mut self, told: &Told) -> Result<(String, u64, bool), Fault> {
        self.pass(told.from_line - 1, SKIPPED_BYTES_MAX, None)?;
        let mut text = Vec::new();
        let wanted = told.lines.unwrap_or(u64::MAX);
        let (lines, cut) = self.pass(wanted, TEXT_BYTES_MAX, Some(&mut text))?;
        let open_line = u64::from(text.last().is_some_and(|byte| *byte != b'\n'));
        Ok((text_of(&text), lines + open_line, cut))
    }

    /// Goes on for some lines, but not further than some bytes. How many lines ended there, and
    /// whether it was the bytes that ended it.
    fn pass(
        &mut self,
        lines: u64,
        bytes: usize,
        mut into: Option<&mut Vec<u8>>,
    ) -> Result<(u64, bool), Fault> {
        let (mut ended, mut passed) = (0, 0);
        while ended < lines {
            self.call.go_on().map_err(Fault::Told)?;
            let buffer = self.file.fill_buf().map_err(Fault::Io)?;
            if buffer.is_empty() {
                return Ok((ended, false));
            }
            if passed == bytes {
                return Ok((ended, true));
            }
            let buffer = &buffer[..buffer.len().min(bytes - passed)];
            let line = buffer.iter().position(|byte| *byte == b'\n');
            let used = line.map_or(buffer.len(), |at| at + 1);
            ended += u64::from(line.is_some());
            if let Some(text) = &mut into {
                text.extend_from_slice(&buffer[..used]);
            }
            self.file.consume(used);
            passed += used;
        }
        Ok((ended, false))
    }
}
