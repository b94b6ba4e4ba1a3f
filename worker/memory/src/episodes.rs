//! What was done, day by day: one file of JSON lines for each day (in UTC), in a directory or in an
//! S3-compatible object store.
//!
//! | file | what it owns |
//! |---|---|
//! | `spool.rs` | the days that are being written: lines appended to files of this machine |
//! | `place.rs` | the object store in which days are kept |
//!
//! Objects can't be appended to, and a whole one is put or none. So a line goes to a file first,
//! where a process that is killed leaves at most half of the last one behind; that is cut at the
//! next start. [`Episodes::flush`] puts the days that have grown into the store, whole.

mod place;
mod spool;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan};
use serde::Serialize;

use self::place::Place;
#[cfg(feature = "s3")]
pub use self::place::S3Options;
use self::spool::Spool;
use crate::error::{MemoryError, Result, invalid, io};

/// The longest line, in bytes.
pub const LINE_BYTES_MAX: usize = 16 << 10;
/// The largest day, in bytes; what comes then is counted.
pub const DAY_BYTES_MAX: u64 = 16 << 20;
/// The file by which a directory of days is locked.
const LOCK: &str = "lock";

/// How episodes are kept.
#[derive(Debug, Clone)]
pub struct EpisodeOptions {
    /// Where days are that are not in the store yet; one process for each directory.
    pub spool: PathBuf,
    /// Where days are kept.
    pub place: EpisodePlace,
    /// How long.
    pub days: u32,
    /// From which size of all days on the oldest go,
    pub bytes_high: u64,
    /// and down to which.
    pub bytes_low: u64,
}

/// Where days are kept.
#[derive(Debug, Clone)]
pub enum EpisodePlace {
    /// In a directory of one process; made with 0700 if it is not there, and refused if others can
    /// look into it.
    Directory(PathBuf),
    /// In a bucket.
    #[cfg(feature = "s3")]
    S3(S3Options),
}

/// A day that is kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct EpisodeDay {
    /// Which, in UTC.
    pub day: Date,
    /// How large it is.
    pub bytes: u64,
}

/// What the garbage collector did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct EpisodeGc {
    /// Days that were too old.
    pub expired: usize,
    /// Days that had to make room.
    pub evicted: usize,
    /// What is left, in bytes.
    pub bytes: u64,
}

/// The days. Everything may be called from any thread, and blocks; only `append` never waits for
/// the store.
#[derive(Debug)]
pub struct Episodes {
    options: EpisodeOptions,
    spool: Mutex<Spool>,
    /// One at a time works with the store; what each day was when it was put last.
    place: Mutex<(Place, BTreeMap<Date, u64>)>,
}

impl Episodes {
    /// Opens the days. Half a line that a killed process left is cut.
    pub fn open(options: EpisodeOptions) -> Result<Self> {
        if options.bytes_low > options.bytes_high {
            let (low, high) = (options.bytes_low, options.bytes_high);
            let why = format!("is {low}, more than the high one's {high}");
            return Err(invalid("episodes_bytes_low", why));
        }
        match &options.place {
            EpisodePlace::Directory(dir) => check_apart(&options.spool, dir)?,
            #[cfg(feature = "s3")]
            EpisodePlace::S3(_) => {}
        }
        Ok(Self {
            spool: Mutex::new(Spool::open(&options.spool)?),
            place: Mutex::new((Place::open(&options.place)?, BTreeMap::new())),
            options,
        })
    }

    /// Where days are kept, for people.
    pub fn place_name(&self) -> String {
        lock(&self.place).0.name().to_owned()
    }

    /// Writes down what happened at this time. `false` if the day is full.
    pub fn append(&self, time: Timestamp, episode: &impl Serialize) -> Result<bool> {
        let line = serde_json::to_string(episode);
        let line = line.map_err(|fault| invalid("episode", format!("is no JSON: {fault}")))?;
        if line.len() > LINE_BYTES_MAX {
            let bytes = line.len();
            let why = format!("has {bytes} bytes; the limit is {LINE_BYTES_MAX}");
            return Err(invalid("episode", why));
        }
        lock(&self.spool).append(day(time), &(line + "\n"))
    }

    /// Whether there is anything that is not in the store yet.
    pub fn is_behind(&self) -> Result<bool> {
        let place = lock(&self.place);
        let mut spool = lock(&self.spool);
        spool.settle()?;
        for date in spool.days()? {
            if spool.has_begun(date) || place.1.get(&date) != Some(&spool.size(date)?) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Puts the days that have grown into the store; answers to how many. A day that is over is
    /// then no longer in the spool.
    pub fn flush(&self, now: Timestamp) -> Result<usize> {
        let mut place = lock(&self.place);
        let (place, put) = &mut *place;
        if place.settle()? {
            put.clear();
        }
        let days = {
            let mut spool = lock(&self.spool);
            spool.settle()?;
            // What was put is not what such a file goes on from.
            for date in spool.take_begun() {
                put.remove(&date);
            }
            spool.days()?
        };
        let mut changed = 0;
        for date in days {
            let size = lock(&self.spool).size(date)?;
            if put.get(&date) != Some(&size) {
                if !put.contains_key(&date) {
                    self.merge(place, date)?;
                }
                let spool = lock(&self.spool);
                if spool.has_begun(date) {
                    // Somebody removed it a moment ago; the next time it is merged.
                    continue;
                }
                let text = spool.read(date)?;
                drop(spool);
                let size = text.len() as u64;
                place.put(date, text)?;
                put.insert(date, size);
                changed += 1;
            }
            if date < day(now) && lock(&self.spool).remove(date, put.get(&date).copied())? {
                put.remove(&date);
            }
        }
        Ok(changed)
    }

    /// Another spool may have begun the day: what the store has of it comes first.
    fn merge(&self, place: &Place, date: Date) -> Result<()> {
        match place.get(date)? {
            Some(kept) => lock(&self.spool).begin_with(date, &kept),
            None => Ok(()),
        }
    }

    /// The days that are kept, the oldest first.
    pub fn days(&self) -> Result<Vec<EpisodeDay>> {
        let mut days: BTreeMap<Date, u64> = lock(&self.place).0.list()?.into_iter().collect();
        let spool = lock(&self.spool);
        for date in spool.days()? {
            let bytes = spool.size(date)?;
            let day = days.entry(date).or_default();
            *day = bytes.max(*day);
        }
        let days = days.into_iter();
        Ok(days.map(|(day, bytes)| EpisodeDay { day, bytes }).collect())
    }

    /// What a day says; `None` if there is no such day.
    pub fn read(&self, date: Date) -> Result<Option<String>> {
        let kept = lock(&self.place).0.get(date)?;
        let spool = lock(&self.spool);
        let open = match spool.days()?.contains(&date) {
            true => Some(spool.read(date)?),
            false => None,
        };
        Ok(match (kept, open) {
            (Some(kept), Some(open)) if kept.starts_with(&open) => Some(kept),
            (Some(kept), Some(open)) if !open.starts_with(&kept) => Some(kept + &open),
            (kept, open) => open.or(kept),
        })
    }

    /// Removes days that are too old. If those that are left have too many bytes, removes the
    /// oldest of them, but never the newest.
    pub fn gc(&self, now: Timestamp) -> Result<EpisodeGc> {
        let place = &lock(&self.place).0;
        let oldest = day(now).checked_sub(i64::from(self.options.days).days());
        let oldest = oldest.unwrap_or(Date::MIN);
        // Days that never got into the store, since it is away or not allowed.
        let mut spool = lock(&self.spool);
        for date in spool.days()?.into_iter().filter(|date| *date < oldest) {
            let size = spool.size(date)?;
            spool.remove(date, Some(size))?;
        }
        drop(spool);
        let mut days = place.list()?;
        days.sort();
        let mut report = EpisodeGc {
            bytes: days.iter().map(|(_, bytes)| bytes).sum(),
            ..EpisodeGc::default()
        };
        let crowded = report.bytes > self.options.bytes_high;
        let newest = days.last().map(|(date, _)| *date);
        for (date, bytes) in days {
            let expired = date < oldest;
            let evicted = crowded && report.bytes > self.options.bytes_low && Some(date) != newest;
            if !expired && !evicted {
                continue;
            }
            place.remove(date)?;
            report.expired += usize::from(expired);
            report.evicted += usize::from(!expired);
            report.bytes -= bytes;
        }
        Ok(report)
    }
}

impl EpisodePlace {
    /// The host and port to which days are sent; none if that is this machine.
    #[must_use]
    pub fn remote(&self) -> Option<String> {
        match self {
            Self::Directory(_) => None,
            #[cfg(feature = "s3")]
            Self::S3(options) => options.remote(),
        }
    }
}

/// Days in the store have the names of those that are being written: in one directory they would
/// take each other's place.
fn check_apart(spool: &Path, dir: &Path) -> Result<()> {
    let real = |path: &Path| {
        crate::lock::make(path)?;
        fs::canonicalize(path).map_err(io(path))
    };
    let (spool, dir) = (real(spool)?, real(dir)?);
    if spool.starts_with(&dir) || dir.starts_with(&spool) {
        let why = format!(
            "is {}, and {} is where days are written first: neither may be in the other; name \
             another directory",
            dir.display(),
            spool.display()
        );
        return Err(invalid("episodes_dir", why));
    }
    Ok(())
}

fn day(time: Timestamp) -> Date {
    time.to_zoned(TimeZone::UTC).date()
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The name of a day's file, and the day of such a name.
fn file_name(date: Date) -> String {
    format!("{date}.ndjson")
}

fn date_of(name: &str) -> Option<Date> {
    let date = name.strip_suffix(".ndjson")?.parse::<Date>().ok()?;
    (file_name(date) == name).then_some(date)
}

fn away(place: &str, why: impl std::fmt::Display) -> MemoryError {
    MemoryError::Unavailable {
        store: place.to_owned(),
        why: why.to_string(),
        retry_after_ms: 60_000,
    }
}
