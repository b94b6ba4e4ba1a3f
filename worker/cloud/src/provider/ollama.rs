//! Ollama's `/api/chat`.

use serde_json::{Map, Value, json};

use super::{
    Auth, Decode, Fault, Prepared, Stage, complaint, fraction, join, number, object, put, said,
    text,
};
use crate::request::{Event, Finish, Reported, Request, ToolCall};
use crate::settings::ProviderSettings;

pub(super) fn prepare(settings: &ProviderSettings, request: &Request) -> Prepared {
    let messages: Vec<Value> = request
        .messages
        .iter()
        .map(|message| json!({ "role": message.role.as_str(), "content": message.content }))
        .collect();
    let mut options = Map::new();
    put(&mut options, "num_predict", Some(request.max_tokens));
    if settings.sampling {
        put(
            &mut options,
            "temperature",
            request.temperature.map(fraction),
        );
        put(&mut options, "top_p", request.top_p.map(fraction));
        put(&mut options, "seed", request.seed);
    }
    put(
        &mut options,
        "stop",
        (!request.stop.is_empty()).then(|| request.stop.clone()),
    );
    let mut body = Map::new();
    put(&mut body, "model", Some(settings.model.as_str()));
    put(&mut body, "messages", Some(messages));
    put(&mut body, "stream", Some(true));
    put(&mut body, "format", request.schema.clone());
    put(&mut body, "options", Some(Value::Object(options)));
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
        url: join(&settings.base_url, ["api", "chat"]),
        headers: vec![("content-type", "application/json".into())],
        auth: Auth::Bearer,
        body: Value::Object(body).to_string().into_bytes(),
    }
}

/// Every frame is whole.
pub(super) struct Decoder;

impl Decode for Decoder {
    fn frame(&mut self, data: &str, events: &mut Vec<Event>) -> Result<Stage, Fault> {
        let frame = object(data)?;
        if let Some(words) = complaint(&frame) {
            return Err(Fault::Reported(words));
        }
        said(events, text(&frame, "/model"), Event::Model);
        said(events, text(&frame, "/message/thinking"), Event::Thinking);
        said(events, text(&frame, "/message/content"), Event::Text);
        let calls = frame
            .pointer("/message/tool_calls")
            .and_then(Value::as_array);
        let mut called = false;
        for call in calls.into_iter().flatten() {
            called = true;
            let arguments = call.pointer("/function/arguments");
            events.push(Event::Tool(ToolCall {
                id: String::new(),
                name: text(call, "/function/name").unwrap_or_default().to_owned(),
                arguments: arguments.map_or_else(|| "{}".to_owned(), Value::to_string),
            }));
        }
        if frame.get("done") != Some(&Value::Bool(true)) {
            return Ok(Stage::Going);
        }
        events.push(Event::Usage(Reported {
            input: number(&frame, "/prompt_eval_count"),
            cached: None,
            output: number(&frame, "/eval_count"),
        }));
        events.push(Event::Finish(match text(&frame, "/done_reason") {
            Some("length") => Finish::Length,
            _ if called => Finish::Tools,
            _ => Finish::Stop,
        }));
        Ok(Stage::Over)
    }
}
