//! What a server writes on its standard error: passed on, and the end of it kept.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::time::{Instant, sleep_until};

use super::text::clean;

/// What a line is cut to, in bytes.
const LINE_BYTES_MAX: usize = 1 << 10;

/// How many lines are kept.
const KEPT_MAX: usize = 5;

/// What is passed on in a minute. The server is made to wait before it wastes the machine.
const MINUTE: Duration = Duration::from_secs(60);
const MINUTE_LINES_MAX: usize = 600;
const MINUTE_BYTES_MAX: usize = 64 << 20;

/// Gets the name of a server and a line that it wrote. Called on the thread that serves all of
/// them, and so must not wait.
pub type Log = Arc<dyn Fn(&str, &str) + Send + Sync>;

/// The last lines.
#[derive(Debug, Clone, Default)]
pub(super) struct Complaints(Arc<Mutex<VecDeque<String>>>);

impl Complaints {
    /// What they say, if there are any.
    pub(super) fn text(&self) -> Option<String> {
        let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let lines: Vec<&str> = kept.iter().map(String::as_str).collect();
        (!lines.is_empty()).then(|| lines.join(" | "))
    }

    fn keep(&self, line: String) {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() == KEPT_MAX {
            kept.pop_front();
        }
        kept.push_back(line);
    }

    /// Passes on lines until there are no more.
    pub(super) async fn follow(self, mut pipe: impl AsyncRead + Unpin, server: String, log: Log) {
        let mut line = Vec::new();
        let mut chunk = vec![0; 16 << 10];
        let (mut minute, mut lines, mut bytes) = (Instant::now(), 0, 0);
        loop {
            let got = pipe.read(&mut chunk).await.unwrap_or(0);
            if bytes > MINUTE_BYTES_MAX {
                sleep_until(minute + MINUTE).await;
            }
            if minute.elapsed() > MINUTE {
                if lines > MINUTE_LINES_MAX {
                    let left_out = lines - MINUTE_LINES_MAX;
                    log(&server, &format!("({left_out} lines were left out)"));
                }
                (minute, lines, bytes) = (Instant::now(), 0, 0);
            }
            bytes += got;
            let mut give = |line: &mut Vec<u8>| {
                let text = clean(&String::from_utf8_lossy(line), LINE_BYTES_MAX);
                line.clear();
                if text.trim().is_empty() {
                    return;
                }
                lines += 1;
                if lines <= MINUTE_LINES_MAX {
                    log(&server, &text);
                }
                self.keep(text);
            };
            for byte in &chunk[..got] {
                match byte {
                    b'\n' => give(&mut line),
                    // The rest of a long line is dropped.
                    byte if line.len() < LINE_BYTES_MAX => line.push(*byte),
                    _ => {}
                }
            }
            if got == 0 {
                give(&mut line);
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn lines_are_passed_on_within_limits() {
        let text = format!("one\n{}\n\n\x1b[2Jtwo\nthree", "x".repeat(5_000));
        let lines = format!("{text}{}", "\nmore".repeat(1_000));
        let seen: Arc<Mutex<Vec<String>>> = Arc::default();
        let log: Log = {
            let seen = seen.clone();
            Arc::new(move |server, line| {
                seen.lock().expect("seen").push(format!("{server}: {line}"));
            })
        };
        let complaints = Complaints::default();
        complaints
            .clone()
            .follow(lines.as_bytes(), "s".into(), log.clone())
            .await;
        let seen = seen.lock().expect("seen");
        assert_eq!(seen[0], "s: one");
        assert_eq!(seen[1].len(), LINE_BYTES_MAX + 3);
        assert_eq!(seen[2..4], ["s:  [2Jtwo", "s: three"]);
        assert_eq!(seen.len(), MINUTE_LINES_MAX);
        assert_eq!(
            complaints.text().as_deref(),
            Some("more | more | more | more | more")
        );
        assert_eq!(Complaints::default().text(), None);
    }
}
