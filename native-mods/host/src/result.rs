//! A result as a module writes it: text in a buffer that it is given, up to a NUL.

use std::ffi::{CStr, CString, c_int};

use crate::abi::Loaded;

/// What version 0 promises a module.
pub(crate) const RESULT_BYTES_MIN: usize = 8192;

/// A text that leaves less than this, with its NUL, filled its buffer: one that is cut between
/// characters may lack three bytes.
const FILLED_ROOM: usize = 4;

/// Where results are written to.
pub(crate) trait Room {
    /// The largest buffer.
    fn size_max(&self) -> usize;

    /// A buffer of this size, all of it 0: a module that writes no NUL still has one behind its
    /// text, and finds nothing of another call.
    fn clear(&mut self, size: usize) -> &mut [u8];

    /// The buffer that was given last.
    fn written(&self) -> &[u8];

    /// The text there: up to the NUL, or all of it.
    fn text(&self) -> &[u8] {
        let bytes = self.written();
        CStr::from_bytes_until_nul(bytes).map_or(bytes, CStr::to_bytes)
    }
}

/// Runs a command, and once more with the largest buffer if the module wants that.
pub(crate) fn exec(module: &Loaded, command: &CString, room: &mut impl Room) -> c_int {
    let code = module.exec(command, room.clear(RESULT_BYTES_MIN));
    let most = room.size_max();
    let filled = || room.text().len() + FILLED_ROOM >= RESULT_BYTES_MIN;
    if module.grows() && most > RESULT_BYTES_MIN && filled() {
        return module.exec(command, room.clear(most));
    }
    code
}

/// Asks a module how it is. One that has no such function can work.
pub(crate) fn health(module: &Loaded, room: &mut impl Room) -> c_int {
    module.health(room.clear(RESULT_BYTES_MIN)).unwrap_or(0)
}
