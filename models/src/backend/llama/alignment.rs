//! Rows that start where the processor's vectors start.
//!
//! llama.cpp places tensors at multiples of 32 bytes. Whether a row begins at a multiple of 64 is
//! then an accident of the number of tokens in a batch, and where it does not, every store of an
//! AVX-512 vector touches two cache lines: reading a prompt was up to 30 % slower.
#![expect(unsafe_code, reason = "llama.cpp has no setting for it")]

use llama_cpp_sys_2 as sys;

/// A cache line, and the longest vector.
const ALIGNMENT: usize = 64;

/// The beginning of ggml's `ggml_backend_buffer_type`, as of the version that Cargo.toml pins.
#[repr(C)]
struct BufferType {
    _get_name: Function,
    _alloc_buffer: Function,
    _alloc_buffer_n: Function,
    get_alignment: Option<unsafe extern "C" fn(sys::ggml_backend_buffer_type_t) -> usize>,
}

type Function = Option<unsafe extern "C" fn()>;

unsafe extern "C" fn alignment(_: sys::ggml_backend_buffer_type_t) -> usize {
    ALIGNMENT
}

/// Makes llama.cpp align what it allocates for the CPU from now on. Called once, before it has
/// allocated anything.
pub(super) fn align_buffers() {
    // SAFETY: the function returns a static struct, which nobody else uses yet: the caller makes
    // llama.cpp's global state. The layout is that of the pinned version, whose tests would not
    // survive another one.
    unsafe {
        let cpu = sys::ggml_backend_cpu_buffer_type();
        (*cpu.cast::<BufferType>()).get_alignment = Some(alignment);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn llama_cpp_believes_it() {
        super::super::load::backend();
        // SAFETY: plain functions of a static struct.
        let seen = unsafe {
            let cpu = sys::ggml_backend_cpu_buffer_type();
            sys::ggml_backend_buft_get_alignment(cpu)
        };
        assert_eq!(seen, ALIGNMENT);
    }
}
