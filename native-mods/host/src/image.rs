//! The checked bytes of a module in memory that nobody can change any more.
//!
//! A file that was checked can be replaced before it is loaded, even through an open descriptor by
//! whoever can write to it. So the bytes that were hashed go into a memfd, its seals make them
//! final, and the memfd is what the loader opens.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

use rustix::fs::{MemfdFlags, SealFlags};

/// A module's file as it was checked. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Image(Arc<OwnedFd>);

impl Image {
    /// Copies the bytes and seals them.
    pub(crate) fn seal(name: &str, mut bytes: &[u8]) -> rustix::io::Result<Self> {
        let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
        let fd = rustix::fs::memfd_create(name, flags)?;
        while !bytes.is_empty() {
            let written = rustix::io::retry_on_intr(|| rustix::io::write(&fd, bytes))?;
            bytes = &bytes[written..];
        }
        let seals = SealFlags::WRITE | SealFlags::GROW | SealFlags::SHRINK | SealFlags::SEAL;
        rustix::fs::fcntl_add_seals(&fd, seals)?;
        Ok(Self(Arc::new(fd)))
    }
}

impl Image {
    /// The same bytes as a file of its own, whose descriptor is never closed.
    ///
    /// The loader takes a file that it has loaded, or one by the name of such a file, for that
    /// one. What is loaded into this process may be loaded again, and the name is the number of the
    /// descriptor; so each load has a number and a file that nothing else ever has.
    pub(crate) fn keep(&self) -> std::io::Result<BorrowedFd<'static>> {
        let path = format!("/proc/self/fd/{}", self.0.as_raw_fd());
        let copy = Self::seal("fazai-module", &std::fs::read(path)?)?;
        let kept: &'static Self = Box::leak(Box::new(copy));
        Ok(kept.as_fd())
    }
}

impl AsFd for Image {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sealed_image_keeps_its_bytes() {
        let image = Image::seal("test", b"checked").expect("sealed");
        assert!(rustix::io::pwrite(&image, b"swapped", 0).is_err());
        assert!(rustix::fs::ftruncate(&image, 0).is_err());
        let mut bytes = [0; 16];
        let length = rustix::io::pread(&image, &mut bytes, 0).expect("readable");
        assert_eq!(&bytes[..length], b"checked");
    }
}
