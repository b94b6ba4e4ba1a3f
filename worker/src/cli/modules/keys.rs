//! `fazai modules keygen` and `sign`: keys and signatures, in minisign's format.

use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, IsTerminal, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, anyhow};
use clap::Args;
use fazai_modhost::sign::{self, SignError};
use serde_json::json;

use super::add::{Replacement, read};
use crate::cli::output;

/// Make a key to sign modules with
#[derive(Debug, Args)]
#[command(after_help = "\
PREFIX.key signs: keep it to yourself. PREFIX.pub says whose a signature is: append it to the file
`trusted_keys` of the modules' directory on every machine that shall load your modules.

Examples:
  fazai modules keygen vendor
  fazai modules keygen --no-password ci/release     for a machine that signs by itself")]
pub(crate) struct Keygen {
    /// How the two files begin
    prefix: PathBuf,
    /// Do not encrypt the secret key
    #[arg(long)]
    no_password: bool,
}

/// Sign module files with a key of `keygen`
#[derive(Debug, Args)]
#[command(after_help = "\
FILE.minisig beside each file is its signature. `minisign -S` makes the same.

Example:
  fazai modules sign --key vendor.key hello.so")]
pub(crate) struct Sign {
    /// The secret key
    #[arg(long, value_name = "FILE")]
    key: PathBuf,
    /// A file with its password, instead of asking for it
    #[arg(long, value_name = "FILE")]
    password_file: Option<PathBuf>,
    /// The modules' files
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
}

impl Keygen {
    pub(super) fn run(&self) -> anyhow::Result<()> {
        let [secret, public] = ["key", "pub"].map(|kind| self.file(kind));
        // Before a password is asked for in vain.
        for path in [&secret, &public] {
            if path.symlink_metadata().is_ok() {
                return Err(taken(path));
            }
        }
        let password = match self.no_password {
            true => None,
            false => Some(new_password()?),
        };
        let made = sign::generate(password)?;
        create(&secret, 0o600, &made.secret_key)?;
        create(&public, 0o644, &made.public_key).inspect_err(|_| {
            // One without the other is of no use, and in the way of the next try.
            let _ = fs::remove_file(&secret);
        })?;
        let text = format!(
            "{} signs modules: keep it to yourself\n{} is for the machines that shall trust them: \
             append it to their file trusted_keys",
            secret.display(),
            public.display()
        );
        output::print(
            false,
            &text,
            &json!({ "secret_key": secret, "public_key": public }),
        )
    }

    fn file(&self, kind: &str) -> PathBuf {
        let mut name = self.prefix.clone().into_os_string();
        name.push(".");
        name.push(kind);
        PathBuf::from(name)
    }
}

fn read_text(path: &Path) -> anyhow::Result<String> {
    let bytes = read(path)?;
    String::from_utf8(bytes).map_err(|_| anyhow!("{} is no text", path.display()))
}

fn taken(path: &Path) -> anyhow::Error {
    anyhow!("{} is there already; choose another name", path.display())
}

fn create(path: &Path, mode: u32, text: &str) -> anyhow::Result<()> {
    let options = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(mode)
        .open(path);
    let mut file = match options {
        Err(fault) if fault.kind() == ErrorKind::AlreadyExists => return Err(taken(path)),
        opened => opened.with_context(|| path.display().to_string())?,
    };
    let written = write_all(&mut file, text);
    written
        .inspect_err(|_| drop(fs::remove_file(path)))
        .with_context(|| path.display().to_string())
}

fn write_all(file: &mut File, text: &str) -> std::io::Result<()> {
    file.write_all(text.as_bytes())?;
    file.sync_all()
}

fn new_password() -> anyhow::Result<String> {
    if !std::io::stdin().is_terminal() {
        return Err(anyhow!(
            "a password for the key can only be asked for on a terminal\n  hint: --no-password makes \
             a key without one"
        ));
    }
    let password = rpassword::prompt_password("Password for the key: ")?;
    if password.is_empty() {
        return Err(anyhow!(
            "no password was given\n  hint: --no-password makes a key without one"
        ));
    }
    if rpassword::prompt_password("The same again: ")? != password {
        return Err(anyhow!("the two differ; try again"));
    }
    Ok(password)
}

impl Sign {
    pub(super) fn run(&self) -> anyhow::Result<()> {
        let key = read_text(&self.key)?;
        let mut password = self.password_from_file()?;
        let mut signatures = Vec::new();
        for file in &self.files {
            let bytes = read(file)?;
            let name = file.file_name().unwrap_or_default().to_string_lossy();
            let signature = match sign::sign(&bytes, &key, password.clone(), &name) {
                Err(SignError::NoPassword) if std::io::stdin().is_terminal() => {
                    password = Some(rpassword::prompt_password("Password of the key: ")?);
                    sign::sign(&bytes, &key, password.clone(), &name)
                }
                Err(SignError::NoPassword) => {
                    return Err(anyhow!(
                        "the key has a password\n  hint: --password-file FILE"
                    ));
                }
                signed => signed,
            }?;
            let mut beside = file.clone().into_os_string();
            beside.push(".minisig");
            let beside = PathBuf::from(beside);
            Replacement::write(&beside, signature.as_bytes(), 0o644)?.put()?;
            signatures.push(beside);
        }
        let lines: Vec<String> = signatures
            .iter()
            .map(|path| path.display().to_string())
            .collect();
        output::print(false, &lines.join("\n"), &json!(signatures))
    }

    fn password_from_file(&self) -> anyhow::Result<Option<String>> {
        let Some(path) = &self.password_file else {
            return Ok(None);
        };
        let text = read_text(path)?;
        Ok(Some(text.trim_end_matches(['\r', '\n']).to_owned()))
    }
}
