//! Downloads against a stand-in for a model hub that cuts, corrupts, lies and stalls.
#![cfg(feature = "hub")]

mod hub;

use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use fazai_models::load::ModelSource;
use fazai_models::store::catalog::{CatalogDirectory, CatalogFile};
use fazai_models::store::{
    Entry, EntrySource, Origin, PullError, PullEvent, PullOptions, PullStep, Store, StoreError,
    SumFrom, Token,
};
use hub::{COMMIT, Fault, Hub, gguf, sum};

const REFERENCE: &str = "hf:owner/repo/tiny.gguf";

/// Large enough for several pieces in flight.
const BYTES: usize = 3 << 20;

/// A store in a directory of its own, a hub with one model, and options that waste no time.
struct Bench {
    hub: Hub,
    store: Store,
    options: PullOptions,
    model: Vec<u8>,
    events: Vec<PullEvent>,
}

impl Bench {
    async fn new(name: &str) -> Self {
        let folder = format!("fazai-pull-{name}-{}", std::process::id());
        let folder = std::env::temp_dir().join(folder);
        let _ = fs::remove_dir_all(&folder);
        let hub = Hub::start().await;
        let model = gguf(BYTES);
        hub.put("tiny.gguf", &model);
        Self {
            options: PullOptions {
                endpoint: hub.endpoint.clone(),
                stall: Duration::from_secs(10),
                retries_max: 3,
                backoff: Duration::from_millis(1),
                ..PullOptions::default()
            },
            hub,
            store: Store::new(folder),
            model,
            events: Vec::new(),
        }
    }

    async fn pull(&mut self, reference: &str) -> Result<Entry, PullError> {
        let events = &mut self.events;
        let mut listener = |event: &PullEvent| events.push(event.clone());
        let store = self.store.clone();
        store.pull(reference, &self.options, &mut listener).await
    }

    /// Pulls without a second attempt.
    async fn pull_once(&mut self, reference: &str) -> Result<Entry, PullError> {
        let retries_max = std::mem::replace(&mut self.options.retries_max, 0);
        let result = self.pull(reference).await;
        self.options.retries_max = retries_max;
        result
    }

    async fn fails(&mut self, reference: &str) -> PullError {
        match self.pull(reference).await {
            Err(error) => error,
            Ok(entry) => panic!("{entry:?}"),
        }
    }

    fn path(&self, file: &str) -> PathBuf {
        self.store.dir().join(file)
    }

    fn files(&self) -> Vec<String> {
        let Ok(entries) = fs::read_dir(self.store.dir()) else {
            return Vec::new();
        };
        let name = |entry: std::io::Result<fs::DirEntry>| {
            let entry = entry.expect("readable");
            entry.file_name().to_string_lossy().into_owned()
        };
        let mut files: Vec<_> = entries.map(name).collect();
        files.sort();
        files
    }

    /// The model is there, whole, and nothing else is.
    fn assert_complete(&self) {
        let file = fs::read(self.path("tiny.gguf")).expect("it is there");
        assert!(file == self.model, "it has other bytes");
        assert_eq!(self.files(), ["tiny.gguf", "tiny.json"]);
        let mut done = 0;
        for event in self.events.iter().filter(|event| event.retry.is_none()) {
            assert_eq!(event.total_bytes, BYTES as u64);
            if event.step == PullStep::Fetching {
                assert!(event.done_bytes >= done, "progress went backwards");
                done = event.done_bytes;
            }
        }
    }

    async fn wait_for_part(&self, bytes: u64) {
        let start = Instant::now();
        while self.part_bytes() < bytes {
            assert!(start.elapsed() < Duration::from_secs(20), "nothing comes");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    fn part_bytes(&self) -> u64 {
        let part = fs::metadata(self.path("tiny.gguf.part"));
        part.map_or(0, |about| about.len())
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(self.store.dir());
    }
}

#[tokio::test]
async fn a_model_is_downloaded_checked_and_remembered() {
    let mut bench = Bench::new("pull").await;
    let entry = bench.pull(REFERENCE).await.expect("downloaded");
    bench.assert_complete();
    assert_eq!(entry.name, "tiny");
    assert_eq!(entry.bytes, BYTES as u64);
    assert_eq!(entry.architecture, "qwen3");
    assert_eq!(entry.broken, None);
    let EntrySource::Hub(origin) = &entry.source else {
        panic!("{entry:?}");
    };
    let expected = Origin {
        repository: "owner/repo".into(),
        file: "tiny.gguf".into(),
        requested: None,
        commit: COMMIT.into(),
        bytes: BYTES as u64,
        sha256: sum(&bench.model),
        sum_from: SumFrom::Hub,
        pulled_unix_s: origin.pulled_unix_s,
    };
    assert_eq!(*origin, expected);
    assert!(origin.pulled_unix_s > 1_700_000_000);
    assert_eq!(origin.reference(), format!("{REFERENCE}@{COMMIT}"));
    assert_eq!(bench.hub.ranges(), [(0, BYTES - 1)]);

    let last = bench.events.last().expect("progress");
    assert_eq!(
        (last.done_bytes, last.file.as_str()),
        (BYTES as u64, "tiny.gguf")
    );
    assert!(bench.events.len() < 20, "{}", bench.events.len());
    assert!(bench.store.list().expect("listed").contains(&entry));
    let source = bench.store.resolve("tiny").expect("there").source;
    assert_eq!(source, ModelSource::File(bench.path("tiny.gguf")));
}

#[tokio::test]
async fn what_is_there_is_not_downloaded_again_until_the_hub_has_another() {
    let mut bench = Bench::new("again").await;
    bench.pull(REFERENCE).await.expect("downloaded");
    bench.pull(REFERENCE).await.expect("still there");
    assert_eq!(bench.hub.ranges().len(), 1);
    bench.model = gguf(BYTES + 1);
    bench.hub.put("tiny.gguf", &bench.model);
    bench.events.clear();
    let entry = bench.pull(REFERENCE).await.expect("updated");
    assert_eq!(entry.bytes, BYTES as u64 + 1);
    assert_eq!(bench.hub.ranges().len(), 2);
}

#[tokio::test]
async fn a_cut_download_goes_on_where_it_was() {
    let mut bench = Bench::new("cut").await;
    bench.hub.fail_get(Fault::Cut(1_000_000));
    bench.hub.fail_get(Fault::Cut(500_000));
    bench.pull(REFERENCE).await.expect("downloaded");
    bench.assert_complete();
    let last = BYTES - 1;
    assert_eq!(
        bench.hub.ranges(),
        [(0, last), (1_000_000, last), (1_500_000, last)]
    );
}

#[tokio::test]
async fn another_process_goes_on_where_the_first_one_was() {
    let mut bench = Bench::new("resume").await;
    bench.hub.fail_get(Fault::Cut(2_000_000));
    let error = bench.pull_once(REFERENCE).await.expect_err("cut");
    assert!(matches!(error, PullError::Network { .. }), "{error}");
    assert!(error.to_string().contains("run the same command again"));
    assert_eq!(bench.part_bytes(), 2_000_000);
    assert_eq!(bench.files(), ["tiny.gguf.part", "tiny.gguf.part.json"]);

    bench.store = Store::new(bench.store.dir());
    bench.events.clear();
    bench.pull(REFERENCE).await.expect("the rest");
    bench.assert_complete();
    assert_eq!(bench.hub.ranges()[1], (2_000_000, BYTES - 1));
    let steps: Vec<_> = bench.events.iter().map(|event| event.step).collect();
    assert_eq!(steps[..2], [PullStep::Checking, PullStep::Fetching]);
    assert_eq!(bench.events[1].done_bytes, 2_000_000);
}

#[tokio::test]
async fn a_complete_part_is_finished_without_a_request_for_bytes() {
    let mut bench = Bench::new("complete").await;
    bench.hub.fail_get(Fault::Cut(10));
    bench.pull_once(REFERENCE).await.expect_err("cut");
    fs::write(bench.path("tiny.gguf.part"), &bench.model).expect("written");
    bench.pull(REFERENCE).await.expect("finished");
    bench.assert_complete();
    assert_eq!(bench.hub.ranges().len(), 1);
}

#[tokio::test]
async fn a_download_stays_at_its_commit_while_the_branch_moves() {
    let mut bench = Bench::new("branch").await;
    bench.hub.fail_get(Fault::Cut(1_000_000));
    bench.pull_once(REFERENCE).await.expect_err("cut");
    {
        let mut state = bench.hub.state();
        state.commit = "2".repeat(40);
        state.commits.insert("2".repeat(40));
    }
    let entry = bench.pull(REFERENCE).await.expect("the rest");
    bench.assert_complete();
    assert!(matches!(entry.source, EntrySource::Hub(origin) if origin.commit == COMMIT));
    assert_eq!(bench.hub.ranges()[1].0, 1_000_000);
}

#[tokio::test]
async fn a_download_of_a_commit_that_is_gone_begins_anew() {
    let mut bench = Bench::new("gone").await;
    bench.hub.fail_get(Fault::Cut(1_000_000));
    bench.pull_once(REFERENCE).await.expect_err("cut");
    {
        let mut state = bench.hub.state();
        state.commit = "2".repeat(40);
        state.commits = [state.commit.clone()].into();
    }
    bench.model[BYTES - 1] ^= 1;
    let model = bench.model.clone();
    bench.hub.put("tiny.gguf", &model);
    bench.pull(REFERENCE).await.expect("downloaded");
    bench.assert_complete();
    assert_eq!(bench.hub.ranges()[1].0, 0);
}

#[tokio::test]
async fn a_byte_that_changed_on_the_way_is_noticed() {
    let mut bench = Bench::new("flip").await;
    bench.hub.fail_get(Fault::Flip(BYTES / 2));
    let error = bench.fails(REFERENCE).await;
    let mut damaged = bench.model.clone();
    damaged[BYTES / 2] ^= 1;
    let text = error.to_string();
    assert!(text.contains(&sum(&bench.model)), "{text}");
    assert!(text.contains(&sum(&damaged)), "{text}");
    assert!(bench.files().is_empty(), "{:?}", bench.files());
    bench.pull(REFERENCE).await.expect("the next one is good");
}

#[tokio::test]
async fn a_byte_that_changed_on_the_disk_is_noticed() {
    let mut bench = Bench::new("rot").await;
    bench.hub.fail_get(Fault::Cut(1_000_000));
    bench.pull_once(REFERENCE).await.expect_err("cut");
    let mut part = fs::read(bench.path("tiny.gguf.part")).expect("there");
    part[500_000] ^= 1;
    fs::write(bench.path("tiny.gguf.part"), part).expect("written");
    let error = bench.fails(REFERENCE).await;
    assert!(matches!(error, PullError::Sum { .. }), "{error}");
    assert!(bench.files().is_empty(), "{:?}", bench.files());
}

#[tokio::test]
async fn a_server_that_ignores_the_range_costs_no_progress() {
    let mut bench = Bench::new("whole").await;
    bench.hub.fail_get(Fault::Cut(1_000_000));
    bench.hub.fail_get(Fault::Whole);
    bench.pull(REFERENCE).await.expect("downloaded");
    bench.assert_complete();
}

#[tokio::test]
async fn a_mirror_that_states_the_whole_length_everywhere_can_be_resumed() {
    let mut bench = Bench::new("mirror").await;
    bench.hub.state().direct = true;
    bench.hub.fail_get(Fault::Cut(1_000_000));
    bench.hub.fail_get(Fault::Cut(1_000_000));
    bench.hub.fail_get(Fault::Whole);
    bench.pull(REFERENCE).await.expect("downloaded");
    bench.assert_complete();
    let starts: Vec<_> = bench.hub.ranges().iter().map(|range| range.0).collect();
    assert_eq!(starts, [0, 1_000_000, 2_000_000]);
}

#[tokio::test]
async fn a_length_that_is_not_what_was_promised_is_refused() {
    let check = async |name: &str, difference: i64, faults: &[Fault]| {
        let mut bench = Bench::new(name).await;
        for fault in faults {
            bench.hub.fail_get(fault.clone());
        }
        let promised = (BYTES as u64).saturating_add_signed(difference);
        if let Some(served) = bench.hub.state().files.get_mut("tiny.gguf") {
            served.length = promised;
        }
        let error = bench.fails(REFERENCE).await;
        assert!(bench.files().is_empty(), "{:?}", bench.files());
        (promised.to_string(), error)
    };
    let cut = Fault::Cut(500_000);
    let cases: [(i64, &[Fault]); 4] = [
        (1, &[]),
        (1, std::slice::from_ref(&cut)),
        (-1, &[Fault::Whole]),
        (-1, &[cut.clone(), Fault::Whole]),
    ];
    for (difference, faults) in cases {
        let (promised, error) = check("length", difference, faults).await;
        assert!(
            matches!(error, PullError::Size { .. }),
            "{difference}: {error}"
        );
        assert!(error.to_string().contains(&promised), "{error}");
    }
    // Asked for less than it has, a server gives less, and only the sum tells.
    let (_, error) = check("shorter", -1, &[]).await;
    assert!(matches!(error, PullError::Sum { .. }), "{error}");
}

#[tokio::test]
async fn more_bytes_than_promised_never_get_to_the_disk() {
    let mut bench = Bench::new("too-much").await;
    bench.hub.fail_get(Fault::TooMuch);
    match bench.pull(REFERENCE).await {
        Err(PullError::Size { .. }) => assert!(bench.files().is_empty()),
        Ok(_) => bench.assert_complete(),
        Err(error) => panic!("{error}"),
    }
}

#[tokio::test]
async fn a_part_that_is_longer_than_the_file_is_thrown_away() {
    let mut bench = Bench::new("long-part").await;
    bench.hub.fail_get(Fault::Cut(10));
    bench.pull_once(REFERENCE).await.expect_err("cut");
    fs::write(bench.path("tiny.gguf.part"), vec![7; BYTES + 1]).expect("written");
    bench.pull(REFERENCE).await.expect("downloaded");
    bench.assert_complete();
    assert_eq!(bench.hub.ranges()[1].0, 0);
}

#[tokio::test]
async fn a_part_of_unknown_origin_is_thrown_away() {
    let mut bench = Bench::new("stray-part").await;
    fs::create_dir_all(bench.store.dir()).expect("created");
    fs::write(bench.path("tiny.gguf.part"), &bench.model[..1_000]).expect("written");
    bench.pull(REFERENCE).await.expect("downloaded");
    bench.assert_complete();
    assert_eq!(bench.hub.ranges(), [(0, BYTES - 1)]);
}

#[tokio::test]
async fn what_does_not_fit_on_the_disk_is_not_begun() {
    let mut bench = Bench::new("room").await;
    let room = (64 << 20) + BYTES as u64;
    bench.options.free_bytes = Some(room - 1);
    let error = bench.fails(REFERENCE).await;
    assert!(
        matches!(error, PullError::NoRoom { needed, .. } if needed == room),
        "{error}"
    );
    assert!(error.to_string().contains("67 MiB"), "{error}");
    assert_eq!(bench.hub.ranges(), []);
    bench.options.free_bytes = Some(room);
    bench.hub.fail_get(Fault::Cut(1_000_000));
    bench.pull_once(REFERENCE).await.expect_err("cut");
    bench.options.free_bytes = Some(room - 1_000_000);
    bench
        .pull(REFERENCE)
        .await
        .expect("only the rest needs room");
}

#[tokio::test]
async fn a_full_disk_says_so() {
    let mut bench = Bench::new("full").await;
    fs::create_dir_all(bench.store.dir()).expect("created");
    let part = bench.path("tiny.gguf.part");
    std::os::unix::fs::symlink("/dev/full", part).expect("a link");
    let error = bench.fails(REFERENCE).await;
    assert!(matches!(error, PullError::DiskFull(_)), "{error}");
    assert_eq!(
        bench.hub.ranges().len(),
        1,
        "there is no use in trying again"
    );
}

#[tokio::test]
async fn a_directory_that_can_not_be_used_is_named() {
    let mut bench = Bench::new("directory").await;
    fs::create_dir_all(bench.store.dir()).expect("created");
    fs::write(bench.path("file"), b"").expect("written");
    let folder = bench.store.dir().to_owned();
    for folder in [folder.join("file"), "/proc/fazai/models".into()] {
        let store = Store::new(&folder);
        let result = store.pull(REFERENCE, &bench.options, &mut |_| {}).await;
        let error = result.expect_err("no directory");
        assert!(matches!(error, PullError::Directory { .. }), "{error}");
        assert!(
            error.to_string().contains(&*folder.to_string_lossy()),
            "{error}"
        );
    }
    assert_eq!(bench.hub.requests(), 0);
    bench.pull(REFERENCE).await.expect("this one is good");
}

#[tokio::test]
async fn offline_means_not_a_single_connection() {
    let mut bench = Bench::new("offline").await;
    bench.options.offline = true;
    for reference in [REFERENCE, "qwen3:0.6b"] {
        let error = bench.fails(reference).await;
        assert!(matches!(error, PullError::Offline), "{error}");
    }
    assert_eq!(bench.hub.requests(), 0);
    assert!(bench.files().is_empty());
}

#[tokio::test]
async fn a_refusal_says_what_to_do() {
    let check = async |status: u16, headers: &'static str, token: bool, expected: &[&str]| {
        let mut bench = Bench::new("refusal").await;
        bench.options.token = Token::new("hf_x").filter(|_| token);
        bench.hub.fail_head(Fault::Status(status, headers));
        let text = bench.fails(REFERENCE).await.to_string();
        for expected in expected {
            assert!(text.contains(expected), "{status} {headers}: {text}");
        }
        assert_eq!(bench.hub.requests(), 1, "{status} {headers}: {text}");
        assert!(bench.files().is_empty());
    };
    let gated = "X-Error-Code: GatedRepo\r\nX-Error-Message: ask first\r\n";
    check(
        401,
        gated,
        false,
        &["is gated", "HF_TOKEN", "owner/repo", "ask first"],
    )
    .await;
    check(403, gated, true, &["accept its licence"]).await;
    let gone = "X-Error-Code: RepoNotFound\r\n";
    check(401, gone, false, &["does not exist", "set HF_TOKEN"]).await;
    check(401, "", true, &["the account of HF_TOKEN"]).await;
    check(403, "", true, &["403", "no access"]).await;
    check(404, gone, false, &["no repository owner/repo"]).await;
    let revision = "X-Error-Code: RevisionNotFound\r\n";
    check(404, revision, false, &["no revision main"]).await;
    check(
        404,
        "X-Error-Code: EntryNotFound\r\n",
        false,
        &["no file tiny.gguf"],
    )
    .await;
    check(
        429,
        "Retry-After: 3600\r\n",
        false,
        &["in 3600 s", "HF_TOKEN"],
    )
    .await;
    check(
        418,
        "X-Error-Message: no coffee\r\n",
        false,
        &["418", "no coffee"],
    )
    .await;
}

#[tokio::test]
async fn failures_that_pass_are_waited_for() {
    let mut bench = Bench::new("transient").await;
    bench.hub.fail_head(Fault::Status(500, ""));
    bench
        .hub
        .fail_head(Fault::Status(429, "Retry-After: 0\r\n"));
    bench.hub.fail_get(Fault::Status(503, ""));
    bench.hub.fail_get(Fault::Status(429, ""));
    bench.pull(REFERENCE).await.expect("in the end");
    bench.assert_complete();
    // Each was told, also before the length of the model was known.
    let retries = bench.events.iter().filter_map(|event| event.retry.as_ref());
    let reasons: Vec<&str> = retries.map(|retry| retry.why.as_str()).collect();
    assert_eq!(reasons.len(), 4, "{reasons:?}");
    assert!(reasons[0].contains("500") && reasons[2].contains("503"));
}

#[tokio::test]
async fn failures_that_stay_are_reported() {
    let mut bench = Bench::new("persistent").await;
    for _ in 0..4 {
        bench.hub.fail_get(Fault::Status(502, ""));
    }
    let error = bench.fails(REFERENCE).await;
    assert!(
        matches!(error, PullError::Hub { status: 502, .. }),
        "{error}"
    );
    assert_eq!(bench.hub.ranges().len(), 4);
}

#[tokio::test]
async fn a_server_that_falls_silent_is_given_up() {
    let mut bench = Bench::new("silent").await;
    bench.options.stall = Duration::from_millis(100);
    bench.hub.fail_get(Fault::Stall(1_000_000));
    bench
        .pull(REFERENCE)
        .await
        .expect("the second connection is good");
    bench.assert_complete();
    assert_eq!(bench.hub.ranges()[1].0, 1_000_000);

    bench.store.remove("tiny").expect("removed");
    for _ in 0..4 {
        bench.hub.fail_get(Fault::Stall(0));
    }
    let start = Instant::now();
    let error = bench.fails(REFERENCE).await;
    assert!(matches!(error, PullError::Network { .. }), "{error}");
    assert!(start.elapsed() < Duration::from_secs(2));
}

#[tokio::test]
async fn headers_without_an_end_are_given_up() {
    let mut bench = Bench::new("headers").await;
    bench.options.stall = Duration::from_millis(200);
    bench.hub.fail_head(Fault::EndlessHeaders);
    bench.hub.fail_head(Fault::EndlessHeaders);
    bench.hub.fail_get(Fault::EndlessHeaders);
    let start = Instant::now();
    bench
        .pull(REFERENCE)
        .await
        .expect("the next answers are good");
    assert!(start.elapsed() < Duration::from_secs(2));
    bench.assert_complete();
}

#[tokio::test]
async fn nobody_at_the_address_is_an_error_that_names_the_reason() {
    let mut bench = Bench::new("refused").await;
    bench.options.endpoint = "http://127.0.0.1:1".into();
    let text = bench.fails(REFERENCE).await.to_string();
    assert!(text.contains("refused"), "{text}");
    for endpoint in ["", "huggingface.co", "ftp://x/", "file:///etc"] {
        bench.options.endpoint = endpoint.into();
        let error = bench.fails(REFERENCE).await;
        assert!(matches!(error, PullError::Endpoint { .. }), "{error}");
    }
}

#[tokio::test]
async fn a_server_that_is_no_hub_is_told_from_one() {
    let mut bench = Bench::new("no-hub").await;
    bench.hub.fail_head(Fault::Status(200, "ETag: \"x\"\r\n"));
    let text = bench.fails(REFERENCE).await.to_string();
    assert!(text.contains("X-Repo-Commit"), "{text}");
    let elsewhere = "Location: https://mirror.example/x\r\n";
    bench.hub.fail_head(Fault::Status(308, elsewhere));
    let text = bench.fails(REFERENCE).await.to_string();
    assert!(text.contains("set HF_ENDPOINT to that"), "{text}");
    assert!(text.contains("https://mirror.example"), "{text}");
}

#[tokio::test]
async fn a_repository_that_moved_is_followed() {
    let mut bench = Bench::new("moved").await;
    let moved = "Location: /owner/other/resolve/main/tiny.gguf\r\n";
    bench.hub.fail_head(Fault::Status(307, moved));
    bench.pull(REFERENCE).await.expect("found");
    bench.assert_complete();
    for _ in 0..5 {
        bench.hub.fail_head(Fault::Status(307, moved));
    }
    let text = bench
        .fails("hf:owner/repo/tiny.gguf@main")
        .await
        .to_string();
    assert!(text.contains("circle"), "{text}");
}

#[tokio::test]
async fn a_token_goes_to_the_hub_and_nowhere_else() {
    let mut bench = Bench::new("token").await;
    bench.options.token = Token::new("hf_secret");
    bench.pull(REFERENCE).await.expect("downloaded");
    for seen in &bench.hub.state().log {
        assert_eq!(seen.token, seen.server == "hub", "{seen:?}");
    }
}

#[tokio::test]
async fn a_file_without_a_stated_sum_is_refused() {
    let mut bench = Bench::new("no-sum").await;
    if let Some(served) = bench.hub.state().files.get_mut("tiny.gguf") {
        served.sum = None;
    }
    let error = bench.fails(REFERENCE).await;
    assert!(matches!(error, PullError::NoSum { .. }), "{error}");
    assert_eq!(bench.hub.ranges(), []);
}

#[tokio::test]
async fn an_alias_is_checked_against_the_catalogue_before_a_byte_is_fetched() {
    let mut bench = Bench::new("alias").await;
    let commit = "23749fefcc72300e3a2ad315e1317431b06b590a";
    bench.hub.state().commits.insert(commit.into());
    bench.hub.put("Qwen3-0.6B-Q8_0.gguf", &gguf(1_000));
    let error = bench.fails("qwen3:0.6b").await;
    assert!(matches!(error, PullError::OtherFile { .. }), "{error}");
    let asked = bench.hub.state().log[0].path.clone();
    let expected = format!("/Qwen/Qwen3-0.6B-GGUF/resolve/{commit}/Qwen3-0.6B-Q8_0.gguf");
    assert_eq!(asked, expected);
    assert_eq!(bench.hub.ranges(), []);
}

#[tokio::test]
async fn a_file_that_is_no_model_is_refused_and_removed() {
    let mut bench = Bench::new("no-model").await;
    bench.hub.put("tiny.gguf", b"<html>not a model</html>");
    let error = bench.fails(REFERENCE).await;
    assert!(matches!(error, PullError::NotAModel { .. }), "{error}");
    assert!(bench.files().is_empty(), "{:?}", bench.files());
}

#[tokio::test]
async fn a_file_from_elsewhere_is_not_overwritten() {
    let mut bench = Bench::new("taken").await;
    bench.pull(REFERENCE).await.expect("downloaded");
    let error = bench.fails("hf:other/repo/tiny.gguf").await;
    assert!(matches!(error, PullError::Taken { .. }), "{error}");
    assert!(
        error.to_string().contains("hf:owner/repo/tiny.gguf@"),
        "{error}"
    );
    fs::remove_file(bench.path("tiny.json")).expect("removed");
    let error = bench.fails(REFERENCE).await;
    assert!(
        error.to_string().contains("not downloaded by fazai"),
        "{error}"
    );
}

#[tokio::test]
async fn all_parts_of_a_split_model_come() {
    let mut bench = Bench::new("split").await;
    let parts: Vec<_> = (1..=3usize).map(|part| gguf(100_000 * part)).collect();
    for (number, part) in (1..).zip(&parts) {
        bench
            .hub
            .put(&format!("q4/big-{number:05}-of-00003.gguf"), part);
    }
    bench.hub.fail_get(Fault::Cut(50_000));
    let reference = "hf:owner/repo/q4/big-00002-of-00003.gguf";
    let entry = bench.pull(reference).await.expect("downloaded");
    assert_eq!(entry.name, "big");
    assert_eq!(entry.bytes, 600_000);
    assert_eq!(entry.broken, None);
    for (number, part) in (1..).zip(&parts) {
        let file = fs::read(bench.path(&format!("big-{number:05}-of-00003.gguf")));
        assert!(file.expect("there") == *part);
    }
    let mut done = 0;
    for event in &bench.events {
        assert_eq!(event.total_bytes, 600_000);
        assert!(event.done_bytes >= done, "progress went backwards");
        done = event.done_bytes;
    }
    assert_eq!(done, 600_000);
    assert!(bench.store.remove("big").expect("removed") >= 600_000);
    assert!(bench.files().is_empty());

    bench.hub.state().files.remove("q4/big-00003-of-00003.gguf");
    let error = bench.fails(reference).await;
    assert!(
        error.to_string().contains("no file q4/big-00003"),
        "{error}"
    );
    assert!(
        bench.files().is_empty(),
        "nothing is begun that can't be finished"
    );
}

#[tokio::test]
async fn two_downloads_of_one_model_do_not_meet() {
    let mut bench = Bench::new("lock").await;
    bench.hub.fail_get(Fault::Stall(1_000_000));
    let (store, options) = (bench.store.clone(), bench.options.clone());
    let first = tokio::spawn(async move { store.pull(REFERENCE, &options, &mut |_| {}).await });
    bench.wait_for_part(1_000_000).await;
    let error = bench.fails(REFERENCE).await;
    assert!(matches!(error, PullError::Locked { .. }), "{error}");
    let holder = format!("process {}", std::process::id());
    assert!(error.to_string().contains(&holder), "{error}");
    let busy = bench.store.remove("tiny");
    assert!(matches!(busy, Err(StoreError::Busy { .. })), "{busy:?}");

    first.abort();
    assert!(first.await.is_err());
    bench.pull(REFERENCE).await.expect("the lock is free");
    bench.assert_complete();
}

#[tokio::test]
async fn a_dropped_download_leaves_what_the_next_one_goes_on_with() {
    let mut bench = Bench::new("drop").await;
    bench.hub.fail_get(Fault::Stall(1_000_000));
    let (store, options) = (bench.store.clone(), bench.options.clone());
    let first = tokio::spawn(async move { store.pull(REFERENCE, &options, &mut |_| {}).await });
    bench.wait_for_part(1_000_000).await;
    first.abort();
    assert!(first.await.is_err());
    assert_eq!(bench.files(), ["tiny.gguf.part", "tiny.gguf.part.json"]);
    bench.pull(REFERENCE).await.expect("the rest");
    bench.assert_complete();
    assert_eq!(bench.hub.ranges()[1].0, 1_000_000);
}

#[tokio::test]
async fn what_a_dead_process_locked_can_be_had() {
    let mut bench = Bench::new("stale").await;
    fs::create_dir_all(bench.store.dir()).expect("created");
    fs::write(bench.path("tiny.lock"), "999999999").expect("written");
    bench.pull(REFERENCE).await.expect("nobody holds it");
    bench.assert_complete();
}

#[tokio::test]
async fn what_is_no_reference_never_gets_to_the_hub() {
    let mut bench = Bench::new("reference").await;
    for bad in [
        "",
        "../x",
        "qwen9",
        "hf:a/b",
        "hf:a/b/../c.gguf",
        "http://x/y.gguf",
    ] {
        let error = bench.fails(bad).await;
        assert!(matches!(error, PullError::Reference(_)), "{error}");
    }
    assert_eq!(bench.hub.requests(), 0);
}

#[tokio::test]
async fn an_unfinished_download_can_be_removed() {
    let mut bench = Bench::new("remove").await;
    bench.hub.fail_get(Fault::Cut(1_000));
    bench.pull_once(REFERENCE).await.expect_err("cut");
    assert!(bench.store.remove("tiny").expect("removed") >= 1_000);
    assert!(bench.files().is_empty());
    let again = bench.store.remove("tiny");
    assert!(matches!(again, Err(StoreError::NotFound { .. })));
}

/// A directory of a catalogue with these bytes.
fn directory(files: &[(&'static str, &[u8])]) -> CatalogDirectory {
    let file = |(path, bytes): &(&'static str, &[u8])| CatalogFile {
        path,
        bytes: bytes.len() as u64,
        sha256: Box::leak(sum(bytes).into_boxed_str()),
    };
    let files: Vec<CatalogFile> = files.iter().map(file).collect();
    CatalogDirectory {
        alias: "small",
        repository: "owner/repo",
        revision: COMMIT,
        license: "none",
        files: Box::leak(files.into_boxed_slice()),
    }
}

#[tokio::test]
async fn a_directory_comes_whole_and_is_not_fetched_again() {
    let bench = Bench::new("directory-whole").await;
    let weights = vec![7; 1 << 20];
    let wanted = directory(&[
        ("1_Pooling/config.json", b"{}"),
        ("model.safetensors", &weights),
    ]);
    bench.hub.put("1_Pooling/config.json", b"{}");
    bench.hub.put("model.safetensors", &weights);
    bench.hub.fail_get(Fault::Cut(0));
    let pull = || async {
        let mut listener = |_: &PullEvent| {};
        (bench.store)
            .pull_directory(&wanted, &bench.options, &mut listener)
            .await
    };
    let path = pull().await.expect("pulled");
    assert!(path.ends_with("small"), "{}", path.display());
    assert_eq!(
        fs::read(path.join("1_Pooling/config.json")).expect("there"),
        b"{}"
    );
    assert_eq!(
        fs::read(path.join("model.safetensors")).expect("there"),
        weights
    );
    let requests = bench.hub.requests();
    pull().await.expect("there already");
    assert_eq!(bench.hub.requests(), requests);
    // A file that somebody changed is not overwritten silently.
    fs::write(path.join("model.safetensors"), "mine").expect("written");
    fs::remove_file(path.join("model.safetensors.json")).expect("removed");
    let fault = pull().await.expect_err("taken");
    assert!(matches!(fault, PullError::Taken { .. }), "{fault}");
}

#[tokio::test]
async fn a_directory_with_another_file_is_refused() {
    let bench = Bench::new("directory-other").await;
    let wanted = directory(&[("config.json", b"{}")]);
    bench.hub.put("config.json", b"[]");
    let mut listener = |_: &PullEvent| {};
    let pulled = bench
        .store
        .pull_directory(&wanted, &bench.options, &mut listener);
    let fault = pulled.await.expect_err("another file");
    assert!(matches!(fault, PullError::OtherFile { .. }), "{fault}");
    assert_eq!(bench.hub.ranges(), []);
}
