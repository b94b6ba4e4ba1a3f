//! llama.cpp, through `llama-cpp-2` and, where it hides something, `llama-cpp-sys-2`.
//!
//! Loading, the vocabulary and everything that crosses the C border is in here; no other crate
//! and no other module names llama.cpp.

mod buffers;
mod context;
mod load;
mod log;
mod vocabulary;

pub(crate) use self::load::{load, load_vocabulary};

use std::ffi::CStr;

use llama_cpp_sys_2 as sys;

/// The CPU features that the compiled kernels use, as llama.cpp reports them.
#[must_use]
#[expect(unsafe_code, reason = "a C function that returns a static string")]
pub fn system_info() -> String {
    load::backend();
    // SAFETY: the function returns a NUL-terminated string in static storage, and the backend
    // is initialized.
    let text = unsafe { CStr::from_ptr(sys::llama_print_system_info()) };
    text.to_string_lossy().trim().to_owned()
}
