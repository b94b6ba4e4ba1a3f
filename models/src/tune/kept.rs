//! Calibrations in files: one for each model, build and processor.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use tracing::{debug, warn};

use super::Calibration;
use crate::hex::hex;
use crate::prompts::Fingerprint;
use crate::replace::{private_dir, replace};

/// A calibration is a few kilobytes.
const BYTES_MAX: u64 = 1 << 20;

/// Where a model's calibration is kept.
#[derive(Debug)]
pub(crate) struct Kept(PathBuf);

impl Kept {
    /// The place for a model in a directory. Another number of threads makes another machine.
    pub(crate) fn new(dir: &Path, fingerprint: &Fingerprint, threads: u32) -> Self {
        let name = format!("{}-{threads}.json", &hex(fingerprint)[..32]);
        Self(dir.join(name))
    }

    /// What was measured before. A file that is none is as good as none.
    pub(crate) fn load(&self) -> Option<Calibration> {
        let size = fs::metadata(&self.0).ok()?.len();
        let text = (size <= BYTES_MAX).then(|| fs::read(&self.0).ok())??;
        let read: Option<Calibration> = serde_json::from_slice(&text).ok();
        let read = read.filter(|read| read.tuning.is_possible());
        if read.is_none() {
            warn!(path = %self.0.display(), "this is no calibration: it is made anew");
        }
        read
    }

    /// Makes the next load measure again.
    pub(crate) fn forget(&self) {
        let _ = fs::remove_file(&self.0);
    }

    /// Keeps a calibration; without a place to keep it the next load measures again.
    pub(crate) fn save(&self, calibration: &Calibration) {
        let dir = self.0.parent().unwrap_or_else(|| Path::new("."));
        let saved = private_dir(dir).and_then(|()| {
            let text = serde_json::to_vec_pretty(calibration)?;
            replace(&self.0, |file| file.write_all(&text))
        });
        match saved {
            Ok(()) => debug!(path = %self.0.display(), "the calibration is kept"),
            Err(fault) => {
                warn!(path = %self.0.display(), %fault, "the calibration can't be kept");
            }
        }
    }
}
