//! The commands of native modules as tools.

use std::collections::BTreeSet;
use std::ops::ControlFlow;
use std::sync::Arc;

use fazai_modhost::{Call, Command};
use fazai_protocol::{ModuleCall, ModuleParams};
use fazai_toolbox::{About, Broken, Host, Origin, Params, Source, Tool, ToolError};
use fazai_tools::{Action, Risk};
use serde_json::{Value, json};

use crate::Worker;
use crate::live::User;
use crate::modules::{Loaded, ModuleFault, Standing, Wanted};

/// The modules as one user may call them.
pub(super) struct Modules {
    pub(super) worker: Worker,
    pub(super) user: User,
}

/// One command.
struct ModuleTool {
    about: About,
    command: String,
    /// Whether it takes one text instead of JSON.
    text: bool,
    loaded: Arc<Loaded>,
    user: User,
}

/// The parameter of a command that takes a text.
const TEXT: &str = "text";

impl Source for Modules {
    /// Those of the modules that are loaded: others have not said yet what they can.
    fn tools(&self, _: &dyn Host) -> Vec<Result<Arc<dyn Tool>, Broken>> {
        let listed = self.worker.shared.modules.list().unwrap_or_default();
        let loaded = listed
            .into_iter()
            .filter_map(|(_, standing)| match standing {
                Standing::Loaded(loaded) => Some(loaded),
                _ => None,
            });
        loaded.flat_map(|loaded| self.commands(&loaded)).collect()
    }

    /// One of a module that is loaded now, if it was not.
    fn tool(&self, name: &str, _: &dyn Host) -> Option<Result<Arc<dyn Tool>, Broken>> {
        let (module, _) = name.split_once('.')?;
        match self.worker.shared.modules.open(module) {
            Ok(loaded) => self.commands(&loaded).into_iter().find(|tool| {
                let found = tool.as_ref().map(|tool| tool.about().name.as_str());
                found == Ok(name)
            }),
            Err(fault) if matches!(*fault, ModuleFault::NotFound { .. }) => None,
            Err(fault) => Some(Err(Broken {
                name: name.to_owned(),
                origin: Origin::Module {
                    module: module.to_owned(),
                },
                problem: fault.to_string(),
            })),
        }
    }
}

impl Modules {
    fn commands(&self, loaded: &Arc<Loaded>) -> Vec<Result<Arc<dyn Tool>, Broken>> {
        let descriptor = loaded.module.descriptor();
        let commands = descriptor.map(|known| known.commands).unwrap_or_default();
        let tool = |command: Command| {
            let tool: Arc<dyn Tool> = Arc::new(ModuleTool::new(loaded, command, self.user));
            Ok(tool)
        };
        commands.into_iter().map(tool).collect()
    }
}

/// The name of a module's command among tools.
pub(crate) fn tool_name(module: &str, command: &str) -> String {
    format!("{module}.{command}")
}

impl ModuleTool {
    fn new(loaded: &Arc<Loaded>, command: Command, user: User) -> Self {
        let module = loaded.module.name().to_owned();
        let text = command.args.is_none();
        let parameters = command.args.unwrap_or_else(|| {
            json!({
                "type": "object",
                "properties": { TEXT: { "type": "string" } },
                "additionalProperties": false,
            })
        });
        Self {
            about: About {
                name: tool_name(&module, &command.name),
                description: command.description,
                parameters,
                risk: Risk::Low,
                rights: BTreeSet::new(),
                origin: Origin::Module { module },
                interactive: false,
            },
            command: command.name,
            text,
            loaded: Arc::clone(loaded),
            user,
        }
    }

    fn action(&self) -> Action {
        Action::CallModule {
            name: self.loaded.module.name().to_owned(),
            command: self.command.clone(),
        }
    }
}

impl Tool for ModuleTool {
    fn about(&self) -> &About {
        &self.about
    }

    fn wants(&self, _: &Params) -> Result<Vec<Action>, ToolError> {
        Ok(vec![self.action()])
    }

    fn call(&self, params: &Params, host: &dyn Host) -> Result<Value, ToolError> {
        let args = if self.text {
            params.get(TEXT).cloned()
        } else {
            Some(Value::Object(params.clone()))
        };
        let call = ModuleCall {
            params: ModuleParams {
                module: Some(self.loaded.module.name().to_owned()),
                command: Some(self.command.clone()),
                args,
                deadline_ms: None,
            },
            ..ModuleCall::new("")
        };
        let wanted = Wanted::parse(call).map_err(|fault| failed(&fault))?;
        let facts = self.loaded.facts();
        let command = facts
            .command(&wanted, self.user)
            .map_err(|fault| failed(&fault))?;
        let permit = host.permit(self.action())?;
        let call = Call {
            limit: Some(facts.call_timeout),
            stop: Some(host.stop().clone()),
        };
        let mut text = String::new();
        let answered = self
            .loaded
            .call(Some(permit), &command, &call, &mut |piece: String| {
                host.say(&piece);
                text.push_str(&piece);
                ControlFlow::Continue(())
            });
        let answer = answered.map_err(|fault| failed(&fault))?;
        if host.stop().is_stopped() {
            return Err(ToolError::Stopped);
        }
        if answer.code != 0 {
            return Err(ToolError::Failed(text));
        }
        // Many answer with JSON.
        Ok(serde_json::from_str(&text).unwrap_or_else(|_| json!({ "text": text })))
    }
}

fn failed(fault: &impl ToString) -> ToolError {
    ToolError::Failed(fault.to_string())
}
