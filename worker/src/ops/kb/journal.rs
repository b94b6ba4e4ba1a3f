//! `kb journal`: what the machine wrote down about itself, as knowledge.

use std::ops::ControlFlow;

use fazai_memory::ingest::DOCUMENTS_MAX;
use fazai_memory::{Collection, IngestOptions, Journal};
use fazai_protocol::{Done, ErrorCode, KbCall, WireError};
use fazai_sandbox::Stop;
use fazai_tools::{Action, Ended, Exec, How, Piece, RunError, Source, Why, run};
use jiff::{Timestamp, tz::TimeZone};
use serde_json::json;

use super::super::Context;
use super::super::admit::admit;
use super::super::shell::{how, launcher, place};
use super::add::{Wishes, finished, summary, told, warned};
use crate::errors;
use crate::memory;

/// How many messages are read, the newest ones.
const MESSAGES_MAX: usize = 100_000;
/// How much journalctl may write, in bytes.
const BYTES_MAX: u64 = 128 << 20;
/// A longer line is no message.
const LINE_BYTES_MAX: usize = 256 << 10;
/// What journalctl says of why there is nothing, in bytes.
const COMPLAINT_BYTES_MAX: usize = 512;
/// How many days are read, and at most; with today.
const DAYS: u32 = 2;
const DAYS_MAX: u32 = 31;
/// By which all of it can be found.
const TAG: &str = "journal";

/// What journalctl says.
#[derive(Default)]
struct Reading {
    journal: Journal,
    line: String,
    complaint: String,
}

/// The journal is read as the worker, and it is for the user alone: it names who did what.
pub(super) async fn read(
    context: &Context,
    unit: Option<&str>,
    call: &KbCall,
) -> Result<Done, WireError> {
    context.administers("have the journal read", "use sudo")?;
    let argv = argv(unit, call.params.days.unwrap_or(DAYS))?;
    let _quota = context.quota()?;
    let private = KbCall {
        params: fazai_protocol::KbParams {
            private: true,
            ..call.params.clone()
        },
        ..call.clone()
    };
    let wishes = Wishes::new(context, &private)?;
    let most = context.worker.settings().policy.commands_max;
    let action = Action::Exec(Exec::plain(argv, "/"));
    let command = admit(context, None, action, call.stream).await?;
    let write = memory::write(Collection::Knowledge);
    let write = admit(context, None, write, call.stream).await?;
    let place = place(context, most).await?;
    let way = How {
        output_bytes_max: BYTES_MAX,
        merge_stderr: false,
        ..how(context, launcher(context)?, &command)
    };
    let stop = Stop::new().map_err(|fault| errors::out_of_descriptors(&fault))?;
    let stopping = stop.clone();
    let mut running = tokio::task::spawn_blocking(move || {
        let _place = place;
        let mut reading = Reading::default();
        let ended = run(command, &way, Some(&stopping), &mut |piece| {
            reading.hear(&piece);
            ControlFlow::Continue(())
        });
        (ended, reading)
    });
    let joined = tokio::select! {
        joined = &mut running => joined,
        () = context.told_to_stop() => {
            stop.stop();
            running.await
        }
    };
    let (ended, mut reading) = joined.map_err(|_| super::super::panicked("the journal"))?;
    let ended = ended.map_err(|fault| match fault {
        RunError::NotFound { .. } => {
            let message = "there is no journalctl here, so that no journal can be read";
            WireError::new(ErrorCode::ToolUnavailable, message).with_hint(
                "without systemd the logs are files: `fazai kb add --private /var/log/syslog`",
            )
        }
        fault => errors::from_run(&fault),
    })?;
    if ended.why == Why::Stopped {
        return Err(context.stop_error());
    }
    if reading.journal.messages == 0 {
        return Err(nothing(&ended, &reading.complaint, unit));
    }
    if let Some(fault) = fault(&ended, &reading.complaint) {
        context
            .warn(call.stream, format!("not all was read: {fault}"))
            .await;
    }
    if ended.cut || ended.why != Why::Finished || reading.journal.messages >= MESSAGES_MAX {
        reading.journal.drop_oldest_day();
        let text = format!(
            "there is more than is read at once ({MESSAGES_MAX} messages); of several days the \
             oldest was left out: name a unit, or fewer days"
        );
        context.warn(call.stream, text).await;
    }
    let journal = reading.journal;
    if journal.left_out > 0 {
        let text = format!(
            "{} messages were left out: of more than {DOCUMENTS_MAX} units and days the rest is not \
             read; name a unit, or fewer days",
            journal.left_out
        );
        context.warn(call.stream, text).await;
    }
    let left_out = journal.left_out;
    let (messages, unread) = (journal.messages, journal.unread);
    let report = told(context, call.stream, move |memory, progress| {
        let mut options: IngestOptions = wishes.options(memory);
        if !options.tags.iter().any(|tag| tag == TAG) {
            options.tags.push(TAG.to_owned());
        }
        finished([write], memory.ingest_journal(&journal, &options, progress))
    });
    let report = report.await?;
    if report.stopped {
        return Err(context.stop_error());
    }
    warned(context, call.stream, &report).await;
    let text = format!(
        "{messages} messages; units and days as {}",
        summary(&report)
    );
    let mut data = json!(report);
    data["messages"] = json!(messages);
    data["unread"] = json!(unread);
    data["left_out"] = json!(left_out);
    Ok(context.done_with(text, data))
}

/// Whole days in UTC, so that a second run finds the same ones.
fn argv(unit: Option<&str>, days: u32) -> Result<Vec<String>, WireError> {
    if !(1..=DAYS_MAX).contains(&days) {
        let message = format!("params.days is {days}; it goes from 1 to {DAYS_MAX}");
        return Err(WireError::new(ErrorCode::InvalidParams, message));
    }
    let today = Timestamp::now().to_zoned(TimeZone::UTC).date();
    let since = today.checked_sub(jiff::Span::new().days(i64::from(days) - 1));
    let since = since.and_then(|day| day.to_zoned(TimeZone::UTC));
    let since = since.map_or(0, |day| day.timestamp().as_second());
    let mut argv = vec![
        "journalctl".to_owned(),
        "--no-pager".to_owned(),
        "--quiet".to_owned(),
        "--output=json".to_owned(),
        format!("--since=@{since}"),
        format!("--lines={MESSAGES_MAX}"),
    ];
    if let Some(unit) = unit {
        let fits = |c: char| c.is_ascii_alphanumeric() || "@_.:\\-*".contains(c);
        if unit.is_empty() || unit.len() > 256 || unit.starts_with('-') || !unit.chars().all(fits) {
            let head = &unit[..unit.floor_char_boundary(64)];
            let message = format!("{head:?} is no name of a unit");
            return Err(WireError::new(ErrorCode::InvalidParams, message)
                .with_hint("such as ssh.service; `systemctl list-units` has them"));
        }
        argv.push(format!("--unit={unit}"));
    }
    Ok(argv)
}

impl Reading {
    fn hear(&mut self, piece: &Piece) {
        if piece.from != Source::Stdout {
            let room = COMPLAINT_BYTES_MAX.saturating_sub(self.complaint.len());
            let text = &piece.text[..piece.text.floor_char_boundary(room)];
            self.complaint.push_str(text);
            return;
        }
        if self.line.len() <= LINE_BYTES_MAX {
            self.line.push_str(&piece.text);
        }
        if piece.ends_line {
            if !self.line.is_empty() {
                self.journal.line(&self.line);
            }
            self.line.clear();
        }
    }
}

/// How journalctl failed, if it did; where it was stopped since there was too much, it did not.
fn fault(ended: &Ended, complaint: &str) -> Option<String> {
    let how = match (ended.why, ended.exit_code, ended.signal) {
        (Why::Finished, Some(0), _) => return None,
        (Why::Finished, Some(code), _) => format!("journalctl failed with the exit code {code}"),
        (Why::Finished, None, Some(signal)) => format!("journalctl was ended by signal {signal}"),
        (Why::TimedOut, ..) => "journalctl took too long".to_owned(),
        _ => return None,
    };
    Some(match complaint.trim() {
        "" => how,
        said => format!("{how}: {said}"),
    })
}

/// Why there was nothing to read.
fn nothing(ended: &Ended, complaint: &str, unit: Option<&str>) -> WireError {
    if let Some(fault) = fault(ended, complaint) {
        return WireError::new(ErrorCode::CommandFailed, fault)
            .with_hint("try it by hand: `journalctl --output=json --lines=1`");
    }
    let of = unit.map(|unit| format!(" of {unit}")).unwrap_or_default();
    let said = match complaint.trim() {
        "" => String::new(),
        said => format!(": {said}"),
    };
    let message = format!("the journal has no messages{of} in these days{said}");
    WireError::new(ErrorCode::InvalidParams, message)
        .with_hint("`journalctl --list-boots` shows what is kept; the worker must be root or in the group systemd-journal")
}

#[cfg(test)]
mod tests {
    use fazai_tools::Hash;

    use super::*;

    fn ended(why: Why, exit_code: Option<i32>, signal: Option<i32>) -> Ended {
        Ended {
            exit_code,
            signal,
            why,
            bytes: 0,
            cut: false,
            output_sha256: Hash::of(b""),
        }
    }

    #[test]
    fn journalctl_that_fails_is_no_journal_without_messages() {
        let complaint = "Failed to open journal: Permission denied\n";
        let failed = nothing(&ended(Why::Finished, Some(1), None), complaint, None);
        assert_eq!(failed.code, ErrorCode::CommandFailed);
        assert!(
            failed.message.contains("exit code 1: Failed to open"),
            "{failed}"
        );
        let killed = nothing(&ended(Why::Finished, None, Some(9)), "", None);
        assert!(killed.message.contains("signal 9"), "{killed}");
        let empty = nothing(&ended(Why::Finished, Some(0), None), "", Some("x.service"));
        assert_eq!(empty.code, ErrorCode::InvalidParams);
        assert!(
            empty.message.contains("no messages of x.service"),
            "{empty}"
        );
    }
}
