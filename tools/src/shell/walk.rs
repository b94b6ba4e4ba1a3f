//! Every place in the syntax tree where something can be executed.

use brush_parser::ast::{
    AndOr, AndOrList, Assignment, AssignmentName, AssignmentValue, BinaryPredicate,
    Command as Node, CommandPrefixOrSuffixItem as Item, CompoundCommand, CompoundList,
    ExtendedTestExpr, FunctionDefinition, IoFileRedirectKind, IoFileRedirectTarget, IoRedirect,
    Pipeline, SeparatorOperator, SimpleCommand, UnaryPredicate, UnexpandedArithmeticExpr,
    Word as RawWord,
};

use super::braces;
use super::inner::{Inner, becomes_another, inner};
use super::input::{Input, printed};
use super::links::goes_through_links;
use super::numbers::{Numbers, is_number};
use super::tree::tree;
use super::word::{Bound, arithmetic, resolve};
use super::{
    COMMAND_BYTES_MAX, COMMANDS_MAX, Command, NESTING_MAX, Opaque, Refused, Script, Word,
    check_text, code, deceptive,
};

/// How much text is walked in all: a text may name others, each in its turn, and the same one many
/// times. What it costs to start with one is counted as well.
const WALKED_BYTES_MAX: usize = NESTING_MAX * COMMAND_BYTES_MAX;
const TEXT_BYTES: usize = 256;
/// For how many values of its variable the body of a loop is walked.
const VALUES_MAX: usize = 8;

/// Builtins that may give a variable another value; what some of them do is asked for anyway.
const SETTERS: &[&str] = &[
    "read", "unset", "wait", "printf", "export", "declare", "typeset", "local", "readonly", "set",
    "shift", "builtin", "command",
];

/// Words that are no programs. Where one is found as one, a wrapper stood before it, or shells
/// read the text in another way.
const RESERVED: &[&str] = &[
    "!", "{", "}", "if", "then", "else", "elif", "fi", "do", "done", "case", "esac", "while",
    "until", "for", "select", "function", "in", "[[", "]]",
];

/// Collects what a text executes.
#[derive(Default)]
pub(super) struct Walk {
    script: Script,
    depth: usize,
    /// How many bytes of text were walked so far.
    walked: usize,
    pipelines: usize,
    /// The pipeline that is being walked, and whether it has more than one command.
    pipeline: usize,
    piped: bool,
    /// Whether what is walked is run as another user.
    as_another: bool,
    /// What the command that is being walked reads from its standard input, where it is known.
    stdin: Option<Input>,
    functions: Vec<FunctionUse>,
    /// Whether the text is run by a shell that has only the grammar of POSIX.
    posix: bool,
    /// The variable of the loop that is being walked.
    bound: Option<Bound>,
    bound_is_used: bool,
    /// Variables that were bound, and those that get a value in another way.
    bound_names: Vec<String>,
    set_names: Vec<String>,
    numbers: Numbers,
}

/// A function that is being defined, and how often its body calls it.
struct FunctionUse {
    name: String,
    calls: usize,
    background: bool,
}

/// The redirections and leading assignments of one command.
#[derive(Default)]
struct Parts {
    words: Vec<Word>,
    reads: Vec<Word>,
    writes: Vec<Word>,
    stdin: Option<Input>,
}

type Walked = Result<(), Refused>;

impl Walk {
    pub(super) fn finish(mut self) -> Result<Script, Refused> {
        // Where a path leads is looked at before the script runs; a link that it makes itself is
        // not there yet.
        let commands = &self.script.commands;
        let uses = |at: usize| {
            let mut later = commands[at + 1..].iter();
            later.any(|later| goes_through_links(&commands[at], later))
        };
        if let Some(at) = (0..commands.len()).find(|at| uses(*at)) {
            let text = commands[at].display();
            self.opaque("a link that the commands after it may go through", &text);
        }
        let is_set = |name: &&String| self.set_names.iter().any(|set| set.contains(*name));
        if let Some(name) = self.bound_names.iter().find(is_set).cloned() {
            self.opaque(
                "the variable of a loop that is set elsewhere as well",
                &name,
            );
        }
        if let Some(name) = self.numbers.unclear().map(str::to_owned) {
            self.opaque("a text that the shell evaluates as a number", &name);
        }
        self.script.numbers = self.numbers.used();
        let does_something = self.script.assigns || !self.script.commands.is_empty();
        if !does_something && self.script.opaque.is_empty() {
            return Err(Refused::Empty);
        }
        Ok(self.script)
    }

    /// Walks a text that a shell would run.
    pub(super) fn text(&mut self, text: &str) -> Walked {
        check_text(text.len(), text.bytes())?;
        if self.depth >= NESTING_MAX {
            return Err(Refused::TooDeep);
        }
        self.walked += text.len() + TEXT_BYTES;
        if self.walked > WALKED_BYTES_MAX {
            return Err(Refused::TooMany);
        }
        if let Some(reason) = deceptive(text) {
            self.opaque(reason, text);
        }
        if text.contains("\\\n") && (text.contains("$'") || text.contains('#')) {
            // The parser joins the lines also between these quotes, and at the end of a comment,
            // whose next line it would then take for more of it; bash does neither.
            self.opaque("an escaped newline that shells read differently", text);
        }
        let Some(program) = tree(text)? else {
            self.opaque("a text that is not valid shell", text);
            return Ok(());
        };
        self.depth += 1;
        let walked = program
            .complete_commands
            .iter()
            .try_for_each(|list| self.list(list));
        self.depth -= 1;
        walked
    }

    /// Walks a program that is started with these words.
    pub(super) fn argv(&mut self, words: Vec<Word>) -> Walked {
        self.command(Parts {
            words,
            ..Parts::default()
        })
    }

    fn opaque(&mut self, reason: &'static str, text: &str) {
        self.script.opaque.push(Opaque::new(reason, text));
    }

    /// What shells read differently is not known where it is not bash that reads it.
    fn only_bash(&mut self, what: &'static str) {
        if self.posix {
            self.opaque(what, "");
        }
    }

    fn list(&mut self, list: &CompoundList) -> Walked {
        list.0.iter().try_for_each(|item| {
            let background = matches!(item.1, SeparatorOperator::Async);
            if background && let Some(function) = self.functions.last_mut() {
                function.background = true;
            }
            self.and_or(&item.0)
        })
    }

    fn and_or(&mut self, list: &AndOrList) -> Walked {
        self.pipeline(&list.first)?;
        list.additional.iter().try_for_each(|next| match next {
            AndOr::And(pipeline) | AndOr::Or(pipeline) => self.pipeline(pipeline),
        })
    }

    fn pipeline(&mut self, pipeline: &Pipeline) -> Walked {
        let outer = (self.pipeline, self.piped, self.stdin.take());
        self.pipelines += 1;
        self.pipeline = self.pipelines;
        self.piped = outer.1 || pipeline.seq.len() > 1;
        let stdin_of_first = outer.2.clone();
        for (place, command) in pipeline.seq.iter().enumerate() {
            self.stdin = match place {
                0 => stdin_of_first.clone(),
                _ => pipeline.seq.get(place - 1).and_then(printed),
            };
            self.node(command)?;
        }
        (self.pipeline, self.piped, self.stdin) = outer;
        Ok(())
    }

    fn node(&mut self, node: &Node) -> Walked {
        match node {
            Node::Simple(simple) => self.simple(simple),
            Node::Compound(compound, redirects) => {
                let redirects = redirects.iter().flat_map(|list| &list.0);
                let mut parts = Parts::default();
                for redirect in redirects {
                    self.redirect(redirect, &mut parts)?;
                }
                self.files_only(parts);
                self.compound(compound)
            }
            Node::Function(function) => self.function(function),
            Node::ExtendedTest(test) => {
                self.only_bash("`[[`, in which other shells see `||` and `>`");
                self.test(&test.expr)
            }
        }
    }

    fn compound(&mut self, compound: &CompoundCommand) -> Walked {
        match compound {
            CompoundCommand::Arithmetic(command) => {
                self.only_bash("`((`, in which other shells see commands");
                self.arithmetic(&command.expr)
            }
            CompoundCommand::ArithmeticForClause(clause) => {
                let expressions = [&clause.initializer, &clause.condition, &clause.updater];
                for expression in expressions.into_iter().flatten() {
                    self.arithmetic(expression)?;
                }
                self.list(&clause.body.list)
            }
            CompoundCommand::BraceGroup(group) => self.list(&group.list),
            CompoundCommand::Subshell(subshell) => self.list(&subshell.list),
            CompoundCommand::ForClause(clause) => {
                let name = &clause.variable_name;
                self.variable(name);
                let mut values = Vec::new();
                for word in clause.values.iter().flatten() {
                    values.extend(self.expanded(word)?);
                }
                self.for_each(name, values, &clause.body.list)
            }
            CompoundCommand::CaseClause(clause) => {
                self.word(&clause.value)?;
                for case in &clause.cases {
                    self.words(&case.patterns)?;
                    case.cmd.iter().try_for_each(|list| self.list(list))?;
                }
                Ok(())
            }
            CompoundCommand::IfClause(clause) => {
                self.list(&clause.condition)?;
                self.list(&clause.then)?;
                for other in clause.elses.iter().flatten() {
                    other
                        .condition
                        .iter()
                        .try_for_each(|list| self.list(list))?;
                    self.list(&other.body)?;
                }
                Ok(())
            }
            CompoundCommand::WhileClause(clause) | CompoundCommand::UntilClause(clause) => {
                self.list(&clause.0)?;
                self.list(&clause.1.list)
            }
        }
    }

    /// The body of a loop, for each value of its variable if they are few and known.
    fn for_each(&mut self, name: &str, values: Vec<Word>, body: &CompoundList) -> Walked {
        let is_known = |value: &Word| !matches!(value, Word::Unknown { .. });
        match values.is_empty() {
            true => self.numbers.is_text(name),
            false => self.numbers.has_values(name, &values),
        }
        if self.bound.is_some()
            || values.is_empty()
            || values.len() > VALUES_MAX
            || !values.iter().all(is_known)
        {
            self.set_names.push(name.into());
            return self.list(body);
        }
        self.bound_names.push(name.into());
        for value in values {
            self.bound = Some(Bound {
                name: name.into(),
                value,
            });
            self.bound_is_used = false;
            self.list(body)?;
            if !self.bound_is_used {
                // Whatever its value is, the commands are the same.
                break;
            }
        }
        self.bound = None;
        Ok(())
    }

    /// A body is judged where it is defined, as if it were called there.
    fn function(&mut self, function: &FunctionDefinition) -> Walked {
        self.functions.push(FunctionUse {
            name: function.fname.value.clone(),
            calls: 0,
            background: false,
        });
        let redirects = function.body.1.clone();
        let walked = self.node(&Node::Compound(function.body.0.clone(), redirects));
        if let Some(function) = self.functions.pop() {
            self.script.fork_bomb |=
                function.calls > 1 || (function.calls > 0 && function.background);
        }
        walked
    }

    fn test(&mut self, test: &ExtendedTestExpr) -> Walked {
        match test {
            ExtendedTestExpr::And(one, two) | ExtendedTestExpr::Or(one, two) => {
                self.test(one)?;
                self.test(two)
            }
            ExtendedTestExpr::Not(inner) | ExtendedTestExpr::Parenthesized(inner) => {
                self.test(inner)
            }
            // `-v` and `-eq` evaluate what their operands hold, and a subscript in it runs commands.
            ExtendedTestExpr::UnaryTest(predicate, word) => {
                if matches!(
                    predicate,
                    UnaryPredicate::ShellVariableIsSetAndAssigned
                        | UnaryPredicate::ShellVariableIsSetAndNameRef
                ) {
                    self.opaque("a name that the shell evaluates", &word.value);
                }
                self.word(word).map(drop)
            }
            ExtendedTestExpr::BinaryTest(predicate, one, two) => {
                if is_arithmetic(predicate) {
                    self.evaluated(&one.value);
                    self.evaluated(&two.value);
                }
                self.word(one)?;
                self.word(two).map(drop)
            }
        }
    }

    fn arithmetic(&mut self, expression: &UnexpandedArithmeticExpr) -> Walked {
        self.set_names.push(expression.value.clone());
        self.evaluated(&expression.value);
        Ok(())
    }

    /// A text that the shell calculates.
    fn evaluated(&mut self, expression: &str) {
        match arithmetic(expression) {
            Ok(names) => names.iter().for_each(|(name, _)| self.numbers.uses(name)),
            Err(opaque) => self.script.opaque.push(opaque),
        }
    }

    /// The words that one turns into.
    fn expanded(&mut self, word: &RawWord) -> Result<Vec<Word>, Refused> {
        // Other shells take braces as they are.
        match braces::expand(&word.value).filter(|_| !self.posix) {
            Some(texts) => texts.iter().map(|text| self.text_word(text)).collect(),
            None => Ok(vec![self.word(word)?]),
        }
    }

    fn words<'a>(&mut self, words: impl IntoIterator<Item = &'a RawWord>) -> Walked {
        words
            .into_iter()
            .try_for_each(|word| self.word(word).map(drop))
    }

    fn word(&mut self, word: &RawWord) -> Result<Word, Refused> {
        self.text_word(&word.value)
    }

    fn text_word(&mut self, text: &str) -> Result<Word, Refused> {
        let (word, resolved) = resolve(text, self.bound.as_ref());
        self.script.opaque.extend(resolved.opaque);
        for (name, is_set) in resolved.numbers {
            self.numbers.uses(&name);
            if is_set {
                self.set_names.push(name);
            }
        }
        self.bound_is_used |= resolved.uses_bound;
        if resolved.ansi_c {
            self.only_bash("`$'`, where other shells see a plain quote");
        }
        let outer = (self.pipeline, self.piped, self.stdin.take());
        for text in &resolved.substitutions {
            self.piped = true;
            self.text(text)?;
        }
        (self.pipeline, self.piped, self.stdin) = outer;
        Ok(word)
    }

    fn simple(&mut self, simple: &SimpleCommand) -> Walked {
        let mut parts = Parts::default();
        let prefix = simple.prefix.iter().flat_map(|prefix| &prefix.0);
        let suffix = simple.suffix.iter().flat_map(|suffix| &suffix.0);
        for item in prefix {
            self.item(item, &mut parts)?;
        }
        if let Some(name) = &simple.word_or_name {
            parts.words.push(self.word(name)?);
        }
        let named = simple.word_or_name.is_some();
        for item in suffix {
            match item {
                // After the program, `NAME=value` is an argument like any other.
                Item::AssignmentWord(assignment, word) if named => {
                    if matches!(assignment.value, AssignmentValue::Array(_)) {
                        self.opaque("an array as an argument", &word.value);
                    }
                    parts.words.push(self.word(word)?);
                }
                item => self.item(item, &mut parts)?,
            }
        }
        self.command(parts)
    }

    fn item(&mut self, item: &Item, parts: &mut Parts) -> Walked {
        match item {
            Item::IoRedirect(redirect) => self.redirect(redirect, parts),
            Item::Word(word) => {
                // The parser does not know `{name}>file`, where bash sets a variable.
                let inner =
                    |text: &'_ str| Some(text.strip_prefix('{')?.strip_suffix('}')?.to_owned());
                if let Some(name) = inner(&word.value).filter(|name| code::is_variable(name)) {
                    self.variable(&name);
                    self.set_names.push(name);
                }
                parts.words.extend(self.expanded(word)?);
                Ok(())
            }
            Item::AssignmentWord(assignment, _) => self.assignment(assignment),
            Item::ProcessSubstitution(_, subshell) => {
                parts.words.push(pipe_name());
                self.list(&subshell.list)
            }
        }
    }

    /// One that gets another value, in whatever way.
    fn variable(&mut self, name: &str) {
        if !code::harmless_variable(name) {
            self.opaque("a variable that programs may obey", name);
        }
    }

    fn assignment(&mut self, assignment: &Assignment) -> Walked {
        self.script.assigns = true;
        match &assignment.name {
            AssignmentName::VariableName(name) => {
                self.set_names.push(name.clone());
                if let AssignmentValue::Scalar(word) = &assignment.value {
                    let value = self.word(word)?;
                    let is_calculated = resolve(&word.value, None).1.is_number;
                    if !is_calculated && !is_number(value.literal()) {
                        self.numbers.is_text(name);
                    }
                    if !code::harmless_assignment(name, value.literal()) {
                        self.opaque("a variable that programs may obey", name);
                    }
                    return Ok(());
                }
                self.numbers.is_text(name);
                self.variable(name);
            }
            AssignmentName::ArrayElementName(name, _) => {
                self.opaque("a subscript that the shell evaluates", name);
            }
        }
        match &assignment.value {
            AssignmentValue::Scalar(word) => self.word(word).map(drop),
            AssignmentValue::Array(elements) => {
                if elements.iter().any(|(key, _)| key.is_some()) {
                    self.opaque("a subscript that the shell evaluates", "");
                }
                self.words(elements.iter().map(|(_, value)| value))
            }
        }
    }

    fn redirect(&mut self, redirect: &IoRedirect, parts: &mut Parts) -> Walked {
        match redirect {
            IoRedirect::File(_, kind, target) => self.file(kind, target, parts),
            IoRedirect::OutputAndError(word, _) => {
                self.only_bash("`&>`, in which other shells see the end of a command");
                let word = self.word(word)?;
                parts.writes.push(word);
                Ok(())
            }
            IoRedirect::HereString(_, word) => {
                let word = self.word(word)?;
                parts.stdin = word.literal().map(|text| Input::Text(text.into()));
                Ok(())
            }
            IoRedirect::HereDocument(_, document) => {
                let body = &document.doc.value;
                let expands = ["$(", "`", "${", "$["]
                    .iter()
                    .any(|mark| body.contains(mark));
                if document.requires_expansion && expands {
                    self.opaque("a here-document that the shell expands", body);
                }
                parts.stdin = Some(Input::Text(body.clone()));
                Ok(())
            }
        }
    }

    fn file(
        &mut self,
        kind: &IoFileRedirectKind,
        target: &IoFileRedirectTarget,
        parts: &mut Parts,
    ) -> Walked {
        let word = match target {
            IoFileRedirectTarget::Fd(_) => return Ok(()),
            IoFileRedirectTarget::ProcessSubstitution(_, subshell) => {
                return self.list(&subshell.list);
            }
            IoFileRedirectTarget::Filename(word) | IoFileRedirectTarget::Duplicate(word) => {
                self.word(word)?
            }
        };
        match kind {
            IoFileRedirectKind::Read => parts.reads.push(word),
            IoFileRedirectKind::DuplicateInput | IoFileRedirectKind::DuplicateOutput
                if word.literal().is_some_and(is_descriptor) => {}
            IoFileRedirectKind::Write
            | IoFileRedirectKind::Append
            | IoFileRedirectKind::Clobber
            | IoFileRedirectKind::DuplicateOutput => parts.writes.push(word),
            IoFileRedirectKind::ReadAndWrite | IoFileRedirectKind::DuplicateInput => {
                parts.reads.push(word.clone());
                parts.writes.push(word);
            }
        }
        Ok(())
    }

    /// The redirections of something that is no program.
    fn files_only(&mut self, parts: Parts) {
        if parts.stdin.is_some() {
            self.stdin = parts.stdin;
        }
        if !parts.reads.is_empty() || !parts.writes.is_empty() {
            self.script.commands.push(Command {
                program: ":".into(),
                reads: parts.reads,
                writes: parts.writes,
                pipeline: self.pipeline,
                piped: self.piped,
                ..Command::default()
            });
        }
    }

    /// Records a command and walks into what it runs.
    fn command(&mut self, mut parts: Parts) -> Walked {
        if self.script.commands.len() >= COMMANDS_MAX {
            return Err(Refused::TooMany);
        }
        if parts.words.is_empty() {
            // Assignments and redirections alone: `> file` empties a file.
            self.files_only(parts);
            return Ok(());
        }
        let name = parts.words.remove(0);
        let Some(program) = self.program(&name) else {
            self.files_only(parts);
            return Ok(());
        };
        if let Some(function) = self.functions.iter_mut().find(|used| used.name == program) {
            function.calls += 1;
        }
        let stdin = parts.stdin.or_else(|| self.stdin.clone());
        let mut command = Command {
            program,
            args: parts.words,
            reads: parts.reads,
            writes: parts.writes,
            pipeline: self.pipeline,
            piped: self.piped,
            as_another: self.as_another,
        };
        if SETTERS.contains(&command.name()) {
            let names = command.args.iter().map(|arg| arg.text().to_owned());
            self.set_names.extend(names);
        }
        let found = inner(&mut command, stdin.as_ref());
        self.numbers.command(&command);
        let shown = command.display();
        let outer = (self.posix, self.as_another);
        self.as_another |= becomes_another(command.name());
        self.posix = match command.name() {
            "bash" | "rbash" => false,
            // The shell that runs them runs their text.
            "eval" | "trap" => outer.0,
            _ => true,
        };
        self.script.commands.push(command);
        self.inside(found, &shown)?;
        (self.posix, self.as_another) = outer;
        Ok(())
    }

    fn inside(&mut self, found: Vec<Inner>, shown: &str) -> Walked {
        if self.depth >= NESTING_MAX {
            return Err(Refused::TooDeep);
        }
        self.depth += 1;
        for inner in found {
            match inner {
                Inner::Argv(words) => self.argv(words)?,
                Inner::Text(text) => {
                    // Another shell has no such variable.
                    let bound = self.bound.take();
                    self.text(&text)?;
                    self.bound = bound;
                }
                Inner::Opaque(reason) => self.opaque(reason, shown),
            }
        }
        self.depth -= 1;
        Ok(())
    }

    /// The name of a program, if it is known and looks like what it is.
    fn program(&mut self, name: &Word) -> Option<String> {
        let Some(text) = name.literal() else {
            self.opaque("a program that only the shell finds out", name.text());
            return None;
        };
        if text.is_empty() || !text.chars().all(|c| c.is_ascii_graphic()) {
            self.opaque("a program with unusual letters in its name", text);
            return None;
        }
        if RESERVED.contains(&text) || text.contains('=') {
            self.opaque(
                "a word of the shell's grammar where a program should be",
                text,
            );
        }
        Some(text.into())
    }
}

/// What no path in a command begins with, and what stands for one is.
pub(crate) const PIPE: &str = "/dev/fd/\0pipe";

/// What a process substitution looks like to the program.
fn pipe_name() -> Word {
    Word::Unknown {
        prefix: PIPE.into(),
        text: "<(...)".into(),
    }
}

fn is_arithmetic(predicate: &BinaryPredicate) -> bool {
    matches!(
        predicate,
        BinaryPredicate::ArithmeticEqualTo
            | BinaryPredicate::ArithmeticNotEqualTo
            | BinaryPredicate::ArithmeticLessThan
            | BinaryPredicate::ArithmeticLessThanOrEqualTo
            | BinaryPredicate::ArithmeticGreaterThan
            | BinaryPredicate::ArithmeticGreaterThanOrEqualTo
    )
}

fn is_descriptor(text: &str) -> bool {
    let digits = text.trim_end_matches('-');
    digits.chars().all(|c| c.is_ascii_digit())
}
