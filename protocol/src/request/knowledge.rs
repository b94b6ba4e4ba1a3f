//! What is remembered: knowledge and personalities.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{is_false, is_true, yes};

/// Named arguments of `research`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ResearchParams {
    /// How many passages.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub k: Option<u64>,
    /// Only those with all of these tags.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<String>,
    /// Have a model answer from the passages, naming those that it used.
    #[serde(skip_serializing_if = "is_false")]
    pub answer: bool,
    /// Look it up in the documentation that the settings name, too: the question leaves the machine.
    #[serde(skip_serializing_if = "is_false")]
    pub documentation: bool,
}

/// Named arguments of `personality`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct PersonalityParams {
    /// For "write NAME": `system`, and if wanted `style`, `language` and `rules`, as TOML.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub toml: Option<String>,
}

/// Named arguments of `commitKB`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct CommitParams {
    /// A line that says what it is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    /// What went wrong.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
    /// What helped.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub solution: Option<String>,
    /// Words to filter by.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<String>,
    /// Where it is from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// The distribution that it holds for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub distro: Option<String>,
    /// For everybody who uses the worker, instead of the user alone.
    #[serde(skip_serializing_if = "is_false")]
    pub shared: bool,
}

/// Something about the knowledge.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct KbCall {
    /// "stats", "add PATH", "add -" (what `params.text` says), "watch PATH", "journal",
    /// "journal UNIT", "show ID" or "rm ID"; for administrators also "gc", "embed", "export",
    /// "export PATH", "import PATH", "migrate to server", "migrate to directory", "episodes" and
    /// "episodes DAY".
    #[serde(default)]
    pub input: String,
    /// `false`: nothing but the `done` line.
    #[serde(default = "yes", skip_serializing_if = "is_true")]
    pub stream: bool,
    /// Named arguments; an unknown name is refused.
    #[serde(default)]
    pub params: KbParams,
}

impl KbCall {
    /// Of this `input`.
    #[must_use]
    pub fn new(input: impl Into<String>) -> Self {
        Self {
            input: input.into(),
            stream: true,
            params: KbParams::default(),
        }
    }
}

/// Named arguments of `kb`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct KbParams {
    /// Words by which what is added can be found.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<String>,
    /// For the user alone, instead of everybody who uses the worker.
    #[serde(skip_serializing_if = "is_false")]
    pub private: bool,
    /// The text of "add -".
    #[serde(skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    /// What that text is called, such as "notes.md": its ending says how it is read, and it takes the
    /// place of what was added under the same name. Otherwise each text has a name of its own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// How many days of a journal are read, counted in UTC and with today; otherwise 2.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 31))]
    pub days: Option<u32>,
}
