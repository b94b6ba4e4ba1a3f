//! The arguments of a program, from those of its manifest and the parameters of a call.
//!
//! `{name}` in an argument becomes the text of the parameter `name`, whatever is in it: no shell
//! sees it. Other braces stay as they are. If the parameter is absent, the argument is left out,
//! and with it the one before if that only introduces it: it begins with `-`, has no `=` and no
//! placeholder, and is not `--` itself.

use serde_json::Value;

use crate::error::ToolError;
use crate::tool::Params;

/// Fills the placeholders in.
pub(super) fn fill(args: &[String], params: &Params) -> Result<Vec<String>, ToolError> {
    let mut filled: Vec<String> = Vec::new();
    let mut introduces = false;
    let mut options_end = false;
    for arg in args {
        match filled_in(arg, params, options_end)? {
            Some(text) => filled.push(text),
            None if introduces => drop(filled.pop()),
            None => {}
        }
        options_end |= arg == "--";
        introduces = arg.starts_with('-')
            && arg != "--"
            && !arg.contains('=')
            && placeholders(arg).next().is_none();
    }
    Ok(filled)
}

/// The parameters that an argument names.
pub(super) fn placeholders(arg: &str) -> impl Iterator<Item = &str> {
    parts(arg).filter_map(|(_, name)| name)
}

/// An argument with its values; none: one of them is absent.
fn filled_in(arg: &str, params: &Params, options_end: bool) -> Result<Option<String>, ToolError> {
    let mut text = String::new();
    for (before, name) in parts(arg) {
        text.push_str(before);
        let Some(name) = name else { continue };
        let (value, is_number) = match params.get(name) {
            None | Some(Value::Null) => return Ok(None),
            Some(Value::String(value)) => (value.clone(), false),
            Some(value) => (value.to_string(), value.is_number()),
        };
        if value.contains('\0') {
            return Err(ToolError::BadParams(format!(
                "the parameter `{name}` has a NUL, which no argument of a program can have"
            )));
        }
        if text.is_empty() && value.starts_with('-') && !is_number && !options_end {
            return Err(ToolError::BadParams(format!(
                "the parameter `{name}` begins with `-`, and the program would take it for an \
                 option; for a file write ./ before it"
            )));
        }
        text.push_str(&value);
    }
    Ok(Some(text))
}

/// Pieces of plain text, each with the placeholder after it.
fn parts(arg: &str) -> impl Iterator<Item = (&str, Option<&str>)> {
    let mut rest = Some(arg);
    std::iter::from_fn(move || {
        let text = rest.take()?;
        let found = text.match_indices('{').find_map(|(at, _)| {
            let (name, after) = text[at + 1..].split_once('}')?;
            let plain = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
            (!name.is_empty() && name.chars().all(plain)).then_some((&text[..at], name, after))
        });
        let Some((before, name, after)) = found else {
            return Some((text, None));
        };
        rest = Some(after);
        Some((before, Some(name)))
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[track_caller]
    fn check(args: &[&str], params: &Value, expected: &[&str]) {
        let args: Vec<String> = args.iter().map(|arg| (*arg).to_owned()).collect();
        let params = params.as_object().expect("an object");
        assert_eq!(fill(&args, params).expect("arguments"), expected);
    }

    #[test]
    fn a_parameter_is_one_argument_whatever_is_in_it() {
        let nasty = "a 'b' \"c\"\n$(rm) {ip} é";
        check(&["--ip", "{ip}"], &json!({ "ip": nasty }), &["--ip", nasty]);
        check(
            &["--at={a}:{b}", "{}", "{print $1}", "{"],
            &json!({ "a": 1, "b": [2] }),
            &["--at=1:[2]", "{}", "{print $1}", "{"],
        );
    }

    #[test]
    fn what_is_absent_takes_its_option_along() {
        let args = ["-v", "--ip", "{ip}", "--x={x}", "--", "{path}"];
        check(&args, &json!({}), &["-v", "--"]);
        check(
            &args,
            &json!({ "ip": null, "x": "" }),
            &["-v", "--x=", "--"],
        );
        check(&args, &json!({ "path": "-f" }), &["-v", "--", "-f"]);
    }

    #[test]
    fn a_value_does_not_become_an_option() {
        let args = ["{a}".to_owned()];
        for value in ["-rf", "--help", "-", "a\0b"] {
            let params = json!({ "a": value });
            let error = fill(&args, params.as_object().expect("an object"));
            assert!(matches!(error, Err(ToolError::BadParams(_))), "{value}");
        }
        check(&["{a}"], &json!({ "a": -1 }), &["-1"]);
    }
}
