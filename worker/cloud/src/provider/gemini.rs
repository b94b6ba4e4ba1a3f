//! Gemini's `streamGenerateContent`.

use serde_json::{Map, Value, json};

use super::{
    Auth, Decode, Fault, Prepared, Stage, complaint, fraction, join, number, object, put, said,
    text,
};
use crate::request::{Event, Finish, Reported, Request, Role, ToolCall};
use crate::settings::ProviderSettings;

pub(super) fn prepare(settings: &ProviderSettings, request: &Request) -> Prepared {
    let (system, said): (Vec<_>, Vec<_>) = request
        .messages
        .iter()
        .partition(|message| message.role == Role::System);
    let parts: Vec<Value> = system
        .iter()
        .map(|message| json!({ "text": message.content }))
        .collect();
    let contents: Vec<Value> = said
        .iter()
        .map(|message| {
            let role = match message.role {
                Role::Assistant => "model",
                _ => "user",
            };
            json!({ "role": role, "parts": [{ "text": message.content }] })
        })
        .collect();
    let mut config = Map::new();
    put(&mut config, "maxOutputTokens", Some(request.max_tokens));
    if settings.sampling {
        put(
            &mut config,
            "temperature",
            request.temperature.map(fraction),
        );
        put(&mut config, "topP", request.top_p.map(fraction));
        put(&mut config, "seed", request.seed);
    }
    put(
        &mut config,
        "stopSequences",
        (!request.stop.is_empty()).then(|| request.stop.clone()),
    );
    if let Some(schema) = &request.schema {
        put(&mut config, "responseMimeType", Some("application/json"));
        put(&mut config, "responseJsonSchema", Some(schema.clone()));
    }
    let mut body = Map::new();
    put(
        &mut body,
        "systemInstruction",
        (!parts.is_empty()).then(|| json!({ "parts": parts })),
    );
    put(&mut body, "contents", Some(contents));
    put(&mut body, "generationConfig", Some(Value::Object(config)));
    let tools: Vec<Value> = request
        .tools
        .iter()
        .map(|tool| json!({ "name": tool.name, "description": tool.description, "parametersJsonSchema": tool.parameters }))
        .collect();
    let tools = (!tools.is_empty()).then(|| json!([{ "functionDeclarations": tools }]));
    put(&mut body, "tools", tools);
    let call = format!("{}:streamGenerateContent", settings.model);
    let mut url = join(&settings.base_url, ["v1beta", "models", &call]);
    url.set_query(Some("alt=sse"));
    Prepared {
        url,
        headers: vec![
            ("content-type", "application/json".into()),
            ("accept", "text/event-stream".into()),
        ],
        auth: Auth::Header("x-goog-api-key"),
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
        said(events, text(&frame, "/modelVersion"), Event::Model);
        if let Some(usage) = frame.get("usageMetadata") {
            let written = number(usage, "/candidatesTokenCount");
            let thought = number(usage, "/thoughtsTokenCount").unwrap_or(0);
            events.push(Event::Usage(Reported {
                input: number(usage, "/promptTokenCount"),
                cached: number(usage, "/cachedContentTokenCount"),
                output: written.map(|written| written.saturating_add(thought)),
            }));
        }
        if text(&frame, "/promptFeedback/blockReason").is_some() {
            events.push(Event::Finish(Finish::Filtered));
            return Ok(Stage::Whole);
        }
        let parts = frame
            .pointer("/candidates/0/content/parts")
            .and_then(Value::as_array);
        let mut called = false;
        for part in parts.into_iter().flatten() {
            let thought = part.get("thought") == Some(&Value::Bool(true));
            let event = if thought {
                Event::Thinking
            } else {
                Event::Text
            };
            said(events, text(part, "/text"), event);
            if let Some(call) = part.get("functionCall") {
                called = true;
                let arguments = call
                    .get("args")
                    .map_or_else(|| "{}".to_owned(), Value::to_string);
                let word = |pointer| text(call, pointer).unwrap_or_default().to_owned();
                events.push(Event::Tool(ToolCall {
                    id: word("/id"),
                    name: word("/name"),
                    arguments,
                }));
            }
        }
        let Some(reason) = text(&frame, "/candidates/0/finishReason") else {
            return Ok(Stage::Going);
        };
        events.push(Event::Finish(match reason {
            "MAX_TOKENS" => Finish::Length,
            "STOP" if called => Finish::Tools,
            "STOP" => Finish::Stop,
            "MALFORMED_FUNCTION_CALL" => return Err(Fault::Reported(reason.to_owned())),
            _ => Finish::Filtered,
        }));
        Ok(Stage::Whole)
    }
}
