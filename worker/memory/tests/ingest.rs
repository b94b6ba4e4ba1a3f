//! Documents of all kinds, good and hostile.
#![expect(clippy::unwrap_used, reason = "a test fails by a panic")]

mod common;

use std::fs;
use std::io::Write;
use std::ops::ControlFlow;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use common::{filter, namespace, open};
use fazai_memory::ingest::{Skip, Skipped};
use fazai_memory::{Collection, IngestOptions, IngestReport, Memory, MemoryError, Options};
use flate2::Compression;
use flate2::write::GzEncoder;

fn options() -> IngestOptions {
    IngestOptions::new(namespace("a"))
}

fn ingest(memory: &Memory, path: &Path, options: &IngestOptions) -> IngestReport {
    memory
        .ingest(path, options, &mut |_| ControlFlow::Continue(()))
        .unwrap()
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// Asserts that the first hit is from a file of this name.
fn check_found(memory: &Memory, query: &str, file: &str) {
    let found = memory.search(query, 3, &filter("a")).unwrap();
    let best = found
        .hits
        .first()
        .unwrap_or_else(|| panic!("{query}: nothing"));
    assert!(
        best.record.payload.source.ends_with(file),
        "{query}: {best:?}"
    );
}

#[test]
fn every_format_is_found_by_its_words() {
    let directory = tempfile::tempdir().unwrap();
    let docs = directory.path().join("docs");
    fs::create_dir_all(docs.join("deep/er")).unwrap();
    let man = ".TH ZORK 8\n.SH NAME\nzork \\- frobnicate the \\fBwumpus\\fR\n.SH OPTIONS\n.TP\n.B \\-q\nquietly\n";
    for (name, bytes) in [
        (
            "notes.md",
            b"# Kubelet\n\nIt evicts pods under pressure.\n\n## Drain\n\nUse cordon first."
                .to_vec(),
        ),
        (
            "plain.txt",
            b"The capybara is the largest rodent.\r\n".to_vec(),
        ),
        ("zork.8.gz", gzip(man.as_bytes())),
        (
            "page.html",
            b"<html><script>var evil</script><h1>Tuning</h1><p>Swappiness &amp; zram</p></html>"
                .to_vec(),
        ),
        (
            "deep/er/main.rs",
            b"fn quicksort(items: &mut [u8]) {}\n".to_vec(),
        ),
        ("latin1.txt", b"caf\xe9 au lait, please".to_vec()),
    ] {
        fs::write(docs.join(name), bytes).unwrap();
    }
    let memory = open(&directory.path().join("memory"));
    let report = ingest(&memory, &docs, &options());
    assert_eq!((report.files, report.skipped.len()), (6, 0), "{report:?}");
    assert_eq!(
        report.lossy,
        [fs::canonicalize(docs.join("latin1.txt")).unwrap()]
    );
    check_found(&memory, "evicts pods", "notes.md");
    check_found(&memory, "largest rodent", "plain.txt");
    check_found(&memory, "frobnicate wumpus", "zork.8.gz");
    check_found(&memory, "zram swappiness", "page.html");
    check_found(&memory, "quicksort items", "main.rs");
    let found = memory.search("frobnicate", 1, &filter("a")).unwrap();
    assert!(
        found.hits[0]
            .record
            .payload
            .title
            .contains("zork(8) - frobnicate the wumpus")
    );
    assert_eq!(memory.search("evil", 9, &filter("b")).unwrap().hits, []);
}

#[test]
fn a_second_time_adds_nothing_and_a_change_replaces() {
    let directory = tempfile::tempdir().unwrap();
    let docs = directory.path().join("docs");
    fs::create_dir(&docs).unwrap();
    fs::write(docs.join("one.txt"), "the first fact").unwrap();
    fs::write(docs.join("two.txt"), "the first fact").unwrap();
    let memory = open(&directory.path().join("memory"));
    assert_eq!(ingest(&memory, &docs, &options()).added, 2);
    let again = ingest(&memory, &docs, &options());
    assert_eq!((again.added, again.known, again.removed), (0, 2, 0));
    fs::write(docs.join("one.txt"), "a second opinion").unwrap();
    let changed = ingest(&memory, &docs, &options());
    assert_eq!((changed.added, changed.known, changed.removed), (1, 1, 1));
    check_found(&memory, "first fact", "two.txt");
    check_found(&memory, "second opinion", "one.txt");
    assert_eq!(memory.stats(Collection::Knowledge).unwrap().records, 2);
}

#[test]
fn what_is_not_a_good_file_is_left_out_with_a_reason() {
    let directory = tempfile::tempdir().unwrap();
    let docs = directory.path().join("docs");
    fs::create_dir_all(docs.join("loop")).unwrap();
    symlink(&docs, docs.join("loop/back")).unwrap();
    symlink("/etc/passwd", docs.join("link.txt")).unwrap();
    let pipe = rustix::fs::mknodat(
        rustix::fs::CWD,
        docs.join("pipe.txt"),
        rustix::fs::FileType::Fifo,
        rustix::fs::Mode::RWXU,
        0,
    );
    pipe.unwrap();
    fs::write(docs.join("empty.md"), "").unwrap();
    fs::write(docs.join("blank.md"), " \n\n").unwrap();
    fs::write(docs.join("program"), b"\x7fELF\0\0\0").unwrap();
    fs::write(docs.join(".hidden.txt"), "x").unwrap();
    fs::File::create(docs.join("huge.txt"))
        .unwrap()
        .set_len(100 << 20)
        .unwrap();
    fs::write(docs.join("bomb.txt.gz"), gzip(&vec![b'x'; 40 << 20])).unwrap();
    fs::write(
        docs.join("half.gz"),
        &gzip(b"some text that is cut off")[..20],
    )
    .unwrap();
    fs::write(docs.join("good.txt"), "good").unwrap();
    let memory = open(&directory.path().join("memory"));
    let report = ingest(&memory, &docs, &options());
    assert_eq!(report.files, 1, "{report:?}");
    let reasons = |name: &str| {
        let skipped = report
            .skipped
            .iter()
            .find(|skipped| skipped.path.ends_with(name));
        skipped
            .unwrap_or_else(|| panic!("{name}: {report:?}"))
            .why
            .clone()
    };
    assert_eq!(reasons("loop/back"), Skip::Link);
    assert_eq!(reasons("link.txt"), Skip::Link);
    assert_eq!(reasons("pipe.txt"), Skip::NotAFile { what: "pipe" });
    assert_eq!(reasons("empty.md"), Skip::Empty);
    assert_eq!(reasons("blank.md"), Skip::Empty);
    assert_eq!(reasons("program"), Skip::Binary);
    assert_eq!(reasons(".hidden.txt"), Skip::Hidden);
    assert_eq!(
        reasons("huge.txt"),
        Skip::TooLarge {
            bytes: 100 << 20,
            max: 32 << 20
        }
    );
    assert!(matches!(reasons("bomb.txt.gz"), Skip::TooLarge { .. }));
    assert!(matches!(reasons("half.gz"), Skip::Broken { .. }));
    for path in ["/dev/zero", "/nowhere"] {
        let answer = memory.ingest(Path::new(path), &options(), &mut |_| {
            ControlFlow::Continue(())
        });
        let error = answer.unwrap_err();
        assert!(matches!(error, MemoryError::Ingest { .. }), "{error}");
    }
}

/// What is left out of a directory is listed; what was named is an error.
#[test]
fn a_file_that_was_named_and_is_left_out_is_an_error() {
    let home = tempfile::tempdir().unwrap();
    let memory = open(&home.path().join("memory"));
    let file = |name: &str, bytes: &[u8]| {
        let path = home.path().join(name);
        fs::write(&path, bytes).unwrap();
        path
    };
    let large = file("large.txt", b"");
    let grown = fs::File::options().write(true).open(&large);
    grown.unwrap().set_len(33 << 20).unwrap();
    let pipe = home.path().join("pipe");
    let (kind, mode) = (rustix::fs::FileType::Fifo, rustix::fs::Mode::RWXU);
    rustix::fs::mknodat(rustix::fs::CWD, &pipe, kind, mode, 0).unwrap();
    let denied = file("denied.txt", b"it is a secret");
    let secret = fs::canonicalize(&denied).unwrap();
    let options = IngestOptions {
        may_read: Arc::new(move |path| path != secret),
        ..options()
    };
    for (path, why) in [
        (large, "the limit is"),
        (pipe, "pipe"),
        (denied, "may not be read"),
        (file("program", b"\x7fELF\0\0"), "not text"),
        (file("empty.md", b""), "empty"),
        (home.path().join("nowhere"), "No such file"),
    ] {
        let answer = memory.ingest(&path, &options, &mut |_| ControlFlow::Continue(()));
        let error = answer.unwrap_err().to_string();
        assert!(error.contains(why), "{error}");
    }
}

#[test]
fn files_that_are_gone_from_a_directory_are_forgotten() {
    let home = tempfile::tempdir().unwrap();
    let (docs, other) = (home.path().join("docs"), home.path().join("docs2"));
    for dir in [&docs.join("deep"), &other] {
        fs::create_dir_all(dir).unwrap();
    }
    fs::write(docs.join("one.txt"), "the capybara swims").unwrap();
    fs::write(docs.join("deep/two.txt"), "the wombat digs").unwrap();
    fs::write(other.join("three.txt"), "the quokka smiles").unwrap();
    let memory = open(&home.path().join("memory"));
    ingest(&memory, &docs, &options());
    ingest(&memory, &other, &options());
    ingest(&memory, &docs, &IngestOptions::new(namespace("b")));
    fs::remove_dir_all(docs.join("deep")).unwrap();
    fs::remove_file(other.join("three.txt")).unwrap();
    let report = ingest(&memory, &docs, &options());
    assert_eq!((report.gone, report.removed, report.known), (1, 1, 1));
    let has = |query: &str, name: &str| {
        let hits = memory.search(query, 9, &filter(name)).unwrap().hits;
        hits.iter().any(|hit| hit.words.contains(&query.to_owned()))
    };
    assert!(has("capybara", "a") && !has("wombat", "a"));
    assert!(has("quokka", "a"), "another directory was not looked at");
    assert!(has("wombat", "b"), "nor were another's records");
    // An empty directory is one that is not mounted.
    fs::remove_file(docs.join("one.txt")).unwrap();
    assert_eq!(ingest(&memory, &docs, &options()).gone, 0);
    assert!(has("capybara", "a"));
}

#[test]
fn known_files_get_the_tags_that_they_lack() {
    let home = tempfile::tempdir().unwrap();
    let docs = home.path().join("docs");
    fs::create_dir(&docs).unwrap();
    fs::write(docs.join("one.txt"), "the capybara swims").unwrap();
    fs::write(docs.join("two.txt"), "the wombat digs").unwrap();
    let memory = open(&home.path().join("memory"));
    let tagged = |tags: &[&str]| IngestOptions {
        tags: tags.iter().map(|tag| (*tag).to_owned()).collect(),
        ..options()
    };
    ingest(&memory, &docs.join("one.txt"), &tagged(&["a", "b"]));
    ingest(&memory, &docs, &tagged(&["a"]));
    let report = ingest(&memory, &docs, &tagged(&["b", "c"]));
    assert_eq!((report.known, report.tagged, report.added), (2, 2, 0));
    assert_eq!(ingest(&memory, &docs, &tagged(&["b"])).tagged, 0);
    let found = memory.search("wombat", 1, &filter("a")).unwrap();
    let hit = &found.hits[0];
    assert_eq!(hit.record.payload.tags, ["a", "b", "c"]);
    assert!(hit.similarity.is_some(), "its vector stays");
}

#[test]
fn a_link_that_takes_a_directorys_place_leads_nowhere() {
    let home = tempfile::tempdir().unwrap();
    let (docs, etc) = (home.path().join("docs"), home.path().join("etc"));
    fs::create_dir_all(docs.join("z")).unwrap();
    fs::create_dir(&etc).unwrap();
    fs::write(etc.join("shadow"), "xyzzy is the secret").unwrap();
    fs::write(docs.join("z/shadow"), "nothing at all").unwrap();
    (0..70).for_each(|n| fs::write(docs.join(format!("f{n}.txt")), format!("fact {n}")).unwrap());
    let memory = open(&home.path().join("memory"));
    let mut done = 0;
    let report = memory.ingest(&docs, &options(), &mut |_| {
        done += 1;
        if done == 1 {
            fs::rename(docs.join("z"), docs.join("y")).unwrap();
            symlink(&etc, docs.join("z")).unwrap();
        }
        ControlFlow::Continue(())
    });
    let report = report.unwrap();
    assert_eq!((report.files, report.skipped.len()), (70, 1), "{report:?}");
    assert_eq!(report.skipped[0].why, Skip::Link);
    // What was moved elsewhere is read only if it may be read there.
    fs::remove_file(docs.join("z")).unwrap();
    fs::rename(docs.join("y"), docs.join("z")).unwrap();
    let moved = fs::canonicalize(home.path()).unwrap().join("moved");
    let not_there = {
        let moved = moved.clone();
        IngestOptions {
            may_read: Arc::new(move |path| !path.starts_with(&moved)),
            ..options()
        }
    };
    let mut done = 0;
    let report = memory.ingest(&docs, &not_there, &mut |_| {
        done += 1;
        if done == 1 {
            fs::rename(&docs, &moved).unwrap();
        }
        ControlFlow::Continue(())
    });
    let report = report.unwrap();
    let denied = |skipped: &Skipped| skipped.why == Skip::Denied;
    assert!(report.files < 71, "{report:?}");
    assert!(report.skipped.iter().all(denied), "{report:?}");
}

#[test]
fn a_file_alone_is_read_by_its_own_name_or_a_links() {
    let home = tempfile::tempdir().unwrap();
    let memory = open(&home.path().join("memory"));
    let (file, link) = (home.path().join("one.txt"), home.path().join("link.txt"));
    fs::write(&file, "the capybara swims").unwrap();
    symlink(&file, &link).unwrap();
    assert_eq!(ingest(&memory, &file, &options()).added, 1);
    assert_eq!(ingest(&memory, &link, &options()).known, 1);
    check_found(&memory, "capybara", "one.txt");
}

#[test]
fn limits_hold() {
    let directory = tempfile::tempdir().unwrap();
    let docs = directory.path().join("docs");
    let mut deep = docs.clone();
    (0..20).for_each(|n| deep.push(format!("d{n}")));
    fs::create_dir_all(&deep).unwrap();
    (0..30).for_each(|n| fs::write(docs.join(format!("f{n}.txt")), format!("fact {n}")).unwrap());
    let memory = open(&directory.path().join("memory"));
    let few = IngestOptions {
        files_max: 10,
        ..options()
    };
    let report = ingest(&memory, &docs, &few);
    assert!(report.files <= 10, "{report:?}");
    assert!(
        report
            .skipped
            .iter()
            .any(|skipped| skipped.why == Skip::TooMany { max: 10 })
    );
    let report = ingest(&memory, &docs, &options());
    assert!(
        report
            .skipped
            .iter()
            .any(|skipped| skipped.why == Skip::TooDeep { max: 16 })
    );
    let mut left = 5;
    let stopped = memory.ingest(&docs, &options(), &mut |_| {
        left -= 1;
        if left == 0 {
            ControlFlow::Break(())
        } else {
            ControlFlow::Continue(())
        }
    });
    assert!(stopped.unwrap().stopped);
    for bad in [
        IngestOptions {
            chunk_tokens: 0,
            ..options()
        },
        IngestOptions {
            overlap_tokens: 300,
            ..options()
        },
        IngestOptions {
            chunk_tokens: usize::MAX,
            ..options()
        },
    ] {
        assert!(
            memory
                .ingest(&docs, &bad, &mut |_| ControlFlow::Continue(()))
                .is_err()
        );
    }
    // A count that is no count does no harm.
    for tokens in [0, 1, usize::MAX / 8] {
        let odd = IngestOptions {
            tokens: Arc::new(move |_| tokens),
            ..options()
        };
        let mut text: &[u8] = b"one two\n\nthree four\n\nfive";
        memory.ingest_reader("odd.txt", &mut text, &odd).unwrap();
    }
}

#[test]
fn readers_have_names() {
    let directory = tempfile::tempdir().unwrap();
    let memory = open(directory.path());
    let report = memory
        .ingest_reader("-", &mut &b"from a pipe"[..], &options())
        .unwrap();
    assert_eq!(report.added, 1);
    check_found(&memory, "pipe", "-");
    let empty = memory
        .ingest_reader("-", &mut &b""[..], &options())
        .unwrap();
    assert_eq!(empty.skipped[0].why, Skip::Empty);
    let endless = memory
        .ingest_reader("-", &mut std::io::repeat(b'x'), &options())
        .unwrap();
    assert!(matches!(endless.skipped[0].why, Skip::TooLarge { .. }));
    // A pipe that broke is no new version.
    check_found(&memory, "pipe", "-");
}

#[test]
fn hostile_html_is_survived() {
    let directory = tempfile::tempdir().unwrap();
    let memory = open(directory.path());
    for open in [
        "<div>",
        "<div></a>",
        "<div><!--</div>-->",
        "<table><tr><td>",
        "<ul><li>",
        "<font a=1><b>",
    ] {
        for count in [100, 200_000] {
            let page = format!("{}deep words{}", open.repeat(count), "</p>".repeat(10));
            let report = memory.ingest_reader("page.html", &mut page.as_bytes(), &options());
            let report = report.unwrap();
            assert_eq!(
                report.skipped.len(),
                usize::from(count > 1000),
                "{open}: {report:?}"
            );
        }
    }
    let flat = "<p>one<li>two<td>three<br>".repeat(50_000);
    memory
        .ingest_reader("page.html", &mut flat.as_bytes(), &options())
        .unwrap();
}

#[test]
fn headings_alone_are_found() {
    let directory = tempfile::tempdir().unwrap();
    let memory = open(directory.path());
    let mut page: &[u8] = b"# Plans\n\n## Replace the capybara\n\n## Paint it\n";
    let report = memory
        .ingest_reader("plans.md", &mut page, &options())
        .unwrap();
    assert_eq!((report.files, report.skipped.len()), (1, 0), "{report:?}");
    check_found(&memory, "replace capybara", "plans.md");
}

/// The smallest file that holds a text.
#[cfg(feature = "pdf")]
fn pdf(text: &str) -> Vec<u8> {
    let stream = format!("BT /F1 24 Tf 72 700 Td ({text}) Tj ET");
    let objects = [
        "<< /Type /Catalog /Pages 2 0 R >>".to_owned(),
        "<< /Type /Pages /Kids [3 0 R] /Count 1 >>".to_owned(),
        "<< /Type /Page /Parent 2 0 R /MediaBox [0 0 612 792] /Contents 4 0 R \
         /Resources << /Font << /F1 5 0 R >> >> >>"
            .to_owned(),
        format!(
            "<< /Length {} >>\nstream\n{stream}\nendstream",
            stream.len()
        ),
        "<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica /Encoding /WinAnsiEncoding >>"
            .to_owned(),
    ];
    let (mut file, mut offsets) = (String::from("%PDF-1.4\n"), Vec::new());
    for (number, object) in (1..).zip(&objects) {
        offsets.push(file.len());
        file.push_str(&format!("{number} 0 obj\n{object}\nendobj\n"));
    }
    let start = file.len();
    file.push_str("xref\n0 6\n0000000000 65535 f \n");
    for offset in offsets {
        file.push_str(&format!("{offset:010} 00000 n \n"));
    }
    file.push_str(&format!(
        "trailer << /Size 6 /Root 1 0 R >>\nstartxref\n{start}\n%%EOF\n"
    ));
    file.into_bytes()
}

#[test]
#[cfg(feature = "pdf")]
fn pdfs_are_read_and_broken_ones_are_survived() {
    let directory = tempfile::tempdir().unwrap();
    let memory = open(directory.path());
    let good = pdf("Grub menu entries");
    let report = memory
        .ingest_reader("good.pdf", &mut &good[..], &options())
        .unwrap();
    assert_eq!(report.added, 1, "{report:?}");
    check_found(&memory, "grub menu", "good.pdf");
    let mut broken = vec![
        b"%PDF-1.4\n".to_vec(),
        b"not a pdf".to_vec(),
        good[..good.len() / 2].to_vec(),
    ];
    broken.push([b"%PDF-1.4\n1 0 obj\n".to_vec(), b"[".repeat(1 << 20)].concat());
    broken.push([good.clone(), b"<<".repeat(1 << 18)].concat());
    for at in (0..good.len()).step_by(37) {
        let mut damaged = good.clone();
        damaged[at] ^= 0x55;
        broken.push(damaged);
    }
    for bytes in broken {
        memory
            .ingest_reader("broken.pdf", &mut &bytes[..], &options())
            .unwrap();
    }
}

#[test]
fn man_pages_answer_questions() {
    let pages = Path::new("/usr/share/man/man8");
    if !pages.join("lsblk.8.gz").is_file() {
        eprintln!("SKIPPED: there are no manual pages in {}", pages.display());
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let memory = Memory::open(Options::new(directory.path()), None).unwrap();
    let report = ingest(&memory, pages, &options());
    assert!(report.added > report.files, "{report:?}");
    check_found(&memory, "how do I list block devices", "lsblk.8.gz");
    let unread: Vec<&PathBuf> = report
        .skipped
        .iter()
        .filter(|skipped| matches!(skipped.why, Skip::Broken { .. } | Skip::Binary))
        .map(|skipped| &skipped.path)
        .collect();
    assert!(unread.is_empty(), "{unread:?}");
}
