//! Texts that once took all the time or memory there is.
//!
//! They are judged in a process of its own, to which the system lends so much memory and processor
//! time and no more: it doesn't matter how busy the machine is.

use std::process::Command;

use fazai_tools::{Action, Caller, Policy, READY_PROFILES, User};
use jiff::civil::date;
use rustix::process::{Resource, Rlimit, setrlimit};

/// What the process with the texts is told apart by.
const CHILD: &str = "FAZAI_TEST_SOON";
const MEMORY_BYTES: u64 = 2 << 30;
/// For all texts together. Some are long, and each is judged under all profiles.
const PROCESSOR_SECONDS: u64 = 60;

fn nested(before: &str, inside: &str, after: &str, times: usize) -> String {
    before.repeat(times) + inside + &after.repeat(times)
}

fn texts() -> Vec<String> {
    let mut texts: Vec<String> = [
        // A here-document that ends with nothing, in a text that ends before it begins.
        "a<<'' ",
        "a<<\"\" ",
        "a<<-'' ",
        "a<<''b'' <<'' ",
        "a<<\"\\\n\" ",
        "a<<'' \\",
        "a<<'' \\\n",
        "a<<'' #",
        "a<<'' <<E ",
        "a<<'' <<",
        "a<<''\n",
        "a<<''\n\\",
        // Two blanks in a substitution: the tokenizer takes the second for the end.
        "$(a<<  ",
        "$(a<<  E) ",
        "echo \"$(a<<  E)\" ",
        "${a:-$(b<<  E)} ",
        "sh -c \"a<<'' \"",
        "sh -c 'echo $(cat <<  E) '",
    ]
    .map(str::to_owned)
    .into();
    // All alternatives for `${` read the subscript again.
    texts.push(format!("echo {}", nested("${a[", "1", "]}", 7)));
    texts.push(format!("echo {}", nested("${a[", "1", "", 7)));
    // Text between double quotes looks ahead into each substitution.
    texts.push(format!("echo {}", nested("\"x$(echo ", "y", ")\"", 14)));
    texts.push(format!("echo {}", nested("\"x$((", "y", "))\"", 7)));
    texts.push(nested("\"x$(", "", "", 15));
    // What is open was read as a subshell, a pattern and letters. A quoted bracket closes nothing.
    for open in ["(", "@(", "((", "( ')' ", "@(')' ", "\\)("] {
        texts.push(format!("echo $({}", open.repeat(15)));
        texts.push(format!("echo $({}\n)", open.repeat(2000)));
        texts.push(format!("echo $(({}))", open.repeat(2000)));
    }
    // The last arm of each `case` is read twice.
    for times in [6, 12, 40, 400] {
        texts.push(nested("case a in a) ", "x ", "esac ", times));
        texts.push(nested("case a in a) ", "x ", "", times));
    }
    // Arithmetic or a subshell, a pattern or letters; and a bracket that only looks closed.
    for times in [4, 8, 15] {
        texts.push(format!("(( {} x ;", "( ".repeat(times)));
        texts.push(format!("[[ a =~ {} ]]", "( ".repeat(times)));
        texts.push(nested("( ( ", "x ;", ") ) ", times / 2));
    }
    texts.push("( ( ')' ')' ".repeat(1000));
    texts.push("(( x ) ; ".repeat(1000));
    // The parser and the walk call themselves.
    for word in ["if ", "while ", "! ", "{ '}' ", "[[ ! ", "case a in a) "] {
        texts.push(word.repeat(16 * 1024 / word.len()));
    }
    texts.push(format!("[[ {} a ]]", "! ".repeat(8000)));
    texts.push(nested("if ", "x;", "then x;fi;", 1000));
    texts.push("$(\\)".repeat(4000));
    texts.push("${\\}".repeat(4000));
    // The same text is read by many.
    let many = "$()".repeat(1000);
    texts.push(format!("{{ {} }} <<E\n{many}\nE\n", "sh;".repeat(250)));
    texts.push("$()".repeat(5000));
    texts.push("$".repeat(16 * 1024));
    texts.push("$ \"$'a'$`b`".repeat(1400));
    texts.push("a<<E ".repeat(3000) + "\n" + &"E\n".repeat(500));
    texts.push("a<<E\nE\n".repeat(2000));
    texts
}

#[test]
fn no_text_takes_long() {
    if std::env::var_os(CHILD).is_some() {
        return judge_all();
    }
    let binary = std::env::current_exe().expect("it runs");
    let child = Command::new(binary)
        .args(["--exact", "no_text_takes_long", "--nocapture"])
        .env(CHILD, "1")
        .output()
        .expect("it starts");
    // The last line is the text that was too much.
    let out = String::from_utf8_lossy(&child.stdout);
    let last: Vec<&str> = out.lines().rev().take(3).collect();
    assert!(child.status.success(), "{}: {last:?}", child.status);
}

fn judge_all() {
    let limit = |resource, value| {
        let both = Rlimit {
            current: Some(value),
            maximum: Some(value),
        };
        setrlimit(resource, both).expect("a limit may be lowered");
    };
    limit(Resource::As, MEMORY_BYTES);
    limit(Resource::Cpu, PROCESSOR_SECONDS);
    limit(Resource::Core, 0);
    let policy = Policy::ready("restricted");
    let caller = Caller::User(User {
        uid: 1000,
        groups: vec![1000],
        name: "anna".into(),
    });
    let now = date(2026, 6, 1).at(12, 0, 0, 0);
    for text in texts() {
        let shown: String = text.chars().take(60).collect();
        println!("{} bytes: {shown:?}", text.len());
        let before = std::time::Instant::now();
        for profile in READY_PROFILES {
            let action = Action::shell(text.clone(), "/home/anna");
            let _ = policy.decide_as(profile, &caller, &action, now);
        }
        println!("  {:?}", before.elapsed());
    }
}
