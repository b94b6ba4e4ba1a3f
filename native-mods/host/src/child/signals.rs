//! A last word before a crash: what an invalid address was, when that says something.
//!
//! The signal itself ends the process as it would have; the host sees which it was.
#![expect(unsafe_code, reason = "signal handlers")]

use std::mem::MaybeUninit;
use std::os::fd::AsRawFd;
use std::ptr;
use std::sync::atomic::{AtomicI32, AtomicUsize, Ordering::Relaxed};

use fazai_sandbox::{Wire, header};

use super::buffer::Buffer;
use crate::message::{fault, kind};

static SOCKET: AtomicI32 = AtomicI32::new(-1);
static GUARD_START: AtomicUsize = AtomicUsize::new(0);
static GUARD_END: AtomicUsize = AtomicUsize::new(0);
static STACK_LOW: AtomicUsize = AtomicUsize::new(0);

/// How far around the end of the stack an address is taken for an overflow: the kernel keeps a gap
/// of a megabyte below a stack.
const STACK_GAP: usize = 2 << 20;

/// Room for the handler when the stack is used up.
const HANDLER_STACK: usize = 64 << 10;

/// Replaces the handlers of the standard library, which turn a stack overflow into SIGABRT.
pub(super) fn install(wire: &Wire, buffer: &Buffer) -> std::io::Result<()> {
    let here = 0_u8;
    SOCKET.store(wire.socket().as_raw_fd(), Relaxed);
    GUARD_START.store(buffer.guard().start, Relaxed);
    GUARD_END.store(buffer.guard().end, Relaxed);
    let limit = rustix::process::getrlimit(rustix::process::Resource::Stack).current;
    let limit = limit
        .and_then(|bytes| usize::try_from(bytes).ok())
        .unwrap_or(8 << 20);
    STACK_LOW.store((&raw const here).addr().saturating_sub(limit), Relaxed);
    let stack = Box::leak(vec![0_u8; HANDLER_STACK].into_boxed_slice());
    // SAFETY: the stack is never freed; the handler has the type that SA_SIGINFO asks for and
    // calls only what is allowed in one.
    unsafe {
        let stack = libc::stack_t {
            ss_sp: stack.as_mut_ptr().cast(),
            ss_flags: 0,
            ss_size: stack.len(),
        };
        if libc::sigaltstack(&raw const stack, ptr::null_mut()) != 0 {
            return Err(std::io::Error::last_os_error());
        }
        let mut action = MaybeUninit::<libc::sigaction>::zeroed().assume_init();
        let handler: extern "C" fn(libc::c_int, *const libc::siginfo_t, *const libc::c_void) =
            handle;
        action.sa_sigaction = handler as libc::sighandler_t;
        action.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK | libc::SA_RESETHAND;
        for signal in [libc::SIGSEGV, libc::SIGBUS] {
            if libc::sigaction(signal, &raw const action, ptr::null_mut()) != 0 {
                return Err(std::io::Error::last_os_error());
            }
        }
    }
    Ok(())
}

/// Says what the address means. It returns, the faulty instruction is met again, and since the
/// handler is reset the signal now ends the process.
extern "C" fn handle(signal: libc::c_int, info: *const libc::siginfo_t, _: *const libc::c_void) {
    // SAFETY: the kernel gives a valid siginfo; `send` and `raise` may be called in a handler.
    unsafe {
        // Sent by the module itself: there is no instruction to meet again.
        if (*info).si_code <= 0 {
            libc::raise(signal);
            return;
        }
        let at = (*info).si_addr().addr();
        let low = STACK_LOW.load(Relaxed);
        let code = if (GUARD_START.load(Relaxed)..GUARD_END.load(Relaxed)).contains(&at) {
            fault::BUFFER
        } else if at.abs_diff(low) < STACK_GAP {
            fault::STACK
        } else {
            return;
        };
        let frame = header(0, kind::FAULT, 0, code);
        let flags = libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL;
        libc::send(
            SOCKET.load(Relaxed),
            frame.as_ptr().cast(),
            frame.len(),
            flags,
        );
    }
}
