//! The built-in tools, with a host.
#![allow(dead_code, reason = "each test program uses a part")]
#![allow(
    clippy::needless_pass_by_value,
    reason = "parameters are written where they are used"
)]

use std::ops::Deref;
use std::path::Path;
use std::sync::Arc;

use fazai_toolbox::{BuiltIn, Settings, ToolError, Toolbox, call, wants};
use fazai_tools::{Action, Policy};
use serde_json::Value;

use super::host::TestHost;

pub(crate) struct Place {
    pub(crate) host: TestHost,
    toolbox: Toolbox,
}

impl Deref for Place {
    type Target = TestHost;

    fn deref(&self) -> &TestHost {
        &self.host
    }
}

impl Place {
    /// With this policy; who is asked says yes.
    pub(crate) fn new(policy: &str) -> Self {
        Self::with(policy, true, Settings::default())
    }

    /// With a ready profile; who is asked says no.
    pub(crate) fn ready(profile: &str) -> Self {
        let policy = format!("default_profile = \"{profile}\"");
        Self::with(&policy, false, Settings::default())
    }

    /// With a policy that does not look where paths lead.
    pub(crate) fn blind(policy: &str) -> Self {
        let policy = Policy::parse(policy).expect("a policy");
        Self::of(policy, true, Settings::default())
    }

    pub(crate) fn with(policy: &str, yes: bool, settings: Settings) -> Self {
        let policy = Policy::parse(policy).expect("a policy");
        let real_path = Box::new(|path: &Path| path.canonicalize().ok());
        Self::of(policy.with_real_path(real_path), yes, settings)
    }

    fn of(policy: Policy, yes: bool, settings: Settings) -> Self {
        Self {
            host: TestHost::new(policy, yes),
            toolbox: Toolbox::new(vec![Arc::new(BuiltIn::new(settings))]),
        }
    }

    pub(crate) fn toolbox(&self) -> &Toolbox {
        &self.toolbox
    }

    pub(crate) fn call(&self, name: &str, params: Value) -> Result<Value, ToolError> {
        call(&*self.toolbox.get(name, &self.host)?, &params, &self.host)
    }

    #[track_caller]
    pub(crate) fn done(&self, name: &str, params: Value) -> Value {
        self.call(name, params.clone())
            .unwrap_or_else(|fault| panic!("{name} {params}: {fault}"))
    }

    /// The text of why it was not done.
    #[track_caller]
    pub(crate) fn fault(&self, name: &str, params: Value) -> String {
        match self.call(name, params.clone()) {
            Ok(answer) => panic!("{name} {params}: {answer}"),
            Err(fault) => fault.to_string(),
        }
    }

    /// Whether the gate gave no permit.
    #[track_caller]
    pub(crate) fn refused(&self, name: &str, params: Value) {
        match self.call(name, params.clone()) {
            Err(ToolError::Refused(_)) => {}
            other => panic!("{name} {params}: {other:?}"),
        }
    }

    pub(crate) fn wants(&self, name: &str, params: &Value) -> Vec<Action> {
        let tool = self.toolbox.get(name, &self.host).expect("a tool");
        wants(&*tool, params).expect("what it wants")
    }
}
