//! A server of tools for tests, made with the same SDK that others use. Started with `keep` it is
//! the keeper of a program instead.
#![allow(clippy::needless_pass_by_value, reason = "a server for tests is short")]
#![expect(clippy::expect_used, reason = "a test fails by a panic")]

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use rmcp::model::{
    CallToolRequestParams, CallToolResponse, CallToolResult, ContentBlock, ErrorData,
    Implementation, ListToolsResult, PaginatedRequestParams, ServerCapabilities, ServerConfig,
    Tool, ToolAnnotations,
};
use rmcp::service::{RequestContext, RoleServer};
use rmcp::{ServerHandler, ServiceExt};
use serde_json::{Map, Value, json};

fn main() {
    if std::env::args().nth(1).as_deref() == Some("keep") {
        fazai_tools::confined_main();
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    runtime.block_on(async {
        eprintln!("it begins");
        let transport = rmcp::transport::stdio();
        let service = Server::default()
            .serve(transport)
            .await
            .expect("initialized");
        service.waiting().await.expect("served");
    });
}

#[derive(Default)]
struct Server {
    /// How many tools have been added.
    grown: Arc<AtomicUsize>,
    calls: AtomicUsize,
}

fn tool(name: &str, description: &str, properties: Value) -> Tool {
    let schema = json!({ "type": "object", "properties": properties });
    let schema = schema.as_object().cloned().unwrap_or_default();
    Tool::new(name.to_owned(), description.to_owned(), schema)
}

impl Server {
    fn tools(&self) -> Vec<Tool> {
        let text = json!({ "text": { "type": "string" } });
        let path = json!({ "path": { "type": "string" } });
        let mut tools = vec![
            tool("echo", "Says what it is told.", text.clone()),
            tool("structured", "Answers with structure.", json!({})),
            tool("picture", "Answers with text and a picture.", json!({})),
            tool("fail", "Fails.", json!({})),
            tool("count", "Says how often it was called.", json!({})),
            tool("sleep", "Takes its time.", json!({})),
            tool("grow", "Adds a tool.", json!({})),
            tool(
                "ask",
                "Asks its client for all that a client may have.",
                json!({}),
            ),
            tool("env", "Says what variables it has.", json!({})),
            tool("write", "Writes a file.", path.clone()),
            tool("read", "Reads a file.", path),
            tool(
                "connect",
                "Opens a connection.",
                json!({ "port": { "type": "integer" } }),
            ),
            tool("with space", "Has a name that is none.", json!({})),
            tool("remove", "Says that it destroys.", json!({}))
                .with_annotations(ToolAnnotations::new().destructive(true)),
            tool(
                "loop",
                "Has a schema that hangs.",
                json!({ "a": { "$ref": "#" } }),
            ),
        ];
        let grown = self.grown.load(Ordering::Relaxed);
        tools.extend((0..grown).map(|n| tool(&format!("grown{n}"), "New.", json!({}))));
        tools
    }
}

impl ServerHandler for Server {
    fn get_info(&self) -> ServerConfig {
        let capabilities = ServerCapabilities::builder()
            .enable_tools()
            .enable_tool_list_changed()
            .build();
        ServerConfig::new(capabilities).with_server_info(Implementation::new("test", "1"))
    }

    async fn list_tools(
        &self,
        request: Option<PaginatedRequestParams>,
        _: RequestContext<RoleServer>,
    ) -> Result<ListToolsResult, ErrorData> {
        // Two pages.
        let tools = self.tools();
        let (first, second) = tools.split_at(5);
        Ok(match request.and_then(|request| request.cursor) {
            None => {
                let mut page = ListToolsResult::with_all_items(first.to_vec());
                page.next_cursor = Some("more".into());
                page
            }
            Some(_) => ListToolsResult::with_all_items(second.to_vec()),
        })
    }

    async fn call_tool(
        &self,
        request: CallToolRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<CallToolResponse, ErrorData> {
        let params = request.arguments.unwrap_or_default();
        let calls = self.calls.fetch_add(1, Ordering::Relaxed) + 1;
        let result = match &*request.name {
            "echo" => said(text(&params, "text")),
            "structured" => CallToolResult::structured(json!({ "answer": 42 })),
            "picture" => CallToolResult::success(vec![
                ContentBlock::text("see"),
                ContentBlock::image("aGVsbG8=", "image/png"),
            ]),
            "fail" => CallToolResult::error(vec![ContentBlock::text("it went wrong")]),
            "count" => said(&calls.to_string()),
            "sleep" => {
                eprintln!("it sleeps");
                tokio::select! {
                    () = tokio::time::sleep(Duration::from_secs(100)) => said("awake"),
                    () = context.ct.cancelled() => {
                        eprintln!("it was cancelled");
                        said("cancelled")
                    }
                }
            }
            "grow" => {
                self.grown.fetch_add(1, Ordering::Relaxed);
                let told = context.peer.notify_tool_list_changed().await;
                said(if told.is_ok() { "grown" } else { "not told" })
            }
            "ask" => said(&ask(&context).await),
            "env" => {
                let names = std::env::vars().map(|(name, value)| (name, Value::from(value)));
                CallToolResult::structured(Value::Object(names.collect()))
            }
            "write" => came(std::fs::write(text(&params, "path"), "x").map(|()| "written".into())),
            "read" => came(std::fs::read_to_string(text(&params, "path"))),
            "connect" => {
                let port = params
                    .get("port")
                    .and_then(Value::as_u64)
                    .unwrap_or_default();
                let address = format!("127.0.0.1:{port}");
                came(std::net::TcpStream::connect(address).map(|_| "connected".into()))
            }
            other => return Err(ErrorData::invalid_params(format!("no tool {other}"), None)),
        };
        Ok(CallToolResponse::Complete(result))
    }
}

fn text<'a>(params: &'a Map<String, Value>, name: &str) -> &'a str {
    params.get(name).and_then(Value::as_str).unwrap_or_default()
}

fn said(text: &str) -> CallToolResult {
    CallToolResult::success(vec![ContentBlock::text(text)])
}

fn came(result: std::io::Result<String>) -> CallToolResult {
    match result {
        Ok(text) => said(&text),
        Err(error) => CallToolResult::error(vec![ContentBlock::text(error.to_string())]),
    }
}

/// What its client says when it is asked for things.
#[expect(
    deprecated,
    reason = "clients have to decline what is deprecated as well"
)]
async fn ask(context: &RequestContext<RoleServer>) -> String {
    let message = rmcp::model::CreateMessageRequestParams::new(
        vec![rmcp::model::SamplingMessage::user_text("tell me all")],
        16,
    );
    let sampled = context.peer.create_message(message).await.is_ok();
    let rooted = context.peer.list_roots().await.is_ok();
    format!("sampled: {sampled}, rooted: {rooted}")
}
