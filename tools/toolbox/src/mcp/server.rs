//! One server of the settings: started when it is needed, and again when it has ended.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use fazai_tools::{Action, Confinement, Exec, How, ToolCall, start};
use rmcp::model::JsonObject;
use serde_json::Value;

use super::McpOptions;
use super::catalogue::origin;
use super::connection::Connection;
use super::crashes::Crashes;
use super::settings::McpServer;
use super::thread::{Waiter, over};
use super::tool::McpTool;
use crate::error::ToolError;
use crate::host::{Host, input_of};
use crate::tool::{Broken, Params, Tool};

/// How often somebody who waits for another to start the server looks whether to stop.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// A server of the settings.
pub(super) struct Server {
    settings: Arc<McpServer>,
    options: McpOptions,
    waiter: Waiter,
    state: Mutex<State>,
    /// Notified when nobody starts it any more.
    started: Condvar,
}

#[derive(Default)]
struct State {
    /// Whether it is not to be started any more.
    closed: bool,
    /// Whether somebody starts it.
    starting: bool,
    /// At most one that is confined and one that is open: what a caller may do who is confined
    /// must not depend on who has started the server.
    connections: Vec<Arc<Connection>>,
    crashes: Crashes,
}

impl Server {
    pub(super) fn new(settings: McpServer, options: McpOptions, waiter: Waiter) -> Self {
        Self {
            settings: Arc::new(settings),
            options,
            waiter,
            state: Mutex::default(),
            started: Condvar::new(),
        }
    }

    pub(super) fn settings(&self) -> &McpServer {
        &self.settings
    }

    /// What starting it asks the gate for.
    pub(super) fn start_action(&self) -> Action {
        let McpServer {
            command, cwd, env, ..
        } = &*self.settings;
        let exec = Exec {
            env: env.clone(),
            ..Exec::plain(command.clone(), cwd)
        };
        self.action(
            self.settings.name.clone(),
            self.settings.risk,
            &Params::new(),
            Some(exec),
        )
    }

    /// What a call asks the gate for.
    pub(super) fn call_action(
        &self,
        name: String,
        risk: fazai_tools::Risk,
        params: &Params,
    ) -> Action {
        self.action(name, risk, params, None)
    }

    fn action(
        &self,
        name: String,
        risk: fazai_tools::Risk,
        params: &JsonObject,
        exec: Option<Exec>,
    ) -> Action {
        Action::CallTool(Box::new(ToolCall {
            name,
            rights: self.settings.rights.clone(),
            risk,
            input: input_of(params),
            exec,
        }))
    }

    /// Whether it runs, in whatever confinement.
    pub(super) fn runs(&self) -> bool {
        self.lock()
            .connections
            .iter()
            .any(|one| one.over().is_none())
    }

    /// Whether its tools can be had without waiting.
    pub(super) fn is_quick(&self) -> bool {
        let state = self.lock();
        let pause = state.crashes.pause(Instant::now()).is_some();
        let runs = |one: &Arc<Connection>| one.over().is_none() && !one.is_changed();
        state.closed || pause || state.connections.iter().any(runs)
    }

    /// Its tools, or why there are none.
    pub(super) fn tools(self: &Arc<Self>, host: &dyn Host) -> Vec<Result<Arc<dyn Tool>, Broken>> {
        let connection = self.connection(host, None).and_then(|connection| {
            self.list(&connection, host)?;
            Ok(connection)
        });
        let tool = |listed| Arc::new(McpTool::new(self.clone(), listed)) as Arc<dyn Tool>;
        match connection {
            Ok(connection) => {
                let tools = connection.tools();
                tools.iter().cloned().map(|entry| entry.map(tool)).collect()
            }
            Err(error) => vec![Err(Broken {
                name: self.settings.name.clone(),
                origin: origin(&self.settings),
                problem: error.to_string(),
            })],
        }
    }

    /// Asks for its tools if they have changed.
    fn list(&self, connection: &Arc<Connection>, host: &dyn Host) -> Result<(), ToolError> {
        if !connection.take_change() {
            return Ok(());
        }
        let listing = {
            let connection = connection.clone();
            let limit = self.options.start_timeout;
            async move { connection.list(limit).await }
        };
        match self.waiter.wait(Some(host.stop()), listing) {
            Ok(Ok(())) => Ok(()),
            Ok(Err(why)) => {
                let mut state = self.lock();
                state
                    .connections
                    .retain(|one| !Arc::ptr_eq(one, connection));
                state
                    .crashes
                    .rest(why.clone(), Instant::now(), self.options.rest);
                connection.end();
                Err(self.unavailable(&why))
            }
            Err(error) => {
                connection.has_changed();
                Err(error)
            }
        }
    }

    /// Calls one of its tools on behalf of somebody who may do what `how` says.
    pub(super) fn call(
        &self,
        tool: &str,
        params: &Params,
        how: &How,
        host: &dyn Host,
    ) -> Result<Value, ToolError> {
        let connection = self.connection(host, Some(&how.confinement))?;
        let (tool, params) = (tool.to_owned(), params.clone());
        let call = async move { connection.call(tool, params).await };
        self.waiter.wait(Some(host.stop()), call)?
    }

    /// The server for somebody who may do as much as this, started if need be. None: for whoever
    /// only wants to know its tools.
    fn connection(
        &self,
        host: &dyn Host,
        may: Option<&Confinement>,
    ) -> Result<Arc<Connection>, ToolError> {
        let until = Instant::now() + self.settings.timeout.max(self.options.start_timeout);
        let mut state = self.lock();
        loop {
            self.bury(&mut state);
            if state.closed {
                return Err(over());
            }
            let fits = |one: &&Arc<Connection>| match may {
                None => true,
                Some(may) => one.is_open() == is_open(may),
            };
            if let Some(connection) = state.connections.iter().find(fits) {
                return Ok(connection.clone());
            }
            if let Some(why) = state.crashes.pause(Instant::now()) {
                return Err(self.unavailable(&why));
            }
            if !state.starting {
                break;
            }
            if host.stop().is_stopped() {
                return Err(ToolError::Stopped);
            }
            if Instant::now() > until {
                return Err(self.unavailable("somebody else starts it, and waits; try again later"));
            }
            let waited = self.started.wait_timeout(state, LOOK_EVERY);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        state.starting = true;
        drop(state);
        let _starting = Starting(self);
        self.start(host, may)
    }

    /// Takes note of those that have ended.
    fn bury(&self, state: &mut State) {
        let State {
            connections,
            crashes,
            ..
        } = state;
        connections.retain(|one| match one.over() {
            None => true,
            Some(why) => {
                crashes.crashed(why, Instant::now(), self.options.rest);
                false
            }
        });
    }

    fn start(
        &self,
        host: &dyn Host,
        may: Option<&Confinement>,
    ) -> Result<Arc<Connection>, ToolError> {
        let permit = host.permit(self.start_action())?;
        let mut how = How {
            stdin: None,
            ..host.how(&permit)
        };
        match may {
            Some(may) if !is_open(may) => how.confinement = may.clone(),
            // It may less than the call: one that does so already is as good.
            Some(_) if !is_open(&how.confinement) => {
                if let Some(connection) = self.lock().connections.first() {
                    return Ok(connection.clone());
                }
            }
            _ => {}
        }
        let open = is_open(&how.confinement);
        let started = start(permit, &how).map_err(|error| self.crashed(error.to_string()))?;
        let opening = Connection::open(
            self.settings.clone(),
            started,
            open,
            self.options.start_timeout,
            self.options.log.clone(),
        );
        let begun = Instant::now();
        let connection = match self.waiter.wait(Some(host.stop()), opening)? {
            Ok(connection) => Arc::new(connection),
            // Whoever keeps others waiting is not tried again at once.
            Err(why) if begun.elapsed() >= self.options.start_timeout => {
                self.lock()
                    .crashes
                    .rest(why.clone(), Instant::now(), self.options.rest);
                return Err(self.unavailable(&why));
            }
            Err(why) => return Err(self.crashed(why)),
        };
        let mut state = self.lock();
        if state.closed {
            return Err(over());
        }
        state.connections.push(connection.clone());
        Ok(connection)
    }

    fn crashed(&self, why: String) -> ToolError {
        let error = self.unavailable(&why);
        self.lock()
            .crashes
            .crashed(why, Instant::now(), self.options.rest);
        error
    }

    fn unavailable(&self, why: &str) -> ToolError {
        let name = &self.settings.name;
        ToolError::Unavailable(format!("the server `{name}` can't be used: {why}"))
    }

    /// Ends it for good; what is given back is over a little later.
    pub(super) fn close(&self) -> Vec<Arc<Connection>> {
        let mut state = self.lock();
        state.closed = true;
        let connections = std::mem::take(&mut state.connections);
        connections.iter().for_each(|one| one.end());
        connections
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn is_open(confinement: &Confinement) -> bool {
    matches!(confinement, Confinement::Open | Confinement::Guarded(_))
}

/// That somebody starts the server, whether that succeeds or not.
struct Starting<'a>(&'a Server);

impl Drop for Starting<'_> {
    fn drop(&mut self) {
        self.0.lock().starting = false;
        self.0.started.notify_all();
    }
}
