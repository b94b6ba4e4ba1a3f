//! Text out of PDF files, by a library that meets files from anywhere: in a thread of its own,
//! whose panic or endless work is a file that can't be read.

use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use super::read::Document;
use super::walk::{Skip, broken};

/// How long one file may take.
const TIME_MAX: Duration = Duration::from_secs(60);
/// Objects in objects need stack, and hostile ones much.
const STACK_BYTES: usize = 256 << 20;

pub(super) fn document(name: &str, bytes: &[u8]) -> Result<Document, Skip> {
    let (send, receive) = mpsc::sync_channel(1);
    let bytes = bytes.to_vec();
    // A panic drops the sender; nobody waits for a thread that does not end.
    let read = move || drop(send.send(pdf_extract::extract_text_from_mem(&bytes)));
    thread::Builder::new()
        .name("fazai-pdf".into())
        .stack_size(STACK_BYTES)
        .spawn(read)
        .map_err(broken)?;
    match receive.recv_timeout(TIME_MAX) {
        Ok(Ok(text)) => Ok(Document::plain(name.to_owned(), text)),
        Ok(Err(error)) => Err(broken(format!("the PDF is broken: {error}"))),
        Err(mpsc::RecvTimeoutError::Disconnected) => Err(broken("the PDF is broken")),
        Err(mpsc::RecvTimeoutError::Timeout) => Err(broken("the PDF takes too long")),
    }
}
