//! One server of the settings: started when it is needed, and again when it has ended.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use fazai_tools::{Action, Confinement, Exec, How, Started, ToolCall, start};
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
        self.tools_within(host, self.patience())
    }

    /// The same for a list of all tools, which nobody may keep others waiting for.
    pub(super) fn tools_soon(
        self: &Arc<Self>,
        host: &dyn Host,
    ) -> Vec<Result<Arc<dyn Tool>, Broken>> {
        self.tools_within(host, self.options.list_within)
    }

    fn tools_within(
        self: &Arc<Self>,
        host: &dyn Host,
        patience: Duration,
    ) -> Vec<Result<Arc<dyn Tool>, Broken>> {
        let until = Instant::now() + patience;
        let connection = self.connection(host, None, until).and_then(|connection| {
            self.list(&connection, host, until)?;
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

    /// How long somebody who wants to call it waits for it to begin.
    fn patience(&self) -> Duration {
        self.settings.timeout.max(self.options.start_timeout)
    }

    /// Asks for its tools if they have changed. While that takes too long, those count that it
    /// listed before.
    fn list(
        self: &Arc<Self>,
        connection: &Arc<Connection>,
        host: &dyn Host,
        until: Instant,
    ) -> Result<(), ToolError> {
        if !connection.take_change() {
            return Ok(());
        }
        let listing = {
            let (server, connection) = (self.clone(), connection.clone());
            async move {
                let listed = connection.list(server.options.start_timeout).await;
                listed.map_err(|why| server.gives_up(&connection, why))
            }
        };
        let left = until.saturating_duration_since(Instant::now());
        match (self.waiter).wait_at_most(Some(left), Some(host.stop()), listing) {
            Ok(listed) => listed.unwrap_or(Ok(())),
            Err(error) => {
                connection.has_changed();
                Err(error)
            }
        }
    }

    /// Ends one that can't even say what its tools are.
    fn gives_up(&self, connection: &Arc<Connection>, why: String) -> ToolError {
        let error = self.unavailable(&why);
        let mut state = self.lock();
        state
            .connections
            .retain(|one| !Arc::ptr_eq(one, connection));
        state.crashes.rest(why, Instant::now(), self.options.rest);
        connection.end();
        error
    }

    /// Calls one of its tools on behalf of somebody who may do what `how` says.
    pub(super) fn call(
        self: &Arc<Self>,
        tool: &str,
        params: &Params,
        how: &How,
        host: &dyn Host,
    ) -> Result<Value, ToolError> {
        let until = Instant::now() + self.patience();
        let connection = self.connection(host, Some(&how.confinement), until)?;
        let (tool, params) = (tool.to_owned(), params.clone());
        let call = async move { connection.call(tool, params).await };
        self.waiter.wait(Some(host.stop()), call)?
    }

    /// The server for somebody who may do as much as this, started if need be. None: for whoever
    /// only wants to know its tools.
    fn connection(
        self: &Arc<Self>,
        host: &dyn Host,
        may: Option<&Confinement>,
        until: Instant,
    ) -> Result<Arc<Connection>, ToolError> {
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
                return Err(self.still_starting());
            }
            let waited = self.started.wait_timeout(state, LOOK_EVERY);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        state.starting = true;
        drop(state);
        self.start(host, may, Starting(self.clone()), until)
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
        self: &Arc<Self>,
        host: &dyn Host,
        may: Option<&Confinement>,
        starting: Starting,
        until: Instant,
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
        let server = self.clone();
        let opening = async move {
            let opened = server.open(started, open).await;
            drop(starting);
            opened
        };
        let left = until.saturating_duration_since(Instant::now());
        let opened = (self.waiter).wait_at_most(Some(left), Some(host.stop()), opening)?;
        opened.unwrap_or_else(|| Err(self.still_starting()))
    }

    /// Opens the connection to the program, whether anybody still waits for it or not.
    async fn open(&self, started: Started, open: bool) -> Result<Arc<Connection>, ToolError> {
        let begun = Instant::now();
        let opened = Connection::open(self.settings.clone(), started, open, &self.options).await;
        let connection = match opened {
            Ok(connection) => Arc::new(connection),
            // Whoever keeps others waiting is not tried again at once.
            Err(why) if begun.elapsed() >= self.options.start_timeout => {
                let error = self.unavailable(&why);
                let mut state = self.lock();
                state.crashes.rest(why, Instant::now(), self.options.rest);
                return Err(error);
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

    fn still_starting(&self) -> ToolError {
        self.unavailable("it is still starting; try again in a moment")
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
    matches!(confinement, Confinement::Open | Confinement::Guarded { .. })
}

/// That somebody starts the server, whether that succeeds or not.
struct Starting(Arc<Server>);

impl Drop for Starting {
    fn drop(&mut self) {
        self.0.lock().starting = false;
        self.0.started.notify_all();
    }
}
