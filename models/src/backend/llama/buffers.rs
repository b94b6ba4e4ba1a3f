//! Where llama.cpp computes: buffers that start where the processor's vectors start, in large
//! pages if that is wished.
//!
//! llama.cpp places tensors at multiples of 32 bytes. Whether a row begins at a multiple of 64 is
//! then an accident of the number of tokens in a batch, and where it does not, every store of an
//! AVX-512 vector touches two cache lines: reading a prompt was up to 30 % slower.
#![expect(unsafe_code, reason = "llama.cpp has no settings for it")]

use std::cell::Cell;
use std::ffi::c_void;
use std::ptr::NonNull;
use std::sync::OnceLock;

use llama_cpp_sys_2 as sys;
use rustix::mm::{Advice, madvise};
use tracing::debug;

/// A cache line, and the longest vector.
const ALIGNMENT: usize = 64;

type Type = sys::ggml_backend_buffer_type_t;
type Allocate = unsafe extern "C" fn(Type, usize) -> sys::ggml_backend_buffer_t;

/// The beginning of ggml's `ggml_backend_buffer_type`, as of the version that Cargo.toml pins.
#[repr(C)]
struct BufferType {
    _get_name: Option<unsafe extern "C" fn()>,
    alloc_buffer: Option<Allocate>,
    _alloc_buffer_n: Option<unsafe extern "C" fn()>,
    get_alignment: Option<unsafe extern "C" fn(Type) -> usize>,
}

/// The types of the CPU's buffers, and how ggml allocates each.
static TYPES: OnceLock<Vec<(usize, Allocate)>> = OnceLock::new();

thread_local! {
    /// Whether the kernel is asked for large pages for what this thread allocates.
    static HUGE_PAGES: Cell<bool> = const { Cell::new(false) };
}

/// Changes how llama.cpp allocates on the CPU from now on. Called once, before it has allocated
/// anything.
pub(super) fn take_over() {
    let mut types = Vec::new();
    // SAFETY: the functions return static structs, which nobody else uses yet: the caller makes
    // llama.cpp's global state. The layout is that of the pinned version, whose tests would not
    // survive another one.
    unsafe {
        for place in cpu_types() {
            let buffer_type = &mut *place.cast::<BufferType>();
            if let Some(original) = buffer_type.alloc_buffer.replace(allocate) {
                types.push((place.addr(), original));
            }
            buffer_type.get_alignment = Some(alignment);
        }
    }
    TYPES.set(types).expect("taken over once");
}

/// Asks the kernel for large pages for what this thread allocates from now on, or does not. A
/// model is loaded by one thread.
pub(super) fn use_huge_pages(wanted: bool) {
    HUGE_PAGES.set(wanted);
}

/// The plain type, and those of weights that are laid out for the processor's kernels.
unsafe fn cpu_types() -> Vec<Type> {
    // SAFETY: plain functions; the last one's type is that of its name, and its list ends with a
    // null pointer.
    unsafe {
        let mut types = vec![sys::ggml_backend_cpu_buffer_type()];
        let device = sys::ggml_backend_dev_by_type(sys::GGML_BACKEND_DEVICE_TYPE_CPU);
        if device.is_null() {
            return types;
        }
        let registry = sys::ggml_backend_dev_backend_reg(device);
        let name = c"ggml_backend_dev_get_extra_bufts".as_ptr();
        let found = NonNull::new(sys::ggml_backend_reg_get_proc_address(registry, name));
        if let Some(found) = found {
            let get = std::mem::transmute::<
                NonNull<c_void>,
                unsafe extern "C" fn(sys::ggml_backend_dev_t) -> *mut Type,
            >(found);
            let mut extra = get(device);
            while !extra.is_null() && !(*extra).is_null() {
                types.push(*extra);
                extra = extra.add(1);
            }
        }
        types
    }
}

unsafe extern "C" fn alignment(_: Type) -> usize {
    ALIGNMENT
}

unsafe extern "C" fn allocate(buffer_type: Type, size: usize) -> sys::ggml_backend_buffer_t {
    let types = TYPES.get().map(Vec::as_slice).unwrap_or_default();
    let known = types.iter().find(|(place, _)| *place == buffer_type.addr());
    let Some((_, original)) = known else {
        return std::ptr::null_mut();
    };
    // SAFETY: ggml's own function, called as ggml calls it; a buffer's memory is its own until
    // it is freed, and advice does not change what is in it.
    unsafe {
        let buffer = original(buffer_type, size);
        if HUGE_PAGES.get() && !buffer.is_null() {
            let start = sys::ggml_backend_buffer_get_base(buffer);
            advise(start, sys::ggml_backend_buffer_get_size(buffer));
        }
        buffer
    }
}

/// Asks for large pages for the whole pages in a range.
///
/// # Safety
/// The range is one allocation.
unsafe fn advise(start: *mut c_void, size: usize) {
    let page = rustix::param::page_size();
    let skip = start.addr().next_multiple_of(page) - start.addr();
    let whole = size.saturating_sub(skip) / page * page;
    if whole == 0 {
        return;
    }
    // SAFETY: whole pages within the range.
    let advised = unsafe { madvise(start.byte_add(skip), whole, Advice::LinuxHugepage) };
    if let Err(fault) = advised {
        debug!(%fault, "no large pages");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn llama_cpp_believes_it() {
        super::super::load::backend();
        // SAFETY: plain functions of static structs.
        unsafe {
            for buffer_type in cpu_types() {
                assert_eq!(sys::ggml_backend_buft_get_alignment(buffer_type), ALIGNMENT);
            }
        }
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn buffers_get_large_pages_when_they_are_wished() {
        super::super::load::backend();
        let flagged = |wanted: bool| {
            use_huge_pages(wanted);
            // SAFETY: a buffer is made, looked at and freed.
            unsafe {
                let cpu = sys::ggml_backend_cpu_buffer_type();
                let buffer = sys::ggml_backend_buft_alloc_buffer(cpu, 64 << 20);
                let inside = sys::ggml_backend_buffer_get_base(buffer).addr() + (32 << 20);
                let flagged = flags(inside).split(' ').any(|flag| flag == "hg");
                sys::ggml_backend_buffer_free(buffer);
                flagged
            }
        };
        assert!(flagged(true));
        assert!(!flagged(false));
    }

    /// What the kernel notes of the mapping that has this address.
    fn flags(address: usize) -> String {
        let maps = std::fs::read_to_string("/proc/self/smaps").expect("a list");
        let mut inside = false;
        for line in maps.lines() {
            let range = line
                .split_once(' ')
                .and_then(|(range, _)| range.split_once('-'));
            let ends = range.map(|(from, to)| [from, to].map(|it| usize::from_str_radix(it, 16)));
            if let Some([Ok(from), Ok(to)]) = ends {
                inside = (from..to).contains(&address);
            } else if let Some(flags) = line.strip_prefix("VmFlags: ").filter(|_| inside) {
                return flags.to_owned();
            }
        }
        String::new()
    }
}
