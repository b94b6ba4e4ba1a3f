//! What may be spent and what was: reserved before a request is sent, settled when it is over.
//!
//! | file | what it owns |
//! |---|---|
//! | `limits.rs` | amounts, limits, and whether one more fits |
//! | `log.rs` | the file: one checksummed line for each reservation and each settlement |
//!
//! A reservation is in the file before anything is sent, so that a `kill -9` loses nothing: what was
//! not settled then counts in full at the next start. The operating system has the line at once;
//! [`Ledger::sync`] waits until the disk has it, while the request is on its way.
//!
//! Days and months are those of UTC, as providers count them.

mod limits;
mod log;

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;

pub use self::limits::{Amount, Cap, Limits, Refusal, Scope, Unit, Warning};
use self::limits::{Day, Spent};
use self::log::{Line, Log};

/// Why nothing may be spent.
#[derive(Debug, thiserror::Error)]
pub enum BudgetError {
    /// It would be more than is left.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// There is a limit in money, and nobody knows what this model costs.
    #[error(
        "a limit in money holds, and {provider} has no price for {model}; add one to the table of prices"
    )]
    NoPrice {
        /// Who would be asked.
        provider: String,
        /// For which model.
        model: String,
    },
    /// Another process has the file.
    #[error("the budget in {0} is in use by another worker")]
    InUse(PathBuf),
    /// The file is not what was written.
    #[error("{path}:{line}: the budget is damaged: {why}; move the file away to begin a new one")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// The line, counted from 1.
        line: usize,
        /// What is wrong with it.
        why: String,
    },
    /// The file can't be read or written.
    #[error("the budget in {path} can't be kept: {error}")]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        error: std::io::Error,
    },
}

/// What was spent, shared by everybody who spends.
#[derive(Debug)]
pub struct Ledger(Mutex<State>);

/// Something that was set aside; what is not settled when this goes away is settled then, with what
/// [`Reservation::so_far`] was told last.
#[derive(Debug)]
pub struct Reservation {
    ledger: Arc<Ledger>,
    id: u64,
    so_far: Amount,
    /// Limits of which most is gone.
    pub warnings: Vec<Warning>,
}

#[derive(Debug)]
struct State {
    log: Log,
    next: u64,
    /// What is set aside: whose, when, how much.
    open: HashMap<u64, (Day, String, Amount)>,
    /// What was spent or set aside, by day and user.
    days: BTreeMap<Day, BTreeMap<String, Amount>>,
}

impl Ledger {
    /// Opens the budget of a directory, or begins one.
    ///
    /// # Errors
    /// [`BudgetError`] if another process has it, or it can't be read.
    pub fn open(directory: &Path, now: Timestamp) -> Result<Arc<Self>, BudgetError> {
        let mut state = State {
            log: Log::lock(directory)?,
            next: 1,
            open: HashMap::new(),
            days: BTreeMap::new(),
        };
        let lines = state.log.read()?;
        for line in lines {
            state.take(line);
        }
        // Whoever set these aside is gone, and may have been answered.
        let mut left: Vec<_> = state
            .open
            .iter()
            .map(|(id, (.., amount))| (*id, *amount))
            .collect();
        left.sort_unstable_by_key(|(id, _)| *id);
        for (id, amount) in left {
            state.settle(id, amount)?;
        }
        state.forget(Day::of(now));
        state.shorten_if_long()?;
        state.log.sync_handle().sync()?;
        Ok(Arc::new(Self(Mutex::new(state))))
    }

    /// Sets an amount aside, if it fits every limit.
    ///
    /// # Errors
    /// [`BudgetError::Refused`] with the limit and when it is reset; other ones if it can't be
    /// recorded: what can't be recorded is not spent.
    pub fn reserve(
        self: &Arc<Self>,
        user: &str,
        amount: Amount,
        limits: &Limits,
        now: Timestamp,
    ) -> Result<Reservation, BudgetError> {
        let mut state = self.state();
        let day = Day::of(now);
        let warnings = limits.check(&state.spent(user, day), amount, day)?;
        let id = state.next;
        let line = Line::Reserve {
            id,
            day,
            user: user.to_owned(),
            amount,
        };
        state.log.append(&line)?;
        state.take(line);
        state.forget(day);
        Ok(Reservation {
            ledger: Arc::clone(self),
            id,
            so_far: Amount::default(),
            warnings,
        })
    }

    /// Whether an amount would fit now, without setting it aside.
    ///
    /// # Errors
    /// The limit that it does not fit.
    pub fn check(
        &self,
        user: &str,
        amount: Amount,
        limits: &Limits,
        now: Timestamp,
    ) -> Result<Vec<Warning>, Refusal> {
        let day = Day::of(now);
        limits.check(&self.state().spent(user, day), amount, day)
    }

    /// What was spent or set aside by this user today, this month, and by all today and this month.
    #[must_use]
    pub fn spent(&self, user: &str, now: Timestamp) -> [Amount; 4] {
        let spent = self.state().spent(user, Day::of(now));
        [spent.user_day, spent.user_month, spent.day, spent.month]
    }

    /// Waits until the disk has all that was written. Blocks.
    ///
    /// # Errors
    /// [`BudgetError::Io`].
    pub fn sync(&self) -> Result<(), BudgetError> {
        // Not under the lock: others may go on meanwhile.
        let handle = self.state().log.sync_handle();
        handle.sync()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Reservation {
    /// Remembers what was spent until now, in case that nobody comes to settle it.
    pub fn so_far(&mut self, amount: Amount) {
        self.so_far = amount;
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        // If it can't be written, the file still has the reservation, which counts in full.
        let _ = self.ledger.state().settle(self.id, self.so_far);
    }
}

impl State {
    fn take(&mut self, line: Line) {
        match line {
            Line::Reserve {
                id,
                day,
                user,
                amount,
            } => {
                self.add(day, &user, amount);
                self.open.insert(id, (day, user, amount));
                self.next = self.next.max(id + 1);
            }
            Line::Settle { id, amount } => {
                // A second settlement finds nothing, and so is none.
                if let Some((day, user, reserved)) = self.open.remove(&id) {
                    let of_day = self.days.entry(day).or_default();
                    let sum = of_day.entry(user).or_default();
                    *sum = sum.minus(reserved).plus(amount);
                }
            }
            Line::Carry { day, user, amount } => self.add(day, &user, amount),
        }
    }

    fn add(&mut self, day: Day, user: &str, amount: Amount) {
        let of_day = self.days.entry(day).or_default();
        let sum = of_day.entry(user.to_owned()).or_default();
        *sum = sum.plus(amount);
    }

    fn settle(&mut self, id: u64, amount: Amount) -> Result<(), BudgetError> {
        let line = Line::Settle { id, amount };
        let written = self.log.append(&line);
        self.take(line);
        written
    }

    fn spent(&self, user: &str, day: Day) -> Spent {
        let mut spent = Spent::default();
        for (of, users) in self.days.range(day.month_begin()..=day) {
            for (name, amount) in users {
                let (mine, today) = (name == user, *of == day);
                spent.month = spent.month.plus(*amount);
                for (sum, counts) in [
                    (&mut spent.day, today),
                    (&mut spent.user_month, mine),
                    (&mut spent.user_day, mine && today),
                ] {
                    if counts {
                        *sum = sum.plus(*amount);
                    }
                }
            }
        }
        spent
    }

    /// Months that are over have no limit any more; the last one stays, in case that the clock was
    /// wrong and is set back. What is still set aside of them stays in the file until it is settled.
    fn forget(&mut self, day: Day) {
        self.days = self.days.split_off(&day.last_month_begin());
    }

    fn shorten_if_long(&mut self) -> Result<(), BudgetError> {
        if !self.log.is_long() {
            return Ok(());
        }
        let carried = self.days.iter().flat_map(|(day, users)| {
            users.iter().map(|(user, amount)| Line::Carry {
                day: *day,
                user: user.clone(),
                amount: *amount,
            })
        });
        self.log.rewrite(carried)
    }
}

#[cfg(test)]
mod tests;
