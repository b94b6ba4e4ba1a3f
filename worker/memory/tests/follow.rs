//! A directory that is followed: what a look finds, whatever happened since the last one.
#![expect(clippy::unwrap_used, reason = "a test fails by a panic")]

mod common;

use std::fs;
use std::ops::ControlFlow;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use common::{filter, namespace, open};
use fazai_memory::{Collection, Following, IngestOptions, IngestReport, Memory, MemoryError};
use tempfile::TempDir;

struct Followed {
    _home: TempDir,
    docs: PathBuf,
    memory: Memory,
    following: Following,
    woken: Receiver<()>,
}

fn followed(prepare: impl FnOnce(&Path)) -> Followed {
    let home = tempfile::tempdir().unwrap();
    let docs = home.path().join("docs");
    fs::create_dir(&docs).unwrap();
    prepare(&docs);
    let memory = open(&home.path().join("memory"));
    let (wake, woken) = channel();
    let options = IngestOptions::new(namespace("a"));
    let following = Following::new(&docs, options, move || {
        let _ = wake.send(());
    });
    Followed {
        _home: home,
        docs,
        memory,
        following: following.unwrap(),
        woken,
    }
}

impl Followed {
    /// Looks, and takes in what there is.
    fn look(&mut self) -> IngestReport {
        let changes = self.following.look(&self.memory).unwrap();
        let taken = self
            .following
            .take_in(&self.memory, changes, &mut |_| ControlFlow::Continue(()));
        taken.unwrap()
    }

    /// Looks until nothing is new: what was just written is looked at once more.
    fn settles(&mut self) {
        for _ in 0..600 {
            let changes = self.following.look(&self.memory).unwrap();
            if changes.is_empty() {
                return;
            }
            let on = &mut |_: fazai_memory::Progress<'_>| ControlFlow::Continue(());
            let report = self.following.take_in(&self.memory, changes, on).unwrap();
            assert_eq!((report.added, report.removed), (0, 0), "{report:?}");
            std::thread::sleep(Duration::from_millis(100));
        }
        panic!("there is always something new");
    }

    fn counts(&mut self) -> [usize; 3] {
        let report = self.look();
        [report.files, report.added, report.removed]
    }

    /// Waits until something is told, however long that takes.
    fn woken(&self) {
        self.woken.recv_timeout(Duration::from_secs(60)).unwrap();
        while self.woken.try_recv().is_ok() {}
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.docs.join(name), text).unwrap();
    }

    /// The files of which the memory has something, by their names.
    fn known(&self) -> Vec<String> {
        let found = self.memory.search("fact", 50, &filter("a")).unwrap();
        let name = |source: &str| source.rsplit('/').next().unwrap().to_owned();
        let mut names: Vec<String> = found
            .records()
            .map(|record| name(&record.payload.source))
            .collect();
        names.sort();
        names
    }
}

#[test]
fn what_is_written_renamed_and_removed_is_followed() {
    let mut followed = followed(|docs| fs::write(docs.join("one.txt"), "fact one").unwrap());
    assert_eq!(followed.counts(), [1, 1, 0]);
    while followed.woken.try_recv().is_ok() {}

    followed.write("two.txt", "fact two");
    followed.woken();
    followed.look();
    assert_eq!(followed.known(), ["one.txt", "two.txt"]);

    followed.write("one.txt", "fact number one, and it is another");
    followed.woken();
    assert_eq!(followed.look().removed, 1);
    let found = followed.memory.search("another", 5, &filter("a")).unwrap();
    assert_eq!(
        found.hits[0].record.payload.text,
        "fact number one, and it is another"
    );

    fs::rename(
        followed.docs.join("one.txt"),
        followed.docs.join("three.txt"),
    )
    .unwrap();
    followed.woken();
    followed.look();
    assert_eq!(followed.known(), ["three.txt", "two.txt"]);

    // A directory that is new, and what is in it.
    fs::create_dir(followed.docs.join("deep")).unwrap();
    followed.write("deep/four.txt", "fact four");
    followed.woken();
    followed.look();
    assert_eq!(followed.known(), ["four.txt", "three.txt", "two.txt"]);
    while followed.woken.try_recv().is_ok() {}
    followed.write("deep/five.txt", "fact five");
    followed.woken();
    followed.look();
    assert!(followed.known().contains(&"five.txt".to_owned()));

    fs::remove_dir_all(followed.docs.join("deep")).unwrap();
    fs::remove_file(followed.docs.join("two.txt")).unwrap();
    followed.woken();
    followed.look();
    assert_eq!(followed.known(), ["three.txt"]);
    assert_eq!(
        followed
            .memory
            .stats(Collection::Knowledge)
            .unwrap()
            .records,
        1
    );
}

/// An editor writes a new file and renames it over the old one; or it leaves its own beside it.
#[test]
fn editors_and_bursts_leave_what_the_files_say_in_the_end() {
    let mut followed = followed(|docs| fs::write(docs.join("a.txt"), "fact a").unwrap());
    followed.look();
    followed.write(".a.txt.swp", "fact of an editor");
    followed.write("a.txt~", "fact a");
    followed.write("#a.txt#", "fact a, half writ");
    followed.write("a.txt.tmp", "fact a, as it is to be");
    fs::rename(followed.docs.join("a.txt.tmp"), followed.docs.join("a.txt")).unwrap();
    for number in 0..200 {
        followed.write("burst.txt", &format!("fact in state {number}"));
        followed.write(
            &format!("short-lived-{number}.txt"),
            "fact that nobody needs",
        );
        fs::remove_file(followed.docs.join(format!("short-lived-{number}.txt"))).unwrap();
    }
    followed.woken();
    followed.look();
    assert_eq!(followed.known(), ["a.txt", "burst.txt"]);
    let found = followed.memory.search("state", 5, &filter("a")).unwrap();
    let mut burst = found
        .records()
        .filter(|record| record.payload.source.ends_with("burst.txt"));
    let said = burst.next().map(|record| record.payload.text.as_str());
    assert_eq!(said, Some("fact in state 199"));
    assert!(burst.next().is_none());
}

/// Two looks with a file of the same size written between them, as fast as can be.
#[test]
fn a_file_that_was_just_written_is_looked_at_once_more() {
    let mut followed = followed(|_| {});
    for number in 100..150 {
        followed.write("same-size.txt", &format!("fact {number}"));
        followed.look();
        let found = followed.memory.search("fact", 5, &filter("a")).unwrap();
        let texts: Vec<&str> = found
            .records()
            .map(|record| record.payload.text.as_str())
            .collect();
        assert_eq!(texts, [format!("fact {number}")]);
    }
}

#[test]
fn what_was_gone_before_it_was_followed_is_forgotten() {
    let mut followed = followed(|docs| {
        fs::write(docs.join("stays.txt"), "fact that stays").unwrap();
        fs::write(docs.join("goes.txt"), "fact that goes").unwrap();
    });
    let options = IngestOptions::new(namespace("a"));
    let mut on = |_: fazai_memory::Progress<'_>| ControlFlow::Continue(());
    followed
        .memory
        .ingest(&followed.docs, &options, &mut on)
        .unwrap();
    let elsewhere = tempfile::tempdir().unwrap();
    fs::write(elsewhere.path().join("other.txt"), "fact from elsewhere").unwrap();
    followed
        .memory
        .ingest(elsewhere.path(), &options, &mut on)
        .unwrap();
    fs::remove_file(elsewhere.path().join("other.txt")).unwrap();
    fs::remove_file(followed.docs.join("goes.txt")).unwrap();
    assert_eq!(followed.counts(), [1, 0, 1]);
    // What lies elsewhere is nobody's business here.
    assert_eq!(followed.known(), ["other.txt", "stays.txt"]);
    followed.settles();
}

#[test]
fn a_file_that_can_say_nothing_any_more_is_forgotten() {
    let mut followed = followed(|docs| {
        for name in ["emptied.txt", "linked.txt", "binary.txt", "huge.txt"] {
            fs::write(docs.join(name), format!("fact of {name}")).unwrap();
        }
    });
    assert_eq!(followed.counts(), [4, 4, 0]);
    followed.write("emptied.txt", "");
    fs::remove_file(followed.docs.join("linked.txt")).unwrap();
    symlink("/etc/hostname", followed.docs.join("linked.txt")).unwrap();
    fs::write(followed.docs.join("binary.txt"), b"\x7fELF\0\0\0").unwrap();
    let huge = fs::File::create(followed.docs.join("huge.txt")).unwrap();
    huge.set_len(100 << 20).unwrap();
    let report = followed.look();
    assert_eq!((report.removed, report.skipped.len()), (4, 4), "{report:?}");
    assert!(followed.known().is_empty());
    // What was told once is not told again.
    let changes = followed.following.look(&followed.memory).unwrap();
    let again =
        followed.following.take_in(
            &followed.memory,
            changes,
            &mut |_| ControlFlow::Continue(()),
        );
    assert!(again.unwrap().skipped.len() <= 1, "the young one at most");
}

#[test]
fn a_directory_that_is_away_takes_nothing_with_it() {
    let mut followed = followed(|docs| fs::write(docs.join("one.txt"), "fact one").unwrap());
    followed.look();
    fs::rename(&followed.docs, followed.docs.with_extension("away")).unwrap();
    let looked = followed.following.look(&followed.memory);
    assert!(
        matches!(looked, Err(MemoryError::Ingest { .. })),
        "{looked:?}"
    );
    // As if something was to be mounted there.
    fs::create_dir(&followed.docs).unwrap();
    let options = IngestOptions::new(namespace("a"));
    let mut anew = Following::new(&followed.docs, options.clone(), || {}).unwrap();
    assert!(anew.look(&followed.memory).unwrap().is_empty());
    assert_eq!(followed.known(), ["one.txt"]);
    for wrong in [Path::new("/etc/passwd"), Path::new("/nowhere/at/all")] {
        assert!(Following::new(wrong, options.clone(), || {}).is_err());
    }
}

#[test]
fn more_than_the_limit_is_said() {
    let mut followed = followed(|docs| {
        for number in 0..20 {
            fs::write(docs.join(format!("{number}.txt")), format!("fact {number}")).unwrap();
        }
    });
    let mut options = IngestOptions::new(namespace("b"));
    options.files_max = 5;
    followed.following = Following::new(&followed.docs, options, || {}).unwrap();
    let report = followed.look();
    assert_eq!((report.files, report.skipped.len()), (5, 1), "{report:?}");
    assert!(
        report.skipped[0]
            .why
            .to_string()
            .contains("more than 5 files")
    );
}

#[test]
fn another_directory_of_the_same_name_makes_nothing_forgotten() {
    let mut followed = followed(|docs| fs::write(docs.join("one.txt"), "the first fact").unwrap());
    assert_eq!(followed.counts(), [1, 1, 0]);
    let old = followed.docs.with_extension("old");
    fs::rename(&followed.docs, &old).unwrap();
    for other in [true, false] {
        if other {
            fs::create_dir(&followed.docs).unwrap();
        } else {
            fs::remove_dir(&followed.docs).unwrap();
            symlink(&old, &followed.docs).unwrap();
        }
        let refused = followed.following.look(&followed.memory);
        assert!(
            matches!(refused, Err(MemoryError::Ingest { .. })),
            "{refused:?}"
        );
    }
    // It is known what there was, and when the directory is back it is followed as before.
    let found = followed.memory.search("first fact", 1, &filter("a"));
    assert_eq!(found.unwrap().hits.len(), 1);
    fs::remove_file(&followed.docs).unwrap();
    fs::rename(&old, &followed.docs).unwrap();
    fs::write(followed.docs.join("two.txt"), "another thing").unwrap();
    let [_, added, removed] = followed.counts();
    assert_eq!((added, removed), (1, 0));
}
