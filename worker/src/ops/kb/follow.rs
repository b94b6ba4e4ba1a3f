//! `kb watch`: a directory is followed until the request is over.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use fazai_memory::{Changes, Following, Memory};
use fazai_protocol::{Done, ErrorCode, IngestLine, KbCall, Line, Phase, Source, Status, WireError};
use serde_json::json;
use tokio::sync::Notify;
use tokio::time::{Instant, timeout, timeout_at};

use super::super::{Context, HEARTBEAT, RememberFault};
use super::absolute;
use super::add::{Wishes, finished, may_name_files, permits, summary, told, warned};

/// How many directories are followed at once.
const FOLLOWED_MAX: usize = 16;

/// How many files of one are read. For more, `kb add` now and then costs less.
const FILES_MAX: usize = 20_000;

/// A burst is over after so much quiet.
const QUIET: Duration = Duration::from_millis(500);

/// And is looked at after this long even if it goes on.
const BURST_MAX: Duration = Duration::from_secs(5);

/// It is looked this often without any event: not every file system tells what others do to it.
const LOOK_EVERY: Duration = Duration::from_secs(60);

/// A directory that is followed, while nobody else does something with it.
type Held = Option<Following>;

struct Follow<'a> {
    context: &'a Context,
    call: &'a KbCall,
    path: PathBuf,
    wishes: Wishes,
    wake: Arc<Notify>,
    following: Held,
    /// Files that were read and passages that were added and removed, since the beginning.
    so_far: [usize; 3],
    unwatched_told: bool,
    has_told: bool,
}

pub(super) async fn follow(
    context: &Context,
    path: &str,
    call: &KbCall,
) -> Result<Done, WireError> {
    may_name_files(context)?;
    let path = absolute(path)?;
    let _quota = context.quota()?;
    let place = context
        .worker
        .shared
        .followed
        .enter(context.user, FOLLOWED_MAX);
    let _place = place.map_err(|_| {
        let message =
            format!("{FOLLOWED_MAX} directories are followed at most, half of them by one user");
        WireError::new(ErrorCode::Overloaded, message)
            .with_hint("end another one, or follow the directory that both are in")
    })?;
    let mut follow = Follow {
        wishes: Wishes::new(context, call)?,
        context,
        call,
        path,
        wake: Arc::new(Notify::new()),
        following: None,
        so_far: [0; 3],
        unwatched_told: false,
        has_told: false,
    };
    let draining = &context.worker.shared.draining;
    loop {
        follow.look().await?;
        tokio::select! {
            () = follow.calm() => {}
            () = context.told_to_stop() => break,
            () = draining.cancelled() => break,
        }
    }
    let [files, added, removed] = follow.so_far;
    let text = format!("{files} files: {added} passages added, {removed} removed");
    let data = json!({ "files": files, "added": added, "removed": removed });
    Ok(Done {
        metadata: Status::Stopped.into(),
        source: Source::Worker,
        ..context.done_with(text, data)
    })
}

impl Follow<'_> {
    /// Until something has happened and is over, or long enough nothing has.
    async fn calm(&self) {
        let until = Instant::now() + LOOK_EVERY;
        loop {
            let beat = until.min(Instant::now() + HEARTBEAT);
            if timeout_at(beat, self.wake.notified()).await.is_ok() {
                break;
            }
            if Instant::now() >= until {
                return;
            }
            if self.call.stream {
                self.context.alive(Phase::Running).await;
            }
        }
        let until = Instant::now() + BURST_MAX;
        while timeout(QUIET, self.wake.notified()).await.is_ok() && Instant::now() < until {}
    }

    /// Looks, and takes in what is new. A store that is away for a while is a warning.
    async fn look(&mut self) -> Result<(), WireError> {
        let looked = match self.changes().await {
            Ok(changes) if changes.is_empty() => return Ok(()),
            Ok(changes) => self.take_in(changes).await,
            Err(error) => Err(error),
        };
        match looked {
            // It may end while it takes something in; that is no failure.
            Err(error) if error.code == ErrorCode::Cancelled => Ok(()),
            Err(error) if error.retry_after_ms.is_some() => {
                // What was found and not taken in is found again.
                self.following = None;
                self.context.warn(self.call.stream, error.message).await;
                Ok(())
            }
            looked => looked,
        }
    }

    async fn changes(&mut self) -> Result<Changes, WireError> {
        let (wishes, path) = (self.wishes.clone(), self.path.clone());
        let wake = Arc::clone(&self.wake);
        let changes = self.with(move |following, memory| {
            if following.is_none() {
                let mut options = wishes.options(memory);
                options.files_max = options.files_max.min(FILES_MAX);
                *following = Some(Following::new(&path, options, move || wake.notify_one())?);
            }
            match following {
                Some(following) => Ok(following.look(memory)?),
                None => Ok(Changes::default()),
            }
        });
        let changes = changes.await?;
        if let Some((count, why)) = &changes.unwatched
            && !std::mem::replace(&mut self.unwatched_told, true)
        {
            let every = LOOK_EVERY.as_secs();
            let text = format!("{count} directories are only looked at every {every} s: {why}");
            self.context.warn(self.call.stream, text).await;
        }
        Ok(changes)
    }

    /// What changed is another deed than what was there in the beginning: the policy is asked anew.
    async fn take_in(&mut self, changes: Changes) -> Result<(), WireError> {
        let permits = permits(self.context, &self.path, self.call.stream).await?;
        let following = self.following.take();
        let taken = told(self.context, self.call.stream, move |memory, progress| {
            let Some(mut following) = following else {
                return Ok(None);
            };
            let report = following.take_in(memory, changes, progress);
            Ok(Some((following, finished(permits, report))))
        });
        let Some((following, report)) = taken.await? else {
            return Ok(());
        };
        self.following = Some(following);
        let report = report.map_err(RememberFault::into_wire)?;
        warned(self.context, self.call.stream, &report).await;
        let counts = [report.files, report.added, report.removed];
        self.so_far
            .iter_mut()
            .zip(counts)
            .for_each(|(all, more)| *all += more);
        let line = IngestLine {
            action_id: self.context.action_id.clone(),
            result: summary(&report),
            data: json!(report),
        };
        // That there is nothing new is only said in the beginning.
        let is_news = report.added + report.removed + report.skipped.len() > 0;
        if self.call.stream && (is_news || !std::mem::replace(&mut self.has_told, true)) {
            self.context.outgoing.send(Line::Ingest(line)).await;
        }
        Ok(())
    }

    /// Does something with what is followed, on a thread that may wait.
    async fn with<T: Send + 'static>(
        &mut self,
        work: impl FnOnce(&mut Held, &Memory) -> Result<T, RememberFault> + Send + 'static,
    ) -> Result<T, WireError> {
        let mut held = self.following.take();
        let done = self.context.remember(move |memory| {
            let done = work(&mut held, memory);
            Ok((held, done))
        });
        let (held, done) = done.await?;
        self.following = held;
        done.map_err(RememberFault::into_wire)
    }
}
