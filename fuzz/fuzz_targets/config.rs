//! The configuration file: a configuration, or problems that each name a line of it.
#![no_main]

use std::path::Path;

use ha_agent::config::{Accounts, parse};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    // Files that it names are read.
    if text.contains("token_file") || text.contains('\\') {
        return;
    }
    let accounts = Accounts::from_text("root:x:0:0::/:\nneutron:x:64060:64060::/:\n", "root:x:0:\nneutron:x:64060:\n");
    let lines = text.split('\n').count().max(1);
    match parse(text, Path::new("ha-agent.toml"), &accounts) {
        Ok(config) => {
            assert!(config.runtime_dir.is_absolute() && config.state_dir.is_absolute());
            for router in &config.routers {
                assert!(router.vrid > 0 && !router.interface.is_empty());
            }
        }
        Err(error) => {
            assert!(!error.problems().is_empty());
            for problem in error.problems() {
                assert!(problem.line.is_none_or(|line| (1..=lines).contains(&line)), "{problem}");
                assert!(!problem.message.is_empty());
            }
        }
    }
});
