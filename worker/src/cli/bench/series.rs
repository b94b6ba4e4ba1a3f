//! Repeated measurements of one thing.

use serde_json::{Value, json};

/// Measurements, in the order of their size.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Series(Vec<f64>);

impl Series {
    pub(super) fn push(&mut self, value: f64) {
        let at = self.0.partition_point(|other| *other < value);
        self.0.insert(at, value);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn median(&self) -> f64 {
        self.quantile(0.5)
    }

    pub(super) fn least(&self) -> f64 {
        self.0.first().copied().unwrap_or(0.0)
    }

    pub(super) fn most(&self) -> f64 {
        self.0.last().copied().unwrap_or(0.0)
    }

    /// The value below which such a share of the measurements lies, between two neighbours if
    /// need be; 0 without measurements.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_precision_loss,
        clippy::cast_sign_loss,
        reason = "an index of a short list"
    )]
    fn quantile(&self, share: f64) -> f64 {
        let Some(last) = self.0.len().checked_sub(1) else {
            return 0.0;
        };
        let place = share * last as f64;
        let below = place.floor();
        let (low, high) = (self.0[below as usize], self.0[place.ceil() as usize]);
        low + (high - low) * (place - below)
    }

    pub(super) fn json(&self) -> Value {
        json!({ "median": self.median(), "min": self.least(), "max": self.most(), "runs": self.0.len() })
    }

    /// The same with the quartiles, for few measurements that vary much.
    pub(super) fn json_with_quartiles(&self) -> Value {
        let mut json = self.json();
        json["q1"] = json!(self.quantile(0.25));
        json["q3"] = json!(self.quantile(0.75));
        json
    }
}

impl FromIterator<f64> for Series {
    fn from_iter<I: IntoIterator<Item = f64>>(values: I) -> Self {
        let mut series = Self::default();
        values.into_iter().for_each(|value| series.push(value));
        series
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(values: &[f64], share: f64, expected: f64) {
        let series: Series = values.iter().copied().collect();
        let found = series.quantile(share);
        assert!((found - expected).abs() < 1e-9, "{values:?}: {found}");
    }

    #[test]
    fn the_median_of_even_and_odd_counts() {
        check(&[3.0, 1.0, 2.0], 0.5, 2.0);
        check(&[4.0, 1.0, 2.0, 3.0], 0.5, 2.5);
        check(&[], 0.5, 0.0);
    }

    #[test]
    fn quartiles_lie_between_neighbours() {
        check(&[5.0, 1.0, 4.0, 2.0, 3.0], 0.25, 2.0);
        check(&[1.0, 2.0, 3.0, 4.0], 0.25, 1.75);
        check(&[1.0, 2.0, 3.0, 4.0], 0.75, 3.25);
        check(&[7.0], 0.75, 7.0);
    }

    #[test]
    fn the_extremes_stay_whatever_the_order() {
        let series: Series = [2.0, 9.0, 1.0].into_iter().collect();
        assert!((series.least() - 1.0).abs() < 1e-9 && (series.most() - 9.0).abs() < 1e-9);
    }
}
