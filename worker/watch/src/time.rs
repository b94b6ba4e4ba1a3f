//! When something happened, out of whatever a log calls a time.

use std::fmt;

use jiff::civil::DateTime;
use jiff::tz::{Offset, TimeZone};
use serde::{Serialize, Serializer};

/// Microseconds since 1970 in UTC.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(pub i64);

/// Microseconds in a second.
pub const SECOND: i64 = 1_000_000;

impl Timestamp {
    /// The machine's clock.
    #[must_use]
    pub fn now() -> Self {
        Self(jiff::Timestamp::now().as_microsecond())
    }

    /// So many seconds later, or earlier.
    #[must_use]
    pub fn plus_s(self, seconds: i64) -> Self {
        Self(self.0.saturating_add(seconds.saturating_mul(SECOND)))
    }

    /// Whole seconds since 1970.
    #[must_use]
    pub fn seconds(self) -> i64 {
        self.0.div_euclid(SECOND)
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match jiff::Timestamp::from_microsecond(self.0) {
            Ok(time) => write!(f, "{time}"),
            Err(_) => write!(f, "{}", self.0),
        }
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// What a log leaves out: the zone, and for syslog the year.
#[derive(Debug, Clone)]
pub struct Clock {
    zone: TimeZone,
    /// None: the machine's, at each line.
    now: Option<Timestamp>,
}

impl Clock {
    /// Times without a zone are of `zone`; those without a year are the latest before a day
    /// after `now`.
    #[must_use]
    pub fn new(zone: TimeZone, now: Timestamp) -> Self {
        Self {
            zone,
            now: Some(now),
        }
    }

    /// The machine's zone and time.
    #[must_use]
    pub fn of_machine() -> Self {
        Self {
            zone: TimeZone::system(),
            now: None,
        }
    }

    /// `2023-09-18T06:13:41.532140+0000` and its relatives: a blank for the `T`, a comma before
    /// the fraction, `Z`, `+01`, `+0100`, `+01:00` or no zone. Text after it is an error.
    #[must_use]
    pub fn iso(&self, text: &str) -> Option<Timestamp> {
        let (time, rest) = self.iso_prefix(text)?;
        rest.trim().is_empty().then_some(time)
    }

    /// The same at the beginning of a text; what follows comes back.
    #[must_use]
    pub fn iso_prefix<'a>(&self, text: &'a str) -> Option<(Timestamp, &'a str)> {
        let bytes = text.as_bytes();
        let separators = [(4, b'-'), (7, b'-'), (13, b':'), (16, b':')];
        if bytes.len() < 19
            || !separators.iter().all(|&(at, byte)| bytes[at] == byte)
            || !matches!(bytes[10], b'T' | b't' | b' ')
        {
            return None;
        }
        let two = |at: usize| digits(&bytes[at..at + 2]).and_then(|n| i8::try_from(n).ok());
        let year = i16::try_from(digits(&bytes[..4])?).ok()?;
        // A leap second is counted as the one before it.
        let second = two(17)?.min(59);
        let date = DateTime::new(year, two(5)?, two(8)?, two(11)?, two(14)?, second, 0).ok()?;
        let (micros, at) = fraction(bytes, 19);
        let (offset, at) = zone(bytes, at)?;
        let time = self.instant(date, offset)?;
        Some((Timestamp(time.0 + micros), text.get(at..)?))
    }

    /// `10/Oct/2023:13:55:36 -0700`, as web servers write it.
    #[must_use]
    pub fn access(&self, text: &str) -> Option<Timestamp> {
        let bytes = text.as_bytes();
        if bytes.len() < 20 || bytes[2] != b'/' || bytes[6] != b'/' || bytes[11] != b':' {
            return None;
        }
        let two = |at: usize| digits(&bytes[at..at + 2]).and_then(|n| i8::try_from(n).ok());
        let year = i16::try_from(digits(&bytes[7..11])?).ok()?;
        let month = month(&bytes[3..6])?;
        let date = DateTime::new(
            year,
            month,
            two(0)?,
            two(12)?,
            two(15)?,
            two(18)?.min(59),
            0,
        )
        .ok()?;
        let (offset, at) = zone(bytes, 20)?;
        (at == bytes.len()).then_some(())?;
        self.instant(date, offset)
    }

    /// `Nov  3 04:12:07` at the beginning of a text, as syslog has it: no year, no zone.
    #[must_use]
    pub fn syslog_prefix<'a>(&self, text: &'a str) -> Option<(Timestamp, &'a str)> {
        let bytes = text.as_bytes();
        if bytes.len() < 15 || bytes[3] != b' ' || bytes[9] != b':' || bytes[12] != b':' {
            return None;
        }
        let two = |at: usize| digits(&bytes[at..at + 2]).and_then(|n| i8::try_from(n).ok());
        let day = match bytes[4] {
            b' ' => i8::try_from(digits(&bytes[5..6])?).ok()?,
            _ => two(4)?,
        };
        let month = month(&bytes[..3])?;
        let now = self.now.unwrap_or_else(Timestamp::now);
        let latest = now.plus_s(24 * 60 * 60);
        let year = jiff::Timestamp::from_microsecond(latest.0).ok()?;
        let year = self.zone.to_datetime(year).year();
        // The 29th of February is not in every year.
        (0..8).find_map(|back| {
            let time = DateTime::new(
                year - back,
                month,
                day,
                two(7)?,
                two(10)?,
                two(13)?.min(59),
                0,
            );
            let time = self.instant(time.ok()?, None)?;
            (time <= latest).then_some((time, &text[15..]))
        })
    }

    fn instant(&self, date: DateTime, offset: Option<Offset>) -> Option<Timestamp> {
        let time = match offset {
            Some(offset) => offset.to_timestamp(date).ok()?,
            None => self.zone.to_ambiguous_timestamp(date).compatible().ok()?,
        };
        Some(Timestamp(time.as_microsecond()))
    }
}

/// A number since 1970, in seconds, milliseconds, microseconds or nanoseconds: whichever lies
/// between the years 2001 and 5138.
#[must_use]
pub fn epoch(number: f64) -> Option<Timestamp> {
    let micros = match number {
        1e9..1e11 => number * 1e6,
        1e12..1e14 => number * 1e3,
        1e15..1e17 => number,
        1e18..1e20 => number / 1e3,
        _ => return None,
    };
    #[expect(clippy::cast_possible_truncation, reason = "at most 1e17")]
    Some(Timestamp(micros as i64))
}

fn digits(bytes: &[u8]) -> Option<u16> {
    bytes.iter().try_fold(0u16, |number, byte| {
        let digit = byte.checked_sub(b'0').filter(|digit| *digit < 10)?;
        Some(number * 10 + u16::from(digit))
    })
}

fn month(name: &[u8]) -> Option<i8> {
    const NAMES: &[u8] = b"janfebmaraprmayjunjulaugsepoctnovdec";
    let at = NAMES
        .chunks(3)
        .position(|known| known.eq_ignore_ascii_case(name))?;
    i8::try_from(at + 1).ok()
}

/// `.532140` or `,532140`: as microseconds, and where it ends.
fn fraction(bytes: &[u8], at: usize) -> (i64, usize) {
    if !matches!(bytes.get(at), Some(b'.' | b',')) {
        return (0, at);
    }
    let rest = &bytes[at + 1..];
    let count = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let mut micros = 0;
    for place in 0..6 {
        let digit = rest[..count].get(place).map_or(0, |byte| byte - b'0');
        micros = micros * 10 + i64::from(digit);
    }
    (micros, at + 1 + count)
}

/// A zone, or none, and where it ends; `None` if it is not one.
fn zone(bytes: &[u8], at: usize) -> Option<(Option<Offset>, usize)> {
    let rest = bytes.get(at..).unwrap_or_default();
    let blank = usize::from(matches!(rest, [b' ', b'+' | b'-', b'0'..=b'9', ..]));
    let rest = &rest[blank..];
    let sign = match rest.first() {
        Some(b'Z' | b'z') => return Some((Some(Offset::UTC), at + blank + 1)),
        Some(b'+') => 1,
        Some(b'-') => -1,
        _ => return Some((None, at)),
    };
    let two = |at: usize| digits(rest.get(at..at + 2)?).map(i32::from);
    let hours = two(1)?;
    let (minutes, end) = match rest.get(3) {
        Some(b':') => (two(4)?, 6),
        Some(byte) if byte.is_ascii_digit() => (two(3)?, 5),
        _ => (0, 3),
    };
    let offset = Offset::from_seconds(sign * (hours * 3600 + minutes * 60)).ok()?;
    Some((Some(offset), at + blank + end))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn clock() -> Clock {
        let zone = TimeZone::fixed(Offset::from_seconds(-3 * 3600).unwrap());
        let now: jiff::Timestamp = "2026-01-05T12:00:00Z".parse().unwrap();
        Clock::new(zone, Timestamp(now.as_microsecond()))
    }

    #[track_caller]
    fn check(time: Option<Timestamp>, expected: &str) {
        let expected: jiff::Timestamp = expected.parse().unwrap();
        assert_eq!(time, Some(Timestamp(expected.as_microsecond())));
    }

    #[test]
    fn iso_times_of_all_tools_are_read() {
        for (text, expected) in [
            (
                "2023-09-18T06:13:41.532140+0000",
                "2023-09-18T06:13:41.53214Z",
            ),
            (
                "2023-09-18T06:13:41.532140-0330",
                "2023-09-18T09:43:41.53214Z",
            ),
            ("2025-02-17T21:14:03.88+01:00", "2025-02-17T20:14:03.88Z"),
            (
                "2022-06-08T15:33:29.911123456Z",
                "2022-06-08T15:33:29.911123Z",
            ),
            ("2024-07-07 03:40:11,882", "2024-07-07T06:40:11.882Z"),
            ("2024-07-07 03:40:11 +02", "2024-07-07T01:40:11Z"),
            ("2016-12-31T23:59:60Z", "2016-12-31T23:59:59Z"),
        ] {
            check(clock().iso(text), expected);
        }
    }

    #[test]
    fn what_is_no_time_is_none() {
        for text in [
            "",
            "2023",
            "2023-13-18T06:13:41Z",
            "2023-02-30T06:13:41Z",
            "2023-09-18T25:13:41Z",
            "2023-09-18T06:13:41Zjunk",
            "2023-09-18T06:13:41+9",
            "2023-09-18T06:13:41+99:00",
            "aaaa-bb-ccTdd:ee:ff",
            "2023-09-18Té6:13:41",
            "９999-09-18T06:13:41",
        ] {
            assert_eq!(clock().iso(text), None, "{text}");
        }
    }

    #[test]
    fn the_year_that_syslog_leaves_out_is_the_latest_possible_one() {
        let of = |text| clock().syslog_prefix(text).map(|(time, _)| time);
        check(of("Jan  5 08:00:00 host x"), "2026-01-05T11:00:00Z");
        check(of("Jan  6 08:00:00 host x"), "2026-01-06T11:00:00Z");
        check(of("Dec 31 23:59:59 host x"), "2026-01-01T02:59:59Z");
        check(of("Jan  9 08:00:00 host x"), "2025-01-09T11:00:00Z");
        check(of("Feb 29 00:00:00 host x"), "2024-02-29T03:00:00Z");
        assert_eq!(of("Xyz  5 08:00:00"), None);
    }

    #[test]
    fn web_servers_and_numbers() {
        check(
            clock().access("10/Oct/2023:13:55:36 -0700"),
            "2023-10-10T20:55:36Z",
        );
        assert_eq!(clock().access("10/Oct/2023:13:55:36 -0700x"), None);
        for number in [1.7e9, 1.7e12, 1.7e15, 1.7e18] {
            assert_eq!(epoch(number), Some(Timestamp(1_700_000_000_000_000)));
        }
        assert_eq!(epoch(12345.0), None);
    }
}
