//! A program with a manifest.
//!
//! Its parameters are arguments, if the manifest has any, or JSON on its standard input. If it
//! writes one JSON object, that is the answer; any other text is put into one.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use fazai_tools::{Action, Exec, How, Input, Source};
use serde_json::{Value, json};

use super::arguments::{fill, placeholders};
use super::call_of;
use super::description::clean;
use super::folder::{self, Stamp};
use super::manifest::Manifest;
use super::script::ended_how;
use super::tail::Tail;
use crate::error::ToolError;
use crate::host::{Host, follow};
use crate::tool::{About, Origin, Params, Tool};

/// A program that can be called.
#[derive(Debug)]
pub(super) struct Program {
    about: About,
    manifest: Manifest,
    path: PathBuf,
    directory: PathBuf,
    /// Of the file that was looked at.
    stamp: Option<Stamp>,
}

impl Program {
    /// Looks at the program that a manifest is for.
    pub(super) fn new(
        directory: &Path,
        name: &str,
        own: &Path,
        manifest: Manifest,
    ) -> Result<Self, String> {
        let path = match &manifest.program {
            Some(program) => directory.join(program),
            None if own.symlink_metadata().is_err() => {
                return Err(format!(
                    "there is no file {} beside its manifest; add it, or say `program` there",
                    own.display()
                ));
            }
            None => folder::inside(directory, own)?,
        };
        let stamp = Stamp::of(&path);
        check(&path)?;
        if let Some(name) = unknown_parameter(&manifest) {
            return Err(format!(
                "`args` names {{{name}}}, which is not in `parameters.properties`"
            ));
        }
        let about = About {
            name: name.to_owned(),
            description: clean(manifest.description.as_deref().unwrap_or_default()),
            parameters: manifest.schema(),
            risk: manifest.risk,
            rights: manifest.rights.clone(),
            origin: Origin::Program { path: path.clone() },
            interactive: false,
        };
        Ok(Self {
            about,
            manifest,
            path,
            directory: directory.to_owned(),
            stamp,
        })
    }

    /// What is run, and what it reads.
    fn start(&self, params: &Params) -> Result<(Exec, Option<Vec<u8>>), ToolError> {
        let mut argv = vec![self.path.display().to_string()];
        let stdin = match &self.manifest.args {
            Some(args) => {
                argv.extend(fill(args, params)?);
                None
            }
            None => Some(json!(params).to_string().into_bytes()),
        };
        let exec = Exec {
            stdin: stdin.as_deref().map(Input::of),
            ..Exec::plain(argv, &self.directory)
        };
        Ok((exec, stdin))
    }
}

impl Tool for Program {
    fn about(&self) -> &About {
        &self.about
    }

    fn wants(&self, params: &Params) -> Result<Vec<Action>, ToolError> {
        let (exec, _) = self.start(params)?;
        Ok(vec![call_of(&self.about, params, exec)])
    }

    fn call(&self, params: &Params, host: &dyn Host) -> Result<Value, ToolError> {
        let (exec, stdin) = self.start(params)?;
        let permit = host.permit(call_of(&self.about, params, exec))?;
        // A person may have thought about it for long.
        if Stamp::of(&self.path) != self.stamp {
            return Err(ToolError::Broken {
                name: self.about.name.clone(),
                problem: "its program has changed meanwhile; look at it and call it again".into(),
            });
        }
        let how = host.how(&permit);
        let how = How {
            timeout: self.manifest.timeout(how.timeout),
            stdin,
            ..how
        };
        let (mut output, mut last) = (String::new(), Tail::default());
        let ended = follow(permit, how, host, &mut |piece| match piece.from {
            Source::Stdout => {
                output.push_str(&piece.text);
                if piece.ends_line {
                    output.push('\n');
                }
            }
            Source::Stderr => {
                last.push(&piece);
                if !piece.text.is_empty() {
                    host.say(&piece.text);
                }
            }
        })?;
        if ended.exit_code != Some(0) {
            return Err(ToolError::Failed(format!(
                "it failed ({}){}",
                ended_how(&ended),
                last.after(": ")
            )));
        }
        let mut answer = match serde_json::from_str(&output) {
            Ok(answer @ Value::Object(_)) => answer,
            _ => json!({ "success": true, "output": output, "exit_code": 0 }),
        };
        if ended.cut {
            answer["cut"] = true.into();
        }
        Ok(answer)
    }
}

/// A placeholder that no parameter is for: a typo, mostly.
fn unknown_parameter(manifest: &Manifest) -> Option<&str> {
    let known = manifest.parameters.get("properties");
    let args = manifest.args.iter().flatten();
    let mut names = args.flat_map(|arg| placeholders(arg));
    names.find(|name| known.is_none_or(|known| known.get(name).is_none()))
}

/// Whether a program can be run, and may be trusted.
fn check(path: &Path) -> Result<(), String> {
    let shown = path.display();
    if path.to_str().is_none() {
        return Err(format!("the path {shown} is not UTF-8; choose another"));
    }
    let metadata = path
        .metadata()
        .map_err(|error| format!("its program {shown} can't be run: {error}"))?;
    if !metadata.is_file() {
        return Err(format!("its program {shown} is no plain file"));
    }
    if metadata.permissions().mode() & 0o111 == 0 {
        return Err(format!("its program {shown} can't be run; `chmod +x` it"));
    }
    folder::trust(path, &metadata)
}
