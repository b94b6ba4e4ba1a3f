//! `ping`: is anybody there?

use fazai_protocol::Done;

use super::Context;

pub(super) fn answer(context: &Context) -> Done {
    context.done(Some("pong".to_owned()))
}
