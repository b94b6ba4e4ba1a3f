//! Links that a script makes itself: where a path leads is looked at before the script runs, and then
//! they are not there yet.

use super::{Access, Command, Word, touches, usage};

/// Whether a command may open a file through a link that one before it has made.
pub(super) fn goes_through_links(before: &Command, later: &Command) -> bool {
    let opened = |later: &Command| {
        let mut touched = touches(later);
        touched.retain(|touch| touch.access != Access::Mention);
        touched
    };
    if makes_links(before) {
        return later.name() == "cd" || !opened(later).is_empty();
    }
    // What is copied or moved may be a directory that has links in it.
    let moves_trees = match before.name() {
        "mv" => true,
        "cp" => usage::line(before).is_some_and(|line| line.goes_through_trees()),
        _ => false,
    };
    let mut trees = touches(before);
    // With a slash behind it the target is there, and what is new is in it.
    trees.retain(|touch| {
        let is_target = touch.access == Access::Write && !touch.path.text().ends_with('/');
        moves_trees && (is_target || touch.access == Access::WriteTree)
    });
    let is_below = |text: &str, tree: &str| {
        let rest = text.strip_prefix(tree.trim_end_matches('/'));
        rest.is_some_and(|rest| rest.strip_prefix('/').is_some_and(|rest| !rest.is_empty()))
    };
    let opened = opened(later);
    trees.iter().any(|tree| {
        let tree = tree.path.text();
        let through = opened.iter().any(|touch| is_below(touch.path.text(), tree));
        through || later.name() == "cd" && later.args.iter().any(|arg| arg.text().starts_with(tree))
    })
}

fn makes_links(command: &Command) -> bool {
    let verbs = [
        "checkout", "switch", "pull", "stash", "restore", "merge", "reset",
    ];
    let has_verb = |arg: &Word| verbs.contains(&arg.text());
    let has = |names: &[&str]| {
        let line = usage::line(command);
        line.is_some_and(|line| names.iter().any(|name| line.has(name)))
    };
    match command.name() {
        "ln" | "link" | "mount" | "rsync" | "unzip" => true,
        "tar" => has(&["extract", "get"]),
        "git" => command.args.iter().any(has_verb),
        "cp" => has(&["symbolic-link", "link", "archive", "no-dereference", "d"]),
        _ => false,
    }
}
