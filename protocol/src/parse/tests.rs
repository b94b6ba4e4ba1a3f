use super::*;
use crate::request::{Ask, Think};

fn parse(line: &str) -> Result<Request, ParseFailure> {
    parse_request(line.as_bytes(), 128)
}

/// The id, code and hint that a bad line gets.
#[track_caller]
fn check_fault(line: &[u8], id: &str, code: ErrorCode, says: &str) {
    let failure = parse_request(line, 128).expect_err("the line is bad");
    assert_eq!(failure.action_id.0, id);
    assert_eq!(failure.error.code, code, "{}", failure.error);
    let text = format!(
        "{} {}",
        failure.error.message,
        failure.error.hint.unwrap_or_default()
    );
    assert!(text.contains(says), "{text:?} lacks {says:?}");
}

#[track_caller]
fn ask(line: &str) -> Ask {
    match parse(line).expect("a good line").operation {
        Operation::Ask(ask) => *ask,
        other => panic!("not an ask: {other:?}"),
    }
}

#[test]
fn old_clients_lines_are_understood() {
    for line in [
        r#"{"action": "ask", "action_id": "9b1c", "input": "mostre o uso de disco", "result": null}"#,
        r#"{"action": "ask", "action_id": "9b1d", "input": "o que e LVM?", "metadata": {"simple_query": true}}"#,
        r#"{"action":"ask","action_id":"x","input":"a","result":null,"metadata":null,"timestamp":null,"source":null,"model":null}"#,
    ] {
        assert!(!ask(line).input.is_empty());
    }
    let observe = parse(r#"{"action": "observe", "action_id": "u2", "input": "status"}"#);
    let operation = observe.expect("a good line").operation;
    assert!(matches!(operation, Operation::Observe(call) if call.input == "status"));
}

#[test]
fn old_clients_may_keep_a_request_on_the_machine() {
    let line = |more: &str| format!(r#"{{"action":"ask","input":"a"{more}}}"#);
    let local = r#","metadata":{"flags":{"local_only":true,"web":false}}"#;
    for more in [
        local,
        &format!(r#"{local},"params":{{"allow_cloud":true}}"#),
    ] {
        assert_eq!(ask(&line(more)).params.allow_cloud, Some(false), "{more}");
    }
    for more in [
        "",
        r#","metadata":{"flags":{"local_only":false}}"#,
        r#","metadata":{"flags":"local_only"}"#,
        r#","metadata":["flags"]"#,
    ] {
        assert_eq!(ask(&line(more)).params.allow_cloud, None, "{more}");
    }
}

#[test]
fn spellings_of_an_action_do_not_matter() {
    for written in ["commitkb", "commit_kb", "commit", "commitKB", "COMMIT-KB"] {
        let request = parse(&format!(r#"{{"action":"{written}","action_id":"1"}}"#));
        let operation = request.expect("a good line").operation;
        assert!(matches!(operation, Operation::CommitKb(_)), "{written}");
    }
    for written in ["toolSpec", "tool_spec", "toolspec"] {
        let request = parse(&format!(r#"{{"action":"{written}","action_id":"1"}}"#));
        let operation = request.expect("a good line").operation;
        assert!(matches!(operation, Operation::ToolSpec(_)), "{written}");
    }
    assert!(matches!(
        parse(r#"{"action":"PING"}"#)
            .expect("a good line")
            .operation,
        Operation::Ping(_)
    ));
}

#[test]
fn params_are_typed_and_null_means_absent() {
    let ask = ask(
        r#"{"action":"ask","input":"x","params":{"temperature":0,"top_k":null,"think":64,"stop":["a"]}}"#,
    );
    assert_eq!(ask.params.temperature, Some(0.0));
    assert_eq!(ask.params.top_k, None);
    assert_eq!(ask.params.think, Some(Think::Budget(64)));
    assert!(ask.stream);
}

#[test]
fn a_bad_line_is_answered_under_its_id() {
    use ErrorCode::*;
    let deep = format!(r#"{{"action_id":"d","input":{}"#, "[".repeat(10_000));
    let long_id = format!(r#"{{"action_id":"{}"}}"#, "i".repeat(1 << 20));
    let cases: &[(&[u8], &str, ErrorCode, &str)] = &[
        (b"hello", "", ParseError, "not JSON"),
        (
            br#"{"action_id":"a7","action":"ask""#,
            "a7",
            ParseError,
            "not JSON",
        ),
        (
            br#"{"action_id" : "a\"7", nonsense"#,
            "a\"7",
            ParseError,
            "not JSON",
        ),
        (deep.as_bytes(), "d", ParseError, "recursion limit"),
        (
            b"{\"action_id\":\"u\",\"input\":\"\xff\"}",
            "u",
            ParseError,
            "not UTF-8 (byte 26)",
        ),
        (
            b"{\"action_id\":\"n\",\"input\":\"\0\"}",
            "n",
            ParseError,
            "control character",
        ),
        (b"[1,2]", "", InvalidRequest, "an array, not an object"),
        (b"42", "", InvalidRequest, "a number, not an object"),
        (br#"{"action_id":"1"}"#, "1", InvalidRequest, "no action"),
        (
            br#"{"action_id":"1","action":7}"#,
            "1",
            InvalidRequest,
            "must be a string",
        ),
        (
            br#"{"action_id":"1","action":"aks"}"#,
            "1",
            UnknownAction,
            "\"ask\"",
        ),
        (
            br#"{"action_id":"1","action":"sing"}"#,
            "1",
            UnknownAction,
            "\"ping\"",
        ),
        (
            br#"{"action_id":"1","action":"xyzzy"}"#,
            "1",
            UnknownAction,
            "known: hello",
        ),
        (
            br#"{"action_id":"1","action":"runs","params":{"all":true}}"#,
            "1",
            InvalidParams,
            "this action has no params",
        ),
        (
            br#"{"action_id":7,"action":"ask"}"#,
            "7",
            InvalidRequest,
            "not a number",
        ),
        (
            br#"{"action_id":["x"],"action":"ask"}"#,
            "",
            InvalidRequest,
            "not an array",
        ),
        (
            long_id.as_bytes(),
            &"i".repeat(128),
            InvalidRequest,
            "1048576 bytes",
        ),
        (
            br#"{"action_id":"1","action":"ask","input":5}"#,
            "1",
            InvalidRequest,
            "input: invalid type",
        ),
        (
            br#"{"action_id":"1","action":"ask","params":[]}"#,
            "1",
            InvalidParams,
            "params",
        ),
        (
            br#"{"action_id":"1","action":"ask","params":{"temprature":1}}"#,
            "1",
            InvalidParams,
            "\"temperature\"",
        ),
        (
            br#"{"action_id":"1","action":"ask","params":{"temperature":"hot"}}"#,
            "1",
            InvalidParams,
            "params.temperature",
        ),
        (
            br#"{"action_id":"1","action":"ask","params":{"temperature":NaN}}"#,
            "1",
            ParseError,
            "not JSON",
        ),
        (
            br#"{"action_id":"1","action":"ask","params":{"max_tokens":-1}}"#,
            "1",
            InvalidParams,
            "params.max_tokens",
        ),
        (
            br#"{"action_id":"1","action":"ask","params":{"max_tokens":9223372036854775808}}"#,
            "1",
            InvalidParams,
            "params.max_tokens",
        ),
        (
            br#"{"action_id":"1","action":"ask","params":{"think":"maybe"}}"#,
            "1",
            InvalidParams,
            "number of tokens",
        ),
        (
            br#"{"action_id":"1","action":"ask","params":{"priority":"urgent"}}"#,
            "1",
            InvalidParams,
            "`high`",
        ),
        (
            br#"{"action_id":"1","action":"ask","messages":[{"role":"god","content":""}]}"#,
            "1",
            InvalidRequest,
            "messages[0].role",
        ),
        (
            br#"{"action_id":"1","action":"ping","params":{"x":1}}"#,
            "1",
            InvalidParams,
            "no \"x\"",
        ),
    ];
    for (line, id, code, says) in cases {
        check_fault(line, id, *code, says);
    }
}

#[test]
fn every_documented_action_parses() {
    for action in ACTIONS {
        let line = format!(r#"{{"action":"{action}","action_id":"1","unknown_key":1}}"#);
        parse(&line).unwrap_or_else(|failure| panic!("{action}: {}", failure.error));
    }
}

#[test]
fn a_long_name_that_is_not_known_costs_nothing_and_is_shown_cut() {
    let name = "x".repeat(1 << 20);
    let lines = [
        format!(r#"{{"action_id":"1","action":"ask","params":{{"{name}":1}}}}"#),
        format!(r#"{{"action_id":"1","action":"ask","messages":[{{"{name}":1}}]}}"#),
        format!(r#"{{"action_id":"1","action":"{name}"}}"#),
    ];
    let begun = std::time::Instant::now();
    for line in lines.iter().cycle().take(30) {
        let failure = parse_request(line.as_bytes(), 128).expect_err("not known");
        let told = failure.error.message.len() + failure.error.hint.map_or(0, |hint| hint.len());
        assert!(told < 4 << 10, "{told} bytes");
    }
    // Ten comparisons of the first would take 7 s and more.
    let took = begun.elapsed();
    assert!(took.as_secs() < 5, "{took:?}");
}
