//! The variables of a command: a few of the worker's, and those of the action. The worker's own
//! may hold keys.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::Path;

const KEPT: [&str; 7] = ["HOME", "LANG", "LOGNAME", "PATH", "TMPDIR", "TZ", "USER"];
const KEPT_PREFIX: &str = "LC_";

/// Where programs are looked for if the worker does not know: a service may have no `PATH`.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

pub(super) fn environment(
    inherited: impl Iterator<Item = (OsString, OsString)>,
    temp: Option<&Path>,
    added: &BTreeMap<String, String>,
) -> BTreeMap<String, String> {
    let mut env = BTreeMap::from([("PATH".to_owned(), PATH.to_owned())]);
    let text = inherited
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
    env.extend(text.filter(|(name, _)| is_kept(name)));
    // No colours and no moving about: nobody looks at a terminal.
    env.insert("TERM".into(), "dumb".into());
    if let Some(temp) = temp {
        env.insert("TMPDIR".into(), temp.display().to_string());
    }
    env.extend(added.clone());
    env
}

fn is_kept(name: &str) -> bool {
    KEPT.contains(&name) || name.starts_with(KEPT_PREFIX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_of_the_worker_stay_with_it() {
        let worker = [
            ("OPENAI_API_KEY", "sk-1"),
            ("HOME", "/root"),
            ("LC_ALL", "C"),
            ("TERM", "xterm"),
            ("LD_PRELOAD", "/x.so"),
            ("LANGUAGE", "pt"),
        ];
        let worker = worker.map(|(name, value)| (name.into(), value.into()));
        let added = BTreeMap::from([("A".into(), "b".into())]);
        let env = environment(worker.into_iter(), Some(Path::new("/t")), &added);
        let wanted = [
            ("A", "b"),
            ("HOME", "/root"),
            ("LC_ALL", "C"),
            ("PATH", PATH),
            ("TERM", "dumb"),
            ("TMPDIR", "/t"),
        ];
        let env: Vec<_> = env.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
        assert_eq!(env, wanted);
    }
}
