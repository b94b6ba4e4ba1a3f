//! The worker's own jobs: what a model is told for each, what its answer must look like, and
//! cases by which any model can be measured.

/// One job.
#[derive(Debug, Clone, Copy)]
pub struct Task {
    /// A short name.
    pub name: &'static str,
    /// The system prompt, if the job has one.
    pub prompt: Option<&'static str>,
    /// The JSON Schema of the answer, if it is JSON.
    pub schema: Option<&'static str>,
    /// Held-out cases, as JSON Lines; `models/builtin/eval/README.md` has their keys. Nothing
    /// that trains a model may read them.
    pub cases: &'static str,
}

/// An event of a log or a sensor becomes a severity, a category and an action.
pub const TRIAGE: Task = Task {
    name: "triage",
    prompt: Some(include_str!("../builtin/prompts/triage.txt")),
    schema: Some(include_str!("../builtin/schemas/triage.json")),
    cases: include_str!("../builtin/eval/triage.jsonl"),
};

/// A request becomes steps, each a command or a tool.
pub const PLAN: Task = Task {
    name: "plan",
    prompt: Some(include_str!("../builtin/prompts/plan.txt")),
    schema: Some(include_str!("../builtin/schemas/plan.json")),
    cases: include_str!("../builtin/eval/plan.jsonl"),
};

/// A question on Linux operations is answered.
pub const ANSWER: Task = Task {
    name: "answer",
    prompt: None,
    schema: None,
    cases: include_str!("../builtin/eval/answer.jsonl"),
};

/// The built-in model says of anything else that it is too small for it.
pub const LIMITS: Task = Task {
    name: "limits",
    prompt: None,
    schema: None,
    cases: include_str!("../builtin/eval/limits.jsonl"),
};
