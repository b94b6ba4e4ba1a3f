//! What a built-in tool is written as, and what it has while it is called.

use std::sync::Arc;

use fazai_tools::{Action, Exec, How, Outcome, Permit, Right, Risk, ToolCall};
use schemars::JsonSchema;
use schemars::generate::SchemaSettings;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::error::ToolError;
use crate::host::{Host, Output, input_of, run, run_told};
use crate::tool::{About, Origin, Params, Tool};

/// A tool that is part of this program.
pub(super) trait Define: Send + Sync + 'static {
    /// What it is told. Its schema is the tool's, so that it denies unknown fields.
    type Params: DeserializeOwned + JsonSchema;

    const NAME: &'static str;
    const DESCRIPTION: &'static str;
    const RISK: Risk = Risk::Low;
    const RIGHTS: &'static [Right] = &[];

    /// What it will ask for; `itself` is for one that only reads facts.
    fn wants(&self, _params: Self::Params, itself: Action) -> Result<Vec<Action>, ToolError> {
        Ok(vec![itself])
    }

    fn call(&self, params: Self::Params, call: &Call) -> Result<Value, ToolError>;
}

/// As others see it.
pub(super) fn define<T: Define>(tool: T) -> Arc<dyn Tool> {
    let settings = SchemaSettings::draft2020_12().with(|settings| {
        settings.inline_subschemas = true;
        settings.meta_schema = None;
    });
    let mut schema = settings
        .into_generator()
        .into_root_schema_for::<T::Params>();
    schema.remove("title");
    let about = About {
        name: T::NAME.into(),
        description: T::DESCRIPTION.into(),
        parameters: schema.to_value(),
        risk: T::RISK,
        rights: T::RIGHTS.iter().copied().collect(),
        origin: Origin::BuiltIn,
        interactive: false,
    };
    Arc::new(Defined { about, tool })
}

struct Defined<T> {
    about: About,
    tool: T,
}

impl<T: Define> Tool for Defined<T> {
    fn about(&self) -> &About {
        &self.about
    }

    fn wants(&self, params: &Params) -> Result<Vec<Action>, ToolError> {
        self.tool.wants(read(params)?, itself(T::NAME, params))
    }

    fn call(&self, params: &Params, host: &dyn Host) -> Result<Value, ToolError> {
        let itself = itself(T::NAME, params);
        self.tool.call(read(params)?, &Call { itself, host })
    }
}

fn read<P: DeserializeOwned>(params: &Params) -> Result<P, ToolError> {
    serde_json::from_value(json!(params)).map_err(|fault| ToolError::BadParams(fault.to_string()))
}

/// Reading facts that every process may read.
fn itself(name: &str, params: &Params) -> Action {
    Action::CallTool(Box::new(ToolCall {
        name: name.to_owned(),
        rights: [].into(),
        risk: Risk::Low,
        input: input_of(params),
        exec: None,
    }))
}

/// A call that goes on.
pub(super) struct Call<'a> {
    itself: Action,
    pub(super) host: &'a dyn Host,
}

impl Call<'_> {
    pub(super) fn permit(&self, action: Action) -> Result<Permit, ToolError> {
        self.host.permit(action)
    }

    /// Does something with a permit for it.
    pub(super) fn act<T>(
        &self,
        action: Action,
        act: impl FnOnce() -> Result<T, ToolError>,
    ) -> Result<T, ToolError> {
        perform(self.permit(action)?, act)
    }

    /// Reads facts that every process may read.
    pub(super) fn facts<T>(
        &self,
        look: impl FnOnce() -> Result<T, ToolError>,
    ) -> Result<T, ToolError> {
        self.act(self.itself.clone(), look)
    }

    /// Runs a program.
    pub(super) fn run(&self, argv: &[&str]) -> Result<Output, ToolError> {
        self.run_as(exec(argv))
    }

    /// Runs the program that an action names.
    pub(super) fn run_as(&self, action: Action) -> Result<Output, ToolError> {
        run(self.permit(action)?, None, self.host)
    }

    /// Runs a program for an action that has rules of its own. Both are judged and recorded, and
    /// nothing is run before both may be.
    pub(super) fn run_for(
        &self,
        action: Action,
        argv: &[&str],
        check: impl FnOnce(Output) -> Result<Output, ToolError>,
    ) -> Result<Output, ToolError> {
        let permit = self.permit(action)?;
        let command = self.permit(exec(argv))?;
        perform(permit, || check(run(command, None, self.host)?))
    }

    /// Runs a program in a way that is made of the usual one, and tells what it writes.
    pub(super) fn run_told(
        &self,
        action: Action,
        way: impl FnOnce(How) -> How,
    ) -> Result<Output, ToolError> {
        let permit = self.permit(action)?;
        let how = way(self.host.how(&permit));
        run_told(permit, how, self.host, &mut |text| self.host.say(text))
    }

    /// An error if nobody wants the answer any more.
    pub(super) fn go_on(&self) -> Result<(), ToolError> {
        if self.host.stop().is_stopped() {
            return Err(ToolError::Stopped);
        }
        Ok(())
    }
}

/// Does something, and records how it ended.
pub(super) fn perform<T>(
    permit: Permit,
    act: impl FnOnce() -> Result<T, ToolError>,
) -> Result<T, ToolError> {
    let result = act();
    let recorded = permit.finish(Outcome::of(&result));
    let value = result?;
    recorded.map_err(|fault| {
        ToolError::Failed(format!(
            "it was done, but its end could not be recorded: {fault}"
        ))
    })?;
    Ok(value)
}

/// Starting a program that is found by its name.
pub(super) fn exec(argv: &[&str]) -> Action {
    let argv = argv.iter().map(|arg| (*arg).to_owned()).collect();
    Action::Exec(Exec::plain(argv, "/"))
}

/// What a program wrote, if it says that it did what it was told.
pub(super) fn succeeded(output: Output, program: &str) -> Result<Output, ToolError> {
    match output.ended.exit_code {
        Some(0) => Ok(output),
        _ => Err(failed(&output, program)),
    }
}

/// What a program said of its failure.
pub(super) fn failed(output: &Output, program: &str) -> ToolError {
    let said = [&output.stderr, &output.stdout];
    let said = said.into_iter().find(|text| !text.trim().is_empty());
    let said: String = said
        .map_or("", |text| text.trim())
        .chars()
        .take(1000)
        .collect();
    let code = output
        .ended
        .exit_code
        .map_or("a signal".into(), |code| code.to_string());
    ToolError::Failed(format!("`{program}` ended with {code}: {said}"))
}

/// The first program of these that is installed.
pub(super) fn installed<'a>(names: &[&'a str]) -> Option<&'a str> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let is_there = |name: &&&str| std::env::split_paths(&path).any(|dir| dir.join(name).is_file());
    names.iter().find(is_there).copied()
}

/// As many as are wanted, and whether there are more.
pub(super) fn limited<T>(items: impl IntoIterator<Item = T>, limit: usize) -> (Vec<T>, bool) {
    let mut items = items.into_iter();
    let some: Vec<T> = items.by_ref().take(limit).collect();
    (some, items.next().is_some())
}

/// Bytes as text. Of control characters only those of layout stay: each of the others would be six
/// bytes of JSON, and an answer has a limit.
pub(super) fn text_of(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    let is_plain = |c: &char| !c.is_control() || "\n\r\t".contains(*c);
    text.chars()
        .map(|c| {
            if is_plain(&c) {
                c
            } else {
                char::REPLACEMENT_CHARACTER
            }
        })
        .collect()
}

/// No more than this many bytes, cut between characters.
pub(super) fn cut(text: &str, bytes: usize) -> &str {
    &text[..text.floor_char_boundary(bytes)]
}

/// A limit that a caller names, as a count.
pub(super) fn count(limit: u32) -> usize {
    usize::try_from(limit).unwrap_or(usize::MAX)
}
