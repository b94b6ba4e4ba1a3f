//! JSON Schemas that strangers wrote: neither building one nor checking by it can take long.

use jsonschema::{PatternOptions, Validator};
use serde_json::Value;

/// How much JSON is checked, in bytes of its text.
pub const JSON_BYTES_MAX: usize = 64 << 10;

/// How large a schema may be, in values, when all that it refers to is written out.
const VALUES_MAX: usize = 4_096;

/// How deep.
const DEPTH_MAX: usize = 128;

/// Faults that are told of one value.
const FAULTS_MAX: usize = 3;

/// A JSON Schema that can be used.
#[derive(Debug)]
pub struct Schema(Validator);

impl Schema {
    /// Reads a schema; an error says in words what is wrong with it.
    pub fn new(schema: &Value) -> Result<Self, String> {
        Count {
            root: schema,
            left: VALUES_MAX,
        }
        .written_out(schema, DEPTH_MAX)?;
        jsonschema::options()
            .with_pattern_options(PatternOptions::regex())
            .build(schema)
            .map(Self)
            .map_err(|fault| fault.to_string())
    }

    /// Whether it accepts a value; an error says in words why not, and quotes the value.
    pub fn check(&self, value: &Value) -> Result<(), String> {
        let faults: Vec<String> = self
            .0
            .iter_errors(value)
            .take(FAULTS_MAX)
            .map(|fault| format!("{fault} (at {:?})", fault.instance_path().as_str()))
            .collect();
        if faults.is_empty() {
            Ok(())
        } else {
            Err(faults.join("; "))
        }
    }
}

/// Counts the values of a schema with every reference followed, which also finds those that lead
/// back to themselves.
struct Count<'a> {
    root: &'a Value,
    left: usize,
}

impl Count<'_> {
    fn written_out(&mut self, value: &Value, depth: usize) -> Result<(), String> {
        let depth = depth.checked_sub(1).ok_or_else(|| {
            format!("written out it is deeper than {DEPTH_MAX}, or leads back to itself")
        })?;
        self.left = self.left.checked_sub(1).ok_or_else(|| {
            format!("written out it has more than {VALUES_MAX} values; make it simpler")
        })?;
        match value {
            Value::Array(items) => items
                .iter()
                .try_for_each(|item| self.written_out(item, depth)),
            Value::Object(fields) => fields
                .iter()
                .try_for_each(|(key, field)| self.field(key, field, depth)),
            _ => Ok(()),
        }
    }

    fn field(&mut self, key: &str, field: &Value, depth: usize) -> Result<(), String> {
        if matches!(key, "$dynamicRef" | "$recursiveRef") {
            return Err(format!("{key} is not taken; write it out"));
        }
        let Some(target) = field.as_str().filter(|_| key == "$ref") else {
            return self.written_out(field, depth);
        };
        let place = target
            .strip_prefix('#')
            .and_then(|place| self.root.pointer(place));
        let place = place.ok_or_else(|| format!("$ref {target:?} leads nowhere"))?;
        self.written_out(place, depth)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Map, json};

    use super::*;

    /// Twice as much with every level.
    fn doubling(levels: usize) -> Value {
        let level = |next: usize| json!({ "allOf": [{ "$ref": format!("#/$defs/{next}") }, { "$ref": format!("#/$defs/{next}") }] });
        let mut defs: Map<String, Value> = (0..levels)
            .map(|at| (at.to_string(), level(at + 1)))
            .collect();
        defs.insert(levels.to_string(), json!({ "type": "object" }));
        json!({ "$defs": defs, "$ref": "#/$defs/0" })
    }

    #[test]
    fn a_schema_may_refer_to_its_own_parts() {
        let schema = Schema::new(&doubling(3)).expect("a good schema");
        assert_eq!(schema.check(&json!({})), Ok(()));
        assert!(schema.check(&json!(1)).is_err());
    }

    #[test]
    fn a_schema_that_is_none_or_could_hang_is_refused() {
        for schema in [
            json!({ "type": "nonsense" }),
            json!({ "pattern": "(a+)+\\1$" }),
            json!({ "$ref": "https://example.org/schema.json" }),
            json!({ "properties": { "a": { "$ref": "#" } } }),
            json!({ "$dynamicRef": "#x" }),
            doubling(40),
        ] {
            assert!(Schema::new(&schema).is_err(), "{schema}");
        }
    }
}
