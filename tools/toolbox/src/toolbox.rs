//! All tools by name, and a call from its parameters to its answer.

use std::collections::BTreeMap;
use std::sync::Arc;

use fazai_tools::Action;
use serde_json::Value;

use crate::error::ToolError;
use crate::host::Host;
use crate::schema::{JSON_BYTES_MAX, Schema};
use crate::tool::{Broken, Origin, Params, Tool, is_name};

/// The longest answer of a tool, in bytes of JSON.
pub const ANSWER_BYTES_MAX: usize = 1 << 20;

/// Tools that come from one place.
pub trait Source: Send + Sync {
    /// Those that are there now, and those that are broken. Called often: what takes long is kept
    /// until it changes. Finding out what a tool is may take a permit, such as to start it.
    fn tools(&self, host: &dyn Host) -> Vec<Result<Arc<dyn Tool>, Broken>>;

    /// One of them; by default it is looked for among all.
    fn tool(&self, name: &str, host: &dyn Host) -> Option<Result<Arc<dyn Tool>, Broken>> {
        self.tools(host).into_iter().find(|tool| match tool {
            Ok(tool) => tool.about().name == name,
            Err(broken) => broken.name == name,
        })
    }
}

/// A tool in a list.
pub struct Listed {
    /// The tool, or why it can't be used.
    pub tool: Result<Arc<dyn Tool>, Broken>,
    /// Where others of its name come from, which can't be called because of it.
    pub hides: Vec<Origin>,
}

/// All tools.
pub struct Toolbox {
    /// Of tools with the same name, that of the first source counts.
    sources: Vec<Arc<dyn Source>>,
}

impl Toolbox {
    /// From these places; of tools with the same name that of the first counts.
    #[must_use]
    pub fn new(sources: Vec<Arc<dyn Source>>) -> Self {
        Self { sources }
    }

    /// All tools, by name.
    #[must_use]
    pub fn list(&self, host: &dyn Host) -> Vec<Listed> {
        let mut found = BTreeMap::<String, Listed>::new();
        let all = self.sources.iter().flat_map(|source| source.tools(host));
        for tool in all {
            let (name, origin) = match &tool {
                Ok(tool) => (&tool.about().name, &tool.about().origin),
                Err(broken) => (&broken.name, &broken.origin),
            };
            if let Some(first) = found.get_mut(name) {
                first.hides.push(origin.clone());
            } else {
                let hides = Vec::new();
                found.insert(name.clone(), Listed { tool, hides });
            }
        }
        found.into_values().collect()
    }

    /// One tool.
    pub fn get(&self, name: &str, host: &dyn Host) -> Result<Arc<dyn Tool>, ToolError> {
        if !is_name(name) {
            return Err(ToolError::NotFound(name.chars().take(80).collect()));
        }
        let found = self
            .sources
            .iter()
            .find_map(|source| source.tool(name, host));
        match found {
            None => Err(ToolError::NotFound(name.to_owned())),
            Some(Ok(tool)) => Ok(tool),
            Some(Err(broken)) => Err(ToolError::Broken {
                name: broken.name,
                problem: broken.problem,
            }),
        }
    }
}

/// What a tool would ask the gate for if it were called like this.
pub fn wants(tool: &dyn Tool, params: &Value) -> Result<Vec<Action>, ToolError> {
    tool.wants(checked(tool, params)?)
}

/// Calls a tool: its schema first, then the tool, then the size of its answer.
pub fn call(tool: &dyn Tool, params: &Value, host: &dyn Host) -> Result<Value, ToolError> {
    let answer = tool.call(checked(tool, params)?, host)?;
    let bytes = answer.to_string().len();
    if bytes > ANSWER_BYTES_MAX {
        return Err(ToolError::Failed(format!(
            "its answer has {bytes} bytes, and at most {ANSWER_BYTES_MAX} are taken"
        )));
    }
    Ok(answer)
}

/// The parameters, if the tool's schema accepts them.
fn checked<'a>(tool: &dyn Tool, params: &'a Value) -> Result<&'a Params, ToolError> {
    let about = tool.about();
    let Value::Object(object) = params else {
        return Err(ToolError::BadParams(format!(
            "`{}` takes an object of parameters",
            about.name
        )));
    };
    let bytes = params.to_string().len();
    if bytes > JSON_BYTES_MAX {
        return Err(ToolError::BadParams(format!(
            "the parameters have {bytes} bytes, at most {JSON_BYTES_MAX} are checked"
        )));
    }
    let schema = Schema::new(&about.parameters).map_err(|problem| ToolError::Broken {
        name: about.name.clone(),
        problem: format!("its schema can't be used: {problem}"),
    })?;
    schema.check(params).map_err(ToolError::BadParams)?;
    Ok(object)
}
