//! The worker inside another program: no socket, the same protocol.
//!
//! `cargo run --release --example embedded -- "what does exit code 137 mean?"`

use std::io::{Write, stdout};

use fazai::Worker;
use fazai::config::Settings;
use fazai_protocol::{Ask, Line};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let question = std::env::args().nth(1);
    let question = question.unwrap_or_else(|| "What does exit code 137 mean?".to_owned());

    let worker = Worker::start(Settings::default());
    let client = worker.client();
    let mut reply = client.ask(Ask::new(question)).await?;
    while let Some(line) = reply.next().await? {
        match line {
            Line::Token(piece) => {
                print!("{}", piece.result);
                stdout().flush()?;
            }
            Line::Done(done) => {
                let usage = done.usage.unwrap_or_default();
                println!(
                    "\n({} tokens, the first after {} ms)",
                    usage.output_tokens, usage.ttft_ms
                );
            }
            _ => {}
        }
    }
    worker.stop().await;
    Ok(())
}
