//! Where a module writes its result: memory that the host can read, with a page behind it that
//! nobody can write to. A module that writes past the end of its buffer hits that page and ends
//! its process, instead of going on with whatever it overwrote.
#![expect(
    unsafe_code,
    reason = "memory is mapped, and a foreign function writes to it"
)]

use std::os::fd::OwnedFd;
use std::ptr;

use crate::result::Room;
use rustix::mm::{MapFlags, ProtFlags, mmap, mmap_anonymous};

/// The largest page of the systems that this runs on.
const GUARD_BYTES: usize = 64 << 10;

/// The shared memory between two guards. Never unmapped.
pub(super) struct Buffer {
    start: *mut u8,
    size: usize,
    /// How much of its end was given to the module.
    given: usize,
}

impl Buffer {
    /// Maps shared memory of `size` bytes, a multiple of the page.
    pub(super) fn map(shared: &OwnedFd, size: usize) -> rustix::io::Result<Self> {
        let all = size + 2 * GUARD_BYTES;
        // SAFETY: a new mapping, of which the middle is replaced by the shared memory.
        let start = unsafe {
            let none = ptr::null_mut();
            let guard = mmap_anonymous(none, all, ProtFlags::empty(), MapFlags::PRIVATE)?;
            let start = guard.byte_add(GUARD_BYTES);
            let rights = ProtFlags::READ | ProtFlags::WRITE;
            mmap(
                start,
                size,
                rights,
                MapFlags::SHARED | MapFlags::FIXED,
                shared,
                0,
            )?
        };
        Ok(Self {
            start: start.cast(),
            size,
            given: 0,
        })
    }

    /// Where the text begins in the shared memory.
    pub(super) fn text_at(&self) -> usize {
        self.size - self.given
    }

    /// The addresses of the guard behind the buffer.
    pub(super) fn guard(&self) -> std::ops::Range<usize> {
        let end = self.start.addr() + self.size;
        end..end + GUARD_BYTES
    }
}

impl Room for Buffer {
    fn size_max(&self) -> usize {
        self.size
    }

    /// The last `size` bytes, which end at the guard.
    fn clear(&mut self, size: usize) -> &mut [u8] {
        self.given = size.min(self.size);
        // SAFETY: mapped for reading and writing as long as the process lives; the host only reads,
        // through its descriptor.
        let bytes =
            unsafe { std::slice::from_raw_parts_mut(self.start.add(self.text_at()), self.given) };
        bytes.fill(0);
        bytes
    }

    fn written(&self) -> &[u8] {
        // SAFETY: as in `clear`.
        unsafe { std::slice::from_raw_parts(self.start.add(self.text_at()), self.given) }
    }
}
