//! A layer of experts: for each token a few of them are chosen, and their results added up.

use std::io::{Read, Seek};

use candle_core::{Device, Tensor};

use super::attention::softmax;
use super::gated::{Gated, numbers};
use super::shape::{ExpertShape, Shape};
use super::unfit::Unfit;
use super::weights::{Linear, Tensors};
use crate::backend::{AbortSignal, DecodeError};

/// The experts of one layer.
pub(super) struct Experts {
    router: Linear,
    experts: Vec<Gated>,
    used: usize,
}

/// A row that an expert has to compute, and how much its result counts.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Share {
    row: u32,
    weight: f32,
}

/// Weights are divided by their sum, but not by less than this.
const WEIGHT_SUM_MIN: f32 = 6.103_515_6e-5;

impl Experts {
    pub(super) fn load<R: Read + Seek>(
        layer: usize,
        shape: &Shape,
        experts: ExpertShape,
        tensors: &mut Tensors<R>,
    ) -> Result<Self, Unfit> {
        let named = |part: &str| format!("blk.{layer}.ffn_{part}.weight");
        let (count, inner, width) = (experts.count, shape.hidden, shape.width);
        let gates = tensors.experts(&named("gate_exps"), count, inner, width)?;
        let ups = tensors.experts(&named("up_exps"), count, inner, width)?;
        let downs = tensors.experts(&named("down_exps"), count, width, inner)?;
        let matrices = gates.into_iter().zip(ups).zip(downs);
        let experts_of_layer = matrices.map(|((gate, up), down)| Gated {
            gate,
            up,
            down,
            activation: shape.activation,
        });
        Ok(Self {
            router: tensors.matrix(&named("gate_inp"), count, width)?,
            experts: experts_of_layer.collect(),
            used: experts.used,
        })
    }

    pub(super) fn forward(
        &self,
        state: &Tensor,
        abort: &AbortSignal,
    ) -> Result<Tensor, DecodeError> {
        let mut scores = numbers(&self.router.forward(state, abort)?)?;
        let shares = shares(&mut scores, self.experts.len(), self.used);
        let (rows, width) = state.dims2()?;
        let mut sums = vec![0.0; rows * width];
        for (expert, shares) in self.experts.iter().zip(&shares) {
            if shares.is_empty() {
                continue;
            }
            let wanted: Vec<u32> = shares.iter().map(|share| share.row).collect();
            let wanted = Tensor::new(wanted, &Device::Cpu)?;
            let result = expert.forward(&state.index_select(&wanted, 0)?, abort)?;
            for (share, result) in shares.iter().zip(numbers(&result)?.chunks_exact(width)) {
                let sum = &mut sums[share.row as usize * width..][..width];
                for (sum, number) in sum.iter_mut().zip(result) {
                    *sum += share.weight * number;
                }
            }
        }
        Ok(Tensor::from_vec(sums, (rows, width), &Device::Cpu)?)
    }
}

/// For each expert, the rows that chose it.
fn shares(scores: &mut [f32], experts: usize, used: usize) -> Vec<Vec<Share>> {
    let mut shares = vec![Vec::new(); experts];
    for (row, scores) in (0..).zip(scores.chunks_exact_mut(experts)) {
        softmax(scores);
        let mut order: Vec<usize> = (0..experts).collect();
        order.sort_by(|&left, &right| scores[right].total_cmp(&scores[left]));
        let chosen = &order[..used];
        let sum: f32 = chosen.iter().map(|&expert| scores[expert]).sum();
        for &expert in chosen {
            let weight = scores[expert] / sum.max(WEIGHT_SUM_MIN);
            shares[expert].push(Share { row, weight });
        }
    }
    shares
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_goes_to_its_best_experts_with_weights_that_sum_to_one() {
        let mut scores = vec![0.0, 2.0, 1.0, 5.0, -1.0, 5.0];
        let shares = shares(&mut scores, 3, 2);
        let rows: Vec<Vec<u32>> = shares
            .iter()
            .map(|shares| shares.iter().map(|share| share.row).collect())
            .collect();
        assert_eq!(rows, [vec![1], vec![0], vec![0, 1]]);
        let weight = shares[1][0].weight;
        assert!(
            (weight - 1.0 / (1.0 + (-1.0f32).exp())).abs() < 1e-6,
            "{weight}"
        );
        assert!((weight + shares[2][0].weight - 1.0).abs() < 1e-6);
    }
}
