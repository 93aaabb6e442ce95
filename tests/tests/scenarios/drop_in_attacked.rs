//! What the user `neutron` can do with the drop-in, which rootwrap lets it run as root with any arguments: nothing
//! that it could not do by itself.

use std::fs::{self, File};
use std::io::Read;
use std::os::unix::fs::{MetadataExt, chown, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use ha_agent_tests::abuse::{GROUP, HONEST as NEUTRON};
use ha_agent_tests::drop_in;
use ha_agent_tests::lab::Lab;
use ha_agent_tests::process::Process;
use ha_agent_tests::wait;
use rustix::fs::{CWD, FileType, Mode, RenameFlags, mknodat, renameat_with};
use rustix::process::Signal;

const ID: &str = "2f0c1c52-5b1d-4f53-9f0e-2f2f3a4b5c6d";
/// Something that is root's.
const SECRET: &str = "# root's own\nkey = \"SECRET\nof root\"\n";
const PATIENCE: Duration = Duration::from_secs(10);

/// Neutron's folder, the user neutron's; a folder and a file that are root's; and root's configuration.
struct Place {
    lab: Lab,
    state: PathBuf,
    pids: PathBuf,
    roots: PathBuf,
    victim: PathBuf,
    config: PathBuf,
}

impl Place {
    fn build(name: &str) -> Result<Self> {
        let lab = Lab::new(name)?;
        let folder = lab.node_folder("n")?;
        let (state, roots) = (folder.join("neutron"), folder.join("roots"));
        let pids = state.join("external/pids");
        fs::create_dir_all(&pids)?;
        fs::create_dir_all(&roots)?;
        for path in [&state, &state.join("external"), &pids] {
            chown(path, Some(NEUTRON), Some(GROUP))?;
        }
        let (victim, config) = (roots.join("victim"), folder.join("ha-agent.toml"));
        fs::write(&victim, SECRET)?;
        fs::write(&config, format!("runtime_dir = {:?}\n[neutron]\nstate_path = {state:?}\n", folder.join("run")))?;
        Ok(Self { lab, state, pids, roots, victim, config })
    }

    /// Starts it as rootwrap does for neutron, with these paths.
    fn start(&self, pid_file: &Path, log_file: &Path, config: &Path) -> Result<Process> {
        let mut command = Command::new(drop_in::program()?);
        command.args(["--router_id", ID, "--namespace", "x", "--conf_dir", "/x", "--monitor_interface", "x"]);
        command.args(["--monitor_cidr", "x", "--state_path", "/", "--user", "0", "--group", "0"]);
        command.arg("--pid_file").arg(pid_file).arg("--log-file").arg(log_file).arg("--config").arg(config);
        // Its own, so that nobody else's words are in it.
        let said = tempfile::NamedTempFile::new_in(self.lab.folder())?.into_temp_path().keep()?;
        Process::start(&mut command, &said, self.lab.guardian())
    }

    /// It refuses and ends with 1; what it said.
    fn refused(&self, pid_file: &Path, log_file: &Path, config: &Path) -> Result<String> {
        let mut process = self.start(pid_file, log_file, config)?;
        let status = process.wait(PATIENCE).with_context(|| format!("with {}", pid_file.display()))?;
        let said = process.output();
        ensure!(status.code() == Some(1), "{}: {status}: {said}", pid_file.display());
        ensure!(!said.contains("SECRET"), "nothing of a foreign file comes back: {said}");
        Ok(said)
    }

    /// Root's files are as they were.
    fn untouched(&self, after: &str) -> Result<()> {
        ensure!(fs::read_to_string(&self.victim)? == SECRET, "{after}: root's file was written");
        ensure!(fs::metadata(&self.victim)?.uid() == 0, "{after}: root's file has another owner");
        let names: Vec<_> = fs::read_dir(&self.roots)?.flatten().map(|entry| entry.file_name()).collect();
        ensure!(names == ["victim"], "{after}: {names:?}");
        Ok(())
    }
}

fn id_line(status: &str, key: &str) -> Vec<u32> {
    let line = status.lines().find_map(|line| line.strip_prefix(key)).unwrap_or_default();
    line.split_whitespace().filter_map(|word| word.parse().ok()).collect()
}

#[test]
#[ignore = "needs root"]
fn it_has_the_rights_of_neutron_s_user_and_no_capability() -> Result<()> {
    let place = Place::build("rights")?;
    let (pid_file, log) = (place.pids.join("x"), place.state.join("log"));
    // What Neutron's own monitor left, as root.
    fs::write(&log, "before\n")?;
    let process = place.start(&pid_file, &log, &place.config)?;
    wait::until(PATIENCE, "it says that no agent is there", || {
        fs::read_to_string(&log).is_ok_and(|text| text.contains("not registered")).then_some(())
    })?;
    for path in [&pid_file, &log] {
        let found = fs::metadata(path)?;
        ensure!((found.uid(), found.gid()) == (NEUTRON, GROUP), "{}: {found:?}", path.display());
    }
    ensure!(fs::read_to_string(place.state.join("log.old"))? == "before\n", "what was said before is kept");
    let status = fs::read_to_string(format!("/proc/{}/status", process.id()))?;
    for set in ["CapInh", "CapPrm", "CapEff", "CapAmb"] {
        ensure!(status.contains(&format!("{set}:\t0000000000000000")), "{status}");
    }
    ensure!(status.contains("NoNewPrivs:\t1"), "{status}");
    // Root towards the agent's socket alone.
    ensure!(id_line(&status, "Uid:") == [0, 0, NEUTRON, NEUTRON], "{status}");
    ensure!(id_line(&status, "Gid:") == [GROUP; 4] && id_line(&status, "Groups:").is_empty(), "{status}");
    process.signal(Signal::TERM)?;
    wait::until(PATIENCE, "its pid file goes with it", || (!pid_file.exists()).then_some(()))
}

#[test]
#[ignore = "needs root"]
fn no_file_outside_of_neutron_s_folder_is_touched() -> Result<()> {
    let place = Place::build("outside")?;
    let Place { state, pids, roots, victim, config, .. } = &place;
    let log = state.join("log");
    symlink(victim, pids.join("link"))?;
    symlink(roots, state.join("step"))?;
    symlink("/proc/self/fd", state.join("fd"))?;
    fs::hard_link(victim, pids.join("second"))?;
    mknodat(CWD, pids.join("fifo"), FileType::Fifo, Mode::from_raw_mode(0o666), 0)?;
    fs::write(pids.join("text"), SECRET)?;
    chown(pids.join("text"), Some(NEUTRON), Some(GROUP))?;
    let pid_files = [
        victim.clone(),
        roots.join("new"),
        state.join("../roots/new"),
        PathBuf::from("/dev/null"),
        PathBuf::from("/proc/self/fd/1"),
        PathBuf::from("relative"),
        state.join("step/new"),
        state.join("step/victim"),
        state.join("fd/0"),
        pids.join("link"),
        pids.join("second"),
        pids.join("fifo"),
        pids.join("text"),
        pids.clone(),
        state.clone(),
    ];
    for pid_file in &pid_files {
        place.refused(pid_file, &log, config)?;
        place.untouched(&pid_file.display().to_string())?;
    }
    ensure!(fs::read_to_string(pids.join("text"))? == SECRET, "a file that is no pid file was written");
    // A log elsewhere is none; with the rest it goes on.
    for log in [victim.clone(), roots.join("log"), pids.join("link"), pids.join("second"), state.join("step/log")] {
        let mut process = place.start(&pids.join("good"), &log, config)?;
        wait::until(PATIENCE, "it has started", || {
            fs::read_to_string(pids.join("good")).is_ok_and(|pid| !pid.is_empty()).then_some(())
        })?;
        process.signal(Signal::HUP)?;
        process.signal(Signal::TERM)?;
        ensure!(process.wait(PATIENCE)?.code() == Some(0), "{}", log.display());
        // A link of neutron's own may go; what it leads to may not.
        place.untouched(&log.display().to_string())?;
    }
    Ok(())
}

#[test]
#[ignore = "needs root"]
fn a_configuration_of_anybody_s_but_root_is_not_read() -> Result<()> {
    let place = Place::build("config")?;
    let Place { state, pids, victim, config, .. } = &place;
    let (log, own, link) = (state.join("log"), state.join("own.toml"), state.join("link.toml"));
    fs::write(&own, "runtime_dir = \"/x\"\n[neutron]\nstate_path = \"/\"\n")?;
    chown(&own, Some(NEUTRON), Some(GROUP))?;
    symlink(config, &link)?;
    // Root's, in a folder that is not.
    let planted = state.join("planted.toml");
    fs::hard_link(victim, &planted)?;
    mknodat(CWD, state.join("fifo"), FileType::Fifo, Mode::from_raw_mode(0o666), 0)?;
    for config in [&own, &link, &planted, &state.join("fifo"), &PathBuf::from("/dev/zero"), &PathBuf::from("own.toml")]
    {
        let said = place.refused(&pids.join("x"), &log, config)?;
        ensure!(said.contains("root's alone") || said.contains("symbolic link"), "{}: {said}", config.display());
    }
    let said = place.refused(&pids.join("x"), &log, victim)?;
    ensure!(said.contains("is no TOML"), "{said}");
    place.untouched("foreign configurations")
}

#[test]
#[ignore = "needs root"]
fn a_folder_that_becomes_a_link_while_it_starts_leads_nowhere() -> Result<()> {
    let place = Place::build("race")?;
    let Place { state, pids, roots, config, .. } = &place;
    let link = state.join("external/other");
    symlink(roots, &link)?;
    let going = AtomicBool::new(true);
    std::thread::scope(|scope| -> Result<()> {
        let turns = scope.spawn(|| {
            let mut turns = 0u64;
            while going.load(Ordering::Relaxed) {
                turns += u64::from(renameat_with(CWD, pids, CWD, &link, RenameFlags::EXCHANGE).is_ok());
            }
            turns
        });
        let (mut started, mut refused) = (0, 0);
        for _ in 0..60 {
            let mut process = place.start(&pids.join("x"), &pids.join("log"), config)?;
            // Either it refuses at once, or it goes on until it is told to end.
            let ended = wait::until(Duration::from_millis(100), "it refuses", || process.ended());
            match ended {
                Ok(_) => refused += 1,
                Err(_) => {
                    started += 1;
                    process.signal(Signal::TERM)?;
                    process.wait(PATIENCE)?;
                }
            }
            place.untouched("a race")?;
        }
        going.store(false, Ordering::Relaxed);
        let turns = turns.join().map_err(|_| anyhow::anyhow!("the racer ended badly"))?;
        ensure!(turns > 1000 && started > 0 && refused > 0, "{turns} turns, {started} started, {refused} refused");
        Ok(())
    })?;
    let mut text = String::new();
    File::open(&place.victim)?.read_to_string(&mut text)?;
    ensure!(text == SECRET);
    Ok(())
}
