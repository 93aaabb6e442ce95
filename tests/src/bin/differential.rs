//! Runs the differential test at length: `cargo xtask fuzz differential`.

use std::io::Write;
use std::path::PathBuf;

use anyhow::Result;
use clap::Parser;
use ha_agent_tests::differential;

/// The classifier against a plain reference, until the frames are through or one disagrees.
#[derive(Parser)]
struct Arguments {
    /// How many frames
    #[arg(long, default_value_t = 1_000_000)]
    frames: u64,
    /// Another seed gives other frames
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Another object than the one that the agent carries
    #[arg(long, value_name = "FILE")]
    object: Option<PathBuf>,
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let figures = differential::run(arguments.frames, arguments.seed, arguments.object.as_ref())?;
    let seconds = figures.took.as_secs_f64();
    #[expect(clippy::cast_precision_loss, reason = "a count of frames is far below 2^52")]
    let rate = figures.frames as f64 / seconds.max(f64::EPSILON);
    let mut out = std::io::stdout().lock();
    writeln!(out, "{} frames, no disagreement, {seconds:.1} s, {rate:.0} frames/s", figures.frames)?;
    writeln!(out, "{} records as expected; by kind: {:?}", figures.records, figures.kinds)?;
    Ok(())
}
