//! Programs that the settings name: one that writes keys, one that says whether a GPU is free.

use std::io::Read;
use std::process::{Command, ExitStatus, Stdio};
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
        .spawn()
        .map_err(io(what))?;
    let Some(out) = child.stdout.take() else {
        return Err(CloudError::Settings(format!("{what} has no output")));
    };
    let named = what.to_owned();
    // A program that closes nothing is ended below, which ends the reading, too.
    let reading = std::thread::spawn(move || read_text(out, bytes_max, &named));
    let end = Instant::now() + time_max;
    let status = loop {
        if let Some(status) = child.try_wait().map_err(io(what))? {
            break status;
        }
        if Instant::now() >= end {
            // It may have ended meanwhile.
            let _ = child.kill();
            let _ = child.wait();
            return Err(CloudError::Settings(format!(
                "{what} took longer than {} s",
                time_max.as_secs()
            )));
        }
        std::thread::sleep(Duration::from_millis(5));
    };
    let output = reading.join().unwrap_or_else(|_| {
        let why = format!("{what} could not be read");
        Err(CloudError::Settings(why))
    })?;
    Ok(Ran { status, output })
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
