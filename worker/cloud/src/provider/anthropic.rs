//! Anthropic's messages.

use serde_json::{Map, Value, json};

use super::{
    Auth, Decode, Fault, Prepared, Stage, complaint, fraction, join, number, object, put, said,
    text,
};
use crate::request::{Event, Finish, Reported, Request, Role, ToolCall};
use crate::settings::ProviderSettings;

/// The version of the format that is spoken here.
const VERSION: &str = "2023-06-01";
/// The tool whose input is the answer, where the answer has to fit a schema.
const ANSWER: &str = "answer";

/// Whether the schema can be the input of a tool, which is always an object.
fn as_tool(request: &Request) -> Option<&Value> {
    let schema = request.schema.as_ref();
    schema.filter(|schema| text(schema, "/type") == Some("object"))
}

pub(super) fn prepare(settings: &ProviderSettings, request: &Request) -> Prepared {
    let (system, said): (Vec<_>, Vec<_>) = request
        .messages
        .iter()
        .partition(|message| message.role == Role::System);
    let system: Vec<&str> = system
        .iter()
        .map(|message| message.content.as_str())
        .collect();
    let messages: Vec<Value> = said
        .iter()
        .map(|message| json!({ "role": message.role.as_str(), "content": message.content }))
        .collect();
    let mut body = Map::new();
    put(&mut body, "model", Some(settings.model.as_str()));
    put(&mut body, "max_tokens", Some(request.max_tokens));
    put(
        &mut body,
        "system",
        (!system.is_empty()).then(|| system.join("\n\n")),
    );
    put(&mut body, "messages", Some(messages));
    put(&mut body, "stream", Some(true));
    if settings.sampling {
        // Its scale ends at 1.
        put(
            &mut body,
            "temperature",
            request.temperature.map(|t| fraction(t.min(1.0))),
        );
        // It wants one of the two.
        let top_p = request.top_p.filter(|_| request.temperature.is_none());
        put(&mut body, "top_p", top_p.map(fraction));
    }
    put(
        &mut body,
        "stop_sequences",
        (!request.stop.is_empty()).then(|| request.stop.clone()),
    );
    let tool = |name: &str, description: &str, schema: &Value| json!({ "name": name, "description": description, "input_schema": schema });
    let mut tools: Vec<Value> = request
        .tools
        .iter()
        .map(|described| {
            tool(
                &described.name,
                &described.description,
                &described.parameters,
            )
        })
        .collect();
    if let Some(schema) = as_tool(request) {
        tools.push(tool(ANSWER, "Gives the answer.", schema));
        put(
            &mut body,
            "tool_choice",
            Some(json!({ "type": "tool", "name": ANSWER })),
        );
    }
    put(&mut body, "tools", (!tools.is_empty()).then_some(tools));
    Prepared {
        url: join(&settings.base_url, ["v1", "messages"]),
        headers: vec![
            ("content-type", "application/json".into()),
            ("accept", "text/event-stream".into()),
            ("anthropic-version", VERSION.into()),
        ],
        auth: Auth::Header("x-api-key"),
        body: Value::Object(body).to_string().into_bytes(),
    }
}

pub(super) struct Decoder {
    /// Whether the input of [`ANSWER`] is the answer.
    answers_by_tool: bool,
    /// The call that is being written.
    call: Option<ToolCall>,
}

impl Decoder {
    pub(super) fn new(request: &Request) -> Self {
        Self {
            answers_by_tool: as_tool(request).is_some(),
            call: None,
        }
    }

    fn is_answer(&self) -> bool {
        self.answers_by_tool && self.call.as_ref().is_some_and(|call| call.name == ANSWER)
    }
}

fn usage(usage: Option<&Value>) -> Option<Event> {
    let usage = usage?;
    // What the cache gave or took is not in `input_tokens`.
    let part = |name: &str| number(usage, name).unwrap_or(0);
    let read = part("/cache_read_input_tokens");
    let extra = read.saturating_add(part("/cache_creation_input_tokens"));
    Some(Event::Usage(Reported {
        input: number(usage, "/input_tokens").map(|input| input.saturating_add(extra)),
        cached: number(usage, "/cache_read_input_tokens"),
        output: number(usage, "/output_tokens"),
    }))
}

impl Decode for Decoder {
    fn frame(&mut self, data: &str, events: &mut Vec<Event>) -> Result<Stage, Fault> {
        let frame = object(data)?;
        if let Some(words) = complaint(&frame) {
            return Err(Fault::Reported(words));
        }
        match text(&frame, "/type").unwrap_or_default() {
            "message_start" => {
                said(events, text(&frame, "/message/model"), Event::Model);
                events.extend(usage(frame.pointer("/message/usage")));
            }
            "content_block_start" if text(&frame, "/content_block/type") == Some("tool_use") => {
                let word = |pointer| text(&frame, pointer).unwrap_or_default().to_owned();
                self.call = Some(ToolCall {
                    id: word("/content_block/id"),
                    name: word("/content_block/name"),
                    arguments: String::new(),
                });
            }
            "content_block_start" => {
                said(events, text(&frame, "/content_block/text"), Event::Text);
            }
            "content_block_delta" => {
                said(events, text(&frame, "/delta/text"), Event::Text);
                said(events, text(&frame, "/delta/thinking"), Event::Thinking);
                let piece = text(&frame, "/delta/partial_json");
                if self.is_answer() {
                    said(events, piece, Event::Text);
                } else if let Some(call) = &mut self.call {
                    call.arguments.push_str(piece.unwrap_or_default());
                }
            }
            "content_block_stop" => {
                let is_answer = self.is_answer();
                let call = self.call.take().filter(|_| !is_answer);
                events.extend(call.map(Event::Tool));
            }
            "message_delta" => {
                events.extend(usage(frame.pointer("/usage")));
                if let Some(reason) = text(&frame, "/delta/stop_reason") {
                    events.push(Event::Finish(match reason {
                        "max_tokens" => Finish::Length,
                        "tool_use" if !self.answers_by_tool => Finish::Tools,
                        "refusal" => Finish::Filtered,
                        _ => Finish::Stop,
                    }));
                    return Ok(Stage::Whole);
                }
            }
            "message_stop" => return Ok(Stage::Over),
            // Pings, and what a later version may add.
            _ => {}
        }
        Ok(Stage::Going)
    }
}
