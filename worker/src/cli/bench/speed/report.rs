//! What was measured, as a table and as JSON.

use serde_json::{Value, json};

use super::super::series::Series;
use super::super::{Machine, Report};

/// A measured model.
#[derive(Debug, Default)]
pub(super) struct Measured {
    pub(super) model: Value,
    pub(super) machine: Machine,
    pub(super) prompt_tokens: u32,
    pub(super) output_tokens: u32,
    /// Prompt tokens for each second.
    pub(super) prompt: Series,
    /// Written tokens for each second after the first.
    pub(super) generation: Series,
    /// Milliseconds from a short request to its first token.
    pub(super) first_token: Series,
}

impl Measured {
    fn rows(&self) -> [(String, &'static str, &Series); 3] {
        [
            (
                format!("prompt, {} tokens", self.prompt_tokens),
                "tokens/s",
                &self.prompt,
            ),
            (
                format!("generation, {} tokens", self.output_tokens),
                "tokens/s",
                &self.generation,
            ),
            (
                "first token, short prompt".to_owned(),
                "ms",
                &self.first_token,
            ),
        ]
    }

    fn table(&self) -> Vec<Vec<String>> {
        let heading = ["", "unit", "median", "min", "max"]
            .map(str::to_owned)
            .to_vec();
        let rows = self.rows().map(|(name, unit, series)| {
            let figure = |value: f64| format!("{value:.1}");
            vec![
                name,
                unit.to_owned(),
                figure(series.median()),
                figure(series.least()),
                figure(series.most()),
            ]
        });
        std::iter::once(heading).chain(rows).collect()
    }

    pub(super) fn report(&self) -> Report {
        Report {
            heading: self.machine.heading(&self.model),
            table: self.table(),
            json: self.json(),
        }
    }

    fn json(&self) -> Value {
        json!({
            "model": self.model,
            "cpu": self.machine.cpu,
            "comparable": self.machine.comparable(),
            "unused_cpu_features": self.machine.unused_features,
            "prompt_tokens": self.prompt_tokens,
            "output_tokens": self.output_tokens,
            "prompt_tokens_per_second": self.prompt.json(),
            "generation_tokens_per_second": self.generation.json(),
            "first_token_ms": self.first_token.json(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_build_that_is_not_native_is_called_so_everywhere() {
        let measured = Measured {
            machine: Machine {
                unused_features: vec!["avx2"],
                ..Machine::default()
            },
            ..Measured::default()
        };
        let warning = measured.machine.warning();
        assert!(warning.contains("not comparable") && warning.contains("avx2"));
        let report = measured.report();
        assert!(report.heading.contains("not comparable"));
        assert_eq!(report.json["comparable"], false);
    }
}
