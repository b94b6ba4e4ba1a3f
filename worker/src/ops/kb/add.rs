//! `kb add`: files are read, cut and remembered.

use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use fazai_memory::{
    Collection, Id, IngestOptions, IngestReport, Memory, MemoryError, Namespace, Progress as Told,
    ReadPdf, Skipped,
};
use fazai_protocol::{Done, ErrorCode, KbCall, Line, Phase, Progress, WireError};
use fazai_tools::{Action, Outcome, Permit, Verdict};
use serde_json::json;

use super::super::admit::admit;
use super::super::{Context, RememberFault};
use super::absolute;
use crate::errors;
use crate::memory;

/// Files of which it is said in words why they were left out.
const LEFT_OUT_TOLD_MAX: usize = 10;

/// How often it is said how far it is.
const TELL_EVERY: Duration = Duration::from_millis(500);

/// How far it is, and whether anybody still wants it.
pub(super) struct Telling {
    done: AtomicU32,
    total: AtomicU32,
}

/// Files are read with the rights of the worker, so that only its administrators may name them.
pub(super) async fn files(context: &Context, path: &str, call: &KbCall) -> Result<Done, WireError> {
    may_name_files(context)?;
    let path = absolute(path)?;
    let _quota = context.quota()?;
    let wishes = Wishes::new(context, call)?;
    let permits = permits(context, &path, call.stream).await?;
    let report = told(context, call.stream, move |memory, progress| {
        let report = memory.ingest(&path, &wishes.options(memory), progress);
        finished(permits, report)
    });
    let report = report.await?;
    if report.stopped {
        return Err(context.stop_error());
    }
    warned(context, call.stream, &report).await;
    Ok(context.done_with(summary(&report), json!(report)))
}

/// A text that the client sends, such as what comes out of a pipe: no file is read for it, so that
/// everybody may add one to what is their own.
pub(super) async fn text(context: &Context, call: &KbCall) -> Result<Done, WireError> {
    let params = &call.params;
    let invalid = |message: &str| WireError::new(ErrorCode::InvalidParams, message);
    let text = params.text.clone();
    let text = text.ok_or_else(|| invalid("`add -` has no text: it stands in params.text"))?;
    if !params.private {
        let what = "add to what everybody finds";
        context.administers(what, "add it for yourself with `private`, or use sudo")?;
    }
    let wishes = Wishes::new(context, call)?;
    let name = match &params.name {
        // It would pass for that file, and take its place.
        Some(name) if name.is_empty() || name.starts_with('/') => {
            return Err(invalid(
                "params.name is a name such as notes.md, and no path",
            ));
        }
        Some(name) => name.clone(),
        None => {
            let id = Id::of(&wishes.namespace, &text).to_string();
            format!("text-{}", &id[..8])
        }
    };
    let _quota = context.quota()?;
    let write = memory::write(Collection::Knowledge);
    let permit = admit(context, None, write, call.stream).await?;
    let report = context.remember(move |memory| {
        let options = wishes.options(memory);
        let report = memory.ingest_reader(&name, &mut text.as_bytes(), &options);
        finished([permit], report)
    });
    let report = report.await?;
    if let Some(Skipped { why, .. }) = report.skipped.first() {
        return Err(invalid(&format!("the text can't be added: {why}")));
    }
    warned(context, call.stream, &report).await;
    Ok(context.done_with(summary(&report), json!(report)))
}

/// Says why what was added has no vector.
pub(super) async fn warned(context: &Context, stream: bool, report: &IngestReport) {
    if let Some(warning) = &report.warning {
        context.warn(stream, warning.to_string()).await;
    }
}

pub(super) fn may_name_files(context: &Context) -> Result<(), WireError> {
    context.administers(
        "have files read",
        "send the text with commitKB, or use sudo",
    )
}

/// Whose it is to be, and what of it may be read.
#[derive(Clone)]
pub(super) struct Wishes {
    namespace: Namespace,
    tags: Vec<String>,
    may_read: Arc<dyn Fn(&Path) -> bool + Send + Sync>,
    read_pdf: Option<ReadPdf>,
}

impl Wishes {
    pub(super) fn new(context: &Context, call: &KbCall) -> Result<Self, WireError> {
        let namespace = memory::namespace(context.user, !call.params.private);
        // What lies below a directory is judged by itself: passwords are not for everybody to find.
        let (worker, user) = (context.worker.clone(), context.user);
        let may_read = Arc::new(move |path: &Path| {
            let read = Action::ReadFile { path: path.into() };
            let decided = worker.shared.acting.decide(user, &read);
            decided.is_ok_and(|decision| decision.verdict == Verdict::Allow)
        });
        Ok(Self {
            namespace: namespace.map_err(|fault| errors::from_memory(&fault.into()))?,
            tags: call.params.tags.clone(),
            may_read,
            read_pdf: memory::read_pdf(&context.worker.settings()),
        })
    }

    pub(super) fn options(&self, memory: &Memory) -> IngestOptions {
        IngestOptions {
            tags: self.tags.clone(),
            may_read: self.may_read.clone(),
            read_pdf: self.read_pdf.clone(),
            ..memory.ingest_options(self.namespace.clone())
        }
    }
}

/// To read below a path, and to remember what is there.
pub(super) async fn permits(
    context: &Context,
    path: &Path,
    stream: bool,
) -> Result<[Permit; 2], WireError> {
    let read = Action::ReadFile { path: path.into() };
    let write = memory::write(Collection::Knowledge);
    let read = admit(context, None, read, stream).await;
    Ok([
        read.map_err(|error| instead(error, how_to_read(path)))?,
        admit(context, None, write, stream).await?,
    ])
}

/// The hint of what else can be done, where the policy does not allow it.
pub(super) fn instead(error: WireError, hint: String) -> WireError {
    match error.code {
        ErrorCode::Denied => error.with_hint(hint),
        _ => error,
    }
}

fn how_to_read(path: &Path) -> String {
    let (path, name) = (path.display(), path.file_name().unwrap_or_default());
    format!(
        "a file is added without that by `fazai kb add --name {} - < {path}`; to let the worker read \
         there, {}",
        name.display(),
        rule_for("read_file", &path.to_string())
    )
}

/// What to write into the policy.
pub(super) fn rule_for(action: &str, path: &str) -> String {
    format!(
        "add a rule to your profile in policy.toml with decision = \"allow\", actions = \
         [\"{action}\"] and paths = [\"{path}\", \"{path}/**\"]"
    )
}

/// Records what became of it.
pub(super) fn finished(
    permits: impl IntoIterator<Item = Permit>,
    report: Result<IngestReport, MemoryError>,
) -> Result<IngestReport, RememberFault> {
    for permit in permits {
        permit.finish(Outcome::of(&report))?;
    }
    Ok(report?)
}

/// Does something with the memory, saying how far it is; it is told to stop where nobody wants it
/// any more.
pub(super) async fn told<T: Send + 'static>(
    context: &Context,
    stream: bool,
    work: impl FnOnce(&Memory, &mut dyn FnMut(Told<'_>) -> ControlFlow<()>) -> Result<T, RememberFault>
    + Send
    + 'static,
) -> Result<T, WireError> {
    let telling = Arc::new(Telling {
        done: AtomicU32::new(0),
        total: AtomicU32::new(0),
    });
    let (files, stopped) = (Arc::clone(&telling), context.stopped.clone());
    let work = context.remember(move |memory| {
        let count = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
        work(memory, &mut |progress| {
            files
                .done
                .store(count(progress.files_done), Ordering::Relaxed);
            files
                .total
                .store(count(progress.files_total), Ordering::Relaxed);
            if stopped.is_cancelled() {
                return ControlFlow::Break(());
            }
            ControlFlow::Continue(())
        })
    });
    tokio::pin!(work);
    let mut tick = tokio::time::interval(TELL_EVERY);
    loop {
        tokio::select! {
            done = &mut work => return done,
            _ = tick.tick(), if stream => {
                let line = Progress {
                    action_id: context.action_id.clone(),
                    phase: Phase::Running,
                    queue_position: None,
                    done: Some(telling.done.load(Ordering::Relaxed)),
                    total: Some(telling.total.load(Ordering::Relaxed)),
                };
                context.outgoing.send(Line::Progress(line)).await;
            }
        }
    }
}

pub(super) fn summary(report: &IngestReport) -> String {
    let mut text = format!(
        "{} files: {} passages added, {} known already, {} removed, {} files left out",
        report.files,
        report.added,
        report.known,
        report.removed,
        report.skipped.len()
    );
    if report.tagged > 0 {
        text += &format!(", {} known ones tagged", report.tagged);
    }
    if report.gone > 0 {
        text += &format!(", {} files are no longer there", report.gone);
    }
    for Skipped { path, why } in report.skipped.iter().take(LEFT_OUT_TOLD_MAX) {
        text += &format!("\n  {}: {why}", path.display());
    }
    let more = report.skipped.len().saturating_sub(LEFT_OUT_TOLD_MAX);
    if more > 0 {
        text += &format!("\n  and {more} more");
    }
    text
}
