//! The feed-forward part of a layer, or of one expert.

use std::f32::consts::PI;

use candle_core::{Device, Tensor};

use super::parallel;
use super::shape::Activation;
use super::weights::Linear;
use crate::backend::{AbortSignal, DecodeError};

/// A gate that decides what of another product goes on.
pub(super) struct Gated {
    pub(super) gate: Linear,
    pub(super) up: Linear,
    pub(super) down: Linear,
    pub(super) activation: Activation,
}

impl Gated {
    pub(super) fn forward(
        &self,
        state: &Tensor,
        abort: &AbortSignal,
    ) -> Result<Tensor, DecodeError> {
        let mut gate = numbers(&self.gate.forward(state, abort)?)?;
        let up = numbers(&self.up.forward(state, abort)?)?;
        let width = gate.len() / state.dim(0)?;
        parallel::for_each_row(&mut gate, width, |index, row| {
            for (gate, up) in row.iter_mut().zip(&up[index * width..]) {
                *gate = self.activation.of(*gate) * up;
            }
        });
        self.down.forward(&rows(gate, width)?, abort)
    }
}

impl Activation {
    fn of(self, x: f32) -> f32 {
        match self {
            Self::Silu => x / (1.0 + (-x).exp()),
            Self::Gelu => {
                let inner = (2.0 / PI).sqrt() * x * (1.0 + 0.044_715 * x * x);
                0.5 * x * (1.0 + inner.tanh())
            }
        }
    }
}

/// A batch's rows as a tensor.
pub(super) fn rows(numbers: Vec<f32>, width: usize) -> candle_core::Result<Tensor> {
    let count = numbers.len() / width;
    Tensor::from_vec(numbers, (count, width), &Device::Cpu)
}

/// A tensor's numbers, row after row.
pub(super) fn numbers(rows: &Tensor) -> candle_core::Result<Vec<f32>> {
    rows.flatten_all()?.to_vec1()
}
