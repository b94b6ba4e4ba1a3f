//! `chart`: a picture of numbers, as SVG.

use std::path::PathBuf;
use std::sync::Arc;

use fazai_tools::{Action, Right};
use plotters::coord::Shift;
use plotters::prelude::{
    ChartBuilder, Color, DrawingArea, DrawingAreaErrorKind, IntoDrawingArea, LineSeries, Palette,
    Palette99, PathElement, Rectangle, SVGBackend, WHITE,
};
use plotters::style::{BLACK, RGBColor, ShapeStyle};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, json};

use super::Settings;
use super::define::{Call, Define, cut};
use super::file::check;
use super::replace::Replacement;
use crate::error::ToolError;

const WIDTH: u32 = 960;
const HEIGHT: u32 = 540;

/// How many numbers are drawn, all series together. JSON of that size is taken as parameters.
const VALUES_MAX: usize = 10_000;

/// Larger numbers are no longer told apart.
const VALUE_MAX: f64 = 1e15;

/// The longest label, in bytes.
const LABEL_BYTES_MAX: usize = 60;

pub(super) struct Chart(pub(super) Arc<Settings>);

/// What to draw.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Told {
    /// What is written above it.
    #[serde(default)]
    #[schemars(length(max = 200))]
    title: String,
    /// Lines or bars.
    kind: Kind,
    /// What is drawn.
    #[schemars(length(min = 1, max = 20))]
    series: Vec<Series>,
    /// What is written below, for each number of a series; without it they are counted.
    #[serde(default)]
    x: Vec<String>,
    /// A file for it, absolute; without it the SVG is the answer.
    path: Option<PathBuf>,
}

#[derive(Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum Kind {
    Line,
    Bar,
}

/// Numbers that belong together.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Series {
    /// What they are called.
    #[serde(default)]
    #[schemars(length(max = 200))]
    name: String,
    /// The numbers, in order.
    #[schemars(length(min = 1))]
    values: Vec<f64>,
}

impl Define for Chart {
    type Params = Told;
    const NAME: &'static str = "chart";
    const DESCRIPTION: &'static str =
        "Draws numbers as lines or bars: an SVG, as the answer or in a file.";
    const RIGHTS: &'static [Right] = &[Right::Change];

    fn wants(&self, told: Told, itself: Action) -> Result<Vec<Action>, ToolError> {
        told.check()?;
        let Some(path) = told.path else {
            return Ok(vec![itself]);
        };
        check(&path)?;
        // What it is to hold is known once it is drawn.
        Ok(vec![Action::write_file(path)])
    }

    fn call(&self, told: Told, call: &Call) -> Result<Value, ToolError> {
        told.check()?;
        let drawn = || {
            told.svg()
                .map_err(|fault| ToolError::Failed(format!("it can't be drawn: {fault}")))
        };
        let Some(path) = &told.path else {
            return Ok(json!({ "svg": call.facts(drawn)? }));
        };
        let written = Replacement {
            path,
            content: &drawn()?,
            mode: None,
            backup_dir: self.0.backup_dir.as_deref(),
        }
        .make(call)?;
        // The difference of two pictures says nothing to anybody.
        Ok(
            json!({ "path": written["path"], "bytes": written["bytes"], "backup": written["backup"] }),
        )
    }
}

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;
type Fault = DrawingAreaErrorKind<std::io::Error>;

impl Told {
    fn check(&self) -> Result<(), ToolError> {
        let mut values = self.series.iter().flat_map(|series| &series.values);
        let count = self
            .series
            .iter()
            .map(|series| series.values.len())
            .sum::<usize>();
        if count > VALUES_MAX {
            return Err(ToolError::BadParams(format!(
                "{count} numbers can't be told apart in one picture; give at most {VALUES_MAX}"
            )));
        }
        if values.any(|value| value.abs() > VALUE_MAX) {
            return Err(ToolError::BadParams(format!(
                "numbers beyond {VALUE_MAX} can't be drawn; use another unit"
            )));
        }
        Ok(())
    }

    fn svg(&self) -> Result<String, Fault> {
        let mut svg = String::new();
        let area = SVGBackend::with_string(&mut svg, (WIDTH, HEIGHT)).into_drawing_area();
        self.draw(&area)?;
        drop(area);
        Ok(svg)
    }

    fn draw(&self, area: &Area) -> Result<(), Fault> {
        area.fill(&WHITE)?;
        let longest = self.series.iter().map(|series| series.values.len()).max();
        let longest = place(longest.unwrap_or(1));
        let (low, high) = self.range();
        let wide = match self.kind {
            Kind::Line => 0.0..(longest - 1.0).max(1.0),
            Kind::Bar => 0.0..longest,
        };
        let mut chart = ChartBuilder::on(area)
            .caption(label(&self.title), ("sans-serif", 22))
            .margin(12)
            .x_label_area_size(34)
            .y_label_area_size(70)
            .build_cartesian_2d(wide, low..high)?;
        chart
            .configure_mesh()
            .light_line_style(WHITE)
            .x_labels(12)
            .x_label_formatter(&|at| self.below(*at))
            .draw()?;
        for (number, series) in self.series.iter().enumerate() {
            let colour: RGBColor = {
                let (red, green, blue) = Palette99::COLORS[number % Palette99::COLORS.len()];
                RGBColor(red, green, blue)
            };
            let points = series.values.iter().enumerate();
            let drawn = match self.kind {
                Kind::Line => {
                    let line = points.map(|(at, value)| (place(at), *value));
                    chart.draw_series(LineSeries::new(line, colour.stroke_width(2)))?
                }
                Kind::Bar => {
                    let bar = 0.8 / place(self.series.len());
                    chart.draw_series(points.map(|(at, value)| {
                        let left = place(at) + 0.1 + bar * place(number);
                        Rectangle::new([(left, 0.0), (left + bar, *value)], colour.filled())
                    }))?
                }
            };
            if !series.name.is_empty() {
                let style = ShapeStyle::from(colour).stroke_width(4);
                drawn
                    .label(label(&series.name))
                    .legend(move |(x, y)| PathElement::new([(x, y), (x + 18, y)], style));
            }
        }
        if self.series.iter().any(|series| !series.name.is_empty()) {
            chart
                .configure_series_labels()
                .background_style(WHITE.mix(0.8))
                .border_style(BLACK.mix(0.3))
                .draw()?;
        }
        area.present()
    }

    /// From the lowest number to the highest, with some room; bars begin at 0.
    fn range(&self) -> (f64, f64) {
        let values = self
            .series
            .iter()
            .flat_map(|series| series.values.iter().copied());
        let base = (self.kind == Kind::Bar).then_some(0.0);
        let (mut low, mut high) = (f64::INFINITY, f64::NEG_INFINITY);
        for value in values.chain(base) {
            low = low.min(value);
            high = high.max(value);
        }
        // So near to each other that their difference is lost in them.
        let least = low.abs().max(high.abs()).max(1.0) * 1e-6;
        let room = ((high - low) * 0.05).max(least);
        match self.kind {
            Kind::Bar if low >= 0.0 => (0.0, high + room),
            _ => (low - room, high + room),
        }
    }

    /// What is written below a place.
    fn below(&self, at: f64) -> String {
        let whole = at.fract().abs() < 1e-9 && at >= 0.0;
        if self.x.is_empty() {
            return if whole { at.to_string() } else { String::new() };
        }
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "it is a whole number, not negative, and saturates"
        )]
        let found = whole.then(|| self.x.get(at as usize)).flatten();
        found.map(|text| label(text)).unwrap_or_default()
    }
}

#[expect(clippy::cast_precision_loss, reason = "there are not so many numbers")]
fn place(at: usize) -> f64 {
    at as f64
}

/// A text that can be written in a picture.
fn label(text: &str) -> String {
    cut(text, LABEL_BYTES_MAX)
        .chars()
        .filter(|c| !c.is_control())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(params: Value) -> Told {
        serde_json::from_value(params).expect("params")
    }

    #[test]
    fn numbers_become_a_picture() {
        for kind in ["line", "bar"] {
            let svg = told(json!({
                "title": "<load> & more",
                "kind": kind,
                "x": ["a", "b", "c"],
                "series": [{ "name": "one", "values": [1, 2.5, -3] }, { "values": [0] }],
            }));
            let svg = svg.svg().expect("a picture");
            assert!(
                svg.starts_with("<svg") && svg.trim_end().ends_with("</svg>"),
                "{svg}"
            );
            assert!(
                svg.contains("&lt;load&gt; &amp; more") && !svg.contains("<load>"),
                "{svg}"
            );
        }
    }

    #[test]
    fn odd_numbers_are_drawn_or_refused() {
        for values in [
            json!([5]),
            json!([0, 0]),
            json!([1e15, 1e15]),
            json!([-1e15, 1e15]),
            json!([1e-300, 0]),
        ] {
            for kind in ["line", "bar"] {
                let told = told(json!({ "kind": kind, "series": [{ "values": values }] }));
                told.check().expect("they can be drawn");
                told.svg().expect("a picture");
            }
        }
        let large = told(json!({ "kind": "line", "series": [{ "values": [1e300] }] }));
        assert!(matches!(large.check(), Err(ToolError::BadParams(_))));
    }
}
