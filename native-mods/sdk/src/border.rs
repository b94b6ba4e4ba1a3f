//! What the exported C functions do. For [`fazai_module!`](crate::fazai_module) only: every rule
//! of `fazai_mod.h` about text, panics and errors is kept here, so that modules need not.
//! The unsafe functions all ask the same: pointers as that header promises them.
#![expect(unsafe_code, reason = "pointers of C are read and written here")]

use std::any::Any;
use std::borrow::Cow;
use std::ffi::{CStr, c_char, c_int, c_void};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{PoisonError, RwLock};

use crate::{Module, Pieces};

/// `fazai_mod_emit`.
pub type Emit = unsafe extern "C" fn(*mut c_void, *const c_char, usize) -> c_int;

const OK: c_int = 0;
const FAILED: c_int = 1;

/// The module between `init` and `cleanup`. The lock is what makes a worker that calls at the
/// wrong moment get an error instead of undefined behaviour.
pub struct Slot<M>(RwLock<Option<M>>);

impl<M: Module> Slot<M> {
    #[expect(clippy::new_without_default, reason = "it is made in a static")]
    #[must_use]
    pub const fn new() -> Self {
        Self(RwLock::new(None))
    }

    fn put(&self, module: Option<M>) -> Option<M> {
        let mut slot = self.0.write().unwrap_or_else(PoisonError::into_inner);
        std::mem::replace(&mut *slot, module)
    }

    fn call<T>(&self, call: impl FnOnce(&M) -> Result<T, String>) -> Result<T, String> {
        let slot = self.0.read().unwrap_or_else(PoisonError::into_inner);
        match &*slot {
            Some(module) => guarded(|| call(module)),
            None => Err("fazai_mod_init was not called, or failed: load the module again".into()),
        }
    }
}

pub fn init<M: Module>(slot: &Slot<M>, name: &str) -> c_int {
    match guarded(M::init) {
        Ok(module) => {
            slot.put(Some(module));
            OK
        }
        Err(reason) => {
            eprintln!("module {name}: init failed: {reason}");
            FAILED
        }
    }
}

pub unsafe fn exec<M: Module>(
    slot: &Slot<M>,
    command: *const c_char,
    result: *mut c_char,
    result_len: c_int,
) -> c_int {
    // SAFETY: the caller's text, which outlives this call.
    let answer = unsafe { text(command) }.and_then(|command| slot.call(|m| m.exec(&command)));
    let (code, answer) = match answer {
        Ok(answer) => (OK, answer),
        Err(reason) => (FAILED, reason),
    };
    // SAFETY: the caller's buffer and its length.
    unsafe { put(&answer, result, result_len) };
    code
}

pub unsafe fn stream<M: Module>(
    slot: &Slot<M>,
    command: *const c_char,
    emit: Emit,
    context: *mut c_void,
) -> c_int {
    let mut take = |piece: &str| {
        // SAFETY: `emit` and `context` came together, for use during this call. It only borrows
        // the piece.
        unsafe { emit(context, piece.as_ptr().cast(), piece.len()) == 0 }
    };
    let mut pieces = Pieces::new(&mut take);
    // SAFETY: the caller's text, which outlives this call.
    let answer = unsafe { text(command) }
        .and_then(|command| slot.call(|module| module.stream(&command, &mut pieces)));
    match answer {
        Ok(()) => OK,
        Err(reason) => {
            // There is no other way for the reason; who wants nothing more does not want it.
            let _ = pieces.send(&reason);
            FAILED
        }
    }
}

pub unsafe fn health<M: Module>(slot: &Slot<M>, result: *mut c_char, result_len: c_int) -> c_int {
    let (code, answer) = match slot.call(M::health) {
        Ok(()) => (OK, String::new()),
        Err(reason) => (FAILED, reason),
    };
    // SAFETY: the caller's buffer and its length.
    unsafe { put(&answer, result, result_len) };
    code
}

pub fn cleanup<M: Module>(slot: &Slot<M>, name: &str) {
    let Some(module) = slot.put(None) else { return };
    if let Err(reason) = guarded(|| {
        module.cleanup();
        Ok(())
    }) {
        eprintln!("module {name}: cleanup failed: {reason}");
    }
}

/// Runs the module's code. A panic is an error of this call: it must not reach C.
fn guarded<T>(run: impl FnOnce() -> Result<T, String>) -> Result<T, String> {
    // State that a panic left half changed is the module's: its locks are poisoned.
    catch_unwind(AssertUnwindSafe(run)).unwrap_or_else(|payload| {
        let reason = panic_text(&*payload);
        // Dropping what was thrown is the module's code again, and may panic once more.
        std::mem::forget(payload);
        Err(reason)
    })
}

fn panic_text(payload: &(dyn Any + Send)) -> String {
    let text = payload
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| payload.downcast_ref::<String>().map(String::as_str));
    match text {
        Some(text) => format!("the module panicked: {text}"),
        None => "the module panicked".to_owned(),
    }
}

/// # Safety
/// `command` is null or a text ended by a NUL, and stays so for `'a`.
unsafe fn text<'a>(command: *const c_char) -> Result<Cow<'a, str>, String> {
    if command.is_null() {
        return Err("the command is a null pointer".to_owned());
    }
    // SAFETY: not null, and ended by a NUL.
    Ok(unsafe { CStr::from_ptr(command) }.to_string_lossy())
}

/// # Safety
/// `result` is null or has `len` bytes to write to.
unsafe fn put(answer: &str, result: *mut c_char, len: c_int) {
    let room = usize::try_from(len).unwrap_or(0);
    if result.is_null() || room == 0 {
        return;
    }
    let bytes = fitted(answer, room);
    // SAFETY: `fitted` gives at most `room` bytes, and they are our own.
    unsafe { result.copy_from_nonoverlapping(bytes.as_ptr().cast(), bytes.len()) };
}

/// `answer` and a NUL in at most `room` bytes. NULs within become U+FFFD, since C would end there.
///
/// What does not fit is cut between characters. A gap that the last character would have had is
/// filled with spaces: a buffer that is full to its end is how the worker knows that there is more.
fn fitted(answer: &str, room: usize) -> Vec<u8> {
    let answer = if answer.contains('\0') {
        Cow::Owned(answer.replace('\0', "\u{fffd}"))
    } else {
        Cow::Borrowed(answer)
    };
    let end = answer.floor_char_boundary(room - 1);
    let mut bytes = answer.as_bytes()[..end].to_vec();
    if end < answer.len() {
        bytes.resize(room - 1, b' ');
    }
    bytes.push(0);
    bytes
}

/// `text` and a NUL, for a constant.
#[must_use]
pub const fn with_nul<const N: usize>(text: &str) -> [u8; N] {
    assert!(N == text.len() + 1);
    let mut bytes = [0; N];
    let mut at = 0;
    while at < text.len() {
        bytes[at] = text.as_bytes()[at];
        at += 1;
    }
    bytes
}

/// Panics, which in a constant is an error of the compiler, if there is a NUL in the text.
#[must_use]
pub const fn c_str(bytes: &'static [u8]) -> &'static CStr {
    match CStr::from_bytes_with_nul(bytes) {
        Ok(text) => text,
        Err(_) => panic!("a text of the descriptor has a NUL within"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(answer: &str, room: usize, expected: &[u8]) {
        let bytes = fitted(answer, room);
        assert_eq!(bytes, expected, "{answer:?} in {room}");
        assert!(bytes.len() <= room);
        assert!(std::str::from_utf8(&bytes).is_ok());
    }

    #[test]
    fn answers_fit_their_buffer() {
        check("hi", 8, b"hi\0");
        check("", 8, b"\0");
        check("1234567", 8, b"1234567\0");
        check("12345678", 8, b"1234567\0");
        check("x", 1, b"\0");
    }

    #[test]
    fn cuts_are_between_characters_and_leave_no_gap() {
        check("caf\u{e9}", 5, b"caf \0");
        check("caf\u{e9}", 6, "caf\u{e9}\0".as_bytes());
        check("\u{1f600}\u{1f600}", 8, "\u{1f600}   \0".as_bytes());
        check("\u{1f600}", 3, b"  \0");
    }

    #[test]
    fn a_nul_within_ends_nothing() {
        check("a\0b", 8, "a\u{fffd}b\0".as_bytes());
    }

    #[test]
    fn what_a_panic_said_is_kept() {
        let check = |run: fn() -> Result<(), String>, expected: &str| {
            assert_eq!(guarded(run), Err(expected.to_owned()));
        };
        check(|| panic!("boom"), "the module panicked: boom");
        check(|| panic!("boom {}", 1), "the module panicked: boom 1");
        check(|| std::panic::panic_any(7), "the module panicked");
        check(
            || {
                struct Again;
                impl Drop for Again {
                    fn drop(&mut self) {
                        panic!("again");
                    }
                }
                std::panic::panic_any(Again)
            },
            "the module panicked",
        );
    }
}
