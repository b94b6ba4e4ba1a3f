//! A server that runs, and the connection to it.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use fazai_tools::{Exited, Process, RunError, Started};
use rmcp::model::{
    CallToolRequestParams, CallToolResponse, ClientCapabilities, ClientConfig, ClientRequest,
    ErrorData, Implementation, PaginatedRequestParams, PingRequest, ProtocolVersion,
};
use rmcp::service::{
    MaybeSendFuture, NotificationContext, Peer, RequestContext, RoleClient, ServiceError,
};
use rmcp::{ClientHandler, ServiceExt};
use serde_json::Value;
use tokio::net::unix::pipe;
use tokio::runtime::Handle;
use tokio::sync::{Notify, Semaphore, oneshot, watch};
use tokio::time::timeout;

use super::McpOptions;
use super::answer::{answer, cut};
use super::catalogue::{Catalogue, Entry};
use super::complaints::{Complaints, Log};
use super::pipe::{Fault, Impatient, Limited};
use super::settings::McpServer;
use super::text::clean;
use crate::error::ToolError;
use crate::tool::Params;

/// How many calls of one server run at once.
pub const SERVER_CALLS_MAX: usize = 16;

/// How many pages of tools are looked at.
const PAGES_MAX: usize = 32;

/// How long a server may take to end when its connection has ended, before it is told to.
const ENDS_WITHIN: Duration = Duration::from_millis(500);

/// How long somebody whose call failed waits to hear how the server ended.
const HEARD_WITHIN: Duration = Duration::from_secs(5);

/// How much of an error's text is passed on, in bytes.
const REASON_BYTES_MAX: usize = 1 << 10;

/// A server that runs. Dropping it ends the server, in a while.
pub(super) struct Connection {
    server: Arc<McpServer>,
    /// Whether it runs with all the rights of its user.
    open: bool,
    peer: Peer<RoleClient>,
    end: EndOnDrop,
    fault: Fault,
    /// Why it is over.
    over: watch::Receiver<Option<String>>,
    /// Whether the list of its tools is no longer true.
    changed: Arc<AtomicBool>,
    tools: Mutex<Arc<Vec<Entry>>>,
    calls: Semaphore,
    /// How long it may take to answer a ping.
    ping_within: Duration,
}

/// Tells the task that keeps a server to end it.
struct EndOnDrop(Arc<Notify>);

impl Drop for EndOnDrop {
    fn drop(&mut self) {
        self.0.notify_one();
    }
}

impl Connection {
    /// Opens the connection to a program that was just started, and asks for its tools. An error
    /// says why there is none; the program is ended then.
    pub(super) async fn open(
        server: Arc<McpServer>,
        started: Started,
        open: bool,
        options: &McpOptions,
    ) -> Result<Self, String> {
        let limit = options.start_timeout;
        let (ready, opened) = oneshot::channel();
        let (tell, mut over) = watch::channel(None);
        let end = Arc::new(Notify::new());
        let fault = Fault::default();
        let changed = Arc::new(AtomicBool::new(true));
        let keep = Keep {
            server: server.clone(),
            limit,
            log: options.log.clone(),
            end: end.clone(),
            fault: fault.clone(),
            client: Client(changed.clone()),
        };
        tokio::spawn(async move {
            let why = keep.until_the_end(started, ready).await;
            tell.send_replace(Some(why));
        });
        // From here on it ends if this future is dropped.
        let end = EndOnDrop(end);
        let Ok(peer) = opened.await else {
            let why = over.wait_for(Option::is_some).await;
            return Err(why.map_or_else(
                |_| "it was ended".into(),
                |why| why.clone().unwrap_or_default(),
            ));
        };
        let connection = Self {
            server,
            open,
            peer,
            end,
            fault,
            over,
            changed,
            tools: Mutex::default(),
            calls: Semaphore::new(SERVER_CALLS_MAX),
            ping_within: options.ping_within,
        };
        if connection.take_change() {
            connection.list(limit).await?;
        }
        Ok(connection)
    }

    /// Whether it runs with all the rights of its user.
    pub(super) fn is_open(&self) -> bool {
        self.open
    }

    /// Why it is over, if it is.
    pub(super) fn over(&self) -> Option<String> {
        self.over.borrow().clone()
    }

    /// Waits until it is over. It has to be dropped or ended for that by others.
    pub(super) fn when_over(&self) -> impl Future<Output = ()> + Send + 'static + use<> {
        let mut over = self.over.clone();
        async move {
            // An error means that it is.
            let _ = over.wait_for(Option::is_some).await;
        }
    }

    /// Ends it.
    pub(super) fn end(&self) {
        self.end.0.notify_one();
    }

    /// Whether its tools have changed since this was asked.
    pub(super) fn take_change(&self) -> bool {
        self.changed.swap(false, Ordering::Relaxed)
    }

    /// Whether they have, without taking note of it.
    pub(super) fn is_changed(&self) -> bool {
        self.changed.load(Ordering::Relaxed)
    }

    /// Has them asked for again.
    pub(super) fn has_changed(&self) {
        self.changed.store(true, Ordering::Relaxed);
    }

    /// Its tools, as they were listed last.
    pub(super) fn tools(&self) -> Arc<Vec<Entry>> {
        let tools = self.tools.lock().unwrap_or_else(PoisonError::into_inner);
        tools.clone()
    }

    /// Asks for its tools.
    pub(super) async fn list(&self, limit: Duration) -> Result<(), String> {
        let tools = match timeout(limit, self.pages()).await {
            Ok(Ok(tools)) => tools,
            Ok(Err(error)) => {
                let why = self.why(&error).await;
                return Err(format!("its tools can't be listed: {why}"));
            }
            Err(_) => {
                let seconds = limit.as_secs();
                return Err(format!("it did not list its tools within {seconds} s"));
            }
        };
        let mut kept = self.tools.lock().unwrap_or_else(PoisonError::into_inner);
        *kept = Arc::new(tools);
        Ok(())
    }

    async fn pages(&self) -> Result<Vec<Entry>, ServiceError> {
        let mut catalogue = Catalogue::new(&self.server);
        let mut cursor = None;
        for _ in 0..PAGES_MAX {
            let params = PaginatedRequestParams::default().with_cursor(cursor);
            let page = self.peer.list_tools(Some(params)).await?;
            page.tools.iter().for_each(|tool| catalogue.add(tool));
            cursor = page.next_cursor;
            if cursor.is_none() || catalogue.is_full() {
                break;
            }
        }
        Ok(catalogue.finish())
    }

    /// Calls a tool. When this is dropped the server is told that nobody waits for it.
    pub(super) async fn call(&self, tool: String, params: Params) -> Result<Value, ToolError> {
        let name = &self.server.name;
        let Ok(_place) = self.calls.try_acquire() else {
            return Err(ToolError::Unavailable(format!(
                "{SERVER_CALLS_MAX} calls of the server `{name}` run already; try again later"
            )));
        };
        let mut doubt = Doubt {
            at: Handle::current(),
            check: Some(self.check()),
        };
        let params = CallToolRequestParams::new(tool).with_arguments(params);
        let Ok(response) = timeout(self.server.timeout, self.peer.call_tool_once(params)).await
        else {
            return Err(ToolError::TimedOut);
        };
        doubt.check = None;
        match response {
            Ok(CallToolResponse::Complete(result)) => answer(result),
            Ok(_) => Err(ToolError::Failed(
                "it asks something back or wants to be asked again later, and here nobody does"
                    .into(),
            )),
            Err(ServiceError::McpError(error)) => Err(ToolError::Failed(cut(error.message.into()))),
            Err(error) => {
                let why = self.why(&error).await;
                Err(ToolError::Failed(format!(
                    "the server `{name}` gave no answer: {why}; look whether the call has done \
                     something before it is made again"
                )))
            }
        }
    }

    /// Finds out whether it still listens, and has it ended if not. It may owe others an answer,
    /// but one that does not even answer a ping will not give it.
    fn check(&self) -> impl Future<Output = ()> + Send + 'static + use<> {
        let (peer, fault, limit) = (self.peer.clone(), self.fault.clone(), self.ping_within);
        async move {
            let ping = ClientRequest::PingRequest(PingRequest::default());
            // An error is an answer as well.
            if timeout(limit, peer.send_request(ping)).await.is_err() {
                let seconds = limit.as_secs();
                fault.raise(format!(
                    "it did not answer a call, and after that no ping within {seconds} s"
                ));
            }
        }
    }

    /// Why a request came to nothing.
    async fn why(&self, error: &ServiceError) -> String {
        if let ServiceError::TransportClosed | ServiceError::TransportSend(_) = error {
            // How it ended says more than that it did.
            let _ = timeout(HEARD_WITHIN, self.when_over()).await;
            let fault = || self.fault.get().map(str::to_owned);
            if let Some(why) = self.over().or_else(fault) {
                return why;
            }
        }
        clean(&error.to_string(), REASON_BYTES_MAX)
    }
}

/// That a call was given up before its answer came: what is to be done then.
struct Doubt<F: Future<Output = ()> + Send + 'static> {
    at: Handle,
    check: Option<F>,
}

impl<F: Future<Output = ()> + Send + 'static> Drop for Doubt<F> {
    fn drop(&mut self) {
        if let Some(check) = self.check.take() {
            self.at.spawn(check);
        }
    }
}

/// What it takes to keep a server.
struct Keep {
    server: Arc<McpServer>,
    limit: Duration,
    log: Log,
    end: Arc<Notify>,
    fault: Fault,
    client: Client,
}

impl Keep {
    /// Serves the connection until it ends or is to be ended, and then ends the program. Says why.
    async fn until_the_end(
        self,
        started: Started,
        ready: oneshot::Sender<Peer<RoleClient>>,
    ) -> String {
        let Started {
            stdin,
            stdout,
            stderr,
            process,
        } = started;
        let complaints = Complaints::default();
        let pipes = pipe::Sender::from_owned_fd(stdin.into()).and_then(|stdin| {
            let stdout = pipe::Receiver::from_owned_fd(stdout.into())?;
            let stderr = pipe::Receiver::from_owned_fd(stderr.into())?;
            Ok((stdin, stdout, stderr))
        });
        let why = match pipes {
            Ok((stdin, stdout, stderr)) => {
                let name = self.server.name.clone();
                let told = complaints.clone().follow(stderr, name, self.log);
                let told = tokio::spawn(told);
                let transport = (
                    Limited::new(stdout, self.fault.clone()),
                    Impatient::new(stdin, self.fault.clone()),
                );
                let why = serve(
                    self.client,
                    transport,
                    self.limit,
                    &self.end,
                    &self.fault,
                    ready,
                )
                .await;
                let why = exited(process, why).await;
                // Whoever holds it open is no part of the server any more.
                let _ = timeout(ENDS_WITHIN, told).await;
                why
            }
            Err(error) => exited(process, Some(error.to_string())).await,
        };
        match complaints.text() {
            None => why,
            Some(text) => format!("{why}; its last words: {text}"),
        }
    }
}

/// Serves the connection. Says why it did not go on, if that is known here.
async fn serve(
    client: Client,
    transport: (Limited<pipe::Receiver>, Impatient<pipe::Sender>),
    limit: Duration,
    end: &Notify,
    fault: &Fault,
    ready: oneshot::Sender<Peer<RoleClient>>,
) -> Option<String> {
    let begun = tokio::select! {
        begun = timeout(limit, client.serve(transport)) => begun,
        () = end.notified() => return None,
    };
    let service = match begun {
        Ok(Ok(service)) => service,
        Ok(Err(error)) => {
            let why = || {
                format!(
                    "it does not speak MCP: {}",
                    clean(&error.to_string(), REASON_BYTES_MAX)
                )
            };
            return Some(fault.get().map_or_else(why, str::to_owned));
        }
        Err(_) => {
            let seconds = limit.as_secs();
            return Some(format!("it did not answer `initialize` within {seconds} s"));
        }
    };
    // Whoever waited has gone if this fails, and has said `end`.
    let _ = ready.send(service.peer().clone());
    tokio::select! {
        _ = service.waiting() => {}
        () = fault.raised() => {}
        () = end.notified() => {}
    }
    fault.get().map(str::to_owned)
}

/// Ends the program, unless it does that by itself, and says how it ended.
async fn exited(process: Process, why: Option<String>) -> String {
    let exited = tokio::task::spawn_blocking(|| process.end(ENDS_WITHIN)).await;
    match (exited, why) {
        (Ok(Err(error)), _) if !matches!(error, RunError::EndNotRecorded { .. }) => {
            error.to_string()
        }
        (
            Ok(Ok(Exited {
                stopped: false,
                exit_code,
                signal,
            })),
            why,
        ) => {
            let how = match (exit_code, signal) {
                (Some(code), _) => format!("it ended with exit code {code}"),
                (None, Some(signal)) => format!("signal {signal} ended it"),
                (None, None) => "it ended".into(),
            };
            match why {
                Some(why) => format!("{how} ({why})"),
                None => how,
            }
        }
        (_, Some(why)) => why,
        (_, None) => "its connection was closed".into(),
    }
}

/// This side of the protocol: it offers nothing, and hears only that tools have changed.
struct Client(Arc<AtomicBool>);

impl ClientHandler for Client {
    #[expect(deprecated, reason = "servers still ask for roots")]
    fn list_roots(
        &self,
        _: RequestContext<RoleClient>,
    ) -> impl Future<Output = Result<rmcp::model::ListRootsResult, ErrorData>> + MaybeSendFuture + '_
    {
        let none = ErrorData::method_not_found::<rmcp::model::ListRootsRequestMethod>();
        std::future::ready(Err(none))
    }

    async fn on_tool_list_changed(&self, _: NotificationContext<RoleClient>) {
        self.0.store(true, Ordering::Relaxed);
    }

    fn get_info(&self) -> ClientConfig {
        let name = Implementation::new("fazai", env!("CARGO_PKG_VERSION"));
        // Servers on standard streams that know no handshake are not known yet.
        ClientConfig::new(ClientCapabilities::default(), name)
            .with_protocol_version(ProtocolVersion::LATEST_WITH_INITIALIZE)
    }
}
