//! `struct fazai_mod_descriptor`, as Rust sees it. `tests/layout.rs` compares it with the header.
#![expect(unsafe_code, reason = "the descriptor has pointers and is a static")]

use std::ffi::{CStr, c_char};

/// `FAZAI_MOD_MAGIC`.
pub const MAGIC: u32 = 0x4d5a_4146;
/// `FAZAI_MOD_ABI`: the version of the contract that this crate keeps to.
pub const ABI: u32 = 1;

/// `FAZAI_MOD_NETWORK`, a capability: sockets of IPv4 and IPv6.
pub const NETWORK: u64 = 1;
/// `FAZAI_MOD_FILES`, a capability: files beyond the module's own.
pub const FILES: u64 = 2;
/// `FAZAI_MOD_EXEC`, a capability: starting other programs.
pub const EXEC: u64 = 4;

/// `FAZAI_MOD_THREADS`, a flag: calls may run at the same time on several threads.
pub const THREADS: u64 = 1;
/// `FAZAI_MOD_GROW`, a flag: a call whose answer filled the buffer may be repeated once with a
/// larger one, since it has no side effects.
pub const GROW: u64 = 2;

const NAME_MAX: usize = 64;

/// What a module tells about itself. [`fazai_module!`](crate::fazai_module) makes one.
#[repr(C)]
#[derive(Debug)]
#[expect(missing_docs, reason = "fazai_mod.h says what each one is")]
pub struct Descriptor {
    pub magic: u32,
    pub abi: u32,
    pub struct_size: u32,
    pub reserved: u32,
    pub capabilities: u64,
    pub flags: u64,
    pub name: *const c_char,
    pub version: *const c_char,
    pub description: *const c_char,
    pub commands: *const c_char,
}

// SAFETY: nothing writes to a descriptor, and `new` takes texts that live as long as the process.
unsafe impl Sync for Descriptor {}

impl Descriptor {
    /// Panics, which in a constant is an error of the compiler, if the name is not allowed.
    #[must_use]
    pub const fn new(
        name: &'static CStr,
        version: &'static CStr,
        description: &'static CStr,
        commands: &'static CStr,
        capabilities: u64,
        flags: u64,
    ) -> Self {
        assert!(
            is_name(name.to_bytes()),
            "a module's name is 1 to 64 characters of a-z, 0-9, _ and -"
        );
        assert!(
            capabilities & !(NETWORK | FILES | EXEC) == 0,
            "capabilities are NETWORK, FILES and EXEC"
        );
        assert!(flags & !(THREADS | GROW) == 0, "flags are THREADS and GROW");
        Self {
            magic: MAGIC,
            abi: ABI,
            #[expect(clippy::cast_possible_truncation, reason = "it is 64 bytes")]
            struct_size: size_of::<Self>() as u32,
            reserved: 0,
            capabilities,
            flags,
            name: name.as_ptr(),
            version: version.as_ptr(),
            description: description.as_ptr(),
            commands: commands.as_ptr(),
        }
    }
}

const fn is_name(name: &[u8]) -> bool {
    let mut at = 0;
    while at < name.len() {
        if !matches!(name[at], b'a'..=b'z' | b'0'..=b'9' | b'_' | b'-') {
            return false;
        }
        at += 1;
    }
    at >= 1 && at <= NAME_MAX
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        for (name, expected) in [
            ("echo", true),
            ("http_screen-2", true),
            (&"a".repeat(64), true),
            (&"a".repeat(65), false),
            ("", false),
            ("Echo", false),
            ("../echo", false),
            ("écho", false),
        ] {
            assert_eq!(is_name(name.as_bytes()), expected, "{name:?}");
        }
    }
}
