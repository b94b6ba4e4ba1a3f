//! Whatever a model wants, what it writes under a schema is what the schema says.

use proptest::prelude::*;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde_json::json;

use super::*;
use crate::backend::scripted::vocabulary;
use crate::sampler::{Sampler, Sampling};

/// A schema of the kinds that agents send, with every size bounded.
fn schema() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(json!({ "type": "boolean" })),
        Just(json!({ "type": "null" })),
        (0..4i64, 4..200i64).prop_map(|(least, most)| {
            json!({ "type": "integer", "minimum": least, "maximum": most })
        }),
        (0..3u32, 3..9u32).prop_map(|(least, most)| {
            json!({ "type": "string", "minLength": least, "maxLength": most })
        }),
        prop::collection::hash_set("[a-z\"\\\\é ]{0,6}", 1..4)
            .prop_map(|words| json!({ "enum": words.into_iter().collect::<Vec<_>>() })),
        any::<bool>().prop_map(|value| json!({ "const": value })),
    ];
    leaf.prop_recursive(3, 12, 4, |inner| {
        prop_oneof![
            (inner.clone(), 0..2usize, 2..4usize).prop_map(|(items, least, most)| {
                json!({ "type": "array", "items": items, "minItems": least, "maxItems": most })
            }),
            prop::collection::vec(inner.clone(), 1..3).prop_map(|any| json!({ "anyOf": any })),
            (
                prop::collection::hash_map("[a-z_]{1,8}", inner, 0..4),
                any::<u8>()
            )
                .prop_map(|(properties, mask)| {
                    let mut names: Vec<&String> = properties.keys().collect();
                    names.sort();
                    let required = names
                        .iter()
                        .zip(0..)
                        .filter(|(_, bit)| mask >> bit & 1 == 1);
                    let required: Vec<&&String> = required.map(|(name, _)| name).collect();
                    json!({
                        "type": "object",
                        "properties": properties,
                        "required": required,
                        "additionalProperties": false,
                    })
                }),
        ]
    })
}

/// Whether the value is what the schema says; for the kinds above alone.
fn fits(schema: &Value, value: &Value) -> bool {
    if let Some(constant) = schema.get("const") {
        return value == constant;
    }
    if let Some(words) = schema.get("enum").and_then(Value::as_array) {
        return words.contains(value);
    }
    if let Some(any) = schema.get("anyOf").and_then(Value::as_array) {
        return any.iter().any(|schema| fits(schema, value));
    }
    let bound = |name: &str| schema[name].as_u64().unwrap_or_default();
    let within =
        |count: u64, least: &str, most: &str| (bound(least)..=bound(most)).contains(&count);
    match schema["type"].as_str() {
        Some("boolean") => value.is_boolean(),
        Some("null") => value.is_null(),
        Some("integer") => value
            .as_u64()
            .is_some_and(|number| within(number, "minimum", "maximum")),
        Some("string") => value
            .as_str()
            .is_some_and(|text| within(text.chars().count() as u64, "minLength", "maxLength")),
        Some("array") => value.as_array().is_some_and(|items| {
            within(items.len() as u64, "minItems", "maxItems")
                && items.iter().all(|item| fits(&schema["items"], item))
        }),
        Some("object") => value.as_object().is_some_and(|object| {
            let required = schema["required"].as_array().into_iter().flatten();
            let mut required = required.filter_map(Value::as_str);
            required.all(|name| object.contains_key(name))
                && object.iter().all(|(name, value)| {
                    let schema = schema["properties"].get(name);
                    schema.is_some_and(|schema| fits(schema, value))
                })
        }),
        _ => false,
    }
}

/// Longer than any answer that the schemas allow.
const TOKENS_MAX: usize = 4_096;

/// What a model writes that wants nothing in particular.
fn write(constraint: &mut Constraint, vocabulary: &Vocabulary, seed: u64) -> String {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut sampler = Sampler::new(Sampling::default());
    let mut bytes = Vec::new();
    for _ in 0..TOKENS_MAX {
        let forced = constraint.forced();
        for &token in &forced {
            assert!(!constraint.complete(), "forced beyond the end");
            constraint.accept(token).expect("what is forced is allowed");
            bytes.extend_from_slice(vocabulary.piece(token));
        }
        if constraint.complete() {
            break;
        }
        let logits: Vec<f32> = (0..vocabulary.size()).map(|_| rng.random()).collect();
        let allowed = constraint.allowed().expect("a mask");
        let token = sampler
            .choose(&logits, Some(&allowed))
            .expect("something is allowed");
        if vocabulary.ends_generation(token) {
            break;
        }
        constraint
            .accept(token)
            .expect("what is allowed is accepted");
        bytes.extend_from_slice(vocabulary.piece(token));
    }
    String::from_utf8(bytes).expect("whole characters")
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn what_is_written_is_what_the_schema_says(schema in schema(), seed in any::<u64>()) {
        let vocabulary = Arc::new(vocabulary());
        let compiler = GrammarCompiler::new(Arc::clone(&vocabulary));
        let source = GrammarSource::JsonSchema(schema.clone());
        let mut first = compiler.compile(&source).expect("it compiles");
        let text = write(&mut first, &vocabulary, seed);
        let value: Value = serde_json::from_str(&text).expect("it is JSON");
        prop_assert!(fits(&schema, &value), "{text} for {schema}");
        // A compiled grammar that is used again begins at its beginning.
        let mut again = compiler.compile(&source).expect("it is known");
        prop_assert_eq!(write(&mut again, &vocabulary, seed), text);
    }
}

/// Chains as long as a request may make them: some are refused, and nothing overflows.
#[test]
fn long_chains_are_compiled_or_refused() {
    const BYTES: usize = 64 << 10;
    let compiler = GrammarCompiler::new(Arc::new(vocabulary()));
    let chain = |link: &dyn Fn(usize) -> String, end: &dyn Fn(usize) -> String| {
        let mut text = String::new();
        let mut number = 0;
        while text.len() + 200 < BYTES {
            text += &link(number);
            number += 1;
        }
        text + &end(number)
    };
    let rules = |link: &dyn Fn(usize) -> String| {
        let end = |n: usize| format!("r{n}: \"z\"\n");
        GrammarSource::Lark(format!("start: r0\n{}", chain(link, &end)))
    };
    let terminals = |link: &dyn Fn(usize) -> String| {
        let end = |n: usize| format!("T{n}: \"z\"\n");
        GrammarSource::Lark(format!("start: T0\n{}", chain(link, &end)))
    };
    let schema = |link: &dyn Fn(usize) -> String| {
        let end = |n: usize| format!("\"d{n}\":{{\"type\":\"null\"}}");
        let defs = chain(link, &end);
        let text = format!("{{\"$ref\":\"#/$defs/d0\",\"$defs\":{{{defs}}}}}");
        GrammarSource::JsonSchema(serde_json::from_str(&text).expect("JSON"))
    };
    let sources = [
        rules(&|n| format!("r{n}: r{}\n", n + 1)),
        rules(&|n| format!("r{n}: \"a\" r{} | \"b\"\n", n + 1)),
        terminals(&|n| format!("T{n}: \"a\" T{}\n", n + 1)),
        terminals(&|n| format!("T{n}: T{} | \"b\"\n", n + 1)),
        schema(&|n| format!("\"d{n}\":{{\"$ref\":\"#/$defs/d{}\"}},", n + 1)),
        schema(&|n| {
            format!(
                "\"d{n}\":{{\"type\":\"array\",\"items\":{{\"$ref\":\"#/$defs/d{}\"}}}},",
                n + 1
            )
        }),
        schema(&|n| {
            format!(
                "\"d{n}\":{{\"anyOf\":[{{\"$ref\":\"#/$defs/d{}\"}},{{\"type\":\"null\"}}]}},",
                n + 1
            )
        }),
        schema(&|n| {
            format!(
                "\"d{n}\":{{\"allOf\":[{{\"$ref\":\"#/$defs/d{}\"}}]}},",
                n + 1
            )
        }),
        GrammarSource::Lark(format!(
            "start: {}\"a\"{}",
            "(".repeat(BYTES / 2),
            ")".repeat(BYTES / 2)
        )),
        GrammarSource::Lark(format!(
            "start: {}\"a\"{}",
            "[".repeat(BYTES / 2),
            "]".repeat(BYTES / 2)
        )),
        GrammarSource::Regex("(".repeat(BYTES / 2) + "a" + &")".repeat(BYTES / 2)),
        GrammarSource::Regex("a?".repeat(BYTES / 2)),
    ];
    for source in sources {
        let Ok(mut constraint) = compiler.compile(&source) else {
            continue;
        };
        // The engine's thread takes such steps on a stack like this.
        let stepping = std::thread::Builder::new().stack_size(crate::engine::STACK_BYTES);
        let stepped = stepping.spawn(move || {
            for _ in 0..8 {
                let forced = constraint.forced();
                let Ok(allowed) = constraint.allowed() else {
                    return;
                };
                let next = forced.first().copied().or_else(|| {
                    allowed
                        .first_bit_set()
                        .map(|bit| u32::try_from(bit).expect("a token"))
                });
                if next.is_none_or(|token| constraint.accept(token).is_err()) {
                    return;
                }
            }
        });
        stepped.expect("a thread").join().expect("no panic");
    }
}

#[test]
fn what_a_client_says_to_the_compiler_is_not_heard() {
    let vocabulary = Arc::new(vocabulary());
    let compiler = GrammarCompiler::new(Arc::clone(&vocabulary));
    let lenient = json!({
        "type": "array", "items": { "type": "null" }, "uniqueItems": true,
        "x-guidance": { "lenient": true },
    });
    let refused = compiler.compile(&GrammarSource::JsonSchema(lenient));
    assert!(refused.is_err(), "nothing is left out in silence");
    let blanks = json!({
        "type": "array", "items": { "type": "null" }, "minItems": 3, "maxItems": 3,
        "x-guidance": { "whitespace_flexible": true },
    });
    let mut constraint = compiler
        .compile(&GrammarSource::JsonSchema(blanks))
        .expect("compiles");
    assert_eq!(write(&mut constraint, &vocabulary, 1), "[null,null,null]");
}

#[test]
fn bounds_that_would_not_hold_are_refused() {
    let compiler = GrammarCompiler::new(Arc::new(vocabulary()));
    let of = |least: Value| {
        let schema = json!({ "items": { "type": "integer", "minimum": least }, "type": "array" });
        compiler.compile(&GrammarSource::JsonSchema(schema))
    };
    let refused = of(json!(1e20)).expect_err("too large").0;
    assert!(refused.contains("minimum"), "{refused}");
    assert!(of(json!(-1e20)).is_err());
    assert!(of(json!(1_000_000_000_000_i64)).is_ok());
}

/// An ambiguous grammar is given up after some tokens, each of which took little.
#[test]
fn what_is_ambiguous_is_given_up() {
    let vocabulary = Arc::new(vocabulary());
    let compiler = GrammarCompiler::new(Arc::clone(&vocabulary));
    let lark = "start: e+\ne: e e | /[a-z]/ | e \"+\" e".to_owned();
    let mut constraint = compiler
        .compile(&GrammarSource::Lark(lark))
        .expect("compiles");
    let letter = vocabulary.encode("a", false)[0];
    let began = std::time::Instant::now();
    let mut slowest = std::time::Duration::ZERO;
    let given_up = (0..2_000).find(|_| {
        let now = std::time::Instant::now();
        let ended = constraint.allowed().is_err() || constraint.accept(letter).is_err();
        slowest = slowest.max(now.elapsed());
        ended
    });
    eprintln!(
        "{given_up:?} after {:?}, the slowest {slowest:?}",
        began.elapsed()
    );
    assert!(given_up.is_some());
}
