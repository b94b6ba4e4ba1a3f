//! The parser of the grammar, and the bounds that it is held to.
//!
//! The parser is a stranger's code under a stranger's text. Whatever the text is, it must end soon:
//!
//! - A here-document whose end is the empty text makes its tokenizer run forever, and take all
//!   memory, where the text ends before the next line begins. It never sees such an end.
//! - Its grammar remembers nothing: where an alternative fails, all in it is read again. How often
//!   that can be is counted on the tokens, which are found in one pass, before any is parsed.
//! - It is recursive, and so is who walks the tree: the number of constructs is bounded, too.

use brush_parser::ast::Program;
use brush_parser::{ParserOptions, SourceInfo, Token, parse_tokens, uncached_tokenize_str};

use super::{COMMANDS_MAX, NESTING_MAX, Refused};

/// The stack of the thread that parses: the parser is recursive, and the text a stranger's.
const PARSER_STACK_BYTES: usize = 32 << 20;
/// How many substitutions a text may open: the tokenizer calls itself for each inside of another.
const SUBSTITUTIONS_MAX: usize = 1024;
/// How often a token may be looked at, all of them together.
const STEPS_MAX: u64 = 1 << 18;

/// The syntax tree; `None` if there is none. The parser runs on a stack of its own and may fail in
/// any way.
pub(super) fn tree(text: &str) -> Result<Option<Program>, Refused> {
    if nesting(text) > NESTING_MAX {
        return Err(Refused::TooDeep);
    }
    if substitutions(text) > SUBSTITUTIONS_MAX {
        return Err(Refused::TooTangled);
    }
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new()
            .name("shell-parser".into())
            .stack_size(PARSER_STACK_BYTES);
        let parser = thread.spawn_scoped(scope, || parse(text));
        match parser.map(std::thread::ScopedJoinHandle::join) {
            Ok(Ok(parsed)) => parsed,
            // It could not be started, or it panicked.
            Ok(Err(_)) | Err(_) => Ok(None),
        }
    })
}

fn parse(text: &str) -> Result<Option<Program>, Refused> {
    let options = ParserOptions::default();
    let Some(tokens) = tokens(text, &options) else {
        return Ok(None);
    };
    if steps(&tokens)? > STEPS_MAX {
        return Err(Refused::TooTangled);
    }
    Ok(parse_tokens(&tokens, &options, &SourceInfo::default()).ok())
}

fn tokens(text: &str, options: &ParserOptions) -> Option<Vec<Token>> {
    if !text.contains("<<") {
        return uncached_tokenize_str(text, &options.tokenizer_options()).ok();
    }
    // With an empty line at its end, each here-document has begun before the text ends. A backslash
    // would take the newline away, and has nothing to escape there anyway.
    if text.ends_with('\\') {
        return None;
    }
    uncached_tokenize_str(&format!("{text}\n\n"), &options.tokenizer_options()).ok()
}

/// An upper bound on how often tokens are looked at.
///
/// The grammar reads again: the last arm of each `case`, which might have been one that is not the
/// last; and from `((` to a `;`, or from `=~` to `]]`, what is in each open parenthesis, which might
/// have been a mere token.
fn steps(tokens: &[Token]) -> Result<u64, Refused> {
    let mut openers = 0;
    let mut cases = 0;
    let mut total = 0_u64;
    let mut part = Part::default();
    let mut in_regex = false;
    let mut last = "";
    for token in tokens {
        part.tokens += 1;
        match token {
            Token::Operator(text, _) => match text.as_str() {
                "(" => {
                    openers += 1;
                    part.depth += 1;
                    part.deepest = part.deepest.max(part.depth);
                    part.tries += u64::from(last == "(");
                }
                ")" => part.depth = part.depth.saturating_sub(1),
                ";" if !in_regex => {
                    total = total.saturating_add(std::mem::take(&mut part).steps());
                }
                _ => {}
            },
            Token::Word(text, _) => match text.as_str() {
                "case" => {
                    openers += 1;
                    cases += 1;
                }
                "if" | "elif" | "else" | "while" | "until" | "for" | "do" | "{" | "[[" | "!" => {
                    openers += 1;
                }
                "=~" => {
                    part.tries += 1;
                    in_regex = true;
                }
                "]]" => in_regex = false,
                _ => {}
            },
        }
        last = token.to_str();
    }
    if openers > COMMANDS_MAX {
        return Err(Refused::TooMany);
    }
    let total = total.saturating_add(part.steps());
    Ok(total.saturating_mul(doubled(cases)))
}

/// Tokens that may be read again together.
#[derive(Default)]
struct Part {
    tokens: u64,
    /// How often it is begun.
    tries: u64,
    depth: u32,
    deepest: u32,
}

impl Part {
    fn steps(self) -> u64 {
        let times = self.tries.saturating_mul(doubled(self.deepest));
        self.tokens.saturating_mul(times.saturating_add(1))
    }
}

fn doubled(times: u32) -> u64 {
    1_u64.checked_shl(times).unwrap_or(u64::MAX)
}

fn substitutions(text: &str) -> usize {
    text.matches("$(").count() + text.matches("${").count()
}

/// How deep the brackets of a text are nested, whether or not they are quoted.
fn nesting(text: &str) -> usize {
    let mut depth = 0_usize;
    let mut deepest = 0;
    for byte in text.bytes() {
        match byte {
            b'(' | b'{' => depth += 1,
            b')' | b'}' => depth = depth.saturating_sub(1),
            _ => {}
        }
        deepest = deepest.max(depth);
    }
    deepest
}
