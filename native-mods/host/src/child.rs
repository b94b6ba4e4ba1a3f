//! The process that a module lives in: it confines itself, loads the module, and serves calls
//! until the host says that it is over or goes away.

mod buffer;
mod signals;

use std::ffi::{CString, c_int};
use std::os::fd::{AsFd, OwnedFd};
use std::process::exit;

use fazai_sandbox::{Frame, Report, Wait, Wire, WireError};

use self::buffer::Buffer;
use crate::abi::Loaded;
use crate::message::{COMMAND_BYTES_MAX, INLINE_BYTES_MAX, Ready, Start, kind};
use crate::result::{self, Room};
use crate::sandbox;

/// How the process ends when it has lost the host.
const EXIT_LOST: i32 = 70;

/// The life of a module's process. The host's program calls this first thing when it was started
/// with the arguments of its `Launcher`; standard input is the connection.
pub fn child_main() -> ! {
    match serve() {
        Ok(()) => exit(0),
        Err(_) => exit(EXIT_LOST),
    }
}

fn serve() -> Result<(), WireError> {
    let mut wire = Wire::inherited(COMMAND_BYTES_MAX)?;
    let [image, shared] = wire.recv_descriptors()?;
    let start: Start =
        serde_json::from_slice(wire.recv(Wait::FOREVER)?.body).map_err(|_| WireError::Closed)?;

    let loaded = load(&wire, &start, &image, &shared);
    drop((image, shared));
    let (mut buffer, report, module) = match loaded {
        Ok(loaded) => loaded,
        Err(why) => {
            let body = &why.as_bytes()[..why.len().min(INLINE_BYTES_MAX)];
            return wire.send(&Frame::new(kind::REFUSED, 0, body), Wait::FOREVER);
        }
    };
    let Some(mut module) = module else {
        return ready(
            &mut wire,
            &Ready {
                report,
                descriptor: None,
            },
        );
    };
    ready(
        &mut wire,
        &Ready {
            report,
            descriptor: module.take_descriptor(),
        },
    )?;

    loop {
        let frame = wire.recv(Wait::FOREVER)?;
        let call = frame.call;
        match frame.kind {
            kind::EXEC => {
                // The host refuses commands with a NUL, so that nothing is lost here.
                let command = CString::new(frame.body).unwrap_or_default();
                if module.streams() {
                    exec_stream(&module, &command, &mut wire, call)?;
                } else {
                    let code = result::exec(&module, &command, &mut buffer);
                    reply(&buffer, code, &mut wire, call)?;
                }
            }
            kind::HEALTH => {
                let code = result::health(&module, &mut buffer);
                reply(&buffer, code, &mut wire, call)?;
            }
            kind::CLEANUP => {
                module.cleanup();
                return wire.send(&Frame::new(kind::CLEAN, call, b""), Wait::FOREVER);
            }
            // A stop for a call that has ended meanwhile.
            _ => {}
        }
    }
}

/// Prepares the process, and loads the module if that is wanted.
fn load(
    wire: &Wire,
    start: &Start,
    image: &OwnedFd,
    shared: &OwnedFd,
) -> Result<(Buffer, Report, Option<Loaded>), String> {
    let buffer = Buffer::map(shared, start.shared_bytes)
        .map_err(|error| format!("its result buffer can't be mapped: {error}"))?;
    signals::install(wire, &buffer)
        .map_err(|error| format!("its signal handlers can't be set: {error}"))?;
    let report = fazai_sandbox::enter(&sandbox::wanted(start))?;
    if !start.loads {
        return Ok((buffer, report, None));
    }
    let module = Loaded::open(image.as_fd())?;
    fazai_sandbox::close_proc();
    module.init()?;
    Ok((buffer, report, Some(module)))
}

fn ready(wire: &mut Wire, ready: &Ready) -> Result<(), WireError> {
    let body = serde_json::to_vec(ready).map_err(|_| WireError::Closed)?;
    wire.send(&Frame::new(kind::READY, 0, &body), Wait::FOREVER)
}

fn exec_stream(
    module: &Loaded,
    command: &CString,
    wire: &mut Wire,
    call: u32,
) -> Result<(), WireError> {
    let mut stopped = false;
    let code = module.exec_stream(command, |piece| {
        stopped = stopped || emit(wire, call, piece);
        stopped
    });
    let code: c_int = code.unwrap_or(-1);
    wire.send(
        &Frame {
            kind: kind::DONE,
            call,
            code,
            body: b"",
        },
        Wait::FOREVER,
    )
}

/// Sends a piece. True: nobody wants more.
fn emit(wire: &mut Wire, call: u32, piece: &[u8]) -> bool {
    for body in piece.chunks(INLINE_BYTES_MAX) {
        if wire
            .send(&Frame::new(kind::PIECE, call, body), Wait::FOREVER)
            .is_err()
        {
            exit(EXIT_LOST);
        }
    }
    loop {
        match wire.try_recv() {
            Ok(None) => return false,
            Ok(Some(frame)) if frame.kind == kind::STOP && frame.call == call => return true,
            Ok(Some(_)) => {}
            Err(_) => exit(EXIT_LOST),
        }
    }
}

fn reply(buffer: &Buffer, code: c_int, wire: &mut Wire, call: u32) -> Result<(), WireError> {
    let text = buffer.text();
    if text.len() <= INLINE_BYTES_MAX {
        return wire.send(
            &Frame {
                kind: kind::DONE,
                call,
                code,
                body: text,
            },
            Wait::FOREVER,
        );
    }
    let mut place = [0; 16];
    place[..8].copy_from_slice(&(buffer.text_at() as u64).to_ne_bytes());
    place[8..].copy_from_slice(&(text.len() as u64).to_ne_bytes());
    wire.send(
        &Frame {
            kind: kind::DONE_SHARED,
            call,
            code,
            body: &place,
        },
        Wait::FOREVER,
    )
}
