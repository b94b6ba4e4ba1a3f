//! What a module's process writes to its standard error, as lines of the host's log.
//!
//! A thread for each process reads it until its end, also what is not logged, so that a module
//! that writes a lot never waits for the host.

use std::io::{ErrorKind, Read};
use std::process::ChildStderr;
use std::time::{Duration, Instant};

const LINE_CHARS_MAX: usize = 1000;
const LINE_BYTES_MAX: usize = 4 * LINE_CHARS_MAX;
const LINES_MAX: usize = 200;
const WINDOW: Duration = Duration::from_secs(60);

/// Logs until the process and all that it started have ended.
pub(super) fn follow(module: &str, mut stderr: ChildStderr) {
    let module = module.to_owned();
    let read = move || {
        let mut lines = Lines::default();
        let mut budget = Budget::default();
        let mut bytes = [0; 4096];
        loop {
            let got = match stderr.read(&mut bytes) {
                Ok(0) => break,
                Ok(got) => got,
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(_) => break,
            };
            lines.push(&bytes[..got], |line| log(&module, line, &mut budget));
        }
        lines.finish(|line| log(&module, line, &mut budget));
    };
    let thread = std::thread::Builder::new().name("fazai-modlog".into());
    if let Err(error) = thread.spawn(read) {
        tracing::warn!(%error, "a module's messages are not logged: no thread could be started");
    }
}

fn log(module: &str, line: &str, budget: &mut Budget) {
    match budget.spend(Instant::now()) {
        Verdict::Log => tracing::info!(module, "{line}"),
        Verdict::Last => tracing::info!(
            module,
            "it writes more than {LINES_MAX} lines a minute; the rest of this minute is dropped"
        ),
        Verdict::Drop => {}
    }
}

/// Bytes to lines, of which no more is kept than is logged.
#[derive(Default)]
struct Lines(Vec<u8>);

impl Lines {
    fn push(&mut self, bytes: &[u8], mut line: impl FnMut(&str)) {
        for part in bytes.split_inclusive(|byte| *byte == b'\n') {
            let room = LINE_BYTES_MAX - self.0.len();
            self.0.extend_from_slice(&part[..part.len().min(room)]);
            if part.ends_with(b"\n") {
                self.finish(&mut line);
            }
        }
    }

    /// The line ends here.
    fn finish(&mut self, mut line: impl FnMut(&str)) {
        let text: String = String::from_utf8_lossy(&self.0)
            .chars()
            .filter(|c| !c.is_control())
            .take(LINE_CHARS_MAX)
            .collect();
        self.0.clear();
        if !text.is_empty() {
            line(&text);
        }
    }
}

/// How many lines are left in this minute.
#[derive(Default)]
struct Budget {
    began: Option<Instant>,
    lines: usize,
}

#[derive(Debug, PartialEq, Eq)]
enum Verdict {
    Log,
    /// Instead of the line it is said that no more follow.
    Last,
    Drop,
}

impl Budget {
    fn spend(&mut self, now: Instant) -> Verdict {
        if self
            .began
            .is_none_or(|began| now.duration_since(began) >= WINDOW)
        {
            self.began = Some(now);
            self.lines = 0;
        }
        self.lines += 1;
        match self.lines {
            ..=LINES_MAX => Verdict::Log,
            lines if lines == LINES_MAX + 1 => Verdict::Last,
            _ => Verdict::Drop,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(pieces: &[&[u8]]) -> Vec<String> {
        let mut found = Vec::new();
        let mut lines = Lines::default();
        for piece in pieces {
            lines.push(piece, |line| found.push(line.to_owned()));
            assert!(lines.0.len() <= LINE_BYTES_MAX);
        }
        lines.finish(|line| found.push(line.to_owned()));
        found
    }

    #[test]
    fn lines_are_put_together_cleaned_and_cut() {
        assert_eq!(
            lines(&[b"on", b"e\ntwo\r\n\n", b"\x1b[31mred\x07 \xff\nrest"]),
            ["one", "two", "[31mred \u{fffd}", "rest"]
        );
        let long = "é".repeat(5000);
        let cut = lines(&[long.as_bytes(), b"tail\nnext"]);
        assert_eq!(cut, ["é".repeat(1000), "next".into()]);
    }

    #[test]
    fn a_minute_has_so_many_lines() {
        let mut budget = Budget::default();
        let now = Instant::now();
        for _ in 0..LINES_MAX {
            assert_eq!(budget.spend(now), Verdict::Log);
        }
        assert_eq!(budget.spend(now), Verdict::Last);
        assert_eq!(budget.spend(now + WINDOW / 2), Verdict::Drop);
        assert_eq!(budget.spend(now + WINDOW), Verdict::Log);
    }
}
