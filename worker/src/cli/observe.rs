//! `fazai observe`: facts about the machine.

use clap::Args;
use fazai_protocol::{Call, NoParams, Operation};

use super::{Worker, output};

/// Show facts about the machine, as far as the policy lets you see them
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  fazai observe
  fazai observe disks units
  fazai observe | jq .load")]
pub(crate) struct Observe {
    /// load, disks, units (those that failed), ports, errors (in the log) [default: all]
    parts: Vec<String>,
    /// JSON, also on a terminal
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    worker: Worker,
}

impl Observe {
    pub(super) fn run(&self) -> anyhow::Result<()> {
        let observe = Operation::Observe(Call::<NoParams> {
            input: self.parts.join(" "),
            ..Call::default()
        });
        let facts = self.worker.call(observe)?.data.unwrap_or_default();
        output::print(self.json, &output::plain(&facts), &facts)
    }
}
