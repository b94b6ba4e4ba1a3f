//! sed scripts that are known to run nothing and to write nothing.

use super::{Command, Word};

/// Whether a sed command only prints, deletes and replaces lines.
pub(super) fn is_plain(command: &Command) -> bool {
    let mut scripts = Vec::new();
    let mut args = command.args.iter();
    while let Some(arg) = args.next() {
        let Some(text) = arg.literal() else {
            return !scripts.is_empty() && !arg.may_be_option();
        };
        match text {
            "-n" | "-E" | "-r" | "-i" | "-s" | "-u" | "-nE" | "-nr" | "-Ei" => {}
            "-e" | "-ne" | "-Ee" | "-re" | "-nEe" | "-nre" => {
                match args.next().and_then(Word::literal) {
                    Some(script) => scripts.push(script),
                    None => return false,
                }
            }
            // A star in the suffix stands for the file's name, and may come after a path.
            _ if text.starts_with("-i.") && !text.contains(['/', '*']) => {}
            _ if text.starts_with('-') => return false,
            _ if scripts.is_empty() => scripts.push(text),
            _ => {}
        }
    }
    !scripts.is_empty() && scripts.iter().all(|script| script_is_plain(script))
}

fn script_is_plain(script: &str) -> bool {
    let address = |c: char| c.is_ascii_digit() || "$,~+ ".contains(c);
    let rest = script.trim_start_matches(address);
    if let Some(replacement) = rest.strip_prefix('s') {
        return replacement_is_plain(replacement);
    }
    let rest = match rest.strip_prefix('/') {
        Some(pattern) => match pattern.split_once('/') {
            Some((pattern, rest)) if !pattern.contains(['\\', ';', '\n']) => rest,
            _ => return false,
        },
        None => rest,
    };
    matches!(rest, "p" | "d" | "q" | "=" | "!d" | "!p")
}

/// `s/one/two/g` with flags that neither write nor run.
fn replacement_is_plain(text: &str) -> bool {
    let Some(delimiter) = text.chars().next().filter(|c| "/|#,:@".contains(*c)) else {
        return false;
    };
    let parts: Vec<&str> = text[1..].split(delimiter).collect();
    let [_, _, flags] = parts.as_slice() else {
        return false;
    };
    !text.contains(['\n']) && flags.chars().all(|c| "gpIi0123456789".contains(c))
}
