//! Fewer threads while other work takes processors away. At each barrier all threads wait for
//! the last one: where one of two does not get a processor, both together are slower than one.
//! That holds for decodes of few tokens, which have little work between two barriers; a long
//! piece of a prompt is faster with all threads even then.

use std::time::{Duration, Instant};

use tracing::debug;

use super::numbers::{millis, to_f64};
use super::pace::Pace;

/// Threads wait by spinning, so they use all the time that they get. Less than this share of it
/// means that somebody else gets it.
const SHARE_MIN: f64 = 0.8;

/// How long decodes are looked at before that is believed, in milliseconds.
const WINDOW: f64 = 300.0;

/// Decodes that a trial of another number takes at most.
const TRIAL_DECODES: usize = 12;

/// Larger decodes get all threads.
const SMALL_TOKENS_MAX: usize = 32;

/// Another number has to be faster by so much.
const BETTER: f64 = 0.87;

/// A trial that did not pay is not repeated before, and then for twice as long.
const REST: [Duration; 2] = [Duration::from_secs(2), Duration::from_secs(64)];

/// One decode.
#[derive(Debug, Clone, Copy)]
pub(super) struct Observed {
    pub(super) tokens: usize,
    pub(super) time: Duration,
    /// Processor time of the whole process meanwhile.
    pub(super) processor_time: Duration,
}

/// How many threads compute, changed where a trial shows that another number is faster.
#[derive(Debug)]
pub(super) struct Threads {
    most: u32,
    now: u32,
    /// Time and processor time since the last look, in milliseconds.
    window: (f64, f64),
    trial: Option<Trial>,
    rest: Duration,
    rest_until: Option<Instant>,
}

/// Another number, while it is compared with the one before.
#[derive(Debug)]
struct Trial {
    before: u32,
    pace: Pace,
    /// How long the decodes took, and how long they would have taken, in milliseconds.
    took: f64,
    expected: f64,
    decodes: usize,
}

impl Threads {
    pub(super) fn new(most: u32) -> Self {
        Self {
            most,
            now: most,
            window: (0.0, 0.0),
            trial: None,
            rest: REST[0],
            rest_until: None,
        }
    }

    /// Whether there is a choice.
    pub(super) fn vary(&self) -> bool {
        self.most > 1
    }

    /// How many compute a small decode.
    pub(super) fn now(&self) -> u32 {
        self.now
    }

    /// How many compute a decode of so many tokens.
    pub(super) fn of_decode(&self, tokens: usize) -> u32 {
        if tokens > SMALL_TOKENS_MAX {
            self.most
        } else {
            self.now
        }
    }

    /// Whether decodes tell nothing about those to come, because they are a trial.
    pub(super) fn trying(&self) -> bool {
        self.trial.is_some()
    }

    /// Takes note of a decode.
    pub(super) fn observe(&mut self, decode: Observed, pace: &Pace, at: Instant) {
        if decode.tokens > SMALL_TOKENS_MAX {
            return;
        }
        match self.trial.take() {
            Some(trial) => self.go_on(trial, decode, at),
            None => self.look(decode, pace, at),
        }
    }

    fn go_on(&mut self, mut trial: Trial, decode: Observed, at: Instant) {
        let took = millis(decode.time);
        trial.took += took;
        // There were small decodes before, or there would be no trial.
        trial.expected += trial.pace.estimate(decode.tokens).unwrap_or(took);
        trial.decodes += 1;
        let all = to_f64(TRIAL_DECODES) / to_f64(trial.decodes) * trial.expected;
        if trial.decodes < TRIAL_DECODES && trial.took < all {
            self.trial = Some(trial);
            return;
        }
        let pays = trial.took < BETTER * trial.expected;
        debug!(
            pays,
            from = trial.before,
            to = self.now,
            "other threads were tried"
        );
        if pays {
            self.rest = REST[0];
        } else {
            self.now = trial.before;
            self.rest = (self.rest * 2).min(REST[1]);
        }
        self.rest_until = Some(at + self.rest);
        self.window = (0.0, 0.0);
    }

    fn look(&mut self, decode: Observed, pace: &Pace, at: Instant) {
        self.window.0 += millis(decode.time);
        self.window.1 += millis(decode.processor_time);
        let (time, processor_time) = self.window;
        if time < WINDOW {
            return;
        }
        self.window = (0.0, 0.0);
        let share = processor_time / time / f64::from(self.now);
        let other = if share < SHARE_MIN && self.now > 1 {
            // As many as found a processor.
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "not negative, and less than there are threads"
            )]
            let found = (share * f64::from(self.now)) as u32;
            found.max(1)
        } else if share >= SHARE_MIN && self.now < self.most {
            (self.now * 2).min(self.most)
        } else {
            return;
        };
        if self.rest_until.is_none_or(|until| until <= at) {
            self.trial = Some(Trial {
                before: self.now,
                pace: pace.clone(),
                took: 0.0,
                expected: 0.0,
                decodes: 0,
            });
            self.now = other;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A machine with two processors, of which others take some of the second.
    struct Machine {
        threads: Threads,
        pace: Pace,
        clock: Instant,
    }

    impl Machine {
        fn new() -> Self {
            Self {
                threads: Threads::new(2),
                pace: Pace::default(),
                clock: Instant::now(),
            }
        }

        /// Decodes for so many seconds with these times for one and two threads, in
        /// milliseconds; returns the numbers of threads that there were.
        fn decode(&mut self, seconds: u64, times: [u64; 2], busy: bool) -> Vec<u32> {
            let end = self.clock + Duration::from_secs(seconds);
            let mut numbers = vec![self.threads.now()];
            while self.clock < end {
                let now = self.threads.now();
                let time = Duration::from_millis(times[now as usize - 1]);
                let lost = if busy && now == 2 { 0.7 } else { 1.0 };
                let decode = Observed {
                    tokens: 1,
                    time,
                    processor_time: time.mul_f64(lost * f64::from(now)),
                };
                self.clock += time;
                if !self.threads.trying() {
                    self.pace.observe(1, time);
                }
                self.threads.observe(decode, &self.pace, self.clock);
                if self.threads.now() != now {
                    numbers.push(self.threads.now());
                }
            }
            numbers
        }
    }

    #[test]
    fn a_calm_machine_keeps_all_threads() {
        let mut machine = Machine::new();
        assert_eq!(machine.decode(60, [20, 12], false), [2]);
    }

    #[test]
    fn a_thread_that_finds_no_processor_is_given_up_until_it_does() {
        let mut machine = Machine::new();
        machine.decode(2, [20, 12], false);
        machine.decode(4, [24, 300], true);
        assert_eq!(machine.threads.now(), 1);
        assert_eq!(
            [1, 32, 33].map(|it| machine.threads.of_decode(it)),
            [1, 1, 2]
        );
        let busy = machine.decode(120, [24, 300], true);
        // It looks now and then, and rests longer each time.
        assert!((3..=15).contains(&busy.len()), "{busy:?}");
        assert_eq!(machine.threads.now(), 1);
        machine.decode(70, [20, 12], false);
        assert_eq!(machine.threads.now(), 2);
    }

    #[test]
    fn what_is_no_faster_is_not_kept() {
        let mut machine = Machine::new();
        let numbers = machine.decode(200, [20, 19], true);
        assert!(numbers.len() > 2, "{numbers:?}");
        assert!(numbers.len() < 20, "{numbers:?}");
        assert_eq!(machine.threads.now(), 2);
    }
}
