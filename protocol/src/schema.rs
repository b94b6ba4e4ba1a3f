//! The JSON Schemas of both directions, as `fazai schema` prints them.

use schemars::{Schema, schema_for};

use crate::{Line, Request};

/// JSON Schema (2020-12) of a line from a client.
#[must_use]
pub fn request_schema() -> Schema {
    schema_for!(Request)
}

/// JSON Schema (2020-12) of a line from the worker.
#[must_use]
pub fn reply_schema() -> Schema {
    schema_for!(Line)
}
