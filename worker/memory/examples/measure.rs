//! Measures the memory: `cargo run --release -p fazai-memory --example measure`.
//!
//! Texts and vectors are random and the same every time. Every query goes both ways, with a
//! filter that half of the records pass. Processor time is given as well: it says more than the
//! clock on a machine that others use.

use std::error::Error;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use fazai_memory::store::embedded::Embedded;
use fazai_memory::store::{Collection, Store};
use fazai_memory::{EmbedError, EmbedKind, Embedder, Filter, IngestOptions, Kind, Memory};
use fazai_memory::{Id, Metadata, Namespace, Options, Payload, Record, Status};
use jiff::Timestamp;

const DIMENSIONS: usize = 384;
const QUERIES: usize = 200;
const BATCH: usize = 500;

struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn vector(&mut self) -> Vec<f32> {
        let number = |_| (self.next() % 2001) as f32 / 1000.0 - 1.0;
        (0..DIMENSIONS).map(number).collect()
    }

    /// Few words are frequent and many are rare, as in a language.
    fn words(&mut self, count: usize) -> String {
        let mut words = Vec::with_capacity(count);
        for _ in 0..count {
            let rarity = 1 << (self.next() % 15);
            words.push(format!("w{}", self.next() % rarity));
        }
        words.join(" ")
    }
}

struct Meaningless;

impl Embedder for Meaningless {
    fn name(&self) -> &str {
        "meaningless"
    }

    fn dimensions(&self) -> usize {
        DIMENSIONS
    }

    fn embed(&self, _: EmbedKind, texts: &[&str]) -> Result<Vec<Vec<f32>>, EmbedError> {
        Ok(texts
            .iter()
            .map(|text| Random(text.len() as u64 + 1).vector())
            .collect())
    }
}

fn record(random: &mut Random, number: usize, namespace: &Namespace) -> Record {
    let now = Timestamp::now();
    Record {
        id: Id::of(namespace, &number.to_string()),
        vector: Some(random.vector()),
        payload: Payload {
            text: random.words(120),
            title: random.words(5),
            problem: None,
            solution: None,
            tags: vec![["even", "odd"][number % 2].into()],
            source: format!("document {}", number / 20),
            distro: None,
            kind: Kind::Document,
            status: Status::Active,
            usage_count: 0,
            success_rate: 0.0,
            namespace: namespace.clone(),
            created: now,
            expires: None,
            content_hash: number.to_string(),
            metadata: Metadata {
                action: "measure".into(),
                timestamp: now,
            },
        },
    }
}

fn searches(count: usize) -> Result<(), Box<dyn Error>> {
    let directory = tempfile::tempdir()?;
    let namespace = Namespace::new("measure")?;
    let mut random = Random(42);
    let store = Embedded::open(directory.path())?;
    store.prepare(Collection::Knowledge, Some(DIMENSIONS))?;
    let mut inserting = Duration::ZERO;
    for first in (0..count).step_by(BATCH) {
        let numbers = first..first + BATCH;
        let records: Vec<Record> = numbers
            .map(|n| record(&mut random, n, &namespace))
            .collect();
        let start = Instant::now();
        store.upsert(Collection::Knowledge, &records)?;
        inserting += start.elapsed();
    }
    drop(store);
    let (start, cpu_before) = (Instant::now(), cpu_seconds());
    let memory = Memory::open(Options::new(directory.path()), Some(Arc::new(Meaningless)))?;
    let (opening, opening_cpu) = (start.elapsed(), cpu_seconds() - cpu_before);
    // The words have been kept now, which is what every later start finds.
    drop(memory);
    let (start, cpu_before) = (Instant::now(), cpu_seconds());
    let memory = Memory::open(Options::new(directory.path()), Some(Arc::new(Meaningless)))?;
    let (again, again_cpu) = (start.elapsed(), cpu_seconds() - cpu_before);
    let mut filter = Filter::of(namespace);
    filter.tags.push("odd".into());
    let mut times = Vec::with_capacity(QUERIES);
    let cpu_before = cpu_seconds();
    for _ in 0..QUERIES {
        let query = random.words(8);
        let start = Instant::now();
        let found = memory.search(&query, 10, &filter)?;
        times.push(start.elapsed());
        assert_eq!(found.hits.len(), 10);
    }
    let searching_cpu = (cpu_seconds() - cpu_before) / QUERIES as f64;
    times.sort();
    println!(
        "{count} records: inserted {:.0}/s, opened in {:.2} s ({opening_cpu:.2} s of processor), \
         again in {:.2} s ({again_cpu:.2} s of processor)",
        count as f64 / inserting.as_secs_f64(),
        opening.as_secs_f64(),
        again.as_secs_f64(),
    );
    println!(
        "  search p50 {:.1} ms, p95 {:.1} ms ({:.1} ms of processor); {}",
        times[QUERIES / 2].as_secs_f64() * 1e3,
        times[QUERIES * 95 / 100].as_secs_f64() * 1e3,
        searching_cpu * 1e3,
        resident(),
    );
    Ok(())
}

fn ingest() -> Result<(), Box<dyn Error>> {
    let pages = Path::new("/usr/share/man/man8");
    if !pages.is_dir() {
        println!("no manual pages to ingest");
        return Ok(());
    }
    let directory = tempfile::tempdir()?;
    let memory = Memory::open(Options::new(directory.path()), None)?;
    let options = IngestOptions::new(Namespace::new("measure")?);
    let start = Instant::now();
    let report = memory.ingest(pages, &options, &mut |_| ControlFlow::Continue(()))?;
    let seconds = start.elapsed().as_secs_f64();
    println!(
        "ingested {} manual pages as {} pieces in {seconds:.2} s: {:.0} pages/s, {:.0} pieces/s",
        report.files,
        report.added,
        report.files as f64 / seconds,
        report.added as f64 / seconds,
    );
    Ok(())
}

/// What this process has used of all processors, in hundredths.
fn cpu_seconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields: Vec<&str> = stat.split_whitespace().collect();
    let ticks = |at: usize| fields.get(at).and_then(|ticks| ticks.parse::<f64>().ok());
    (ticks(13).unwrap_or(0.0) + ticks(14).unwrap_or(0.0)) / 100.0
}

fn resident() -> String {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with("VmRSS"));
    line.unwrap_or_default()
        .split_whitespace()
        .collect::<Vec<_>>()
        .join(" ")
}

fn main() -> Result<(), Box<dyn Error>> {
    ingest()?;
    searches(10_000)?;
    searches(50_000)
}
