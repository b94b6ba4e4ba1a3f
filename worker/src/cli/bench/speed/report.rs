//! What was measured, as a table and as JSON.

use serde_json::{Value, json};

use super::super::{Report, output};

/// Repeated measurements of one thing.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Series(Vec<f64>);

impl Series {
    pub(super) fn push(&mut self, value: f64) {
        let at = self.0.partition_point(|other| *other < value);
        self.0.insert(at, value);
    }

    fn median(&self) -> f64 {
        let middle = self.0.len() / 2;
        match (self.0.len() % 2, self.0.get(middle)) {
            (_, None) => 0.0,
            (1, Some(value)) => *value,
            (_, Some(value)) => f64::midpoint(*value, self.0[middle - 1]),
        }
    }

    fn least(&self) -> f64 {
        self.0.first().copied().unwrap_or(0.0)
    }

    fn most(&self) -> f64 {
        self.0.last().copied().unwrap_or(0.0)
    }

    fn json(&self) -> Value {
        json!({ "median": self.median(), "min": self.least(), "max": self.most(), "runs": self.0.len() })
    }
}

/// A measured model.
#[derive(Debug, Default)]
pub(super) struct Measured {
    pub(super) model: Value,
    pub(super) cpu: String,
    pub(super) unused_features: Vec<&'static str>,
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
    /// Whether the figures say something about the machine and not about the build.
    pub(super) fn comparable(&self) -> bool {
        self.unused_features.is_empty()
    }

    pub(super) fn warning(&self) -> String {
        format!(
            "these figures are not comparable: this build does not use the processor's {}; \
             build with -C target-cpu=native on the machine that runs it",
            self.unused_features.join(", ")
        )
    }

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

    fn heading(&self) -> String {
        let text = |key: &str| self.model[key].as_str().unwrap_or("?").to_owned();
        let number = |key: &str| self.model[key].as_u64().unwrap_or(0);
        let comparable = if self.comparable() {
            ""
        } else {
            "; not comparable: not a native build"
        };
        format!(
            "{}: {} {} parameters {}, {} backend on {}, {} threads, {}{comparable}",
            text("title"),
            text("architecture"),
            output::parameters(number("parameters")),
            text("quantization"),
            text("backend"),
            text("device"),
            number("threads"),
            self.cpu,
        )
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
            heading: self.heading(),
            table: self.table(),
            json: self.json(),
        }
    }

    fn json(&self) -> Value {
        json!({
            "model": self.model,
            "cpu": self.cpu,
            "comparable": self.comparable(),
            "unused_cpu_features": self.unused_features,
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
    fn the_median_of_even_and_odd_counts() {
        let series = |values: &[f64]| {
            let mut series = Series::default();
            values.iter().for_each(|value| series.push(*value));
            series.median()
        };
        assert!((series(&[3.0, 1.0, 2.0]) - 2.0).abs() < 1e-9);
        assert!((series(&[4.0, 1.0, 2.0, 3.0]) - 2.5).abs() < 1e-9);
        assert!(series(&[]).abs() < 1e-9);
    }

    #[test]
    fn a_build_that_is_not_native_is_called_so_everywhere() {
        let measured = Measured {
            unused_features: vec!["avx2"],
            ..Measured::default()
        };
        assert!(measured.warning().contains("not comparable"));
        assert!(measured.warning().contains("avx2"));
        let report = measured.report();
        assert!(report.heading.contains("not comparable"));
        assert_eq!(report.json["comparable"], false);
    }
}
