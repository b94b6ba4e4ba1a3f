//! `subscribe`: incidents as they come.

use std::sync::Arc;

use fazai_protocol::{
    Call, Done, ErrorCode, Line, Phase, Source, Status, SubscribeParams, WireError,
};
use fazai_watch::{Category, Severity};
use serde_json::json;

use super::{Context, HEARTBEAT};
use crate::watching::feed::Feed;
use crate::watching::record::{Record, of_wire};

pub(super) async fn answer(context: &Context, call: &Call<SubscribeParams>) -> Done {
    let followed = follow(context, &call.params).await;
    followed.unwrap_or_else(|error| context.fail(error))
}

/// Which incidents are wanted.
pub(super) struct Filter {
    min: Severity,
    category: Option<Category>,
}

impl Filter {
    pub(super) fn new(
        min: Option<fazai_protocol::Severity>,
        category: Option<&str>,
    ) -> Result<Self, WireError> {
        Ok(Self {
            min: min.map_or(Severity::Info, of_wire),
            category: category.map(read_category).transpose()?,
        })
    }

    pub(super) fn fits(&self, record: &Record) -> bool {
        record.severity >= self.min && self.category.is_none_or(|wanted| wanted == record.category)
    }
}

fn read_category(name: &str) -> Result<Category, WireError> {
    Category::of_name(name).ok_or_else(|| {
        let head = &name[..name.floor_char_boundary(64)];
        let message = format!("params.category: there is no {head:?}");
        let known: Vec<&str> = Category::ALL.iter().map(|known| known.name()).collect();
        WireError::new(ErrorCode::InvalidParams, message)
            .with_hint(format!("known: {}", known.join(", ")))
    })
}

async fn follow(context: &Context, params: &SubscribeParams) -> Result<Done, WireError> {
    let filter = Filter::new(params.min_severity, params.category.as_deref())?;
    let _quota = context.quota()?;
    let mut feed = feed(context).await?;
    let mut changes = feed.changes();
    let latest = feed.latest();
    let mut after = params.after.unwrap_or(latest);
    if after > latest {
        let message = format!("params.after is {after}, and the latest incident has {latest}");
        context.warn(true, message).await;
        after = latest;
    }
    let mut quiet = tokio::time::interval(HEARTBEAT);
    quiet.reset();
    let draining = &context.worker.shared.draining;
    loop {
        let told;
        (after, told) = tell(context, &feed, &filter, after).await;
        if told {
            quiet.reset();
        }
        if after < feed.latest() && !context.stopped.is_cancelled() {
            continue;
        }
        tokio::select! {
            Ok(()) = changes.changed() => {}
            // With other settings it begins anew, and numbers go on.
            () = feed.ended(), if !draining.is_cancelled() => {
                feed = self::feed(context).await?;
                changes = feed.changes();
            }
            _ = quiet.tick() => context.alive(Phase::Running).await,
            () = context.told_to_stop() => break,
            () = draining.cancelled() => break,
        }
    }
    Ok(Done {
        metadata: Status::Stopped.into(),
        source: Source::Worker,
        ..context.done_with("", json!({ "after": after }))
    })
}

/// Nothing else of the watch is held: its successor waits for those who work with its files.
async fn feed(context: &Context) -> Result<Arc<Feed>, WireError> {
    let feed = context.watching(|pipeline| Ok(Arc::clone(&pipeline.kept.feed)));
    feed.await
}

/// Sends what came behind `after`, waiting while the client is behind: meanwhile nothing is kept
/// for it. Behind what to go on, and whether anything was sent.
async fn tell(context: &Context, feed: &Feed, filter: &Filter, after: u64) -> (u64, bool) {
    let news = feed.after(after);
    let mut told = news.lost > 0;
    if told {
        let message = format!(
            "{} incidents are no longer there; `incidents` may have them",
            news.lost
        );
        context.warn(true, message).await;
    }
    for record in news.records.iter().filter(|record| filter.fits(record)) {
        let line = record.to_line(context.action_id.clone(), context.user.administers());
        tokio::select! {
            () = context.outgoing.send_long(Line::Incident(Box::new(line))) => told = true,
            () = context.told_to_stop() => break,
        }
    }
    (news.after, told)
}
