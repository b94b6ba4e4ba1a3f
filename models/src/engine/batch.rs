//! One batch of the engine's loop: who takes part, computing it, and a step for each.

use std::borrow::Cow;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use rayon::prelude::*;
use rustix::time::{ClockId, clock_gettime};
use tracing::warn;

use super::numbers::to_u32;
use super::prefix::common_prefix;
use super::slot::{Slot, Step};
use super::threads::Observed;
use super::turn::Engine;
use crate::backend::{DecodeError, Run};
use crate::job::{JobError, Priority};
use crate::vocabulary::Token;

/// One slot's part of a batch.
struct Share {
    slot: usize,
    /// Pending tokens to compute; guessed ones come on top.
    tokens: usize,
    prefilling: bool,
    /// Whether to keep a copy of the sequence as it is after this batch.
    keep_copy: bool,
}

/// Below this much work, waking other threads costs more than it saves.
const PARALLEL_LOGITS_MIN: usize = 65_536;

/// Waiting for another slot to compute fewer tokens than this is not worth it.
const WAIT_TOKENS_MIN: usize = 16;

impl Engine {
    /// Builds one batch, computes it and takes each slot one step further.
    pub(super) fn compute(&mut self) {
        let shares = self.plan();
        if shares.is_empty() {
            return;
        }
        match self.decode(&shares) {
            Ok(()) => self.step(&shares),
            Err(fault) => self.recover(&shares, &fault),
        }
    }

    /// Who takes part in the next batch: first the slots that write, each with all it has to
    /// compute, then prompts.
    fn plan(&mut self) -> Vec<Share> {
        let (mut shares, mut reading) = (Vec::new(), Vec::new());
        let most = self.options.batch.most;
        let mut room = self.kv.capacity().batch_tokens.min(most) as usize;
        for (index, slot) in self.slots.iter_mut().enumerate() {
            slot.forget_guess();
            if !slot.runnable() || slot.job.outbox.link().cancelled() {
                continue;
            }
            let tokens = slot.pending().len();
            if slot.prefilling() || tokens > room {
                reading.push(index);
            } else {
                room -= tokens;
                shares.push(Share {
                    slot: index,
                    tokens,
                    prefilling: false,
                    keep_copy: false,
                });
            }
        }
        room = self.guess(&shares, room);
        self.plan_reading(&reading, room, &mut shares);
        shares
    }

    /// Lets the writing slots guess, as far as that is likely to pay; returns the room that is
    /// left.
    fn guess(&mut self, shares: &[Share], mut room: usize) -> usize {
        let capacity = self.kv.capacity();
        if !self.options.speculation || !capacity.rolls_back {
            return room;
        }
        let mut rows = (capacity.outputs as usize).saturating_sub(self.slots.len());
        let writing = shares.len();
        let mut tokens: usize = shares.iter().map(|share| share.tokens).sum();
        for share in shares {
            let slot = &mut self.slots[share.slot];
            let guessed = slot.guess(room.min(rows));
            if guessed == 0 {
                continue;
            }
            let now = self.pace.estimate(tokens);
            let with_guess = self.pace.estimate(tokens + guessed);
            if let (Some(now), Some(with_guess)) = (now, with_guess) {
                // A decode of this length brings one token for each writing slot.
                #[expect(clippy::cast_precision_loss, reason = "few slots")]
                let gain = slot.expected_hits() * now / writing as f64;
                if gain < with_guess - now {
                    slot.drop_guess();
                    continue;
                }
            }
            room -= guessed;
            rows -= guessed;
            tokens += guessed;
        }
        room
    }

    /// Adds prompts: those of the highest class there is, in the order of admission, up to the
    /// chunk's size. One that begins as an earlier one waits for that one's cells.
    fn plan_reading(&mut self, reading: &[usize], mut room: usize, shares: &mut Vec<Share>) {
        let class_of = |engine: &Self, index: usize| engine.slots[index].job.priority;
        let Some(class) = reading.iter().map(|&index| class_of(self, index)).max() else {
            return;
        };
        let writers = shares.iter().map(|share| class_of(self, share.slot));
        if writers.max().is_some_and(|writer| writer >= class) {
            room = room.min(self.options.batch.chunk as usize);
        }
        let order: Vec<usize> = reading
            .iter()
            .copied()
            .filter(|&index| class_of(self, index) == class)
            .collect();
        for (place, &index) in order.iter().enumerate() {
            if self.waits_for_another(index, &order[..place]) {
                continue;
            }
            Self::adopt(&mut self.kv, &self.stats, &mut self.slots[index]);
            let tokens = self.slots[index].pending().len().min(room);
            let border = self.border(index, &order[place + 1..]);
            let (tokens, keep_copy) = border
                .filter(|(at, _)| *at <= tokens)
                .unwrap_or((tokens, false));
            if tokens > 0 {
                shares.push(Share {
                    slot: index,
                    tokens,
                    prefilling: true,
                    keep_copy,
                });
            }
            room -= tokens;
        }
    }

    /// Whether one of the `earlier` slots will compute what this one needs next.
    fn waits_for_another(&self, index: usize, earlier: &[usize]) -> bool {
        let slot = &self.slots[index];
        let (wanted, held) = (slot.adoptable(), slot.position() as usize);
        earlier.iter().any(|&other| {
            let other = self.slots[other].adoptable();
            common_prefix(wanted, other) >= held + WAIT_TOKENS_MIN
        })
    }

    /// For a model that can't go back: after how many more tokens of the slot others can only go
    /// on from a copy made there, and whether one is to be kept for those to come.
    fn border(&self, index: usize, later: &[usize]) -> Option<(usize, bool)> {
        if self.kv.capacity().rolls_back {
            return None;
        }
        let slot = &self.slots[index];
        let (wanted, held) = (slot.adoptable(), slot.position() as usize);
        let known = self.kv.known(wanted) as usize;
        let known = (known >= held + WAIT_TOKENS_MIN).then_some((known - held, true));
        let shared = later.iter().filter_map(|&other| {
            let shared = common_prefix(wanted, self.slots[other].adoptable());
            (shared >= held + WAIT_TOKENS_MIN).then_some((shared - held, true))
        });
        // What is to be kept ends at a place of its own.
        let kept = slot.keep_at().map(|at| at as usize);
        let kept = kept.filter(|&at| at > held).map(|at| (at - held, false));
        shared.chain(known).chain(kept).min()
    }

    fn decode(&mut self, shares: &[Share]) -> Result<(), DecodeError> {
        let tokens: Vec<Cow<'_, [Token]>> = shares
            .iter()
            .map(|share| {
                let slot = &self.slots[share.slot];
                let pending = &slot.pending()[..share.tokens];
                if slot.draft().is_empty() {
                    Cow::Borrowed(pending)
                } else {
                    Cow::Owned([pending, slot.draft()].concat())
                }
            })
            .collect();
        let runs: Vec<Run<'_>> = shares
            .iter()
            .zip(&tokens)
            .map(|(share, tokens)| {
                let slot = &self.slots[share.slot];
                Run {
                    seq: slot.seq,
                    start: slot.position(),
                    tokens,
                    outputs: outputs(slot, share),
                }
            })
            .collect();
        let reading = || {
            let prefilling = shares.iter().filter(|share| share.prefilling);
            prefilling.map(|share| &self.slots[share.slot].job)
        };
        // See JobLink::cancel and Urgency::arrived for the order.
        self.abort.clear();
        reading().for_each(|job| job.outbox.link().set_prefilling(true));
        let class: Option<Priority> = reading().map(|job| job.priority).max();
        let goes_first = class.is_none_or(|class| self.urgency.begin_reading(class));
        let count = tokens.iter().map(|tokens| tokens.len()).sum();
        if self.threads.vary() {
            self.kv.set_threads(self.threads.of_decode(count));
        }
        let began = Instant::now();
        let processor_time = self.threads.vary().then(processor_time);
        let computed = if !goes_first || reading().any(|job| job.outbox.link().cancelled()) {
            Err(DecodeError::Aborted)
        } else {
            self.kv.decode(&runs)
        };
        self.urgency.end_reading();
        reading().for_each(|job| job.outbox.link().set_prefilling(false));
        if computed.is_ok() {
            self.learn(Observed {
                tokens: count,
                time: began.elapsed(),
                processor_time: processor_time.map_or(Duration::ZERO, |before| {
                    self::processor_time().saturating_sub(before)
                }),
            });
        }
        self.stats.decodes.fetch_add(1, Ordering::Relaxed);
        computed
    }

    /// Learns from a decode how long others will take, and with how many threads.
    fn learn(&mut self, decode: Observed) {
        if !self.threads.trying() {
            self.pace.observe(decode.tokens, decode.time);
        }
        if self.threads.vary() {
            self.threads.observe(decode, &self.pace, Instant::now());
        }
    }

    fn step(&mut self, shares: &[Share]) {
        let mut prompt_tokens = 0;
        for share in shares {
            prompt_tokens += self.slots[share.slot].computed(share.tokens);
            if share.keep_copy {
                self.kv.keep_copy(self.slots[share.slot].seq);
            }
            if self.slots[share.slot].keep_at().is_some() {
                self.keep_prompt(share.slot);
            }
        }
        let stats = &self.stats;
        stats
            .prompt_tokens
            .fetch_add(prompt_tokens as u64, Ordering::Relaxed);

        // What was computed up to its end has logits now.
        let vocabulary = &*self.vocabulary;
        let kv = &self.kv;
        let mut rows: Vec<Vec<&[f32]>> = vec![Vec::new(); self.slots.len()];
        for (run, share) in shares.iter().enumerate() {
            let slot = &self.slots[share.slot];
            if slot.pending().is_empty() {
                let outputs = 0..=slot.draft().len();
                rows[share.slot] = outputs.map(|output| kv.logits(run, output)).collect();
            }
        }
        let ready = rows.iter().filter(|rows| !rows.is_empty()).count();
        let choose = |(slot, rows): (&mut Slot, &Vec<&[f32]>)| {
            if rows.is_empty() {
                Step::default()
            } else {
                slot.step(rows, vocabulary)
            }
        };
        let steps: Vec<Step> = if ready > 1 && ready * vocabulary.size() >= PARALLEL_LOGITS_MIN {
            let slots = self.slots.par_iter_mut().zip(&rows);
            slots.map(choose).collect()
        } else {
            self.slots.iter_mut().zip(&rows).map(choose).collect()
        };
        for (index, step) in steps.into_iter().enumerate().rev() {
            let add = |counter: &AtomicU64, count: u64| counter.fetch_add(count, Ordering::Relaxed);
            add(&self.stats.output_tokens, step.written.into());
            add(&self.stats.guessed_tokens, step.guessed as u64);
            add(&self.stats.guessed_right, step.right as u64);
            if step.guessed > 0 {
                let slot = &self.slots[index];
                self.kv.truncate(slot.seq, slot.position());
            }
            if step.to_score {
                self.score(index);
            } else if let Some(ending) = step.ending {
                self.end_slot(index, ending);
            }
        }
    }

    /// After a failed decode nobody knows what the backend kept: the sequences go back to where
    /// they were, or to nothing if the model can't go back.
    fn recover(&mut self, shares: &[Share], fault: &DecodeError) {
        for share in shares {
            let slot = &mut self.slots[share.slot];
            let held = self.kv.truncate(slot.seq, slot.position());
            slot.holds(held);
        }
        match fault {
            DecodeError::Aborted => {
                self.stats.decodes_aborted.fetch_add(1, Ordering::Relaxed);
            }
            DecodeError::CacheFull => {
                // The reservations make this a defect; the youngest job pays for it.
                warn!("the KV cache is full in spite of the reservations");
                if let Some(share) = shares.iter().max_by_key(|share| share.slot) {
                    let fault = JobError::Backend(fault.to_string());
                    self.end_slot(share.slot, Err(fault));
                }
            }
            DecodeError::Failed(reason) => {
                warn!(reason, jobs = shares.len(), "a decode failed");
                let mut failed: Vec<usize> = shares.iter().map(|share| share.slot).collect();
                failed.sort_unstable();
                for index in failed.into_iter().rev() {
                    self.end_slot(index, Err(JobError::Backend(reason.clone())));
                }
            }
        }
    }
}

/// What this process has used of the machine's processors.
fn processor_time() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    Duration::try_from(time).unwrap_or_default()
}

/// How many rows of logits the share's run needs.
fn outputs(slot: &Slot, share: &Share) -> u32 {
    if share.tokens < slot.pending().len() {
        return 0;
    }
    to_u32(slot.draft().len() + 1)
}
