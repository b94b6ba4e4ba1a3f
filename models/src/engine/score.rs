//! How likely each of some given answers is: the prompt is read once, and the answers are
//! branches that share its cells.

use rayon::prelude::*;

use super::numbers::to_u32;
use super::slot::Ending;
use super::turn::Engine;
use crate::backend::{Run, SeqId};
use crate::job::JobError;
use crate::sampler::LogSoftmax;
use crate::vocabulary::Token;

/// A choice that is being read.
struct Branch {
    choice: usize,
    seq: SeqId,
    /// Tokens that were read.
    done: usize,
}

impl Engine {
    /// Reads the choices of a slot whose prompt is read, and ends its job.
    pub(super) fn score(&mut self, index: usize) {
        let choices = self.slots[index].choices().to_vec();
        match self.score_rest(index, &choices) {
            Ok(rest) => {
                self.slots[index].add_scores(&rest);
                self.end_scored(index);
            }
            Err(ending) => self.end_slot(index, ending),
        }
    }

    /// For each choice the log-probabilities of its tokens but the first, summed; or how the job
    /// ends without them.
    fn score_rest(&mut self, index: usize, choices: &[Vec<Token>]) -> Result<Vec<f32>, Ending> {
        let trunk = self.slots[index].seq;
        let start = self.slots[index].position() as usize;
        let mut sums = vec![0.0; choices.len()];
        let waiting = (0..choices.len()).filter(|&choice| choices[choice].len() > 1);
        let mut waiting = waiting.peekable();
        let mut branches: Vec<Branch> = Vec::new();
        let rows_max = self
            .kv
            .capacity()
            .outputs
            .min(self.kv.capacity().batch_tokens) as usize;
        let read = loop {
            while branches.len() < rows_max
                && let Some(&choice) = waiting.peek()
                && let Some(seq) = self.kv.fork(trunk)
            {
                waiting.next();
                branches.push(Branch {
                    choice,
                    seq,
                    done: 0,
                });
            }
            if branches.is_empty() {
                break match waiting.next() {
                    None => Ok(()),
                    Some(_) => Err(Err(JobError::Backend(
                        "no sequence is free to read the choices with".into(),
                    ))),
                };
            }
            if let Some(reason) = self.slots[index].unwanted() {
                break Err(Ok(reason));
            }
            let read = self.read_branches(&mut branches, choices, start, rows_max, &mut sums);
            if read.is_err() {
                break read.map_err(Err);
            }
            // The last token of a choice is only predicted.
            branches.retain(|branch| {
                let ended = branch.done + 1 == choices[branch.choice].len();
                if ended {
                    self.kv.release(branch.seq);
                }
                !ended
            });
        };
        for branch in branches {
            self.kv.release(branch.seq);
        }
        read.map(|()| sums)
    }

    /// Takes each branch further, together, and adds what its next tokens are worth.
    fn read_branches(
        &mut self,
        branches: &mut [Branch],
        choices: &[Vec<Token>],
        start: usize,
        rows_max: usize,
        sums: &mut [f32],
    ) -> Result<(), JobError> {
        let each = (rows_max / branches.len()).max(1);
        let runs: Vec<Run<'_>> = branches
            .iter()
            .map(|branch| {
                let tokens = &choices[branch.choice];
                let end = (branch.done + each).min(tokens.len() - 1);
                let tokens = &tokens[branch.done..end];
                Run {
                    seq: branch.seq,
                    start: to_u32(start + branch.done),
                    tokens,
                    outputs: to_u32(tokens.len()),
                }
            })
            .collect();
        self.abort.clear();
        let decoded = self.kv.decode(&runs);
        decoded.map_err(|fault| JobError::Backend(fault.to_string()))?;
        let predicted: Vec<(Vec<&[f32]>, &[Token])> = (0..)
            .zip(&*branches)
            .zip(&runs)
            .map(|((number, branch), run)| {
                let rows = 0..run.tokens.len();
                let rows = rows.map(|row| self.kv.logits(number, row)).collect();
                (rows, &choices[branch.choice][branch.done + 1..])
            })
            .collect();
        let gain = |(rows, next): &(Vec<&[f32]>, &[Token])| -> f32 {
            let rows = rows.iter().zip(*next);
            rows.map(|(row, &token)| LogSoftmax::new(row).of(token))
                .sum()
        };
        let gains: Vec<f32> = predicted.par_iter().map(gain).collect();
        let counts: Vec<usize> = runs.iter().map(|run| run.tokens.len()).collect();
        for ((branch, gain), count) in branches.iter_mut().zip(gains).zip(counts) {
            sums[branch.choice] += gain;
            branch.done += count;
        }
        Ok(())
    }
}
