//! What was compared, as a table and as JSON.

use serde_json::{Value, json};

use super::super::series::Series;
use super::super::{Machine, Report};
use super::cases::Row;
use super::round::Figure;
use super::side::Counts;

/// One side's measurements of one row.
#[derive(Debug, Clone, Default)]
pub(super) struct Outcome {
    values: Series,
    /// Of the last round.
    counts: Counts,
}

impl Outcome {
    fn push(&mut self, figure: Figure) {
        self.values.push(figure.value);
        self.counts = figure.counts;
    }

    fn json(&self) -> Value {
        if self.values.is_empty() {
            return Value::Null;
        }
        let mut json = self.values.json_with_quartiles();
        json["prompt_tokens"] = json!(self.counts.prompt_tokens);
        json["cached_tokens"] = json!(self.counts.cached_tokens);
        json["output_tokens"] = json!(self.counts.output_tokens);
        json
    }

    fn cells(&self) -> [String; 2] {
        if self.values.is_empty() {
            return ["-".to_owned(), "-".to_owned()];
        }
        [figure(self.values.median()), spread(&self.values)]
    }
}

/// Both sides' measurements of one row.
#[derive(Debug)]
pub(super) struct Compared {
    row: Row,
    ours: Outcome,
    theirs: Outcome,
    /// Ours over theirs, of the rounds in which both have a figure.
    ratios: Series,
}

impl Compared {
    pub(super) fn new(row: Row) -> Self {
        Self {
            row,
            ours: Outcome::default(),
            theirs: Outcome::default(),
            ratios: Series::default(),
        }
    }

    /// Adds what one round gave.
    pub(super) fn push(&mut self, ours: Option<Figure>, theirs: Option<Figure>) {
        if let (Some(ours), Some(theirs)) = (ours, theirs)
            && theirs.value > 0.0
        {
            self.ratios.push(ours.value / theirs.value);
        }
        ours.into_iter().for_each(|figure| self.ours.push(figure));
        theirs
            .into_iter()
            .for_each(|figure| self.theirs.push(figure));
    }

    /// The ratio of the medians.
    fn ratio(&self) -> Option<f64> {
        let theirs = self.theirs.values.median();
        (!self.ratios.is_empty() && theirs > 0.0).then(|| self.ours.values.median() / theirs)
    }

    /// Both should have done the same work.
    fn note(&self) -> Option<String> {
        if self.ours.values.is_empty() || self.theirs.values.is_empty() {
            return None;
        }
        let (ours, theirs) = (self.ours.counts, self.theirs.counts);
        let differ = |what: &str, ours: u64, theirs: u64| {
            (ours != theirs).then(|| {
                format!(
                    "{}: {what} {ours} tokens here, {theirs} there",
                    self.row.name
                )
            })
        };
        differ("read", ours.prompt_tokens, theirs.prompt_tokens)
            .or_else(|| differ("wrote", ours.output_tokens, theirs.output_tokens))
    }

    fn json(&self) -> Value {
        let mut json = json!({
            "case": self.row.case,
            "figure": self.row.name,
            "unit": self.row.unit,
            "more_is_better": self.row.more_is_better(),
            "ours": self.ours.json(),
        });
        if let Some(ratio) = self.ratio() {
            json["theirs"] = self.theirs.json();
            json["ratio"] = json!(ratio);
            json["ratio_of_rounds"] = self.ratios.json_with_quartiles();
        }
        json
    }

    fn cells(&self, compared: bool) -> Vec<String> {
        let mut cells = vec![self.row.name.clone(), self.row.unit.to_owned()];
        cells.extend(self.ours.cells());
        if compared {
            cells.extend(self.theirs.cells());
            let ratio = self.ratio().map(figure);
            cells.push(ratio.unwrap_or_else(|| "-".to_owned()));
            cells.push(spread(&self.ratios));
        }
        cells
    }
}

/// A whole comparison.
#[derive(Debug, Default)]
pub(super) struct Measured {
    pub(super) machine: Machine,
    pub(super) model: Value,
    /// A line about the peer and what it says of itself, if there is one.
    pub(super) peer: Option<(String, Value)>,
    pub(super) repeats: u32,
    pub(super) seed: u64,
    pub(super) rows: Vec<Compared>,
    /// What a reader of the figures should know.
    pub(super) notes: Vec<String>,
    /// Cases that failed, with the reason.
    pub(super) failures: Vec<String>,
    /// Whether cases are missing because the user had seen enough.
    pub(super) interrupted: bool,
}

impl Measured {
    /// Adds a note, once.
    pub(super) fn note(&mut self, note: String) {
        if !self.notes.contains(&note) {
            self.notes.push(note);
        }
    }

    fn heading(&self) -> String {
        let mut heading = self.machine.heading(&self.model);
        if let Some((peer, _)) = &self.peer {
            heading.push('\n');
            heading.push_str(peer);
            heading.push_str("\nours/theirs: above 1 is better for what has /s, below 1 for s");
        }
        for failure in &self.failures {
            heading.push_str(&format!("\nfailed: {failure}"));
        }
        for note in self.all_notes() {
            heading.push_str(&format!("\nnote: {note}"));
        }
        heading
    }

    fn all_notes(&self) -> Vec<String> {
        let unequal = self.rows.iter().filter_map(Compared::note);
        self.notes.iter().cloned().chain(unequal).collect()
    }

    fn table(&self) -> Vec<Vec<String>> {
        let mut heading = vec!["", "unit", "ours", "min-max"];
        if self.peer.is_some() {
            heading.extend(["theirs", "min-max", "ours/theirs", "min-max"]);
        }
        let heading = heading.into_iter().map(str::to_owned).collect();
        let rows = self.rows.iter().map(|row| row.cells(self.peer.is_some()));
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
        let rows: Vec<Value> = self.rows.iter().map(Compared::json).collect();
        let mut json = json!({
            "model": self.model,
            "cpu": self.machine.cpu,
            "comparable": self.machine.comparable(),
            "unused_cpu_features": self.machine.unused_features,
            "repeats": self.repeats,
            "seed": self.seed,
            "figures": rows,
            "notes": self.all_notes(),
            "failures": self.failures,
            "interrupted": self.interrupted,
        });
        if let Some((_, peer)) = &self.peer {
            json["peer"] = peer.clone();
        }
        json
    }
}

/// Three digits that count.
fn figure(value: f64) -> String {
    match value {
        100.0.. => format!("{value:.0}"),
        10.0.. => format!("{value:.1}"),
        1.0.. => format!("{value:.2}"),
        0.1.. => format!("{value:.3}"),
        _ => format!("{value:.4}"),
    }
}

fn spread(values: &Series) -> String {
    if values.is_empty() {
        return "-".to_owned();
    }
    format!("{}-{}", figure(values.least()), figure(values.most()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn measured(output_tokens: u64, value: f64) -> Figure {
        let counts = Counts {
            output_tokens,
            ..Counts::default()
        };
        Figure { value, counts }
    }

    fn row(unit: &'static str) -> Compared {
        Compared::new(Row {
            case: "stream",
            name: "generation".to_owned(),
            unit,
        })
    }

    #[test]
    fn a_ratio_is_that_of_the_medians_and_its_spread_that_of_the_rounds() {
        let mut row = row("tokens/s");
        for (ours, theirs) in [(10.0, 10.0), (30.0, 20.0), (20.0, 40.0)] {
            row.push(Some(measured(9, ours)), Some(measured(9, theirs)));
        }
        let json = row.json();
        assert_eq!(
            (&json["ratio"], &json["more_is_better"]),
            (&json!(1.0), &json!(true))
        );
        assert_eq!(json["ratio_of_rounds"]["min"], 0.5);
        assert_eq!(json["ratio_of_rounds"]["max"], 1.5);
        assert_eq!(row.note(), None);
        let cells = row.cells(true);
        assert_eq!(
            cells[2..],
            [
                "20.0",
                "10.0-30.0",
                "20.0",
                "10.0-40.0",
                "1.00",
                "0.500-1.50"
            ]
        );
    }

    #[test]
    fn a_peer_that_failed_or_is_missing_has_no_figures() {
        let mut row = row("s");
        row.push(Some(measured(9, 0.25)), None);
        let json = row.json();
        assert!(
            json["theirs"].is_null() && json.get("ratio").is_none(),
            "{json}"
        );
        assert_eq!(row.cells(true)[4..], ["-", "-", "-", "-"]);
        assert_eq!(row.cells(false).len(), 4);
        assert_eq!(row.note(), None);
    }

    #[test]
    fn sides_that_did_unequal_work_are_told_apart() {
        let mut row = row("s");
        row.push(Some(measured(40, 1.0)), Some(measured(90, 2.0)));
        let note = row.note().unwrap_or_default();
        assert!(note.contains("40") && note.contains("90"), "{note}");
    }

    #[test]
    fn figures_keep_three_digits() {
        let shown = [1234.5, 56.78, 1.234, 0.1234, 0.01234].map(figure);
        assert_eq!(shown, ["1234", "56.8", "1.23", "0.123", "0.0123"]);
    }
}
