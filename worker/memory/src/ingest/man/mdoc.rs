//! mdoc's macros that stand within a line, and within each other: `.Op Fl a Ar file`.

/// Whether a macro stands within a line.
pub(super) fn is_inline(name: &str) -> bool {
    enclosure(name).is_some()
        || [
            "Nm", "Nd", "Fl", "Ar", "Cm", "Ic", "Li", "Pa", "Xr", "Em", "Sy", "Va", "Dv", "Ev",
            "Fn", "Fa", "Ft", "Er", "No", "Ns", "Ad", "An", "Cd", "Ms", "Tn", "Lk", "Mt", "Bx",
            "Fx", "Nx", "Ox", "Ux", "St", "Vt", "Pf", "Oo", "Oc", "Ap", "Dx", "At", "Ex", "Rv",
            "D1", "Dl", "In", "Ta", "Xc", "Xo", "Tg",
        ]
        .contains(&name)
}

/// A line of a macro.
pub(super) fn render_macro(name: &str, words: &[String], page: &str) -> String {
    let mut all = vec![name.to_owned()];
    all.extend_from_slice(words);
    render(&all, page)
}

/// Words among which there are macros.
pub(super) fn render(words: &[String], page: &str) -> String {
    let mut line = Line::default();
    line.words(words, page, 0);
    line.text
}

#[derive(Default)]
struct Line {
    text: String,
    /// The next word follows without a space.
    glued: bool,
}

/// Macros within macros; a line has hardly ever more than five.
const DEPTH_MAX: usize = 32;

impl Line {
    fn words(&mut self, words: &[String], page: &str, depth: usize) {
        let (mut rest, mut mode) = (words, "");
        while let Some((word, others)) = rest.split_first() {
            rest = others;
            if let Some((open, close)) = enclosure(word).filter(|_| depth < DEPTH_MAX) {
                self.push(open);
                self.glued = true;
                let closing = rest.iter().rposition(|word| !is_closing(word));
                let (inner, after) = rest.split_at(closing.map_or(0, |last| last + 1));
                self.words(inner, page, depth + 1);
                self.glued = true;
                self.push(close);
                after.iter().for_each(|word| self.word("", word));
                return;
            }
            if is_inline(word) {
                mode = word;
                rest = self.begin(word, rest, page);
            } else {
                self.word(mode, word);
            }
        }
    }

    /// A macro's own signs; answers the words that it leaves.
    fn begin<'w>(&mut self, name: &str, rest: &'w [String], page: &str) -> &'w [String] {
        let alone = rest
            .first()
            .is_none_or(|word| is_inline(word) || is_closing(word));
        match name {
            "Nm" if alone => self.push(page),
            "Nd" => self.push("-"),
            "Fl" if alone => self.push("-"),
            "Ar" if alone => self.push("file ..."),
            "Ns" | "Pf" | "Ap" => self.glued = true,
            "Oo" => {
                self.push("[");
                self.glued = true;
            }
            "Oc" => {
                self.glued = true;
                self.push("]");
            }
            "Xr" => {
                if let [page, section, after @ ..] = rest {
                    self.push(&format!("{page}({section})"));
                    return after;
                }
            }
            _ => {}
        }
        rest
    }

    fn word(&mut self, mode: &str, word: &str) {
        if is_closing(word) {
            self.glued = true;
            self.push(word);
        } else if mode == "Fl" {
            self.push(&format!("-{word}"));
        } else {
            self.push(word);
            self.glued = matches!(word, "(" | "[");
        }
    }

    fn push(&mut self, word: &str) {
        if !self.glued && !self.text.is_empty() {
            self.text.push(' ');
        }
        self.glued = false;
        self.text.push_str(word);
    }
}

fn enclosure(name: &str) -> Option<(&'static str, &'static str)> {
    match name {
        "Op" | "Bq" => Some(("[", "]")),
        "Pq" => Some(("(", ")")),
        "Aq" => Some(("<", ">")),
        "Brq" => Some(("{", "}")),
        "Dq" | "Qq" => Some(("\"", "\"")),
        "Sq" | "Ql" => Some(("'", "'")),
        _ => None,
    }
}

fn is_closing(word: &str) -> bool {
    matches!(word, "." | "," | ":" | ";" | ")" | "]" | "?" | "!")
}
