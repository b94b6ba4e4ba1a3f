//! What tokens cost: a table that whoever pays writes and keeps right.
//!
//! ```toml
//! # US dollars for a million tokens. The first entry that fits counts.
//! [[price]]
//! provider = "openai"        # the NAME of [cloud.NAME]; absent: any
//! model = "gpt-4o-mini*"     # a star at the end stands for any rest
//! input = 0.15
//! cached_input = 0.075       # absent: as input
//! output = 0.60
//! ```
//!
//! There is no built-in table: prices change, and a wrong one would be a wrong budget. A price of
//! zero has to be said, too.

use std::path::Path;

use serde::Deserialize;

use crate::error::CloudError;
use crate::program::read_file;
use crate::request::Usage;

/// What tokens cost. Money is counted in billionths of a dollar, in whole numbers.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Prices(Vec<Price>);

/// The price of one model's tokens.
#[derive(Debug, Clone, PartialEq)]
pub struct Price {
    provider: Option<String>,
    model: String,
    /// In millionths of a dollar for a million tokens.
    input: u64,
    cached_input: u64,
    output: u64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    price: Vec<Entry>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    provider: Option<String>,
    model: String,
    input: f64,
    cached_input: Option<f64>,
    output: f64,
}

/// No token costs more, in dollars for a million.
const PRICE_MAX: f64 = 1_000_000.0;
/// A table has no reason to be larger.
const FILE_BYTES_MAX: usize = 1 << 20;

impl Prices {
    /// Reads a file.
    ///
    /// # Errors
    /// [`CloudError`] with the file and what is wrong in it.
    pub fn load(path: &Path) -> Result<Self, CloudError> {
        let what = format!("the prices in {}", path.display());
        let (_, text) = read_file(path, FILE_BYTES_MAX, &what)?;
        Self::parse(&text).map_err(|fault| CloudError::Settings(format!("{what}: {fault}")))
    }

    /// Reads the text of a file.
    ///
    /// # Errors
    /// [`CloudError::Settings`] with what is wrong.
    pub fn parse(text: &str) -> Result<Self, CloudError> {
        let wrong = |why: String| CloudError::Settings(why);
        let file: File = toml::from_str(text).map_err(|fault| wrong(fault.to_string()))?;
        let price = |entry: Entry| {
            let Entry {
                provider,
                model,
                input,
                cached_input,
                output,
            } = entry;
            let micros = |dollars: f64| {
                let fits = dollars.is_finite() && (0.0..=PRICE_MAX).contains(&dollars);
                fits.then(|| rounded(dollars * 1e6)).ok_or_else(|| {
                    wrong(format!(
                        "{model}: {dollars} is no price; 0 to 1000000 dollars for a million tokens"
                    ))
                })
            };
            Ok(Price {
                input: micros(input)?,
                cached_input: micros(cached_input.unwrap_or(input))?,
                output: micros(output)?,
                provider,
                model: model.clone(),
            })
        };
        let prices: Result<_, CloudError> = file.price.into_iter().map(price).collect();
        Ok(Self(prices?))
    }

    /// The price of a model of a provider, if it is known.
    #[must_use]
    pub fn find(&self, provider: &str, model: &str) -> Option<&Price> {
        self.0.iter().find(|price| {
            let fits = match price.model.strip_suffix('*') {
                Some(start) => model.starts_with(start),
                None => model == price.model,
            };
            fits && price
                .provider
                .as_deref()
                .is_none_or(|name| name == provider)
        })
    }
}

impl Price {
    /// What this usage costs, in billionths of a dollar, rounded up.
    #[must_use]
    pub fn nanos(&self, usage: &Usage) -> u64 {
        let fresh = usage.input_tokens.saturating_sub(usage.cached_tokens);
        let parts = [
            (fresh, self.input),
            (usage.cached_tokens, self.cached_input),
            (usage.output_tokens, self.output),
        ];
        let sum: u128 = parts
            .iter()
            .map(|(tokens, micros)| u128::from(*tokens) * u128::from(*micros))
            .sum();
        u64::try_from(sum.div_ceil(1000)).unwrap_or(u64::MAX)
    }
}

/// Billionths of a dollar, as dollars.
#[must_use]
#[expect(
    clippy::cast_precision_loss,
    reason = "exact below nine million dollars"
)]
pub fn dollars(nanos: u64) -> f64 {
    nanos as f64 / 1e9
}

/// Dollars as a person writes them, in billionths.
///
/// # Errors
/// Says what would be right.
pub fn nanos(text: &str) -> Result<u64, String> {
    match text.trim().parse::<f64>() {
        Ok(dollars) if (0.0..=1e9).contains(&dollars) => Ok(rounded(dollars * 1e9)),
        _ => Err("an amount in dollars is needed, such as 2.50".to_owned()),
    }
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "callers have checked the range"
)]
fn rounded(value: f64) -> u64 {
    value.round() as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &str = r#"
        [[price]]
        provider = "a"
        model = "m-mini*"
        input = 0.0375
        cached_input = 0.01
        output = 0.6
        [[price]]
        model = "m"
        input = 2
        output = 8.0
    "#;

    fn usage(input_tokens: u64, cached_tokens: u64, output_tokens: u64) -> Usage {
        Usage {
            input_tokens,
            cached_tokens,
            output_tokens,
            estimated: false,
        }
    }

    #[test]
    fn costs_are_exact_and_rounded_up() {
        let prices = Prices::parse(TABLE).unwrap();
        let mini = prices.find("a", "m-mini-2026").unwrap();
        assert_eq!(mini.nanos(&usage(1, 0, 0)), 38);
        assert_eq!(mini.nanos(&usage(1000, 400, 10)), 22_500 + 4_000 + 6_000);
        let any = prices.find("b", "m").unwrap();
        assert_eq!(any.nanos(&usage(1_000_000, 0, 1_000_000)), 10_000_000_000);
        assert!(prices.find("b", "m-mini").is_none());
        assert_eq!(any.nanos(&usage(u64::MAX, 0, u64::MAX)), u64::MAX);
    }

    #[test]
    fn a_wrong_table_is_refused() {
        for text in [
            "[[price]]\nmodel='x'\ninput=-1\noutput=1",
            "[[price]]\nmodel='x'\ninput=nan\noutput=1",
            "[[price]]\nmodel='x'\ninput=1",
            "[[prise]]\nmodel='x'",
            "x",
        ] {
            assert!(Prices::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn dollars_as_people_write_them() {
        assert_eq!(nanos("2.50"), Ok(2_500_000_000));
        assert!((dollars(2_500_000_000) - 2.5).abs() < 1e-12);
        assert!(nanos("-1").is_err() && nanos("much").is_err() && nanos("NaN").is_err());
    }
}
