//! PDF files are read in a process of its own: a small one can want all memory or stack there is,
//! and whoever sends it would end the worker.

use std::io::{Read, Write};
use std::process::{Child, Stdio, exit};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::Duration;

use fazai_memory::{ReadPdf, pdf_text};
use fazai_sandbox::{Calls, Files, Launcher, Limits, NOBODY, Wanted};

/// How long one file may take.
const TIME_MAX: Duration = Duration::from_secs(60);
/// Objects in objects need stack.
const STACK_BYTES: usize = 64 << 20;
/// What the process may take, and the longest text.
const MEMORY_BYTES_MAX: u64 = 1 << 30;
const TEXT_BYTES_MAX: u64 = 64 << 20;
/// The largest file, which the settings of the memory limit further.
const FILE_BYTES_MAX: u64 = 1 << 30;

/// Who reads PDF files; none if this program can't start itself as such a process.
pub(crate) fn reader(launcher: Option<Launcher>) -> Option<ReadPdf> {
    let launcher = launcher?;
    Some(Arc::new(move |bytes| read(&launcher, bytes)))
}

fn read(launcher: &Launcher, bytes: &[u8]) -> Result<String, String> {
    let mut command = launcher.command();
    command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null());
    let started = fazai_sandbox::spawn(command);
    let mut child = started.map_err(|fault| format!("no process for it: {fault}"))?;
    let text = talk(&mut child, bytes);
    // It may have ended by itself.
    let _ = child.kill();
    let ended = child.wait();
    let text = text?;
    match ended {
        Ok(status) if status.success() => Ok(text),
        _ => Err("the PDF is broken, or takes more than 1 GiB".to_owned()),
    }
}

/// Gives it the file, and waits for the text, but not for ever.
fn talk(child: &mut Child, bytes: &[u8]) -> Result<String, String> {
    let (Some(mut into), Some(out)) = (child.stdin.take(), child.stdout.take()) else {
        return Err("no process for it".to_owned());
    };
    thread::scope(|scope| {
        // One that ends early has no use for the rest.
        scope.spawn(move || drop(into.write_all(bytes)));
        let (send, receive) = mpsc::sync_channel(1);
        scope.spawn(move || {
            let mut text = String::new();
            let read = out.take(TEXT_BYTES_MAX + 1).read_to_string(&mut text);
            drop(send.send(read.map(|_| text)));
        });
        let read = receive.recv_timeout(TIME_MAX);
        // Both threads end with it.
        let _ = child.kill();
        match read {
            Ok(Ok(text)) if text.len() as u64 > TEXT_BYTES_MAX => Err(format!(
                "the PDF has more than {TEXT_BYTES_MAX} bytes of text"
            )),
            Ok(read) => read.map_err(|fault| fault.to_string()),
            Err(_) => Err(format!("the PDF takes more than {} s", TIME_MAX.as_secs())),
        }
    })
}

/// The life of that process: standard input is the file, standard output gets its text.
pub(crate) fn process_main() -> ! {
    let wanted = Wanted {
        no_new_privs: true,
        files: Some(Files::default()),
        user: Some(NOBODY),
        parent: rustix::process::getppid().map(|parent| parent.as_raw_nonzero().get()),
        limits: Limits {
            memory_bytes: Some(MEMORY_BYTES_MAX),
            file_bytes: Some(0),
            files_open: Some(16),
            ..Limits::default()
        },
        calls: Some(Calls::Module {
            network: false,
            exec: false,
        }),
        ..Wanted::default()
    };
    // A kernel without some layer still has the limits and the end of a process.
    let confined = fazai_sandbox::enter(&wanted).is_ok();
    let worked = confined && {
        let thread = thread::Builder::new().stack_size(STACK_BYTES).spawn(work);
        thread.is_ok_and(|thread| thread.join().is_ok_and(|done| done.is_some()))
    };
    exit(i32::from(!worked))
}

fn work() -> Option<()> {
    let mut bytes = Vec::new();
    let mut stdin = std::io::stdin().take(FILE_BYTES_MAX);
    stdin.read_to_end(&mut bytes).ok()?;
    let text = pdf_text(&bytes).ok()?;
    let mut out = std::io::stdout();
    out.write_all(text.as_bytes()).ok()?;
    out.flush().ok()
}
