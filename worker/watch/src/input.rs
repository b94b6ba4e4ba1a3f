//! Where lines come from. Nothing here waits and nothing has a thread: whoever owns the inputs asks
//! one after the other what is new, and sleeps when nothing is.

mod follow;
mod lines;
mod listen;
mod metrics;

use std::io;

pub use self::follow::{Follow, Start};
pub use self::lines::Lines;
pub use self::listen::{Listen, ListenError};
pub use self::metrics::Metrics;

/// Something that lines come from.
pub trait Input {
    /// Hands over the lines that are there, at most about a megabyte of them, and says how many.
    /// Each comes without its end and with its number: for a file the number of its first byte in
    /// all that the file's name ever held, elsewhere the number of the line.
    fn poll(&mut self, each: &mut dyn FnMut(u64, &[u8])) -> io::Result<usize>;

    /// All lines so far are dealt with and need not come again after a restart.
    fn commit(&mut self) -> io::Result<()> {
        Ok(())
    }
}
