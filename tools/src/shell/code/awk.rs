//! awk programs that are known to run nothing, and to read and write nothing but what the command
//! names.

use super::{Command, usage};

/// Words with which a program runs something, reads another file, or gives something a name. They are looked for in the whole text, quoted or not.
const WORDS: &[&str] = &[
    "system", "getline", "close", "fflush", "function", "func", "ENVIRON", "PROCINFO", "SYMTAB",
    "FUNCTAB", "ARGV", "ARGC", "ARGIND",
];

/// Words behind which a slash begins a pattern; behind other names it divides.
const KEYWORDS: &[&str] = &[
    "print", "printf", "return", "in", "else", "do", "case", "exit", "delete", "BEGIN", "END",
];

/// Whether an awk command only computes and prints.
pub(super) fn is_plain(command: &Command) -> bool {
    let Some(line) = usage::line(command) else {
        return false;
    };
    let Some((program, files)) = line.operands.split_first() else {
        return false;
    };
    // gawk opens connections by such names.
    let connects = files.iter().any(|file| file.text().contains("/inet"));
    // What is no option may be one for another awk.
    let late = files
        .iter()
        .any(|file| file.text().starts_with('-') && file.text() != "-");
    let known = program.literal().is_some_and(program_is_plain);
    known && !connects && !late && line.reason().is_none()
}

fn has_word(text: &str) -> bool {
    let mut words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    words.any(|word| WORDS.contains(&word))
}

/// What a slash means depends on what stands before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Before {
    /// A slash begins a pattern.
    Operator,
    /// A slash divides.
    Operand,
    /// It may do either.
    Unclear,
}

fn program_is_plain(program: &str) -> bool {
    !has_word(program) && Reader::new(program).reads().is_some()
}

struct Reader<'a> {
    text: &'a str,
    at: usize,
    before: Before,
    braces: usize,
    /// Of each open parenthesis, whether it is that of a `for`, where statements may stand.
    parentheses: Vec<bool>,
    /// The last word, if nothing came behind it.
    word: &'a str,
}

impl<'a> Reader<'a> {
    fn new(text: &'a str) -> Self {
        Self {
            text,
            at: 0,
            before: Before::Operator,
            braces: 0,
            parentheses: Vec::new(),
            word: "",
        }
    }

    fn rest(&self) -> &'a str {
        &self.text[self.at..]
    }

    /// Reads all of it; none: it may write or run something.
    fn reads(&mut self) -> Option<()> {
        while let Some(c) = self.rest().chars().next() {
            if matches!(c, ' ' | '\t') {
                self.at += 1;
                continue;
            }
            let word = std::mem::take(&mut self.word);
            self.before = match c {
                '"' => self.past('"')?,
                '/' => self.slash()?,
                c if c.is_ascii_alphanumeric() || c == '_' => self.name(),
                '>' => self.greater()?,
                '|' => self.rest().starts_with("||").then(|| {
                    self.at += 1;
                    Before::Operator
                })?,
                '+' | '-' if self.rest()[1..].starts_with(c) => {
                    self.at += 1;
                    Before::Unclear
                }
                '(' => {
                    self.parentheses.push(word == "for");
                    Before::Operator
                }
                ')' => {
                    self.parentheses.pop()?;
                    Before::Unclear
                }
                '{' => {
                    self.braces += 1;
                    Before::Operator
                }
                '}' => {
                    self.braces = self.braces.checked_sub(1)?;
                    Before::Operator
                }
                ']' => Before::Operand,
                // A comment, the rest of a line, a name that is called, an escape.
                '#' | '@' | '\\' | '`' | '\'' => return None,
                c if c.is_ascii_graphic() || c == '\n' => Before::Operator,
                _ => return None,
            };
            self.at += self.width(c);
        }
        Some(())
    }

    /// Names and quoted parts have moved on by themselves.
    fn width(&self, c: char) -> usize {
        match c {
            '"' | '/' => 1,
            c if c.is_ascii_alphanumeric() || c == '_' => 0,
            c => c.len_utf8(),
        }
    }

    fn name(&mut self) -> Before {
        let rest = self.rest();
        let is_part = |c: char| c.is_ascii_alphanumeric() || c == '_';
        let end = rest.find(|c| !is_part(c)).unwrap_or(rest.len());
        self.word = &rest[..end];
        self.at += end;
        match self.word {
            // It needs no parentheses.
            "length" => Before::Unclear,
            word if KEYWORDS.contains(&word) => Before::Operator,
            _ => Before::Operand,
        }
    }

    /// Goes to the mark that ends what begins here.
    fn past(&mut self, mark: char) -> Option<Before> {
        let mut chars = self.rest().char_indices().skip(1);
        while let Some((at, c)) = chars.next() {
            match c {
                '\n' => return None,
                '\\' => drop(chars.next().filter(|(_, c)| *c != '\n')?),
                c if c == mark => {
                    self.at += at;
                    return Some(Before::Unclear);
                }
                _ => {}
            }
        }
        None
    }

    fn slash(&mut self) -> Option<Before> {
        match self.before {
            Before::Operand => Some(Before::Operator),
            // What comes behind must be harmless whatever it is read as.
            Before::Unclear => {
                let is_harmless = !self.rest().contains(['>', '|', '@', '"', '\\', '#']);
                is_harmless.then_some(Before::Operator)
            }
            Before::Operator => {
                let from = self.at + 1;
                let after = self.past('/')?;
                // Some think that a pattern does not end between brackets.
                let pattern = self.text.get(from..self.at)?;
                let open = pattern.matches('[').count();
                let is_odd = ["[]", "[^]"].iter().any(|odd| pattern.contains(odd))
                    || open > 0 && pattern.contains('\\');
                let is_closed = open == pattern.matches(']').count();
                (is_closed && !is_odd).then_some(after)
            }
        }
    }

    /// Behind `print` it names a file that is written; in a condition it compares.
    fn greater(&mut self) -> Option<Before> {
        let rest = self.rest();
        let compares = rest.starts_with(">=")
            || !rest.starts_with(">>")
                && (self.braces == 0 || self.parentheses.last() == Some(&false));
        compares.then_some(Before::Operator)
    }
}

#[cfg(test)]
mod tests {
    use super::program_is_plain;

    #[test]
    fn programs_that_only_print_are_plain() {
        for program in [
            "{print $1}",
            "{print $1, $NF}",
            "NR==1",
            "NR>1 && $3 > 100 {print $1}",
            "$3 >= 5 || /error|warn/ {n++} END {print n}",
            "BEGIN{FS=\":\"} {printf \"%s\\n\", $1}",
            "!seen[$0]++",
            "{a[$1]+=$2} END{for (k in a) print k, a[k]}",
            "{ if ($3 > 5) print $1/1024 \" MB\" }",
            "{ print ($1+$2)/2 }",
            "/[0-9]+/{print}",
            "{sub(/a/, \"b\"); print > 0 ? 1 : 2}",
            "$1 ~ /^x/ {print length($0)}",
            "{print \"a | b > c @ d\"}",
            "{for (i=1;i<=NF;i++) print $i}",
        ] {
            let wanted = !program.contains("print >");
            assert_eq!(program_is_plain(program), wanted, "{program}");
        }
    }

    #[test]
    fn programs_that_write_or_run_are_not() {
        for program in [
            "BEGIN{system(\"id\")}",
            "{print > \"/etc/x\"}",
            "{print $1>$2}",
            "{print >> \"x\"}",
            "{print | \"sh\"}",
            "{\"id\" | getline}",
            "{while ((getline l < \"/etc/shadow\") > 0) print l}",
            "BEGIN{f=\"sys\" \"tem\"; @f(\"id\")}",
            "@load \"x\"",
            "BEGIN{ARGV[1]=\"/etc/shadow\";ARGC=2}",
            "BEGIN{for(print \"x\">\"f\";0;);}",
            "{ x = /(/; print \"a\" > \"f\" }",
            "{ if (x) /(/; print \"a\" > \"f\" }",
            "{ x++ /(/; print \"a\" > \"f\" }",
            "{ print /[/]/ > \"f\" }",
            "{ print \"\\\" > \"f\" }",
            "{print length /(/ \"a\" > f; x ~ /)/ }",
            "{print \"\" /(/ \"a\" > f; x ~ /)/ }",
            "{ print (1)(2) > \"f\" }",
            "{ print(1) > \"f\" }",
            "} { print > \"f\"",
            "{print}\n# \"\n{print > \"f\"}",
            "{print ENVIRON[\"X\"]}",
            "{sys\\\ntem(\"id\")}",
            "{(x)/(/; print > \"f\"}",
            "{print /\"/ > \"f\"}",
        ] {
            assert!(!program_is_plain(program), "{program:?}");
        }
    }
}
