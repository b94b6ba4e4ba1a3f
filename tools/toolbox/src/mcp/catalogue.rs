//! From the tools that a server lists to those that can be called.

use std::collections::BTreeMap;
use std::sync::Arc;

use fazai_tools::Risk;
use rmcp::model::Tool;
use serde_json::Value;

use super::settings::McpServer;
use super::text::clean;
use crate::schema::{JSON_BYTES_MAX, Schema};
use crate::tool::{About, Broken, NAME_BYTES_MAX, Origin, is_name};

/// How many tools of one server are listed.
pub const SERVER_TOOLS_MAX: usize = 256;

/// The longest description of a tool or a parameter, in bytes.
pub const DESCRIPTION_BYTES_MAX: usize = 1 << 10;

/// A tool as it is called here, and there.
#[derive(Debug)]
pub(super) struct Listed {
    pub(super) about: About,
    /// Its name for its server.
    pub(super) remote: String,
}

pub(super) type Entry = Result<Arc<Listed>, Broken>;

/// All tools of a server, as they come.
pub(super) struct Catalogue<'a> {
    server: &'a McpServer,
    /// By their names here.
    found: BTreeMap<String, Entry>,
    count: usize,
}

impl<'a> Catalogue<'a> {
    pub(super) fn new(server: &'a McpServer) -> Self {
        Self {
            server,
            found: BTreeMap::new(),
            count: 0,
        }
    }

    /// Whether no more are taken.
    pub(super) fn is_full(&self) -> bool {
        self.count > SERVER_TOOLS_MAX
    }

    /// Adds one, if it is not full.
    pub(super) fn add(&mut self, tool: &Tool) {
        if self.is_full() {
            return;
        }
        self.count += 1;
        if self.count > SERVER_TOOLS_MAX {
            let problem = format!(
                "it has more than {SERVER_TOOLS_MAX} tools, and the rest is left out; have it \
                 offer fewer"
            );
            let name = self.server.name.clone();
            self.found
                .insert(name.clone(), Err(self.broken(name, problem)));
            return;
        }
        let name = name(&self.server.name, &tool.name);
        let entry = match self.found.get(&name) {
            Some(_) => Err(self.broken(
                name.clone(),
                "several of its server's tools would have this name; rename them there".into(),
            )),
            None => self
                .listed(&name, tool)
                .map(Arc::new)
                .map_err(|problem| self.broken(name.clone(), problem)),
        };
        self.found.insert(name, entry);
    }

    pub(super) fn finish(self) -> Vec<Entry> {
        self.found.into_values().collect()
    }

    fn listed(&self, name: &str, tool: &Tool) -> Result<Listed, String> {
        if !is_name(name) || tool.name.is_empty() {
            return Err(format!(
                "its name together with its server's has to be at most {NAME_BYTES_MAX} bytes and \
                 not empty; rename it there"
            ));
        }
        let parameters = parameters(tool)?;
        let hints = tool.annotations.as_ref();
        let risk = match hints.and_then(|hints| hints.destructive_hint) {
            Some(true) => self.server.risk.max(Risk::High),
            // What it says in its own favour lowers nothing.
            Some(false) | None => self.server.risk,
        };
        let description = tool.description.as_deref().unwrap_or_default();
        Ok(Listed {
            about: About {
                name: name.to_owned(),
                description: clean(description, DESCRIPTION_BYTES_MAX),
                parameters,
                risk,
                rights: self.server.rights.clone(),
                origin: origin(self.server),
                interactive: false,
            },
            remote: tool.name.to_string(),
        })
    }

    fn broken(&self, name: String, problem: String) -> Broken {
        Broken {
            name,
            origin: origin(self.server),
            problem,
        }
    }
}

pub(super) fn origin(server: &McpServer) -> Origin {
    Origin::Mcp {
        server: server.name.clone(),
    }
}

/// What a tool is called here: too long a name is cut, and then no name.
fn name(server: &str, tool: &str) -> String {
    let taken = |c: char| c.is_ascii_alphanumeric() || "_-.".contains(c);
    let tool = tool.chars().map(|c| if taken(c) { c } else { '_' });
    let server = server.chars().chain(['.']);
    // One more than is allowed.
    server.chain(tool).take(NAME_BYTES_MAX + 1).collect()
}

fn parameters(tool: &Tool) -> Result<Value, String> {
    let mut schema = Value::Object((*tool.input_schema).clone());
    let bytes = schema.to_string().len();
    if bytes > JSON_BYTES_MAX {
        return Err(format!(
            "the schema of its parameters has {bytes} bytes, and at most {JSON_BYTES_MAX} are \
             taken; make it simpler there"
        ));
    }
    Schema::new(&schema).map_err(|problem| {
        let problem = clean(&problem, DESCRIPTION_BYTES_MAX);
        format!("the schema of its parameters can't be used: {problem}")
    })?;
    clean_descriptions(&mut schema);
    Ok(schema)
}

/// Those of the parameters are read by models like the tool's own. The schema has been found to be
/// no deeper than can be gone through.
fn clean_descriptions(schema: &mut Value) {
    match schema {
        Value::Array(items) => items.iter_mut().for_each(clean_descriptions),
        Value::Object(fields) => {
            for (key, field) in fields {
                match field {
                    Value::String(text) if ["description", "title"].contains(&key.as_str()) => {
                        *text = clean(text, DESCRIPTION_BYTES_MAX);
                    }
                    field => clean_descriptions(field),
                }
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeSet, HashMap};
    use std::time::Duration;

    use rmcp::model::ToolAnnotations;
    use serde_json::json;

    use super::*;

    fn server() -> McpServer {
        McpServer {
            name: "s".into(),
            command: vec!["s".into()],
            cwd: "/".into(),
            env: BTreeMap::new(),
            rights: BTreeSet::new(),
            risk: Risk::Medium,
            timeout: Duration::from_secs(1),
        }
    }

    fn tool(name: &str, schema: Value) -> Tool {
        let Value::Object(schema) = schema else {
            panic!("a schema is an object");
        };
        Tool::new(name.to_owned(), "does\x1b it", schema)
    }

    fn entries(tools: &[Tool]) -> HashMap<String, Result<About, String>> {
        let server = server();
        let mut catalogue = Catalogue::new(&server);
        tools.iter().for_each(|tool| catalogue.add(tool));
        let entries = catalogue.finish().into_iter().map(|entry| match entry {
            Ok(listed) => (listed.about.name.clone(), Ok(listed.about.clone())),
            Err(broken) => (broken.name, Err(broken.problem)),
        });
        entries.collect()
    }

    #[test]
    fn names_are_made_to_fit_and_do_not_meet() {
        let object = json!({ "type": "object" });
        let long = "x".repeat(63);
        let found = entries(&[
            tool("a b/ç", object.clone()),
            tool("c:d", object.clone()),
            tool("c d", object.clone()),
            tool("c.d", object.clone()),
            tool(&long, object.clone()),
            tool(&long[1..], object.clone()),
            tool("", object),
        ]);
        assert!(found["s.a_b__"].is_ok());
        assert!(found["s.c.d"].is_ok());
        assert!(
            found["s.c_d"]
                .as_ref()
                .is_err_and(|why| why.contains("several"))
        );
        // The longest that fits, and one more.
        assert!(found[&format!("s.{}", &long[1..])].is_ok());
        assert!(found[&format!("s.{long}")].is_err());
        assert!(found["s."].is_err());
        assert_eq!(
            found["s.a_b__"].as_ref().map(|a| a.description.as_str()),
            Ok("does  it")
        );
    }

    #[test]
    fn hints_make_it_worse_and_never_better() {
        let risk = |hints: ToolAnnotations| {
            let tool = tool("t", json!({})).with_annotations(hints);
            entries(&[tool])["s.t"]
                .as_ref()
                .map(|about| about.risk)
                .ok()
        };
        let hints = ToolAnnotations::new;
        assert_eq!(risk(hints()), Some(Risk::Medium));
        assert_eq!(risk(hints().read_only(true)), Some(Risk::Medium));
        assert_eq!(risk(hints().destructive(false)), Some(Risk::Medium));
        assert_eq!(risk(hints().destructive(true)), Some(Risk::High));
        assert_eq!(
            risk(hints().read_only(true).destructive(true)),
            Some(Risk::High)
        );
    }

    #[test]
    fn schemas_that_can_not_be_used_break_their_tool_only() {
        let described = json!({ "type": "object", "properties": {
            "description": { "type": "string", "description": "a\u{202e}\nb" },
        }});
        let found = entries(&[
            tool("ref", json!({ "$ref": "https://example.org/x.json" })),
            tool(
                "large",
                json!({ "description": "x".repeat(JSON_BYTES_MAX) }),
            ),
            tool("good", described),
        ]);
        assert!(
            found["s.ref"]
                .as_ref()
                .is_err_and(|why| why.contains("leads nowhere"))
        );
        assert!(
            found["s.large"]
                .as_ref()
                .is_err_and(|why| why.contains("bytes"))
        );
        let good = found["s.good"].as_ref().expect("good");
        let text = &good.parameters["properties"]["description"]["description"];
        assert_eq!(text, "a b");
    }

    #[test]
    fn more_than_enough_is_left_out() {
        let tools: Vec<Tool> = (0..1_000)
            .map(|n| tool(&format!("t{n}"), json!({})))
            .collect();
        let found = entries(&tools);
        assert_eq!(found.len(), SERVER_TOOLS_MAX + 1);
        assert!(
            found["s"]
                .as_ref()
                .is_err_and(|why| why.contains("more than 256"))
        );
    }
}
