//! `fazai blocks`: who is blocked, and how people change that.

use clap::{Args, Subcommand};
use fazai_protocol::{Call, Operation};

use super::Worker;

/// The commands.
#[derive(Debug, Subcommand)]
#[command(after_help = "\
Blocks are made only with `[watch] enforce`, and only if the policy allows block_address. By a rule that
nobody has confirmed they end after 300 s. Private networks, this machine's own addresses, its gateways,
DNS servers and SSH peers, and what `[watch] allow` names are never blocked.

Examples:
  fazai blocks list
  fazai blocks add 203.0.113.7 --ttl 600
  fazai blocks undo 12
  fazai blocks confirm guessing")]
pub(crate) enum Blocks {
    /// List what is blocked, by which rule and for how long
    List(List),
    /// Block an address or a network (at most a /24, or a /48 of IPv6)
    Add(Add),
    /// End the block of an address or a network
    Remove(Net),
    /// End all that was blocked for an incident
    Undo(Undo),
    /// Say that a rule is right: its blocks then last as long as it says
    Confirm(Confirm),
}

/// List what is blocked
#[derive(Debug, Args)]
pub(crate) struct List {
    #[command(flatten)]
    how: How,
}

/// Block an address or a network
#[derive(Debug, Args)]
pub(crate) struct Add {
    /// An address, or a network such as 203.0.113.0/24
    #[arg(value_name = "ADDRESS")]
    net: String,
    /// For how long, in seconds
    #[arg(long, value_name = "SECONDS", default_value = "3600")]
    ttl: u32,
    #[command(flatten)]
    how: How,
}

/// An address or a network
#[derive(Debug, Args)]
pub(crate) struct Net {
    /// As the list has it
    #[arg(value_name = "ADDRESS")]
    net: String,
    #[command(flatten)]
    how: How,
}

/// An incident
#[derive(Debug, Args)]
pub(crate) struct Undo {
    /// Its number
    #[arg(value_name = "INCIDENT")]
    id: u64,
    #[command(flatten)]
    how: How,
}

/// A rule
#[derive(Debug, Args)]
pub(crate) struct Confirm {
    /// Its name
    rule: String,
    #[command(flatten)]
    how: How,
}

/// How the answer is shown, and by whom it is given
#[derive(Debug, Args)]
struct How {
    /// JSON, also on a terminal
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    worker: Worker,
}

impl Blocks {
    pub(super) fn run(&self) -> anyhow::Result<()> {
        match self {
            Self::List(list) => list.how.call("list".to_owned()),
            Self::Add(add) => add.how.call(format!("add {} {}", add.net, add.ttl)),
            Self::Remove(net) => net.how.call(format!("remove {}", net.net)),
            Self::Undo(undo) => undo.how.call(format!("undo {}", undo.id)),
            Self::Confirm(confirm) => confirm.how.call(format!("confirm {}", confirm.rule)),
        }
    }
}

impl How {
    fn call(&self, input: String) -> anyhow::Result<()> {
        let call = Call {
            input,
            ..Call::default()
        };
        self.worker.print(Operation::Blocks(call), self.json)
    }
}
