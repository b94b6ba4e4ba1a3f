//! The machine on which something is measured, and whether this build uses all of it.

use std::io;

use fazai_models::cpu;
use serde_json::Value;

use super::output;

/// A processor, and what this build leaves of it.
#[derive(Debug, Default)]
pub(super) struct Machine {
    pub(super) cpu: String,
    pub(super) unused_features: Vec<&'static str>,
}

impl Machine {
    /// This one.
    pub(super) fn here() -> Self {
        Self {
            cpu: cpu::model_name(),
            unused_features: cpu::unused_features(),
        }
    }

    /// Whether the figures say something about the machine and not about the build.
    pub(super) fn comparable(&self) -> bool {
        self.unused_features.is_empty()
    }

    /// Says on standard error if they do not.
    pub(super) fn warn(&self) -> io::Result<()> {
        if self.comparable() {
            return Ok(());
        }
        output::warn(&self.warning())
    }

    pub(super) fn warning(&self) -> String {
        format!(
            "these figures are not comparable: this build does not use the processor's {}; \
             build with -C target-cpu=native on the machine that runs it",
            self.unused_features.join(", ")
        )
    }

    /// A line about the model, as the worker describes it, and the machine.
    pub(super) fn heading(&self, model: &Value) -> String {
        let text = |key: &str| model[key].as_str().unwrap_or("?").to_owned();
        let number = |key: &str| model[key].as_u64().unwrap_or(0);
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
}
