//! Programs that the settings name: one that writes keys, one that says whether a GPU is free.

use std::fs::{File, Metadata};
use std::io::Read;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use zeroize::Zeroizing;

use crate::error::{CloudError, io};

/// How a program ended.
#[derive(Debug)]
pub struct Ran {
    /// Its exit status.
    pub status: ExitStatus,
    /// What it wrote to its standard output, cleared when it is dropped.
    pub output: Zeroizing<String>,
}

/// Runs a program by its words. Blocks; it is ended if it takes longer than `time_max`, and
/// what it writes may have `bytes_max`. `what` is its name in errors.
///
/// # Errors
/// [`CloudError`] if it can't be run, takes too long, or writes too much.
pub fn run(
    words: &[String],
    what: &str,
    time_max: Duration,
    bytes_max: usize,
) -> Result<Ran, CloudError> {
    let [program, arguments @ ..] = words else {
        return Err(CloudError::Settings(format!("{what} is empty")));
    };
    let mut child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .process_group(0)
        .spawn()
        .map_err(io(what))?;
    let group = child.id();
    let Some(out) = child.stdout.take() else {
        return Err(CloudError::Settings(format!("{what} has no output")));
    };
    let named = what.to_owned();
    let (sender, read) = mpsc::channel();
    // Not joined: what it has begun may hold its output for ever.
    std::thread::spawn(move || sender.send(read_text(out, bytes_max, &named)));
    let end = Instant::now() + time_max;
    let status = loop {
        if let Some(status) = child.try_wait().map_err(io(what))? {
            break status;
        }
        if Instant::now() >= end {
            // It may have ended meanwhile.
            end_group(group);
            let _ = child.kill();
            let _ = child.wait();
            return Err(CloudError::Settings(format!(
                "{what} took longer than {} s",
                time_max.as_secs()
            )));
        }
        std::thread::sleep(Duration::from_millis(5));
    };
    let output = read.recv_timeout(READ_GRACE).or_else(|_| {
        end_group(group);
        read.recv_timeout(READ_GRACE)
    });
    let output = output.unwrap_or_else(|_| {
        let why = format!("{what} left something that keeps its output open");
        Err(CloudError::Settings(why))
    })?;
    Ok(Ran { status, output })
}

/// How long output is waited for whose program has ended.
const READ_GRACE: Duration = Duration::from_millis(500);

/// Ends what a program has begun and left. A shell does it: a signal needs `unsafe` here.
fn end_group(group: u32) {
    let mut kill = Command::new("sh");
    kill.args(["-c", &format!("kill -9 -{group}")]);
    // Nothing may be left of it.
    let _ = kill.stdin(Stdio::null()).stderr(Stdio::null()).status();
}

/// The text of a file of limited length. A pipe would be waited for, and is none.
pub(crate) fn read_file(
    path: &Path,
    bytes_max: usize,
    what: &str,
) -> Result<(Metadata, Zeroizing<String>), CloudError> {
    let meta = std::fs::metadata(path).map_err(io(what))?;
    if !meta.is_file() {
        return Err(CloudError::Settings(format!("{what} is no plain file")));
    }
    let file = File::open(path).map_err(io(what))?;
    Ok((meta, read_text(file, bytes_max, what)?))
}

/// A text of limited length.
pub(crate) fn read_text(
    from: impl Read,
    bytes_max: usize,
    what: &str,
) -> Result<Zeroizing<String>, CloudError> {
    let mut text = Zeroizing::new(String::with_capacity(bytes_max + 1));
    let read = from.take(bytes_max as u64 + 1).read_to_string(&mut text);
    let bytes = read.map_err(io(what))?;
    if bytes > bytes_max {
        return Err(CloudError::Settings(format!(
            "{what} is longer than {bytes_max} bytes"
        )));
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_that_leaves_a_child_behind_is_not_waited_for() {
        let begun = Instant::now();
        for (script, right) in [
            ("echo key; sleep 25 & exit 0", true),
            ("sleep 25 & wait", false),
        ] {
            let words = ["sh", "-c", script].map(str::to_owned);
            let ran = run(&words, "a program", Duration::from_secs(2), 100);
            assert_eq!(ran.is_ok(), right, "{script}");
            assert!(ran.is_err() || ran.unwrap().output.as_str() == "key\n");
        }
        assert!(begun.elapsed() < Duration::from_secs(10));
    }
}
