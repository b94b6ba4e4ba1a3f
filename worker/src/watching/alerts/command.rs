//! Giving an incident to a program or to a tool. The program is the settings' own choice, so the
//! policy judges it as a tool of that name: no rule could know what a program makes of its input.

use std::ops::ControlFlow;
use std::sync::Arc;

use fazai_protocol::{Operation, ToolParams};
use fazai_tools::{Action, Ended, Exec, How, Input, Right, Risk, Why, run};
use serde_json::Map;

use super::{Failure, Record, TIME_MAX, permit, text_of};
use crate::Worker;
use crate::worker::Shared;

/// The tool as which the policy knows the program.
const NAME: &str = "alert_command";

/// What a program says is not read; it is cut here.
const OUTPUT_BYTES_MAX: u64 = 4 << 10;

/// A program by its words.
pub(super) struct Program(pub(super) Vec<String>);

impl Program {
    pub(super) async fn deliver(
        &self,
        shared: &Arc<Shared>,
        record: &Record,
    ) -> Result<(), Failure> {
        let input = text_of(record).into_bytes();
        let exec = Exec {
            stdin: Some(Input::of(&input)),
            ..Exec::plain(self.0.clone(), "/")
        };
        let action = Action::CallTool(Box::new(fazai_tools::ToolCall {
            name: NAME.to_owned(),
            rights: [Right::Network, Right::Change].into(),
            risk: Risk::Medium,
            input: Input::of(&input),
            exec: Some(exec),
        }));
        let permit = permit(shared, action).await?;
        let launcher = shared.acting.launcher();
        let launcher = launcher.ok_or_else(|| {
            Failure::Refused("this program can't start commands; see child_process".to_owned())
        })?;
        let how = How {
            timeout: TIME_MAX,
            output_bytes_max: OUTPUT_BYTES_MAX,
            stdin: Some(input),
            ..shared.acting.how(launcher, &permit)
        };
        let running = tokio::task::spawn_blocking(move || {
            run(permit, &how, None, &mut |_| ControlFlow::Continue(()))
        });
        let ended = running
            .await
            .map_err(|fault| Failure::Away(fault.to_string()))?;
        let ended = ended.map_err(|fault| {
            Failure::Refused(format!("{fault}; check alert_command in [watch]"))
        })?;
        judged(&ended)
    }
}

/// A program that fails may do better next time.
fn judged(ended: &Ended) -> Result<(), Failure> {
    match (ended.why, ended.exit_code) {
        (Why::Finished, Some(0)) => Ok(()),
        (Why::Finished, Some(code)) => {
            Err(Failure::Away(format!("alert_command exits with {code}")))
        }
        (why, _) => Err(Failure::Away(format!("alert_command was ended: {why:?}"))),
    }
}

/// A tool of the toolbox by its name.
pub(super) struct Tool(pub(super) String);

impl Tool {
    /// Through the worker itself, which asks the gate for what the tool does.
    pub(super) async fn deliver(
        &self,
        shared: &Arc<Shared>,
        record: &Record,
    ) -> Result<(), Failure> {
        let mut args = Map::new();
        args.insert("incident".to_owned(), record.data(true));
        let deadline = u64::try_from(TIME_MAX.as_millis()).unwrap_or(u64::MAX);
        let call = fazai_protocol::ToolCall {
            input: String::new(),
            session: None,
            stream: false,
            params: ToolParams {
                tool: Some(self.0.clone()),
                args: Some(args),
                deadline_ms: Some(deadline),
                dry_run: false,
            },
        };
        let shared = Arc::clone(shared);
        let client = Worker { shared }.client();
        let called =
            tokio::time::timeout(TIME_MAX * 2, client.call(Operation::Tool(Box::new(call)))).await;
        let done = match called {
            Ok(Ok(done)) => done,
            Ok(Err(fault)) => return Err(Failure::Away(fault.to_string())),
            Err(_) => return Err(Failure::Away("the tool gives no answer".to_owned())),
        };
        match done.error {
            None => Ok(()),
            Some(error) if error.retryable => Err(Failure::Away(error.message)),
            Some(error) => Err(Failure::Refused(format!(
                "{}; check alert_tool in [watch] with `fazai tools call {} ...`",
                error.message, self.0
            ))),
        }
    }
}
