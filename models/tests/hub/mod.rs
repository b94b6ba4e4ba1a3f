//! A stand-in for a model hub on loopback, with faults on demand.
//!
//! Like the real one it is two servers: the hub answers with a redirect that carries what is
//! known about a file, and the content server has the bytes and a misleading `ETag`.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use sha2::{Digest, Sha256};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// The commit that `main` is at, unless a test moves it.
pub(crate) const COMMIT: &str = "1111111111111111111111111111111111111111";

/// What is wrong with one answer.
#[derive(Debug, Clone)]
pub(crate) enum Fault {
    /// So many bytes of the body, then the connection ends.
    Cut(usize),
    /// So many bytes of the body, then nothing, for good.
    Stall(usize),
    /// The byte at this place of the file is another one.
    Flip(usize),
    /// The range that was asked for is ignored: the whole file, status 200.
    Whole,
    /// The whole file and then more of it, without an announced length.
    TooMuch,
    /// Another status, with more headers.
    Status(u16, &'static str),
    /// Headers without an end.
    EndlessHeaders,
}

/// One request that came in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Seen {
    /// `hub` or `content`.
    pub(crate) server: &'static str,
    pub(crate) method: String,
    pub(crate) path: String,
    /// The first and the last byte that were asked for.
    pub(crate) range: Option<(usize, usize)>,
    /// Whether a token came with it.
    pub(crate) token: bool,
}

/// A file of the hub.
pub(crate) struct Served {
    pub(crate) bytes: Vec<u8>,
    /// What the hub says its sum is.
    pub(crate) sum: Option<String>,
    /// What the hub says its length is.
    pub(crate) length: u64,
}

/// What the hub has and does. Tests change it while it runs.
pub(crate) struct State {
    pub(crate) files: BTreeMap<String, Served>,
    /// What `main` is.
    pub(crate) commit: String,
    /// All commits that exist.
    pub(crate) commits: BTreeSet<String>,
    /// No content server: the hub sends the bytes itself, and `X-Linked-Size` with them.
    pub(crate) direct: bool,
    /// For the next questions what a file is.
    pub(crate) head_faults: VecDeque<Fault>,
    /// For the next requests for bytes.
    pub(crate) get_faults: VecDeque<Fault>,
    pub(crate) log: Vec<Seen>,
    content: Option<SocketAddr>,
}

pub(crate) struct Hub {
    pub(crate) endpoint: String,
    state: Arc<Mutex<State>>,
}

impl Hub {
    pub(crate) async fn start() -> Self {
        let state = Arc::new(Mutex::new(State {
            files: BTreeMap::new(),
            commit: COMMIT.to_owned(),
            commits: BTreeSet::from([COMMIT.to_owned()]),
            direct: false,
            head_faults: VecDeque::new(),
            get_faults: VecDeque::new(),
            log: Vec::new(),
            content: None,
        }));
        let content = serve("content", Arc::clone(&state)).await;
        lock(&state).content = Some(content);
        let hub = serve("hub", Arc::clone(&state)).await;
        Self {
            endpoint: format!("http://{hub}"),
            state,
        }
    }

    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }

    /// Puts a file into `owner/repo`, at every commit.
    pub(crate) fn put(&self, file: &str, bytes: &[u8]) {
        let served = Served {
            bytes: bytes.to_vec(),
            sum: Some(sum(bytes)),
            length: bytes.len() as u64,
        };
        self.state().files.insert(file.to_owned(), served);
    }

    pub(crate) fn fail_get(&self, fault: Fault) {
        self.state().get_faults.push_back(fault);
    }

    pub(crate) fn fail_head(&self, fault: Fault) {
        self.state().head_faults.push_back(fault);
    }

    /// What bytes were asked for, in order.
    pub(crate) fn ranges(&self) -> Vec<(usize, usize)> {
        let state = self.state();
        let server = if state.direct { "hub" } else { "content" };
        let gets = state.log.iter();
        gets.filter(|seen| seen.server == server && seen.method == "GET")
            .filter_map(|seen| seen.range)
            .collect()
    }

    pub(crate) fn requests(&self) -> usize {
        self.state().log.len()
    }
}

pub(crate) fn sum(bytes: &[u8]) -> String {
    let digest = Sha256::digest(bytes);
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A GGUF with a header that can be read, of this length.
pub(crate) fn gguf(length: usize) -> Vec<u8> {
    let mut out = b"GGUF\x03\0\0\0".to_vec();
    out.extend(1u64.to_le_bytes());
    out.extend(1u64.to_le_bytes());
    text(&mut out, "general.architecture");
    out.extend(8u32.to_le_bytes());
    text(&mut out, "qwen3");
    text(&mut out, "blk.0.weight");
    out.extend(1u32.to_le_bytes());
    out.extend(32u64.to_le_bytes());
    out.extend(8u32.to_le_bytes());
    out.extend(0u64.to_le_bytes());
    let mut random: u32 = 1;
    while out.len() < length {
        random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        out.push((random >> 24) as u8);
    }
    out
}

fn text(out: &mut Vec<u8>, text: &str) {
    out.extend((text.len() as u64).to_le_bytes());
    out.extend(text.as_bytes());
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().expect("no test panics with the lock")
}

async fn serve(server: &'static str, state: Arc<Mutex<State>>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    tokio::spawn(async move {
        while let Ok((connection, _)) = listener.accept().await {
            let state = Arc::clone(&state);
            tokio::spawn(async move {
                // A client that is gone is no fault of the hub.
                let _ = answer(connection, server, &state).await;
            });
        }
    });
    address
}

async fn answer(
    mut connection: TcpStream,
    server: &'static str,
    state: &Mutex<State>,
) -> std::io::Result<()> {
    let seen = read_request(&mut connection, server).await?;
    let (head, body, after) = respond(&seen, &mut lock(state));
    connection.write_all(head.as_bytes()).await?;
    if seen.method != "HEAD" {
        connection.write_all(&body).await?;
    }
    match after {
        After::Close => connection.shutdown().await,
        After::Hang => {
            tokio::time::sleep(Duration::from_secs(60)).await;
            Ok(())
        }
        After::MoreHeaders => loop {
            connection.write_all(b"X-Filler: again\r\n").await?;
            tokio::time::sleep(Duration::from_millis(5)).await;
        },
    }
}

async fn read_request(connection: &mut TcpStream, server: &'static str) -> std::io::Result<Seen> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(connection.read_u8().await?);
    }
    let head = String::from_utf8_lossy(&head).into_owned();
    let mut words = head.split(' ');
    let mut word = || words.next().unwrap_or_default().to_owned();
    let header = |name: &str| {
        let line = |line: &str| {
            let (key, value) = line.split_once(':')?;
            key.eq_ignore_ascii_case(name)
                .then(|| value.trim().to_owned())
        };
        head.lines().find_map(line)
    };
    let range = header("range").and_then(|range| {
        let (from, to) = range.strip_prefix("bytes=")?.split_once('-')?;
        Some((from.parse().ok()?, to.parse().ok()?))
    });
    Ok(Seen {
        server,
        method: word(),
        path: word(),
        range,
        token: header("authorization").is_some(),
    })
}

/// What to do when the answer is out.
enum After {
    Close,
    Hang,
    MoreHeaders,
}

type Answer = (String, Vec<u8>, After);

fn status(code: u16, headers: &str, body: Vec<u8>) -> Answer {
    let head = format!(
        "HTTP/1.1 {code} Status\r\nConnection: close\r\nContent-Length: {}\r\n{headers}\r\n",
        body.len()
    );
    (head, body, After::Close)
}

fn respond(seen: &Seen, state: &mut State) -> Answer {
    state.log.push(seen.clone());
    let fault = match (seen.method.as_str(), seen.server) {
        ("HEAD", "hub") => state.head_faults.pop_front(),
        ("GET", "content") => state.get_faults.pop_front(),
        ("GET", _) if state.direct => state.get_faults.pop_front(),
        _ => None,
    };
    match fault {
        Some(Fault::Status(code, headers)) => return status(code, headers, Vec::new()),
        Some(Fault::EndlessHeaders) => {
            return ("HTTP/1.1 200 OK\r\n".into(), Vec::new(), After::MoreHeaders);
        }
        _ => {}
    }
    let Some((commit, file)) = place(&seen.path, state) else {
        let headers = "X-Error-Code: EntryNotFound\r\nX-Error-Message: no such entry\r\n";
        return status(404, headers, Vec::new());
    };
    let Some(served) = state.files.get(&file) else {
        return status(404, "X-Error-Code: EntryNotFound\r\n", Vec::new());
    };
    let mut about = format!(
        "X-Repo-Commit: {commit}\r\nX-Linked-Size: {}\r\n",
        served.length
    );
    if let Some(sum) = &served.sum {
        about += &format!("X-Linked-ETag: \"{sum}\"\r\n");
    }
    if seen.server == "content" {
        // The real one has such a tag, too: 64 digits, and not those of the file.
        let tag = format!("ETag: \"{}\"\r\n", "e".repeat(64));
        return bytes(seen, &served.bytes, &tag, fault.as_ref());
    }
    if state.direct {
        return bytes(seen, &served.bytes, &about, fault.as_ref());
    }
    let content = state.content.expect("started");
    let location = format!("Location: http://{content}/resolve/{commit}/{file}?signed=1\r\n");
    status(302, &format!("{about}{location}"), Vec::new())
}

/// The commit and the file that a path `/owner/repo/resolve/REVISION/FILE` means.
fn place(path: &str, state: &State) -> Option<(String, String)> {
    let path = path.split('?').next()?;
    let (_, place) = path.split_once("/resolve/")?;
    let (revision, file) = place.split_once('/')?;
    let commit = match revision {
        "main" => state.commit.clone(),
        revision => revision.to_owned(),
    };
    state
        .commits
        .contains(&commit)
        .then(|| (commit, file.to_owned()))
}

fn bytes(seen: &Seen, file: &[u8], headers: &str, fault: Option<&Fault>) -> Answer {
    let mut file = file.to_vec();
    if let Some(Fault::Flip(at)) = fault {
        file[*at] ^= 1;
    }
    if let Some(Fault::TooMuch) = fault {
        let head = format!("HTTP/1.1 200 OK\r\nConnection: close\r\n{headers}\r\n");
        return (head, file.repeat(2), After::Close);
    }
    let whole = matches!(fault, Some(Fault::Whole));
    let (code, mut body) = match seen.range.filter(|_| !whole) {
        None => (200, file),
        Some((from, _)) if from >= file.len() => return status(416, "", Vec::new()),
        Some((from, to)) => {
            let end = (to + 1).min(file.len());
            (206, file[from..end].to_vec())
        }
    };
    let (head, _, _) = status(code, headers, body.clone());
    let after = match fault {
        Some(Fault::Cut(length)) => {
            body.truncate(*length);
            After::Close
        }
        Some(Fault::Stall(length)) => {
            body.truncate(*length);
            After::Hang
        }
        _ => After::Close,
    };
    (head, body, after)
}
