//! Text out of PDF files, by a library that meets files from anywhere: a hostile one can take all
//! memory or stack. So it is best called in a process of its own ([`ReadPdf`](super::ReadPdf));
//! without one, in a thread, whose panic or endless work is a file that can't be read.

use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use super::IngestOptions;
use super::read::Document;
use super::walk::{Skip, broken};

/// How long one file may take.
const TIME_MAX: Duration = Duration::from_secs(60);
/// Objects in objects need stack, and hostile ones much.
const STACK_BYTES: usize = 256 << 20;

/// What a PDF says; for the process that reads it. Its stack may have to be large, and it may panic.
pub fn pdf_text(bytes: &[u8]) -> Result<String, String> {
    let text = pdf_extract::extract_text_from_mem(bytes);
    text.map_err(|error| format!("the PDF is broken: {error}"))
}

pub(super) fn document(
    name: &str,
    bytes: &[u8],
    options: &IngestOptions,
) -> Result<Document, Skip> {
    let text = match &options.read_pdf {
        Some(read) => read(bytes),
        None => in_a_thread(bytes.to_vec()),
    };
    Ok(Document::plain(name.to_owned(), text.map_err(broken)?))
}

fn in_a_thread(bytes: Vec<u8>) -> Result<String, String> {
    let (send, receive) = mpsc::sync_channel(1);
    // A panic drops the sender; nobody waits for a thread that does not end.
    let read = move || drop(send.send(pdf_text(&bytes)));
    thread::Builder::new()
        .name("fazai-pdf".into())
        .stack_size(STACK_BYTES)
        .spawn(read)
        .map_err(|error| error.to_string())?;
    match receive.recv_timeout(TIME_MAX) {
        Ok(read) => read,
        Err(mpsc::RecvTimeoutError::Disconnected) => Err("the PDF is broken".to_owned()),
        Err(mpsc::RecvTimeoutError::Timeout) => Err("the PDF takes too long".to_owned()),
    }
}
