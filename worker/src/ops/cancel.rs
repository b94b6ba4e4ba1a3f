//! `cancel`: stop a request of the same user, on whichever connection it is.

use fazai_protocol::{ActionId, Call, Done, ErrorCode, NoParams, WireError};
use serde_json::json;

use super::Context;

pub(super) fn answer(context: &Context, call: &Call<NoParams>) -> Done {
    let id = ActionId(call.input.clone());
    if id.is_empty() {
        let error = WireError::new(ErrorCode::InvalidRequest, "input names no request");
        return context.fail(error.with_hint("put the action_id to cancel into input"));
    }
    // A request that has ended meanwhile is no failure: cancel says what is now true.
    let count = context.worker.shared.live.cancel(context.user, &id);
    let result = if count > 0 { "cancelled" } else { "not found" };
    context.done_with(result, json!({ "cancelled": count }))
}
