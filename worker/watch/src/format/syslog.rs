//! Lines with a time, a host and a program in front, and text without.

use super::message;
use crate::event::{Event, Kind, Severity};
use crate::time::Clock;

/// Longest name of a program.
const PROGRAM_BYTES_MAX: usize = 64;

pub(super) fn read<'a>(line: &'a str, clock: &Clock) -> Option<Event<'a>> {
    let (priority, rest) = priority(line);
    let mut event = Event {
        kind: Kind::Log,
        severity: priority.map(|number| Severity::of_syslog(number % 8)),
        ..Event::default()
    };
    if let Some((number, text)) = kmsg(line) {
        event.severity = Some(Severity::of_syslog(number % 8));
        event.process = if number / 8 == 0 { "kernel" } else { "" }.into();
        event.message = text.into();
    } else if priority.is_some()
        && let Some(rest) = rest.strip_prefix("1 ")
    {
        rfc5424(&mut event, rest, clock)?;
    } else if let Some((time, rest)) = clock.syslog_prefix(rest).or_else(|| clock.iso_prefix(rest))
    {
        event.time = Some(time);
        bsd(&mut event, rest.trim_start());
    } else if let Some(text) = kernel(rest) {
        event.process = "kernel".into();
        event.message = text.into();
    } else if priority.is_some() {
        bsd(&mut event, rest);
    } else {
        return None;
    }
    message::read(&mut event);
    Some(event)
}

/// Text without any of that; perhaps with a program in front. Nobody vouches for the name: whoever
/// has a line in the file could write it, so that no address is taken from what it says.
pub(super) fn plain(line: &str) -> Event<'_> {
    let mut event = Event {
        kind: Kind::Log,
        ..Event::default()
    };
    let (program, text) = program(line).unwrap_or(("", line));
    event.process = program.into();
    event.message = text.into();
    message::unvouched(&mut event);
    event
}

/// `<34>`
fn priority(line: &str) -> (Option<u8>, &str) {
    let split = line.strip_prefix('<').and_then(|rest| rest.split_once('>'));
    match split.map(|(number, rest)| (number.parse(), rest)) {
        Some((Ok(number), rest)) if number < 192 => (Some(number), rest),
        _ => (None, line),
    }
}

/// `6,339,5140900,-;text`, as `/dev/kmsg` has it: priority, number, microseconds since the start of
/// the machine, flags. Facility 0 is the kernel's own.
fn kmsg(line: &str) -> Option<(u8, &str)> {
    let (head, text) = line.split_once(';')?;
    let mut fields = head.split(',');
    let priority = fields.next()?.parse().ok()?;
    let number = |field: Option<&str>| field?.parse::<u64>().ok();
    number(fields.next())?;
    number(fields.next())?;
    fields.next()?;
    Some((priority, text))
}

/// `TIME HOST PROGRAM PID MSGID [DATA] TEXT`
fn rfc5424<'a>(event: &mut Event<'a>, rest: &'a str, clock: &Clock) -> Option<()> {
    let mut fields = rest.splitn(6, ' ');
    let time = fields.next()?;
    event.time = clock.iso(time);
    (event.time.is_some() || time == "-").then_some(())?;
    event.host = fields.next()?.into();
    event.process = fields.next()?.into();
    let (_pid, _id) = (fields.next()?, fields.next()?);
    event.message = after_data(fields.next()?).into();
    Some(())
}

/// What stands behind `-` or `[id key="value"][...]`.
fn after_data(text: &str) -> &str {
    if let Some(text) = text.strip_prefix('-') {
        return text.trim_start();
    }
    let mut quoted = false;
    let mut escaped = false;
    let mut depth = 0;
    for (at, c) in text.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' if quoted => escaped = true,
            '"' => quoted = !quoted,
            '[' if !quoted => depth += 1,
            ']' if !quoted => depth -= 1,
            _ if depth == 0 => return text[at..].trim_start(),
            _ => {}
        }
    }
    ""
}

/// `HOST PROGRAM[PID]: TEXT`, or without the host.
fn bsd<'a>(event: &mut Event<'a>, rest: &'a str) {
    if let Some((host, after)) = rest.split_once(' ')
        && !host.ends_with(':')
        && let Some((name, text)) = program(after)
    {
        event.host = host.into();
        event.process = name.into();
        event.message = text.into();
    } else if let Some((name, text)) = program(rest) {
        event.process = name.into();
        event.message = text.into();
    } else {
        event.message = rest.into();
    }
    if event.process == "kernel"
        && let Some(text) = kernel(&event.message)
    {
        event.message = text.to_owned().into();
    }
}

/// `name[pid]: text` or `name: text`
fn program(text: &str) -> Option<(&str, &str)> {
    let (name, rest) = text.split_once(": ").or_else(|| text.split_once(":\t"))?;
    let name = match name.split_once('[') {
        Some((name, pid)) => pid
            .strip_suffix(']')?
            .bytes()
            .all(|byte| byte.is_ascii_digit())
            .then_some(name)?,
        None => name,
    };
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"-_./@()".contains(&byte);
    let good = !name.is_empty() && name.len() <= PROGRAM_BYTES_MAX && name.bytes().all(fits);
    good.then_some((name, rest))
}

/// `[12345.678901] text`, `kernel: text`, or both.
fn kernel(text: &str) -> Option<&str> {
    let named = text.strip_prefix("kernel: ");
    let rest = named.unwrap_or(text);
    let stamped = rest.strip_prefix('[').and_then(|rest| {
        let (time, rest) = rest.split_once(']')?;
        let (seconds, micros) = time.trim_start().split_once('.')?;
        let number = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
        (number(seconds) && number(micros)).then(|| rest.trim_start())
    });
    stamped.or(named)
}
