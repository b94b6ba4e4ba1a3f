//! Each format against frames as its documentation has them.

use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::request::{Finish, Message, Reported, Role, Tool, ToolCall};

fn settings(kind: Kind) -> ProviderSettings {
    ProviderSettings::new("p", kind, "m", Some("http://127.0.0.1:9/base/")).unwrap()
}

fn request() -> Request {
    Request {
        messages: vec![
            Message::new(Role::System, "s"),
            Message::new(Role::User, "u"),
        ],
        max_tokens: 50,
        temperature: Some(0.2),
        top_p: Some(0.9),
        stop: vec!["END".into()],
        seed: Some(7),
        schema: None,
        tools: Vec::new(),
    }
}

fn body(kind: Kind, request: &Request) -> (String, Value) {
    let prepared = prepare(&settings(kind), request);
    (
        prepared.url.to_string(),
        serde_json::from_slice(&prepared.body).unwrap(),
    )
}

#[track_caller]
fn check(kind: Kind, frames: &[Value], expected: &[Event], stage: Stage) {
    let mut decoder = kind.decoder(&request());
    let (mut events, mut last) = (Vec::new(), Stage::Going);
    for frame in frames {
        let data = frame
            .as_str()
            .map_or_else(|| frame.to_string(), str::to_owned);
        last = decoder.frame(&data, &mut events).unwrap();
    }
    assert_eq!(events, expected);
    assert_eq!(last, stage);
}

fn text_event(text: &str) -> Event {
    Event::Text(text.to_owned())
}

fn usage_event(input: u64, cached: Option<u64>, output: u64) -> Event {
    Event::Usage(Reported {
        input: Some(input),
        cached,
        output: Some(output),
    })
}

#[test]
fn openai_is_asked_and_understood() {
    let (url, sent) = body(Kind::OpenAi, &request());
    assert_eq!(url, "http://127.0.0.1:9/base/chat/completions");
    let expected = json!({
        "model": "m",
        "messages": [{"role": "system", "content": "s"}, {"role": "user", "content": "u"}],
        "stream": true, "stream_options": {"include_usage": true},
        "max_completion_tokens": 50, "temperature": 0.2, "top_p": 0.9, "seed": 7, "stop": ["END"],
    });
    assert_eq!(sent, expected);
    assert_eq!(body(Kind::Groq, &request()).1["max_tokens"], 50);
    check(
        Kind::OpenAi,
        &[
            json!({"model": "m-1", "choices": [{"delta": {"role": "assistant", "content": ""}}]}),
            json!({"model": "m-1", "choices": [{"delta": {"reasoning_content": "hm"}}]}),
            json!({"model": "m-1", "choices": [{"delta": {"content": "Hi"}, "finish_reason": null}]}),
            json!({"choices": [{"delta": {}, "finish_reason": "length"}]}),
            json!({"choices": [], "usage": {"prompt_tokens": 9, "completion_tokens": 2, "prompt_tokens_details": {"cached_tokens": 4}}}),
            json!("[DONE]"),
        ],
        &[
            Event::Model("m-1".into()),
            Event::Thinking("hm".into()),
            text_event("Hi"),
            Event::Finish(Finish::Length),
            usage_event(9, Some(4), 2),
        ],
        Stage::Over,
    );
}

#[test]
fn openai_writes_calls_of_tools_in_pieces() {
    let piece = |value: Value| json!({"choices": [{"delta": {"tool_calls": [value]}}]});
    let call = |id: &str, name: &str, arguments: &str| {
        Event::Tool(ToolCall {
            id: id.into(),
            name: name.into(),
            arguments: arguments.into(),
        })
    };
    check(
        Kind::OpenAiCompatible,
        &[
            piece(json!({"index": 0, "id": "c1", "function": {"name": "df", "arguments": "{\"p"}})),
            piece(json!({"index": 1, "id": "c2", "function": {"name": "ls", "arguments": "{}"}})),
            piece(json!({"index": 0, "function": {"arguments": "\":1}"}})),
            json!({"choices": [{"delta": {}, "finish_reason": "tool_calls"}]}),
        ],
        &[
            call("c1", "df", "{\"p\":1}"),
            call("c2", "ls", "{}"),
            Event::Finish(Finish::Tools),
        ],
        Stage::Whole,
    );
    let wild = piece(json!({"index": u64::MAX})).to_string();
    let fault = Kind::OpenAi
        .decoder(&request())
        .frame(&wild, &mut Vec::new());
    assert!(matches!(fault, Err(Fault::Malformed(_))));
}

#[test]
fn anthropic_is_asked_and_understood() {
    let (url, sent) = body(Kind::Anthropic, &request());
    assert_eq!(url, "http://127.0.0.1:9/base/v1/messages");
    let expected = json!({
        "model": "m", "max_tokens": 50, "system": "s",
        "messages": [{"role": "user", "content": "u"}],
        "stream": true, "temperature": 0.2, "stop_sequences": ["END"],
    });
    assert_eq!(sent, expected);
    check(
        Kind::Anthropic,
        &[
            json!({"type": "message_start", "message": {"model": "m-1", "usage": {"input_tokens": 5, "cache_read_input_tokens": 3, "output_tokens": 1}}}),
            json!({"type": "content_block_start", "index": 0, "content_block": {"type": "thinking", "thinking": ""}}),
            json!({"type": "content_block_delta", "index": 0, "delta": {"type": "thinking_delta", "thinking": "hm"}}),
            json!({"type": "ping"}),
            json!({"type": "content_block_delta", "index": 1, "delta": {"type": "text_delta", "text": "Hi"}}),
            json!({"type": "content_block_start", "index": 2, "content_block": {"type": "tool_use", "id": "t", "name": "df", "input": {}}}),
            json!({"type": "content_block_delta", "index": 2, "delta": {"type": "input_json_delta", "partial_json": "{\"a\""}}),
            json!({"type": "content_block_delta", "index": 2, "delta": {"type": "input_json_delta", "partial_json": ":1}"}}),
            json!({"type": "content_block_stop", "index": 2}),
            json!({"type": "message_delta", "delta": {"stop_reason": "tool_use"}, "usage": {"output_tokens": 12}}),
            json!({"type": "message_stop"}),
        ],
        &[
            Event::Model("m-1".into()),
            usage_event(8, Some(3), 1),
            Event::Thinking("hm".into()),
            text_event("Hi"),
            Event::Tool(ToolCall {
                id: "t".into(),
                name: "df".into(),
                arguments: "{\"a\":1}".into(),
            }),
            Event::Usage(Reported {
                input: None,
                cached: None,
                output: Some(12),
            }),
            Event::Finish(Finish::Tools),
        ],
        Stage::Over,
    );
}

#[test]
fn anthropic_answers_a_schema_as_the_input_of_a_tool() {
    let with_schema = Request {
        schema: Some(json!({"type": "object"})),
        ..request()
    };
    let (_, sent) = body(Kind::Anthropic, &with_schema);
    assert_eq!(sent["tool_choice"]["name"], "answer");
    let mut decoder = Kind::Anthropic.decoder(&with_schema);
    let mut events = Vec::new();
    for frame in [
        json!({"type": "content_block_start", "content_block": {"type": "tool_use", "id": "t", "name": "answer"}}),
        json!({"type": "content_block_delta", "delta": {"type": "input_json_delta", "partial_json": "{}"}}),
        json!({"type": "content_block_stop"}),
        json!({"type": "message_delta", "delta": {"stop_reason": "tool_use"}}),
    ] {
        decoder.frame(&frame.to_string(), &mut events).unwrap();
    }
    assert_eq!(events, [text_event("{}"), Event::Finish(Finish::Stop)]);
}

#[test]
fn gemini_is_asked_and_understood() {
    let mut with_tool = request();
    with_tool.tools.push(Tool {
        name: "df".into(),
        description: "d".into(),
        parameters: json!({}),
    });
    let (url, sent) = body(Kind::Gemini, &with_tool);
    assert_eq!(
        url,
        "http://127.0.0.1:9/base/v1beta/models/m:streamGenerateContent?alt=sse"
    );
    let expected = json!({
        "systemInstruction": {"parts": [{"text": "s"}]},
        "contents": [{"role": "user", "parts": [{"text": "u"}]}],
        "generationConfig": {"maxOutputTokens": 50, "temperature": 0.2, "topP": 0.9, "seed": 7, "stopSequences": ["END"]},
        "tools": [{"functionDeclarations": [{"name": "df", "description": "d", "parametersJsonSchema": {}}]}],
    });
    assert_eq!(sent, expected);
    check(
        Kind::Gemini,
        &[
            json!({"candidates": [{"content": {"parts": [{"text": "hm", "thought": true}, {"text": "Hi"}]}}], "modelVersion": "m-1"}),
            json!({"candidates": [{"content": {"parts": [{"functionCall": {"name": "df", "args": {"a": 1}}}]}, "finishReason": "STOP"}],
                   "usageMetadata": {"promptTokenCount": 4, "candidatesTokenCount": 3, "thoughtsTokenCount": 2}}),
        ],
        &[
            Event::Model("m-1".into()),
            Event::Thinking("hm".into()),
            text_event("Hi"),
            usage_event(4, None, 5),
            Event::Tool(ToolCall {
                id: String::new(),
                name: "df".into(),
                arguments: "{\"a\":1}".into(),
            }),
            Event::Finish(Finish::Tools),
        ],
        Stage::Whole,
    );
    check(
        Kind::Gemini,
        &[json!({"promptFeedback": {"blockReason": "SAFETY"}})],
        &[Event::Finish(Finish::Filtered)],
        Stage::Whole,
    );
}

#[test]
fn a_model_name_can_not_leave_its_place_in_the_path() {
    let mut settings = settings(Kind::Gemini);
    settings.model = "../../x?key=1#".into();
    let url = prepare(&settings, &request()).url;
    assert_eq!(url.query(), Some("alt=sse"));
    assert!(
        url.path()
            .starts_with("/base/v1beta/models/..%2F..%2Fx%3Fkey"),
        "{url}"
    );
}

#[test]
fn ollama_is_asked_and_understood() {
    let with_schema = Request {
        schema: Some(json!({"type": "object"})),
        ..request()
    };
    let (url, sent) = body(Kind::Ollama, &with_schema);
    assert_eq!(url, "http://127.0.0.1:9/base/api/chat");
    assert_eq!(sent["format"], json!({"type": "object"}));
    assert_eq!(
        sent["options"],
        json!({"num_predict": 50, "temperature": 0.2, "top_p": 0.9, "seed": 7, "stop": ["END"]})
    );
    check(
        Kind::Ollama,
        &[
            json!({"model": "m", "message": {"role": "assistant", "content": "Hi"}, "done": false}),
            json!({"message": {"content": ""}, "done": true, "done_reason": "stop", "prompt_eval_count": 7, "eval_count": 2}),
        ],
        &[
            Event::Model("m".into()),
            text_event("Hi"),
            usage_event(7, None, 2),
            Event::Finish(Finish::Stop),
        ],
        Stage::Over,
    );
}

#[test]
fn an_error_inside_of_a_stream_is_one() {
    for (kind, frame, words) in [
        (Kind::OpenAi, r#"{"error":{"message":"bad"}}"#, "bad"),
        (
            Kind::Anthropic,
            r#"{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}"#,
            "Overloaded",
        ),
        (
            Kind::Gemini,
            r#"{"error":{"code":503,"message":"later"}}"#,
            "later",
        ),
        (
            Kind::Ollama,
            r#"{"error":"no such model"}"#,
            "no such model",
        ),
    ] {
        let fault = kind.decoder(&request()).frame(frame, &mut Vec::new());
        assert_eq!(fault, Err(Fault::Reported(words.to_owned())));
    }
}

const KINDS: [Kind; 4] = [Kind::OpenAi, Kind::Anthropic, Kind::Gemini, Kind::Ollama];

/// JSON with the names that the formats use, in places where they are not expected.
fn strange() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        "[a-z_]{0,8}".prop_map(Value::from),
    ];
    let name = prop::sample::select(vec![
        "choices",
        "delta",
        "content",
        "tool_calls",
        "index",
        "function",
        "usage",
        "prompt_tokens",
        "type",
        "message",
        "content_block",
        "candidates",
        "parts",
        "functionCall",
        "finish_reason",
        "done",
        "error",
    ]);
    leaf.prop_recursive(5, 40, 4, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map(name.clone().prop_map(str::to_owned), inner, 0..4)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn no_frame_is_too_strange(frames in prop::collection::vec(strange(), 1..6), noise in ".{0,40}") {
        for kind in KINDS {
            let mut decoder = kind.decoder(&request());
            for frame in &frames {
                let _ = decoder.frame(&frame.to_string(), &mut Vec::new());
            }
            let _ = decoder.frame(&noise, &mut Vec::new());
        }
    }
}
