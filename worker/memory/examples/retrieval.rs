//! Measures how well questions find the manual page that answers them: by vectors, by words and
//! by both.
//!
//! `cargo run --release -p fazai-memory --features candle --example retrieval -- MODEL [MEMORY]`
//!
//! MODEL is a directory such as `./minilm` prints. MEMORY is where the pages and their vectors are
//! kept for another run; without it they are forgotten. The questions are in
//! `benches/questions.tsv`; the pages are all that answer any of them, and have to be installed.
//! Every other question was looked at while the ranking was made, and the others were not: so
//! their figures stand apart.

use std::collections::BTreeSet;
use std::error::Error;
use std::fs;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use fazai_memory::embed::{Bert, BertOptions};
use fazai_memory::store::embedded::Embedded;
use fazai_memory::store::{Collection, Store};
use fazai_memory::{EmbedKind, Embedder, Filter, Memory, Namespace, Options, Record};

/// How many passages are looked through for the right one.
const PASSAGES: usize = 50;

struct Question {
    text: String,
    /// Any of these pages is right.
    pages: BTreeSet<String>,
}

type Failure = Box<dyn Error>;

fn main() -> Result<(), Failure> {
    let mut arguments = std::env::args_os().skip(1).map(PathBuf::from);
    let model = arguments.next().ok_or("name the directory of a model")?;
    let kept = arguments.next();
    let forgotten = tempfile::tempdir()?;
    let place = kept.as_deref().unwrap_or(forgotten.path());
    let questions = questions()?;
    let bert: Arc<dyn Embedder> = Arc::new(Bert::open(&model, &BertOptions::default())?);
    let filter = Filter::of(Namespace::new("retrieval")?);
    ingest(place, &questions, &bert, &filter)?;

    let store = Embedded::open(place.join("memory"))?;
    let vectors = ranks(&questions, |query| {
        let vector = bert.embed(EmbedKind::Query, &[query])?.remove(0);
        let near = store.nearest(Collection::Knowledge, &vector, PASSAGES, &filter)?;
        Ok(near.into_iter().map(|scored| scored.record).collect())
    })?;
    drop(store);
    let by = |embedder: Option<Arc<dyn Embedder>>| {
        let memory = Memory::open(Options::new(place.join("memory")), embedder)?;
        ranks(&questions, |query| {
            let found = memory.search(query, PASSAGES, &filter)?;
            Ok(found.records().cloned().collect())
        })
    };
    let words = by(None)?;
    let both = by(Some(bert))?;
    println!("| questions | found by | recall@1 | recall@5 | MRR |\n|---|---|---:|---:|---:|");
    type Half = fn(usize) -> bool;
    let halves: [(&str, Half); 3] = [
        ("seen", |at| at.is_multiple_of(2)),
        ("held out", |at| !at.is_multiple_of(2)),
        ("all", |_| true),
    ];
    for (half, is_in) in halves {
        for (way, ranks) in [("vectors", &vectors), ("words", &words), ("both", &both)] {
            let ranks = ranks.iter().enumerate();
            let ranks: Vec<_> = ranks
                .filter(|(at, _)| is_in(*at))
                .map(|(_, rank)| *rank)
                .collect();
            let of_all = |sum: f64| sum / ranks.len() as f64;
            let within =
                |k| of_all(ranks.iter().flatten().filter(|rank| **rank <= k).count() as f64);
            let reciprocal = ranks.iter().flatten().map(|rank| 1.0 / *rank as f64).sum();
            println!(
                "| {half}, {} | {way} | {:.3} | {:.3} | {:.3} |",
                ranks.len(),
                within(1),
                within(5),
                of_all(reciprocal)
            );
        }
    }
    Ok(())
}

/// For each question the rank, from 1, of the first passage of a right page.
fn ranks(
    questions: &[Question],
    search: impl Fn(&str) -> Result<Vec<Record>, Failure>,
) -> Result<Vec<Option<usize>>, Failure> {
    let rank = |question: &Question| {
        let found = search(&question.text)?;
        let right = |record: &Record| question.pages.contains(page(&record.payload.source));
        Ok(found.iter().position(right).map(|at| at + 1))
    };
    questions.iter().map(rank).collect()
}

/// `lsblk.8` of the path of its file.
fn page(source: &str) -> &str {
    let name = source.rsplit('/').next().unwrap_or(source);
    name.strip_suffix(".gz").unwrap_or(name)
}

fn questions() -> Result<Vec<Question>, Failure> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/questions.tsv");
    let text = fs::read_to_string(path)?;
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    let question = |line: &str| {
        let (text, pages) = line.split_once('\t').ok_or("a line without a tab")?;
        Ok(Question {
            text: text.into(),
            pages: pages.split(',').map(str::to_owned).collect(),
        })
    };
    lines.map(question).collect()
}

fn ingest(
    place: &Path,
    questions: &[Question],
    bert: &Arc<dyn Embedder>,
    filter: &Filter,
) -> Result<(), Failure> {
    let pages = place.join("pages");
    fs::create_dir_all(&pages)?;
    for page in questions.iter().flat_map(|question| &question.pages) {
        let section = page.rsplit('.').next().unwrap_or_default();
        let path = Path::new("/usr/share/man").join(format!("man{section}/{page}.gz"));
        // Another name of a page is a link.
        if path.symlink_metadata().is_ok_and(|file| file.is_file()) {
            fs::copy(&path, pages.join(format!("{page}.gz")))?;
        }
    }
    let memory = Memory::open(Options::new(place.join("memory")), Some(Arc::clone(bert)))?;
    let options = memory.ingest_options(filter.namespaces[0].clone());
    let start = Instant::now();
    let report = memory.ingest(&pages, &options, &mut |_| ControlFlow::Continue(()))?;
    let seconds = start.elapsed().as_secs_f64();
    println!(
        "{} pages as {} passages, of which {} were embedded by {} in {seconds:.0} s\n",
        report.files,
        report.added + report.known,
        report.added,
        bert.name(),
    );
    Ok(())
}
