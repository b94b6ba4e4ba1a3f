//! `blocks`: what is blocked, and what people change about it, each time past the gate.

use std::sync::Arc;

use fazai_protocol::{Done, ErrorCode, WireError};
use fazai_tools::Permit;
use fazai_watch::action::{Action, PREFIX_MIN, Proposal, TTL_S_MAX};
use fazai_watch::enforce::{self, Block};
use fazai_watch::time::Timestamp;
use ipnet::IpNet;
use serde_json::{Value, json};

use super::Context;
use super::admit::admit;
use super::incidents;
use crate::watching::Pipeline;
use crate::watching::blocks;

/// How long a person's block lasts who does not say, in seconds.
const TTL_S: u32 = 3_600;

/// The rule that blocks of people are of.
const BY_HAND: &str = "by hand";

pub(super) async fn answer(context: &Context, input: &str) -> Done {
    let answered = choose(context, input).await;
    answered.unwrap_or_else(|error| context.fail(error))
}

async fn choose(context: &Context, input: &str) -> Result<Done, WireError> {
    context.administers("see and change blocks", "use sudo")?;
    let (verb, rest) = input
        .trim()
        .split_once(char::is_whitespace)
        .unwrap_or((input.trim(), ""));
    let words: Vec<&str> = rest.split_whitespace().collect();
    match (verb, &words[..]) {
        ("" | "list", []) => list(context).await,
        ("add", [net]) => add(context, net, None).await,
        ("add", [net, ttl]) => add(context, net, Some(ttl)).await,
        ("remove", [net]) => remove(context, net).await,
        ("undo", [id]) => undo(context, id).await,
        ("confirm", [_, ..]) => confirm(context, rest.trim()).await,
        _ => {
            let error = WireError::new(ErrorCode::InvalidRequest, "that is not understood");
            Err(error.with_hint(
                "input is list, add ADDRESS, add ADDRESS SECONDS, remove ADDRESS, undo INCIDENT \
                 or confirm RULE",
            ))
        }
    }
}

async fn pipeline(context: &Context) -> Result<Arc<Pipeline>, WireError> {
    context.watching(|pipeline| Ok(Arc::clone(pipeline))).await
}

/// Blocks that are wanted, on a thread that may wait.
async fn those(
    context: &Context,
    wanted: impl Fn(&Block) -> bool + Send + 'static,
) -> Result<Vec<Block>, WireError> {
    let found = context.watching(move |pipeline| {
        let all = pipeline.kept.blocks.list();
        Ok(all.into_iter().filter(|block| wanted(block)).collect())
    });
    found.await
}

async fn list(context: &Context) -> Result<Done, WireError> {
    let dry_run = pipeline(context).await?.kept.blocks.is_dry_run();
    let blocks = those(context, |_| true).await?;
    let mut lines = Vec::new();
    if dry_run {
        lines.push("dry run: the watch blocks nobody ([watch] enforce = off)".to_owned());
    }
    let now = Timestamp::now();
    lines.extend(blocks.iter().map(|block| line(block, now)));
    let rows: Vec<Value> = blocks.iter().map(|block| row(block, now)).collect();
    let data = json!({ "dry_run": dry_run, "blocks": rows });
    Ok(context.done_with(lines.join("\n"), data))
}

fn left_s(block: &Block, now: Timestamp) -> i64 {
    block.until.seconds() - now.seconds()
}

fn line(block: &Block, now: Timestamp) -> String {
    let Block { net, rule, .. } = block;
    let left = left_s(block, now);
    let unconfirmed = if block.confirmed {
        ""
    } else {
        " (unconfirmed)"
    };
    format!(
        "{net}\t{left} s left\t{rule}{unconfirmed}\t{}",
        block.incident
    )
}

fn row(block: &Block, now: Timestamp) -> Value {
    json!({
        "id": block.id,
        "net": block.net,
        "measure": block.measure,
        "rule": block.rule,
        "incident": block.incident.parse::<u64>().ok(),
        "since": block.since,
        "until": block.until,
        "left_s": left_s(block, now),
        "confirmed": block.confirmed,
    })
}

fn invalid(message: String) -> WireError {
    WireError::new(ErrorCode::InvalidRequest, message)
}

fn net(text: &str) -> Result<IpNet, WireError> {
    let head = &text[..text.floor_char_boundary(64)];
    enforce::net(text).ok_or_else(|| {
        let error = invalid(format!("{head:?} is no address and no network"));
        error.with_hint("such as 203.0.113.7, 203.0.113.0/24 or 2001:db8::7")
    })
}

fn not_too_wide(net: IpNet) -> Result<IpNet, WireError> {
    let (v4, v6) = PREFIX_MIN;
    let least = if net.addr().is_ipv4() { v4 } else { v6 };
    if net.prefix_len() < least {
        let message = format!("{net} is too wide: a network of /{least} is the most");
        return Err(invalid(message));
    }
    Ok(net)
}

fn ttl(text: &str) -> Result<u32, WireError> {
    let ttl_s = text.parse().ok();
    let ttl_s = ttl_s.filter(|ttl_s| (1..=TTL_S_MAX).contains(ttl_s));
    ttl_s.ok_or_else(|| {
        let head = &text[..text.floor_char_boundary(64)];
        let error = invalid(format!("{head:?} is no time for a block"));
        error.with_hint(format!("it is 1 to {TTL_S_MAX}, in seconds"))
    })
}

async fn add(context: &Context, text: &str, ttl_s: Option<&str>) -> Result<Done, WireError> {
    let net = not_too_wide(net(text)?)?;
    let ttl_s = ttl_s.map_or(Ok(TTL_S), ttl)?;
    let proposal = Proposal {
        action: Action::BlockIp { net, ttl_s },
        rule: BY_HAND.to_owned(),
        weight: Default::default(),
    };
    let action = proposal.action.clone();
    // What is never blocked is not asked about.
    let dry_run = context.watching(move |pipeline| {
        pipeline.kept.blocks.may(&action)?;
        Ok(pipeline.kept.blocks.is_dry_run())
    });
    if dry_run.await? {
        let text = format!("{net} would be blocked for {ttl_s} s (dry run: [watch] enforce = off)");
        return Ok(context.done_with(text, json!({ "dry_run": true, "net": net })));
    }
    let permit = admit(context, None, blocks::block(net, ttl_s), true).await?;
    let done = context.watching(move |pipeline| pipeline.kept.blocks.add(permit, &proposal));
    let done = done.await?;
    let text = format!("{net} is blocked for {ttl_s} s");
    Ok(context.done_with(text, json!({ "dry_run": false, "net": net, "done": done })))
}

/// Ends blocks, each past the gate.
async fn end(context: &Context, ended: Vec<Block>) -> Result<Done, WireError> {
    let mut texts = Vec::new();
    let mut data = Vec::new();
    for block in ended {
        let permit = admit(context, None, blocks::block(block.net, 0), true).await?;
        let done = context.watching(move |pipeline| pipeline.kept.blocks.remove(permit, &block));
        let block = done.await?;
        texts.push(format!("{} is blocked no more", block.net));
        data.push(row(&block, Timestamp::now()));
    }
    Ok(context.done_with(texts.join("\n"), json!({ "ended": data })))
}

async fn remove(context: &Context, text: &str) -> Result<Done, WireError> {
    let net = net(text)?;
    let blocks = those(context, move |block| block.net == net).await?;
    if blocks.is_empty() {
        let message = format!("nothing blocks {net}");
        let error = WireError::new(ErrorCode::IncidentNotFound, message);
        return Err(error.with_hint("`fazai blocks list` shows what is blocked"));
    }
    end(context, blocks).await
}

async fn undo(context: &Context, text: &str) -> Result<Done, WireError> {
    let id = incidents::id(text)?.to_string();
    let wanted = id.clone();
    let blocks = those(context, move |block| block.incident == wanted).await?;
    if blocks.is_empty() {
        let message = format!("nothing is blocked for incident {id}");
        return Err(WireError::new(ErrorCode::IncidentNotFound, message));
    }
    end(context, blocks).await
}

/// A person says that blocks by a rule are right.
async fn confirm(context: &Context, rule: &str) -> Result<Done, WireError> {
    let pipeline = pipeline(context).await?;
    let Some(ttl_s) = pipeline.rules.ttl_s_of(rule) else {
        let head = &rule[..rule.floor_char_boundary(64)];
        let message = format!("there is no rule {head:?} that blocks");
        let known: Vec<&str> = pipeline.rules.blocking().collect();
        let hint = format!("known: {}", known.join(", "));
        return Err(WireError::new(ErrorCode::IncidentNotFound, message).with_hint(hint));
    };
    let name = rule.to_owned();
    let wanted = move |block: &Block| block.rule == name && !block.confirmed;
    let mut permits: Vec<Permit> = Vec::new();
    for block in those(context, wanted).await? {
        permits.push(admit(context, None, blocks::block(block.net, ttl_s), true).await?);
    }
    let name = rule.to_owned();
    let confirmed = context
        .watching(move |pipeline| pipeline.kept.blocks.confirm(permits, &name, ttl_s))
        .await?;
    let text = format!("{rule} is confirmed; {confirmed} blocks last {ttl_s} s from now on");
    Ok(context.done_with(text, json!({ "rule": rule, "blocks": confirmed })))
}
