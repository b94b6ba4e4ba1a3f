//! Embedding models that fail, give nonsense or are slow: nothing is lost for that.
#![expect(clippy::unwrap_used, reason = "a test fails by a panic")]

mod common;

use std::sync::Arc;
use std::time::Duration;

use common::{DIMENSIONS, added, filter, namespace, note, open};
use fazai_memory::{
    Collection, EmbedError, EmbedKind, Embedder, FoundBy, Memory, Options, Warning,
};

struct Broken(Answer);

/// What it says to that many texts.
type Answer = fn(usize) -> Result<Vec<Vec<f32>>, EmbedError>;

impl Embedder for Broken {
    fn name(&self) -> &str {
        "broken"
    }
    fn dimensions(&self) -> usize {
        DIMENSIONS
    }
    fn embed(&self, _: EmbedKind, texts: &[&str]) -> Result<Vec<Vec<f32>>, EmbedError> {
        (self.0)(texts.len())
    }
}

#[test]
fn a_broken_model_loses_nothing_and_is_a_warning() {
    let directory = tempfile::tempdir().unwrap();
    added(
        open(directory.path())
            .commit(note("a", "lsblk lists block devices"))
            .unwrap(),
    );
    let broken: [Answer; 5] = [
        |_| {
            Err(EmbedError {
                model: "broken".into(),
                why: "it is".into(),
            })
        },
        |texts| Ok(vec![vec![0.0; DIMENSIONS]; texts]),
        |texts| Ok(vec![vec![f32::NAN; DIMENSIONS]; texts]),
        |texts| Ok(vec![vec![1.0; 3]; texts]),
        |_| Ok(vec![]),
    ];
    for (at, broken) in broken.into_iter().enumerate() {
        let broken = Arc::new(Broken(broken));
        let memory = Memory::open(Options::new(directory.path()), Some(broken)).unwrap();
        let found = memory.search("block devices", 5, &filter("a")).unwrap();
        assert_eq!(found.hits.len(), 1);
        assert!(
            matches!(found.warnings[..], [Warning::EmbedderFailed { .. }]),
            "{found:?}"
        );
        let commit = memory.commit(note("a", &format!("fact{at} is something else")));
        let commit = commit.unwrap();
        assert!(
            matches!(commit.warning, Some(Warning::NoVector { .. })),
            "{commit:?}"
        );
        added(commit);
        let found = memory
            .search(&format!("fact{at}"), 5, &filter("a"))
            .unwrap();
        assert_eq!(found.hits.len(), 1);
        let stats = memory.stats(Collection::Knowledge).unwrap();
        assert_eq!((stats.records, stats.with_vector), (at + 2, 1));
        // Nothing was embedded, and nobody is told that it was.
        assert!(memory.embed_missing(&|_| true).is_err());
    }
    let memory = open(directory.path());
    assert_eq!(memory.embed_missing(&|_| true).unwrap(), 5);
}

/// One that has no vector for some of the texts.
#[test]
fn one_bad_vector_costs_the_others_nothing() {
    let answer: Answer = |texts| {
        let vector = |at: usize| vec![if at == 1 { 0.0 } else { at as f32 + 1.0 }; DIMENSIONS];
        Ok((0..texts).map(vector).collect())
    };
    let directory = tempfile::tempdir().unwrap();
    let docs = directory.path().join("docs");
    std::fs::create_dir(&docs).unwrap();
    for name in ["a", "b", "c"] {
        std::fs::write(docs.join(name), format!("fact {name}")).unwrap();
    }
    let broken = Some(Arc::new(Broken(answer)) as Arc<dyn Embedder>);
    let memory = Memory::open(Options::new(directory.path().join("memory")), broken).unwrap();
    let options = fazai_memory::IngestOptions::new(namespace("a"));
    let report = memory.ingest(
        &docs,
        &options,
        &mut |_| std::ops::ControlFlow::Continue(()),
    );
    let report = report.unwrap();
    assert_eq!(report.added, 3);
    assert!(
        matches!(report.warning, Some(Warning::NoVector { .. })),
        "{report:?}"
    );
    let stats = memory.stats(Collection::Knowledge).unwrap();
    assert_eq!((stats.records, stats.with_vector), (3, 2));
}

/// One that is too slow for questions.
struct Slow;

impl Embedder for Slow {
    fn name(&self) -> &str {
        "slow"
    }
    fn dimensions(&self) -> usize {
        DIMENSIONS
    }
    fn embed(&self, _: EmbedKind, texts: &[&str]) -> Result<Vec<Vec<f32>>, EmbedError> {
        Ok(vec![vec![1.0; DIMENSIONS]; texts.len()])
    }
    fn embed_within(
        &self,
        _: EmbedKind,
        _: &[&str],
        within: Duration,
    ) -> Result<Vec<Vec<f32>>, EmbedError> {
        Err(EmbedError {
            model: "slow".into(),
            why: format!("no answer within {within:?}"),
        })
    }
}

#[test]
fn a_question_waits_for_its_meaning_only_a_little() {
    let directory = tempfile::tempdir().unwrap();
    let slow = Some(Arc::new(Slow) as Arc<dyn Embedder>);
    let memory = Memory::open(Options::new(directory.path()), slow).unwrap();
    added(memory.commit(note("a", "the relay waits")).unwrap());
    let hour = Duration::from_secs(3600);
    for (within, told) in [(Duration::from_millis(300), "300ms"), (hour, "within 3s")] {
        let found = memory
            .search_within("relay", 5, &filter("a"), within)
            .unwrap();
        assert_eq!((found.hits.len(), found.searched_by), (1, FoundBy::Text));
        let said = found.warnings[0].to_string();
        assert!(
            said.contains(told) && said.contains("words alone"),
            "{said}"
        );
    }
}
