//! `blacklist_check`: whether an address is on the lists of those that send unwanted mail.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use fazai_tools::{Action, Right};
use hickory_resolver::proto::rr::{RData, RecordType};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, json};

use super::Settings;
use super::define::{Call, Define};
use super::dns::{Resolver, TIME_MAX, asking, name, name_server, value_of};
use super::net::{is_public, wait};
use crate::error::ToolError;

/// How many lists are asked.
const LISTS_MAX: usize = 20;

pub(super) struct BlacklistCheck(pub(super) Arc<Settings>);

/// Whom to look for.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Told {
    /// A public address.
    ip: IpAddr,
}

impl Define for BlacklistCheck {
    type Params = Told;
    const NAME: &'static str = "blacklist_check";
    const DESCRIPTION: &'static str =
        "Asks the lists of addresses that send unwanted mail for an address, by DNS.";
    const RIGHTS: &'static [Right] = &[Right::Network];

    fn wants(&self, told: Told, _: Action) -> Result<Vec<Action>, ToolError> {
        reversed(told.ip)?;
        Ok(vec![asking(name_server(self.0.dns)?)])
    }

    fn call(&self, told: Told, call: &Call) -> Result<Value, ToolError> {
        reversed(told.ip)?;
        let server = name_server(self.0.dns)?;
        let lists = call.act(asking(server), || {
            let asked = blacklisted(server, told.ip, &self.0.blacklists);
            wait(call.host, TIME_MAX, asked)
        })?;
        let listed = lists.iter().filter(|list| list["listed"] == true).count();
        Ok(json!({ "ip": told.ip, "listed_count": listed, "lists": lists }))
    }
}

/// What lists of bad addresses say of a public one, asked of this name server; each as the tool
/// tells it.
///
/// # Errors
/// The address is not public. That a list gives no answer is said in its place.
pub async fn blacklisted(
    server: SocketAddr,
    ip: IpAddr,
    lists: &[String],
) -> Result<Vec<Value>, ToolError> {
    let reversed = reversed(ip)?;
    let resolver = Resolver::new(server)?;
    let mut said = Vec::new();
    for list in lists.iter().take(LISTS_MAX) {
        said.push(ask(&resolver, &reversed, list).await);
    }
    Ok(said)
}

/// The address as lists have it: its parts, the last first.
fn reversed(ip: IpAddr) -> Result<String, ToolError> {
    if !is_public(ip) {
        return Err(ToolError::BadParams(format!(
            "{ip} is no public address; no list knows it"
        )));
    }
    let parts: Vec<String> = match ip {
        IpAddr::V4(address) => address.octets().iter().rev().map(u8::to_string).collect(),
        IpAddr::V6(address) => {
            let nibbles = address.octets().into_iter().rev();
            nibbles
                .flat_map(|byte| [byte & 15, byte >> 4])
                .map(|nibble| format!("{nibble:x}"))
                .collect()
        }
    };
    Ok(parts.join("."))
}

/// What one list says; that it can't be asked is said of it, and the others are asked all the same.
async fn ask(resolver: &Resolver, reversed: &str, list: &str) -> Value {
    let failed = |fault: ToolError| json!({ "list": list, "error": fault.to_string() });
    let asked = match name(&format!("{reversed}.{list}")) {
        Ok(asked) => asked,
        Err(fault) => return failed(fault),
    };
    let codes = match resolver.ask(asked.clone(), RecordType::A).await {
        Ok(found) => found.unwrap_or_default(),
        Err(fault) => return failed(fault),
    };
    let codes: Vec<_> = codes
        .iter()
        .filter_map(|record| match &record.data {
            RData::A(address) => Some(address.0),
            _ => None,
        })
        .collect();
    // By these a list says that it does not answer such a server, or was asked in a wrong way.
    if codes
        .iter()
        .any(|code| code.octets()[..3] == [127, 255, 255])
    {
        let problem = "it does not answer this name server; ask it by one of your own";
        return json!({ "list": list, "error": problem, "codes": codes });
    }
    // What is no address of this kind was not said by the list.
    let listed = codes.iter().any(|code| code.octets()[0] == 127);
    let mut told = json!({ "list": list, "listed": listed, "codes": codes });
    if listed && let Ok(Some(reasons)) = resolver.ask(asked, RecordType::TXT).await {
        told["reason"] = reasons.first().map(|reason| value_of(&reason.data)).into();
    }
    told
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_asked_for_backwards() {
        let reversed = |ip: &str| reversed(ip.parse().expect("an address")).ok();
        assert_eq!(reversed("1.2.3.4").as_deref(), Some("4.3.2.1"));
        let long = reversed("2606:4700::1111").expect("public");
        assert!(
            long.starts_with("1.1.1.1.0.0.") && long.ends_with(".0.0.7.4.6.0.6.2"),
            "{long}"
        );
        assert_eq!(reversed("10.0.0.1"), None);
    }
}
