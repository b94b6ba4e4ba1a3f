//! What is judged is what the kernel opens: commands against a disk with links, patterns and homes.
#![expect(clippy::expect_used, reason = "a test fails by a panic")]

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::time::{Duration, Instant};

use fazai_tools::{Action, Caller, Decision, Disk, Machine, Name, OwnFiles, Policy, User, Verdict};
use jiff::civil::date;
use tempfile::TempDir;

static COUNT: AtomicU32 = AtomicU32::new(0);

/// The machine's disk, where people have other homes.
struct Homes(PathBuf);

impl Disk for Homes {
    fn real(&self, path: &Path) -> Option<PathBuf> {
        Machine.real(path)
    }

    fn names(&self, directory: &Path, most: usize) -> Option<Vec<Name>> {
        Machine.names(directory, most)
    }

    fn home(&self, user: &str) -> Option<PathBuf> {
        match user {
            "" => Some(self.0.join("home")),
            "sys" => Some("/dev".into()),
            "deep" => Some("/usr/share".into()),
            _ => None,
        }
    }
}

/// A directory with a worker's files in `w`, and ways to them.
struct Place {
    directory: TempDir,
    policy: Policy,
}

impl Place {
    fn new() -> Self {
        let directory = tempfile::Builder::new()
            // A hidden directory is asked for, and so are letters that could be options of tar.
            .prefix(&format!(
                "{}-{}",
                std::process::id(),
                COUNT.fetch_add(1, Relaxed)
            ))
            .rand_bytes(0)
            .tempdir_in("/tmp")
            .expect("a directory");
        let root = directory.path();
        for name in [
            "w/audit",
            "w/tools",
            "home/docs",
            "home/w/audit",
            "site",
            "many",
        ] {
            fs::create_dir_all(root.join(name)).expect("a directory");
        }
        for name in [
            "w/audit/audit.key",
            "w/policy.toml",
            "w/tools/x.js",
            "site/a.txt",
            "home/a",
        ] {
            fs::write(root.join(name), "x").expect("a file");
        }
        for (to, from) in [
            ("w/tools", "l"),
            ("w", "link-of-w"),
            ("/usr/share", "share"),
            ("/", "r"),
            ("w/audit/not-yet", "dangling"),
            ("site", "plain"),
        ] {
            symlink(root_of(root, to), root.join(from)).expect("a link");
        }
        symlink("/", root.join("site/~")).expect("a link");
        let own = OwnFiles {
            secret: vec![
                root.join("w/audit"),
                root.join("w/policy.toml"),
                root.join("home/w/audit"),
            ],
            kept: vec![root.join("w/tools")],
        };
        let disk = Homes(root.to_owned());
        let policy = Policy::parse("").expect("a policy");
        Self {
            policy: policy.with_disk(disk).with_own_files(own),
            directory,
        }
    }

    fn root(&self) -> &str {
        self.directory.path().to_str().expect("UTF-8")
    }

    /// `@` in a command is the directory, in which it also runs.
    fn decide(&self, profile: &str, command: &str) -> Decision {
        let command = command.replace('@', self.root());
        let caller = Caller::User(User {
            uid: 1000,
            groups: vec![1000],
            name: "anna".into(),
        });
        let action = Action::shell(command, self.root());
        let now = date(2026, 6, 1).at(12, 0, 0, 0);
        self.policy.decide_as(profile, &caller, &action, now)
    }

    #[track_caller]
    fn check(&self, verdict: Verdict, commands: &[&str]) {
        for command in commands {
            for profile in ["elevated", "privileged"] {
                let found = self.decide(profile, command);
                let fits = match verdict {
                    Verdict::Ask => found.verdict >= Verdict::Ask,
                    _ => found.verdict == verdict,
                };
                assert!(fits, "{profile}: {command}: {found:?}");
            }
        }
    }

    #[track_caller]
    fn own(&self, commands: &[&str]) {
        self.check(Verdict::Deny, commands);
        for command in commands {
            assert_eq!(
                self.decide("privileged", command).rule,
                "blocked/own-files",
                "{command}"
            );
        }
    }
}

fn root_of(root: &Path, to: &str) -> PathBuf {
    root.join(to)
}

#[test]
fn going_up_behind_a_link_is_going_up_from_where_it_leads() {
    let place = Place::new();
    place.own(&[
        "cat @/l/../audit/audit.key",
        "cat l/../audit/audit.key",
        "cat ./l/./../audit/audit.key",
        "touch @/l/../audit/new",
        "echo x > l/../policy.toml",
        "cd @/site; cat ../l/../audit/audit.key",
        "cd -P @/l; cat ../audit/audit.key",
        "cd @/l; cat ../audit/audit.key",
        "cd @/l/..; cat audit/audit.key",
        "cd -P @/l; cd ..; cat audit/audit.key",
        "cat link-of-w/audit/audit.key",
        "touch dangling",
        "mkdir -p l/../audit/a/b/c",
        "git --git-dir=@/l/../audit status",
    ]);
    place.check(
        Verdict::Deny,
        &[
            "echo x > @/share/../../etc/passwd",
            "tee @/share/../../etc/shadow",
            "tee @/share/../../dev/vda",
            "cp /dev/zero share/../../dev/vda",
            "mv @/share/../../usr /x",
            "rm -rf @/share/../..",
            "chmod -R 777 @/share/../../etc",
        ],
    );
    place.check(
        Verdict::Ask,
        &[
            "head -c 25 @/share/../../etc/shadow",
            "cat new/../x",
            "cat /proc/self/cwd/site/a.txt",
            "cat /dev/fd/7/../x",
        ],
    );
    place.check(
        Verdict::Allow,
        &[
            "cat l/../../site/a.txt",
            "cat plain/../site/a.txt",
            "cd @/site; cat ../site/a.txt",
            "cd @/site; cat ./a.txt",
            "touch @/site/new",
            "mkdir -p site/a/b/c",
            "cat plain/a.txt /proc/self/status",
        ],
    );
}

#[test]
fn the_directory_above_an_own_file_is_not_changed() {
    let place = Place::new();
    place.own(&[
        "cp -rT @/site @/w",
        "cp -r @/site/. @/w",
        "cp -aT site w",
        "mv @/w @/w2",
        "mv w w2",
        "mv -T @/site @/w",
        "mv --exchange @/site @/w",
        "mv @/home/w @/",
        "cp -r @/home/w @/",
        "tar -xf e.tar -C @/w",
        "tar -xf e.tar --directory=@/w",
        "tar -xf e.tar -C @ -C w",
        "cd @/w && tar xf ../e.tar",
        "unzip e.zip -d @/w",
        "ln -sfT /tmp/p @/w",
        "ln -sfn /tmp/p @/w",
        "chmod 777 @/w",
        "chown anna @/w",
        "chgrp anna @/w",
        "rmdir @/w",
        "rm -r @/w",
        "gzip -rk @/w",
        "split x @/w/tool",
        "csplit -f @/w/tools/a x 1",
        "zip -m x.zip -r @/w",
        "tar -cf x.tar --remove-files w",
        "install -d -m 777 @/w",
        "rm -r w*",
        "patch -d @/w -i x.patch",
    ]);
    place.check(
        Verdict::Allow,
        &[
            "touch @/w/other",
            "cp @/site/a.txt @/w",
            "cp -r @/site @/w",
            "mv @/site/a.txt @/w",
            "tar -xf e.tar -C @/site",
            "unzip e.zip -d @/site",
            "chmod 644 @/site/a.txt",
            "gzip -k @/site/a.txt",
            "split @/site/a.txt @/site/part-",
            "touch @/other",
        ],
    );
}

#[test]
fn a_tree_with_own_files_is_not_read() {
    let place = Place::new();
    place.own(&[
        "cp -r @/w @/copy",
        "cp -rl @/w @/hard",
        "cp -a . /tmp/x",
        "tar -cf x.tar @/w",
        "tar -cf x.tar -C @ w/audit",
        "tar -cf x.tar -C @ w",
        "tar -cf x.tar --add-file=@/w @/site",
        "tar -cf x.tar -C@ w",
        "tar -cf x.tar --directory=@ w",
        "tar -cf x.tar -C @/home -C .. w",
        "zip -r x.zip @/w",
        "grep -r x @",
        "grep -r x",
        "diff -r @/w @/site",
        "cp -r link-of-w/ @/copy",
    ]);
    place.check(
        Verdict::Ask,
        &[
            "tar -cf x.tar --directory=/etc shadow",
            "tar -cf x.tar -C/etc shadow",
            "tar cfC x.tar /etc shadow",
            "cp -r @/share/../../etc/ssl/private @/x",
        ],
    );
    place.check(
        Verdict::Allow,
        &[
            "cp -r @/site @/copy",
            "tar -cf x.tar -C @ site",
            "grep -r x @/site",
            "ls @/w",
        ],
    );
    // What its directory holds is read by those who run what is in it.
    assert_eq!(
        place.decide("elevated", "cp -r @/w/tools @/copy").verdict,
        Verdict::Allow
    );
}

#[test]
fn patterns_are_judged_by_what_they_find() {
    let place = Place::new();
    place.own(&[
        "cat @/link-of-?/audit/audit.key",
        "cat @/link*/audit/*",
        "cat @/li[n]k-of-w/a*/audit.key",
        "cat @/?/../audit/audit.key",
        "touch @/dang*",
        "cd @/site; cat ../link*/audit/audit.key",
        "cat ~/w/aud*/audit.key",
    ]);
    place.check(
        Verdict::Ask,
        &[
            "head -c 25 @/?/etc/shadow",
            "cat @/[r]/etc/sh*w",
            "cat @/sh*/../../etc/shadow",
        ],
    );
    place.check(
        Verdict::Deny,
        &["tee @/[r]/etc/passwd", "rm -rf @/[r]/usr/"],
    );
    place.check(
        Verdict::Allow,
        &[
            "cat @/site/*.txt",
            "cat @/pl*n/a.txt",
            "cat @/s*e/a.txt",
            "ls @/no-such-*/x",
        ],
    );
    for at in 0..10_001 {
        fs::write(place.directory.path().join(format!("many/{at}")), "").expect("a file");
    }
    place.check(Verdict::Ask, &["cat @/many/1*", "cat @/many/*/x"]);
}

#[test]
fn a_home_is_where_it_is() {
    let place = Place::new();
    place.own(&[
        "cat ~/w/audit/audit.key",
        "cat ~/../w/audit/audit.key",
        "cat $HOME/w/audit/audit.key",
        "cd; cat w/audit/audit.key",
        "cd ~/..; cat w/audit/audit.key",
        "cp -r ~ @/copy",
    ]);
    place.check(Verdict::Deny, &["tee ~sys/vda", "cp @/site/a.txt ~sys/vda"]);
    place.check(
        Verdict::Ask,
        &[
            "head -c 20 ~deep/../../etc/shadow",
            "cat ~nobody-of-that-name/x",
            "touch ~nobody-of-that-name/x",
            // Between quotes that is a name in the directory, where it is a link to the root.
            "cd @/site; cat '~/etc/shadow'",
        ],
    );
    place.check(
        Verdict::Allow,
        &["cat ~/a", "touch ~/new", "ls ~", "ls ~/docs"],
    );
}

#[test]
fn judging_a_usual_command_takes_little_time() {
    let place = Place::new();
    let start = Instant::now();
    let rounds = 100;
    for _ in 0..rounds {
        place.check(
            Verdict::Allow,
            &["cat site/a.txt site/*.txt ~/a | grep x | sort | uniq -c"],
        );
    }
    let each = start.elapsed() / (2 * rounds);
    println!("{each:?} each");
    assert!(each < Duration::from_millis(50), "{each:?}");
}
