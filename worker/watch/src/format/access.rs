//! Access lines of nginx and Apache: common, combined, and with a virtual host in front.

use std::borrow::Cow;

use super::eve::address;
use crate::event::{Category, Endpoint, Event, Http, Kind, Severity};
use crate::time::Clock;

pub(super) fn read<'a>(line: &'a str, clock: &Clock) -> Option<Event<'a>> {
    let open = memchr::memmem::find(line.as_bytes(), b" [")?;
    let (front, rest) = (&line[..open], &line[open + 2..]);
    // A site in front may look like an address: it is what the client asked for. Names of users may
    // have blanks.
    let (first, behind) = front.split_once(' ')?;
    let (second, behind_second) = behind.split_once(' ')?;
    let (site, ip, rest_of_front) = match address(second) {
        Some(ip) => (first, ip, behind_second),
        None => ("", address(first)?, behind),
    };
    // Nobody has told names this way for decades; anything else is another kind of line.
    let user = rest_of_front.strip_prefix("- ")?;
    let (time, rest) = rest.split_once(']')?;
    let time = clock.access(time)?;
    let (request, rest) = quoted(rest.trim_start())?;
    let mut numbers = rest.trim_start().splitn(3, ' ');
    let status = numbers.next()?.parse().ok()?;
    let (_size, rest) = (numbers.next(), numbers.next().unwrap_or_default());
    let (referrer, rest) = quoted(rest).unwrap_or_default();
    let (agent, _) = quoted(rest.trim_start()).unwrap_or_default();
    // Bytes that are no HTTP have no blanks; the URL may have some.
    let (method, target) = request.split_once(' ').unwrap_or(("", request));
    let url = match target.rsplit_once(' ') {
        Some((url, protocol)) if protocol.starts_with("HTTP/") => url,
        _ => target,
    };
    let dash = |text: &'a str| Cow::Borrowed(if text == "-" { "" } else { text });
    Some(Event {
        time: Some(time),
        kind: Kind::Http,
        severity: Some(severity(status)),
        category: Some(if status == 429 {
            Category::Dos
        } else {
            Category::Web
        }),
        answered: true,
        source: Endpoint {
            ip: Some(ip),
            port: None,
        },
        user: dash(user),
        http: Some(Http {
            method: method.into(),
            url: url.into(),
            host: site.split(':').next().unwrap_or_default().into(),
            agent: dash(agent),
            referrer: dash(referrer),
            status,
        }),
        message: request.into(),
        ..Event::default()
    })
}

fn severity(status: u16) -> Severity {
    match status {
        404 | 499 => Severity::Info,
        400..=498 => Severity::Low,
        500..=599 => Severity::Medium,
        _ => Severity::Info,
    }
}

/// The text between quotes, in which a backslash may hide one, and what follows.
fn quoted(text: &str) -> Option<(&str, &str)> {
    let inner = text.strip_prefix('"')?;
    let mut from = 0;
    loop {
        let at = from + memchr::memchr2(b'"', b'\\', inner.as_bytes().get(from..)?)?;
        if inner.as_bytes()[at] == b'"' {
            return Some((&inner[..at], &inner[at + 1..]));
        }
        from = at + 2;
    }
}
