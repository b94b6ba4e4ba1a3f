//! The checked bytes of a module in memory that nobody can change any more.
//!
//! A file that was checked can be replaced before it is loaded, even through an open descriptor by
//! whoever can write to it. So the bytes that were hashed go into a memfd, its seals make them
//! final, and the memfd is what the loader opens.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
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
