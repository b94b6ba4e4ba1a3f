//! llama.cpp's log lines go to `tracing`; the latest errors are kept, because its functions
//! say why they failed nowhere else.
#![expect(unsafe_code, reason = "a callback that C calls")]

use std::ffi::{CStr, c_char, c_void};
use std::sync::{Mutex, PoisonError};

use llama_cpp_sys_2 as sys;
use tracing::{debug, trace, warn};

/// The errors since the last [`take_errors`], oldest first.
static ERRORS: Mutex<Vec<String>> = Mutex::new(Vec::new());
const ERRORS_MAX: usize = 8;

/// Sends llama.cpp's log to `tracing`.
pub(super) fn install() {
    // SAFETY: `forward` has the right signature, never unwinds and lives for ever.
    unsafe { sys::llama_log_set(Some(forward), std::ptr::null_mut()) };
}

/// The errors that were logged since the last call, in one line.
pub(super) fn take_errors() -> String {
    let mut errors = ERRORS.lock().unwrap_or_else(PoisonError::into_inner);
    std::mem::take(&mut *errors).join("; ")
}

unsafe extern "C" fn forward(level: sys::ggml_log_level, text: *const c_char, _: *mut c_void) {
    if text.is_null() {
        return;
    }
    // SAFETY: llama.cpp passes a NUL-terminated string that lives during the call.
    let text = unsafe { CStr::from_ptr(text) }.to_string_lossy();
    let text = text.trim();
    if text.is_empty() || text.chars().all(|c| c == '.') {
        return;
    }
    match level {
        sys::GGML_LOG_LEVEL_ERROR => {
            let mut errors = ERRORS.lock().unwrap_or_else(PoisonError::into_inner);
            if errors.len() < ERRORS_MAX {
                errors.push(text.to_owned());
            }
            warn!(target: "llama.cpp", "{text}");
        }
        // Its warnings are advice for people who write programs.
        sys::GGML_LOG_LEVEL_WARN => debug!(target: "llama.cpp", "{text}"),
        _ => trace!(target: "llama.cpp", "{text}"),
    }
}
