//! Chat completions, as OpenAI defined them and most others speak them.

use serde_json::{Map, Value, json};

use super::{
    Auth, Decode, Fault, Kind, Prepared, Stage, complaint, fraction, join, number, object, put,
    said, text,
};
use crate::request::{Event, Finish, Reported, Request, ToolCall};
use crate::settings::ProviderSettings;

pub(super) fn prepare(settings: &ProviderSettings, request: &Request) -> Prepared {
    let messages: Vec<Value> = request
        .messages
        .iter()
        .map(|message| json!({ "role": message.role.as_str(), "content": message.content }))
        .collect();
    let mut body = Map::new();
    put(&mut body, "model", Some(settings.model.as_str()));
    put(&mut body, "messages", Some(messages));
    put(&mut body, "stream", Some(true));
    put(
        &mut body,
        "stream_options",
        Some(json!({ "include_usage": true })),
    );
    // OpenAI's newer models refuse the old name, other servers do not know the new one.
    let most = match settings.kind {
        Kind::OpenAi => "max_completion_tokens",
        _ => "max_tokens",
    };
    put(&mut body, most, Some(request.max_tokens));
    if settings.sampling {
        put(&mut body, "temperature", request.temperature.map(fraction));
        put(&mut body, "top_p", request.top_p.map(fraction));
        put(&mut body, "seed", request.seed);
    }
    put(
        &mut body,
        "stop",
        (!request.stop.is_empty()).then(|| request.stop.clone()),
    );
    let format = request.schema.as_ref().map(|schema| {
        // Not `strict`: it allows only some schemas. What comes is checked here anyway.
        json!({ "type": "json_schema", "json_schema": { "name": "answer", "schema": schema } })
    });
    put(&mut body, "response_format", format);
    let tools: Vec<Value> = request
        .tools
        .iter()
        .map(|tool| {
            let function = json!({ "name": tool.name, "description": tool.description, "parameters": tool.parameters });
            json!({ "type": "function", "function": function })
        })
        .collect();
    put(&mut body, "tools", (!tools.is_empty()).then_some(tools));
    Prepared {
        url: join(&settings.base_url, ["chat", "completions"]),
        headers: vec![
            ("content-type", "application/json".into()),
            ("accept", "text/event-stream".into()),
        ],
        auth: Auth::Bearer,
        body: Value::Object(body).to_string().into_bytes(),
    }
}

/// The calls of tools come in pieces, each with its number.
#[derive(Default)]
pub(super) struct Decoder {
    named: bool,
    calls: Vec<ToolCall>,
}

/// No answer calls more tools at once.
const CALLS_MAX: usize = 128;

impl Decode for Decoder {
    fn frame(&mut self, data: &str, events: &mut Vec<Event>) -> Result<Stage, Fault> {
        if data == "[DONE]" {
            return Ok(Stage::Over);
        }
        let frame = object(data)?;
        if let Some(words) = complaint(&frame) {
            return Err(Fault::Reported(words));
        }
        if !self.named {
            self.named = text(&frame, "/model").is_some();
            said(events, text(&frame, "/model"), Event::Model);
        }
        // Groq has it elsewhere.
        for usage in ["/usage", "/x_groq/usage"] {
            if let Some(usage) = frame.pointer(usage).filter(|usage| usage.is_object()) {
                events.push(Event::Usage(Reported {
                    input: number(usage, "/prompt_tokens"),
                    cached: number(usage, "/prompt_tokens_details/cached_tokens"),
                    output: number(usage, "/completion_tokens"),
                }));
            }
        }
        let Some(choice) = frame.pointer("/choices/0") else {
            return Ok(Stage::Going);
        };
        for thinking in ["/delta/reasoning_content", "/delta/reasoning"] {
            said(events, text(choice, thinking), Event::Thinking);
        }
        said(events, text(choice, "/delta/content"), Event::Text);
        said(events, text(choice, "/delta/refusal"), Event::Text);
        if let Some(pieces) = choice
            .pointer("/delta/tool_calls")
            .and_then(Value::as_array)
        {
            pieces.iter().try_for_each(|piece| self.call(piece))?;
        }
        let Some(reason) = text(choice, "/finish_reason") else {
            return Ok(Stage::Going);
        };
        events.extend(std::mem::take(&mut self.calls).into_iter().map(Event::Tool));
        events.push(Event::Finish(match reason {
            "length" => Finish::Length,
            "tool_calls" | "function_call" => Finish::Tools,
            "content_filter" => Finish::Filtered,
            _ => Finish::Stop,
        }));
        Ok(Stage::Whole)
    }
}

impl Decoder {
    fn call(&mut self, piece: &Value) -> Result<(), Fault> {
        let index = number(piece, "/index").unwrap_or(self.calls.len() as u64);
        let index = usize::try_from(index).unwrap_or(usize::MAX);
        if index >= CALLS_MAX {
            return Err(Fault::Malformed(
                "the number of a tool call is out of range",
            ));
        }
        while self.calls.len() <= index {
            let (id, name, arguments) = Default::default();
            self.calls.push(ToolCall {
                id,
                name,
                arguments,
            });
        }
        let call = &mut self.calls[index];
        let mut add = |field: &str, to: fn(&mut ToolCall) -> &mut String| {
            to(call).push_str(text(piece, field).unwrap_or_default());
        };
        add("/id", |call| &mut call.id);
        add("/function/name", |call| &mut call.name);
        add("/function/arguments", |call| &mut call.arguments);
        Ok(())
    }
}
