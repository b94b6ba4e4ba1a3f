//! From what a server answers to a call to what the tool says.

use rmcp::model::{CallToolResult, ContentBlock, ResourceContents};
use serde_json::{Value, json};

use super::text::clean;
use crate::error::ToolError;

/// How much of an error is passed on, in bytes.
const ERROR_BYTES_MAX: usize = 8 << 10;

/// How much of an address or a type of something that is not passed on, in bytes.
const LABEL_BYTES_MAX: usize = 256;

/// The answer: what is structured if there is that, else `{"text": ...}`, and of what is no text,
/// such as images, only what it is and how large.
pub(super) fn answer(result: CallToolResult) -> Result<Value, ToolError> {
    let mut texts = Vec::new();
    let mut others = Vec::new();
    for part in result.content {
        match part {
            ContentBlock::Text(text) => texts.push(text.text),
            ContentBlock::Image(image) => others.push(blob("image", &image.mime_type, &image.data)),
            ContentBlock::Audio(audio) => others.push(blob("audio", &audio.mime_type, &audio.data)),
            ContentBlock::Resource(resource) => match resource.resource {
                ResourceContents::TextResourceContents { text, .. } => texts.push(text),
                ResourceContents::BlobResourceContents {
                    mime_type,
                    blob: data,
                    ..
                } => others.push(blob("blob", &mime_type.unwrap_or_default(), &data)),
                _ => others.push(unknown()),
            },
            ContentBlock::ResourceLink(link) => others.push(json!({
                "kind": "link",
                "uri": clean(&link.uri, LABEL_BYTES_MAX),
            })),
            _ => others.push(unknown()),
        }
    }
    let text = texts.join("\n");
    if result.is_error == Some(true) {
        let text = if text.is_empty() {
            "the tool says that it failed, and not why".into()
        } else {
            cut(text)
        };
        return Err(ToolError::Failed(text));
    }
    if let Some(structured) = result.structured_content {
        return Ok(structured);
    }
    let mut answer = json!({ "text": text });
    if !others.is_empty() {
        answer["left_out"] = others.into();
    }
    Ok(answer)
}

/// How much of an error is passed on.
pub(super) fn cut(mut text: String) -> String {
    text.truncate(text.floor_char_boundary(ERROR_BYTES_MAX));
    text
}

/// What the protocol did not have yet when this was written.
fn unknown() -> Value {
    json!({ "kind": "unknown" })
}

fn blob(kind: &str, mime_type: &str, base64: &str) -> Value {
    let data = base64.trim_end_matches('=');
    json!({
        "kind": kind,
        "mime_type": clean(mime_type, LABEL_BYTES_MAX),
        "bytes": data.len() / 4 * 3 + (data.len() % 4).saturating_sub(1),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(result: Value) -> Result<Value, ToolError> {
        answer(serde_json::from_value(result).expect("a result"))
    }

    #[test]
    fn text_is_joined_and_the_rest_only_named() {
        let result = of(json!({ "content": [
            { "type": "text", "text": "a" },
            { "type": "image", "data": "aGVsbG8=", "mimeType": "image/png" },
            { "type": "resource", "resource": { "uri": "x:y", "text": "b" } },
            { "type": "resource", "resource": { "uri": "x:y", "blob": "aGVsbG8h" } },
            { "type": "resource_link", "uri": "file:///etc", "name": "n" },
        ]}));
        let expected = json!({ "text": "a\nb", "left_out": [
            { "kind": "image", "mime_type": "image/png", "bytes": 5 },
            { "kind": "blob", "mime_type": "", "bytes": 6 },
            { "kind": "link", "uri": "file:///etc" },
        ]});
        assert_eq!(result.ok(), Some(expected));
    }

    #[test]
    fn structure_comes_before_text_and_failure_before_both() {
        let content = json!([{ "type": "text", "text": "t" }]);
        let result = of(json!({ "content": content, "structuredContent": { "a": 1 } }));
        assert_eq!(result.ok(), Some(json!({ "a": 1 })));
        let result = of(json!({ "content": content, "structuredContent": {}, "isError": true }));
        assert!(matches!(result, Err(ToolError::Failed(text)) if text == "t"));
        let result = of(json!({ "content": [], "isError": true }));
        assert!(matches!(result, Err(ToolError::Failed(text)) if text.contains("not why")));
    }
}
