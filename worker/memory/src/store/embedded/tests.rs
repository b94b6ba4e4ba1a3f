use std::fs;
use std::os::unix::fs::FileExt;

use super::*;
use crate::knowledge::Entry;
use crate::record::{Kind, Namespace};

const KB: Collection = Collection::Knowledge;

fn records(numbers: std::ops::Range<usize>) -> Vec<Record> {
    let record = |n| {
        let entry = Entry::new(
            Namespace::new("a").unwrap(),
            Kind::Note,
            format!("text {n}"),
        );
        let mut record = entry.into_record(jiff::Timestamp::now()).unwrap();
        record.vector = Some(vec![n as f32 + 1.0, 1.0]);
        record
    };
    numbers.map(record).collect()
}

fn store(directory: &Path) -> Result<Embedded> {
    let store = Embedded::open(directory)?;
    store.prepare(KB, Some(2))?;
    Ok(store)
}

#[test]
fn half_a_frame_is_cut_off_wherever_it_ends() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("fazai_kb.log");
    store(directory.path())
        .unwrap()
        .upsert(KB, &records(0..5))
        .unwrap();
    let whole = fs::read(&path).unwrap();
    store(directory.path())
        .unwrap()
        .upsert(KB, &records(5..6))
        .unwrap();
    let more = fs::read(&path).unwrap();
    for end in whole.len()..more.len() {
        fs::write(&path, &more[..end]).unwrap();
        let store = store(directory.path()).unwrap();
        assert_eq!(store.count(KB).unwrap(), 5, "{end}");
        assert_eq!(fs::metadata(&path).unwrap().len(), whole.len() as u64);
        store.upsert(KB, &records(5..7)).unwrap();
        assert_eq!(store.count(KB).unwrap(), 7);
    }
    assert!(directory.path().join("fazai_kb.cut").is_file());
}

#[test]
fn damage_within_is_refused_and_not_repaired() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("fazai_kb.log");
    store(directory.path())
        .unwrap()
        .upsert(KB, &records(0..5))
        .unwrap();
    let good = fs::read(&path).unwrap();
    for at in [0, 40, good.len() / 2] {
        let mut damaged = good.clone();
        damaged[at] ^= 1;
        fs::write(&path, &damaged).unwrap();
        let refused = store(directory.path()).err();
        assert!(
            matches!(refused, Some(MemoryError::Damaged { .. })),
            "{at}: {refused:?}"
        );
        assert_eq!(fs::read(&path).unwrap(), damaged);
    }
}

#[test]
fn a_full_disk_refuses_and_is_survived() {
    let directory = tempfile::tempdir().unwrap();
    let store = store(directory.path()).unwrap();
    store.upsert(KB, &records(0..3)).unwrap();
    let shelf = store.shelf(KB);
    let full = File::options().write(true).open("/dev/full").unwrap();
    let good = shelf.log().swap_file(full);
    assert!(matches!(
        store.upsert(KB, &records(3..4)),
        Err(MemoryError::Io { .. })
    ));
    assert_eq!(store.count(KB).unwrap(), 3);
    // Half of it had been written.
    let end = good.metadata().unwrap().len();
    good.write_all_at(b"half", end).unwrap();
    shelf.log().restore_file(good);
    store.upsert(KB, &records(4..5)).unwrap();
    drop(store);
    assert_eq!(
        Embedded::open(directory.path()).unwrap().count(KB).unwrap(),
        4
    );
}

#[test]
fn compaction_keeps_everything_that_lives() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("fazai_kb.log");
    let store = store(directory.path()).unwrap();
    let all = records(0..500);
    (0..10).for_each(|_| store.upsert(KB, &all).unwrap());
    store
        .remove(
            KB,
            &all[..100]
                .iter()
                .map(|record| record.id)
                .collect::<Vec<_>>(),
        )
        .unwrap();
    let before = fs::metadata(&path).unwrap().len();
    let listed = store.scroll(KB, None, 1000, true).unwrap();
    store.compact().unwrap();
    assert!(fs::metadata(&path).unwrap().len() < before / 8);
    assert_eq!(store.scroll(KB, None, 1000, true).unwrap(), listed);
    store.upsert(KB, &records(600..601)).unwrap();
    drop(store);
    let store = reopened(directory.path());
    assert_eq!(store.count(KB).unwrap(), 401);
    let near = store
        .nearest(
            KB,
            &[1.0, 0.0],
            1,
            &Filter::of(Namespace::new("a").unwrap()),
        )
        .unwrap();
    assert_eq!(near[0].record.payload.text, "text 600");
}

fn reopened(directory: &Path) -> Embedded {
    store(directory).unwrap()
}

#[test]
fn its_lock_is_its_own_file_and_no_link() {
    use std::os::unix::fs::{PermissionsExt, symlink};

    let home = tempfile::tempdir().unwrap();
    let (directory, victim) = (home.path().join("memory"), home.path().join("victim"));
    let lock = directory.join("memory.lock");
    let held = store(&directory).unwrap();
    let second = store(&directory).map(drop);
    assert!(
        matches!(second, Err(MemoryError::InUse { .. })),
        "{second:?}"
    );
    drop(held);
    let mode = fs::metadata(&lock).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    fs::remove_file(&lock).unwrap();
    symlink(&victim, &lock).unwrap();
    assert!(store(&directory).is_err());
    assert!(!victim.exists());
}
