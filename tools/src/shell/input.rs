//! What a command is given by the one before it in a pipeline, as far as that is known.

use brush_parser::ast::{Command as Node, CommandPrefixOrSuffixItem as Item};

use super::word::resolve;

/// What a command reads from its standard input.
#[derive(Debug, Clone)]
pub(super) enum Input {
    /// Just this.
    Text(String),
    /// Names of files, which all begin so.
    Paths(String),
}

/// What a command prints, for the cases that people pipe into a shell or into `xargs`.
pub(super) fn printed(node: &Node) -> Option<Input> {
    let Node::Simple(simple) = node else {
        return None;
    };
    let name = resolve(&simple.word_or_name.as_ref()?.value, None).0;
    let words = simple.suffix.iter().flat_map(|suffix| &suffix.0);
    let words = words.map(|item| match item {
        Item::Word(word) => resolve(&word.value, None).0.literal().map(str::to_owned),
        _ => None,
    });
    let words = words.collect::<Option<Vec<String>>>()?;
    match name.literal()? {
        "echo" | "printf" => Some(Input::Text(words.join(" "))),
        "find" => found_below(&words).map(Input::Paths),
        _ => None,
    }
}

/// The directory below which `find` finds what it prints, if it prints nothing else.
fn found_below(words: &[String]) -> Option<String> {
    let prints = ["-printf", "-exec", "-ok", "-ls", "-f"];
    let is_condition = |word: &&String| word.starts_with(['-', '(', '!']);
    let mut conditions = words.iter().filter(is_condition);
    if conditions.any(|word| prints.iter().any(|start| word.starts_with(start))) {
        return None;
    }
    match words
        .iter()
        .take_while(|word| !is_condition(word))
        .collect::<Vec<_>>()
        .as_slice()
    {
        [] => Some(".".into()),
        [root] => Some((*root).clone()),
        _ => None,
    }
}
