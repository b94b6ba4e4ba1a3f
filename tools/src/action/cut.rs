//! The beginning of an action, for a record that nobody may fill.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::{Action, Exec};

/// How much of the texts of an action is kept, in bytes.
const KEPT_BYTES: usize = 400;

/// What an action was that was cut: its JSON.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cut {
    /// How long it was, in bytes.
    pub bytes: usize,
    /// Its hash, in hexadecimal digits.
    pub sha256: String,
}

impl Action {
    /// The action with its texts cut, if they are long, and then what it was.
    pub(crate) fn cut(mut self) -> (Self, Option<Cut>) {
        let whole = serde_json::to_string(&self).unwrap_or_default();
        if whole.len() <= KEPT_BYTES {
            return (self, None);
        }
        let mut kept = Kept { left: KEPT_BYTES };
        match &mut self {
            Self::Exec(exec) => kept.exec(exec),
            Self::ReadFile { path } => kept.path(path),
            Self::WriteFile {
                path,
                content,
                mode,
            } => {
                kept.path(path);
                mode.iter_mut().for_each(|mode| kept.text(mode));
                content.iter_mut().for_each(|it| kept.text(&mut it.head));
            }
            Self::SendToCloud {
                provider,
                label,
                redacted,
            } => {
                kept.text(provider);
                kept.text(label);
                redacted.retain(|kind, _| kept.fits(kind.len()));
            }
            Self::CallTool(call) => {
                kept.text(&mut call.name);
                kept.text(&mut call.input.head);
                call.exec.iter_mut().for_each(|exec| kept.exec(exec));
            }
            Self::InstallPackage { name, exec } => {
                kept.text(name);
                exec.iter_mut().for_each(|exec| kept.exec(exec));
            }
            Self::CallModule {
                name,
                command: other,
            }
            | Self::ServiceControl {
                unit: name,
                verb: other,
            } => {
                kept.text(name);
                kept.text(other);
            }
            Self::Network { host: name, .. }
            | Self::LoadModule { name }
            | Self::WriteMemory { collection: name } => kept.text(name),
            Self::BlockAddress { .. } => {}
        }
        let cut = Cut {
            bytes: whole.len(),
            sha256: hex::encode(Sha256::digest(whole)),
        };
        (self, Some(cut))
    }
}

/// How much may still be kept.
struct Kept {
    left: usize,
}

impl Kept {
    fn fits(&mut self, bytes: usize) -> bool {
        let fits = bytes < self.left;
        self.left = self.left.saturating_sub(bytes);
        fits
    }

    fn text(&mut self, text: &mut String) {
        text.truncate(text.floor_char_boundary(self.left));
        self.left -= text.len();
    }

    fn path(&mut self, path: &mut PathBuf) {
        let mut text = path.to_string_lossy().into_owned();
        self.text(&mut text);
        *path = text.into();
    }

    fn exec(&mut self, exec: &mut Exec) {
        exec.argv.retain_mut(|arg| {
            let any = self.left > 0;
            self.text(arg);
            // Empty words take room as well.
            self.left = self.left.saturating_sub(1);
            any
        });
        self.path(&mut exec.cwd);
        let env = &mut exec.env;
        env.retain(|name, value| self.fits(name.len() + value.len()));
        if let Some(stdin) = &mut exec.stdin {
            self.text(&mut stdin.head);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Input;

    #[test]
    fn what_is_long_is_cut_and_named_by_its_hash() {
        let long = "é".repeat(30_000);
        let mut exec = Exec::plain(vec![String::new(); 50_000], &long);
        exec.env.insert(long.clone(), long.clone());
        exec.stdin = Some(Input::of(long.as_bytes()));
        let actions = [
            Action::Exec(exec),
            Action::shell(&long, "/"),
            Action::ReadFile {
                path: long.clone().into(),
            },
            Action::LoadModule { name: long },
        ];
        for action in actions {
            let whole = serde_json::to_string(&action).expect("JSON");
            let kind = action.kind();
            let (short, cut) = action.cut();
            let text = serde_json::to_string(&short).expect("JSON");
            assert!(text.len() < 2000, "{} bytes", text.len());
            assert_eq!(short.kind(), kind);
            let cut = cut.expect("it was cut");
            assert_eq!(cut.bytes, whole.len());
            assert_eq!(cut.sha256, hex::encode(Sha256::digest(&whole)));
        }
        let short = Action::shell("df -h", "/");
        assert_eq!(short.clone().cut(), (short, None));
    }
}
