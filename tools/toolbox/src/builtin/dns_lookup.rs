//! `dns_lookup`: what the machine's name server says of a name.

use std::net::IpAddr;
use std::sync::Arc;

use fazai_tools::{Action, Right};
use hickory_resolver::proto::rr::{Name, RecordType};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, json};

use super::Settings;
use super::define::{Call, Define, limited};
use super::dns::{Resolver, TIME_MAX, asking, name, name_server, value_of};
use super::net::wait;
use crate::error::ToolError;

/// How many records are told.
const RECORDS_MAX: usize = 200;

pub(super) struct DnsLookup(pub(super) Arc<Settings>);

/// What to ask for.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Told {
    /// The name, such as `example.org`; for PTR also an address.
    #[schemars(length(min = 1, max = 253))]
    name: String,
    /// Which records.
    #[serde(default, rename = "type")]
    kind: Kind,
}

#[derive(Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "UPPERCASE")]
enum Kind {
    #[default]
    A,
    Aaaa,
    Mx,
    Txt,
    Ns,
    Cname,
    Ptr,
}

impl Define for DnsLookup {
    type Params = Told;
    const NAME: &'static str = "dns_lookup";
    const DESCRIPTION: &'static str = "Asks the machine's name server for the records of a name; PTR: for the name of an address.";
    const RIGHTS: &'static [Right] = &[Right::Network];

    fn wants(&self, told: Told, _: Action) -> Result<Vec<Action>, ToolError> {
        told.asked()?;
        Ok(vec![asking(name_server(self.0.dns)?)])
    }

    fn call(&self, told: Told, call: &Call) -> Result<Value, ToolError> {
        let asked = told.asked()?;
        let server = name_server(self.0.dns)?;
        let found = call.act(asking(server), || {
            wait(call.host, TIME_MAX, async {
                Resolver::new(server)?.ask(asked, told.kind.record()).await
            })
        })?;
        let exists = found.is_some();
        let records = found.unwrap_or_default();
        let records = records.iter().map(|record| {
            json!({
                "name": record.name.to_string(),
                "type": record.record_type().to_string(),
                "ttl_s": record.ttl,
                "value": value_of(&record.data),
            })
        });
        let (records, truncated) = limited(records, RECORDS_MAX);
        Ok(json!({
            "name": told.name,
            "exists": exists,
            "records": records,
            "truncated": truncated,
            "server": server.to_string(),
        }))
    }
}

impl Told {
    fn asked(&self) -> Result<Name, ToolError> {
        match self.name.parse::<IpAddr>() {
            Ok(address) if self.kind == Kind::Ptr => Ok(address.into()),
            Ok(_) => Err(ToolError::BadParams(format!(
                "{} is an address; its name is of the type PTR",
                self.name
            ))),
            Err(_) => name(&self.name),
        }
    }
}

impl Kind {
    fn record(self) -> RecordType {
        match self {
            Self::A => RecordType::A,
            Self::Aaaa => RecordType::AAAA,
            Self::Mx => RecordType::MX,
            Self::Txt => RecordType::TXT,
            Self::Ns => RecordType::NS,
            Self::Cname => RecordType::CNAME,
            Self::Ptr => RecordType::PTR,
        }
    }
}
