//! Asks keepalived.

use std::io::Write;

use anyhow::Result;
use ha_agent_tests::oracle::ask::Asker;
use ha_agent_tests::oracle::configuration::Configuration;
use ha_agent_tests::oracle::frames;
use ha_agent_tests::oracle::judge::Nobody;
use ha_agent_tests::oracle::keepalived::{Release, State};
use ha_agent_tests::oracle::scene::Scene;

fn main() -> Result<()> {
    let args: Vec<String> = std::env::args().collect();
    let configuration = Configuration::named(&args[1]).unwrap();
    let state = if args[2] == "m" { State::Master } else { State::Backup };
    let n: usize = args[3].parse()?;
    let release = args.get(4).map_or(Release::Own, |root| Release::In(root.into()));
    let version = release.version()?;
    let scene = Scene::new(configuration, &release)?;
    let mut asker = Asker::new(scene, &version, &mut Nobody)?;
    let mut out = std::io::stdout().lock();
    let began = std::time::Instant::now();
    for case in frames::thorough(configuration, fastrand::Rng::with_seed(1)).take(n) {
        match asker.ask(&case, state, &mut Nobody) {
            Ok(answer) => writeln!(out, "{case} => {answer}")?,
            Err(error) => writeln!(out, "ERROR {error:?}")?,
        }
    }
    writeln!(out, "{:?} starts {}", began.elapsed() / n as u32, asker.starts)?;
    Ok(())
}
