//! Exports and imports lose nothing, and bad ones are refused at the line.
#![expect(clippy::unwrap_used, reason = "a test fails by a panic")]

mod common;

use common::{DIMENSIONS, embedder, filter, namespace, note, open, vector};
use fazai_memory::portable::{self, Vectors};
use fazai_memory::store::embedded::Embedded;
use fazai_memory::store::{Collection, Store};
use fazai_memory::{Id, Kind, Memory, MemoryError, Metadata, Options, Payload, Record, Status};
use jiff::Timestamp;
use proptest::prelude::*;

prop_compose! {
    fn payloads()(
        text in "\\PC{1,200}|[\\x00-\\x7f\u{80}-\u{ff}]{1,50}",
        title in ".{0,40}",
        problem in proptest::option::of(".{0,40}"),
        tags in proptest::collection::vec("[a-z]{1,8}", 0..4),
        usage_count: u64,
        success_rate in 0.0_f32..=1.0,
        second in -9_999_999_999_i64..99_999_999_999,
        nanosecond in 0..1_000_000_000,
        expires in proptest::option::of(0..99_999_999_999_i64),
        retired: bool,
        number: u32,
    ) -> Payload {
        let created = Timestamp::new(second, nanosecond).unwrap();
        Payload {
            text: format!("x{text}"),
            title,
            problem,
            solution: None,
            tags,
            source: "s".into(),
            distro: None,
            kind: Kind::Problem,
            status: if retired { Status::Retired } else { Status::Active },
            usage_count,
            success_rate,
            namespace: namespace("a"),
            created,
            expires: expires.map(|second| Timestamp::from_second(second).unwrap()),
            content_hash: number.to_string(),
            metadata: Metadata { action: "test".into(), timestamp: created },
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn nothing_is_lost(
        payloads in proptest::collection::vec(payloads(), 1..8),
        vectors in proptest::collection::vec(proptest::option::of(proptest::collection::vec(-1e30_f32..1e30, 7)), 8),
    ) {
        let directory = tempfile::tempdir().unwrap();
        let one = Embedded::open(directory.path().join("one")).unwrap();
        one.prepare(Collection::Knowledge, Some(7)).unwrap();
        for (payload, vector) in payloads.into_iter().zip(vectors) {
            let id = Id::of(&payload.namespace, &payload.content_hash);
            let vector = vector.filter(|vector| vector.iter().any(|x| x.abs() > 1e-3));
            for collection in Collection::ALL {
                let vector = vector.clone().filter(|_| collection == Collection::Knowledge);
                one.upsert(collection, &[Record { id, payload: payload.clone(), vector }]).unwrap();
            }
        }
        let mut first = Vec::new();
        portable::export(&one, &mut first).unwrap();
        let two = Memory::open(Options::new(directory.path().join("two")), None).unwrap();
        two.import(&mut &first[..], Vectors::Keep).unwrap();
        let mut second = Vec::new();
        two.export(&mut second).unwrap();
        prop_assert_eq!(String::from_utf8(first).unwrap(), String::from_utf8(second).unwrap());
    }
}

fn exported() -> Vec<u8> {
    let directory = tempfile::tempdir().unwrap();
    let memory = open(directory.path());
    for n in 0..600 {
        memory
            .commit(note(
                "a",
                &format!("fact{n} thing{} place{}", n * 7, n * 13),
            ))
            .unwrap();
    }
    let mut lines = Vec::new();
    memory.export(&mut lines).unwrap();
    lines
}

#[test]
fn vectors_are_kept_or_made_anew() {
    let lines = exported();
    let directory = tempfile::tempdir().unwrap();
    let other = std::sync::Arc::new(common::Hashing(16));
    let memory = Memory::open(Options::new(directory.path()), Some(other)).unwrap();
    let refused = memory.import(&mut &lines[..], Vectors::Keep);
    assert!(
        matches!(
            refused,
            Err(MemoryError::Dimensions {
                found: 16,
                wanted: 64,
                ..
            })
        ),
        "{refused:?}"
    );
    let records = memory.stats(Collection::Knowledge).unwrap().records;
    assert_eq!(records, 0);
    let imported = memory.import(&mut &lines[..], Vectors::Recompute).unwrap();
    let stats = memory.stats(Collection::Knowledge).unwrap();
    assert_eq!((stats.records, stats.with_vector), (imported, imported));
    assert_eq!(
        memory.search("fact77", 1, &filter("a")).unwrap().hits.len(),
        1
    );
}

#[test]
fn a_bad_line_is_named() {
    let lines = exported();
    let lines: Vec<&str> = str::from_utf8(&lines).unwrap().lines().collect();
    let zero = vec!["0"; DIMENSIONS].join(",");
    let record = common::record("a", 1, Some(vector(1, DIMENSIONS)));
    let mut zeroed = serde_json::to_value(&record).unwrap();
    zeroed["vector"] = serde_json::from_str(&format!("[{zero}]")).unwrap();
    zeroed["collection"] = "fazai_kb".into();
    let mut empty = zeroed.clone();
    empty["payload"]["text"] = "".into();
    for bad in [
        "",
        "nonsense",
        "{}",
        "[1",
        &empty.to_string(),
        &zeroed.to_string(),
        &"x".repeat(3 << 20),
    ] {
        let directory = tempfile::tempdir().unwrap();
        let memory = Memory::open(Options::new(directory.path()), embedder()).unwrap();
        let text = format!("{}\n{}\n{bad}\n{}\n", lines[0], lines[1], lines[2]);
        let refused = memory.import(&mut text.as_bytes(), Vectors::Keep);
        let refused = refused.unwrap_err().to_string();
        assert!(
            refused.contains("line 3") || refused.contains("zero"),
            "{refused}"
        );
    }
    let directory = tempfile::tempdir().unwrap();
    let memory = open(directory.path());
    for header in ["", "{}", "{\"fazai_memory\":2,\"dimensions\":{}}", lines[1]] {
        let refused = memory.import(&mut header.as_bytes(), Vectors::Keep);
        assert!(
            matches!(refused, Err(MemoryError::Import { line: 1, .. })),
            "{refused:?}"
        );
    }
}

#[test]
fn a_file_that_is_cut_off_is_refused() {
    let whole = String::from_utf8(exported()).unwrap();
    let (rest, last) = whole.trim_end().rsplit_once('\n').unwrap();
    assert_eq!(
        last,
        format!("{{\"end\":{{\"records\":{}}}}}", rest.lines().count() - 1)
    );
    let fewer = rest.rsplit_once('\n').unwrap().0;
    let import = |text: &str| {
        let directory = tempfile::tempdir().unwrap();
        let memory = open(directory.path());
        memory.import(&mut text.as_bytes(), Vectors::Keep)
    };
    assert_eq!(import(&whole).unwrap(), rest.lines().count() - 1);
    assert!(
        import(whole.trim_end()).is_ok(),
        "only the line end is gone"
    );
    let header = rest.lines().next().unwrap();
    for (text, why) in [
        (format!("{rest}\n"), "cut off"),
        (rest.to_owned(), "cut off"),
        (rest[..rest.len() - 40].to_owned(), "cut off"),
        (whole[..whole.len() - 3].to_owned(), "line"),
        (format!("{header}\n"), "cut off"),
        (format!("{fewer}\n{last}\n"), "lost"),
        (format!("{whole}{last}\n"), "more after"),
        (format!("{whole}\n"), "more after"),
    ] {
        let refused = import(&text).unwrap_err();
        assert!(matches!(refused, MemoryError::Import { .. }), "{refused}");
        assert!(refused.to_string().contains(why), "{refused}");
    }
}
