//! One tool of a server.

use std::sync::Arc;

use fazai_tools::{Action, Hash, Outcome};
use serde_json::Value;

use super::catalogue::Listed;
use super::server::Server;
use crate::error::ToolError;
use crate::host::Host;
use crate::tool::{About, Params, Tool};

/// One tool of a server.
pub(super) struct McpTool {
    server: Arc<Server>,
    listed: Arc<Listed>,
}

impl McpTool {
    pub(super) fn new(server: Arc<Server>, listed: Arc<Listed>) -> Self {
        Self { server, listed }
    }

    fn action(&self, params: &Params) -> Action {
        let About { name, risk, .. } = &self.listed.about;
        self.server.call_action(name.clone(), *risk, params)
    }
}

impl Tool for McpTool {
    fn about(&self) -> &About {
        &self.listed.about
    }

    fn wants(&self, params: &Params) -> Result<Vec<Action>, ToolError> {
        let mut actions = vec![self.action(params)];
        if !self.server.runs() {
            actions.push(self.server.start_action());
        }
        Ok(actions)
    }

    fn call(&self, params: &Params, host: &dyn Host) -> Result<Value, ToolError> {
        let permit = host.permit(self.action(params))?;
        let how = host.how(&permit);
        let result = self.server.call(&self.listed.remote, params, &how, host);
        let hash = |answer: &Value| Hash::of(answer.to_string().as_bytes());
        let outcome = Outcome {
            output_sha256: result.as_ref().ok().map(hash),
            ..Outcome::of(&result)
        };
        match permit.finish(outcome) {
            Ok(()) => result,
            // Why it failed says more than that this could not be recorded.
            Err(error) => result.and_then(|_| {
                Err(ToolError::Failed(format!(
                    "the call was made, but its end could not be recorded: {error}"
                )))
            }),
        }
    }
}
