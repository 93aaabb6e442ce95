//! Whom the agent trusts with what: the places that it believes, looked at before it starts and at each SIGHUP; and
//! all of it told to who asks (`doctor`, `check-config`).

#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use serde::{Serialize, Serializer};

use crate::config::{Config, DEFAULT_PATH, Grant, Granted, Grantee, Hook};
use crate::paths::guard::{self, Kind, Place};

/// When it is looked.
#[derive(Clone, Copy)]
pub enum When<'a> {
    /// Nothing is bound yet.
    Start,
    /// The sockets of this configuration are bound.
    Reload(&'a Config),
}

/// What lets others in, in words.
pub fn openings(config: &Config, config_path: Option<&Path>, when: When<'_>) -> Vec<String> {
    let mut places = places(config, config_path);
    if let When::Reload(now) = when {
        let mut add = |path: &Path, kind| places.push(Place { path: path.to_owned(), kind });
        add(&now.runtime_dir, Kind::Directory(0o750));
        add(&now.state_dir, Kind::Directory(0o700));
        add(&now.intake.socket, Kind::Bound(now.intake.socket_mode));
        add(&now.admin.socket, Kind::Bound(0o660));
    }
    guard::openings(&places).iter().map(ToString::to_string).collect()
}

fn places(config: &Config, config_path: Option<&Path>) -> Vec<Place> {
    let mut places = Vec::new();
    let mut add = |path: &Path, kind| places.push(Place { path: path.to_owned(), kind });
    add(config_path.unwrap_or(Path::new(DEFAULT_PATH)), Kind::File);
    add(&config.runtime_dir, Kind::Directory(0o750));
    add(&config.state_dir, Kind::Directory(0o700));
    for path in [&config.intake.socket, &config.admin.socket] {
        add(path, Kind::Socket);
    }
    for path in &config.intake.notify_fifos {
        add(path, Kind::Fifo);
    }
    if let Some(path) = &config.intake.token_file {
        add(path, Kind::Secret);
    }
    // One that is not there lets nobody in: see `missing`.
    for (_, hook) in hooks(config) {
        if unusable(&hook.program).is_none() {
            add(&hook.program, Kind::Program);
        }
    }
    places
}

/// The hooks that cannot be run, each with its key and what to do: the agent does not start with them.
pub fn missing(config: &Config) -> Vec<String> {
    let line = |(key, hook): (&str, &Hook)| {
        let why = unusable(&hook.program)?;
        let program = hook.program.display();
        Some(format!("actions.{key}: {program}: {why}: put a program there, or name another one"))
    };
    hooks(config).filter_map(line).collect()
}

/// Why it cannot be run; none: it can, or it cannot be looked at.
fn unusable(program: &Path) -> Option<&'static str> {
    match std::fs::metadata(program) {
        Ok(found) if !found.is_file() => Some("is no file"),
        Ok(found) if found.mode() & 0o111 == 0 => Some("is not executable"),
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => Some("does not exist"),
        _ => None,
    }
}

/// The configured hooks, each with its key.
fn hooks(config: &Config) -> impl Iterator<Item = (&'static str, &Hook)> {
    let actions = &config.actions;
    [("on_primary", &actions.on_primary), ("on_backup", &actions.on_backup), ("on_fault", &actions.on_fault)]
        .into_iter()
        .filter_map(|(key, hook)| Some((key, hook.as_ref()?)))
}

/// Whom a configuration lets in, beside root and the agent's own user.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Trust {
    /// Who may report over the socket.
    pub users: Vec<User>,
    /// Gids whose members may report every router.
    pub groups: Vec<u32>,
    /// The state-change socket.
    pub socket: Socket,
    /// Where the bearer token is that every request must carry; absent: none is asked for.
    pub token_file: Option<PathBuf>,
    /// Each notify FIFO: whoever can write it may report.
    pub fifos: Vec<Fifo>,
    /// What is run as root.
    pub hooks: Vec<Program>,
    /// Hooks that cannot be run, each with its key: the agent does not start.
    pub missing: Vec<String>,
    /// Places that let in somebody else, with what to do about it: the agent does not start.
    pub openings: Vec<String>,
    /// Places that the calling user may not look at.
    pub hidden: Vec<String>,
}

/// A user and what it may report.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct User {
    /// Its number.
    pub uid: u32,
    /// Its routers, or `*`.
    pub routers: Vec<String>,
}

/// Who can connect.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Socket {
    /// Where it is.
    pub path: PathBuf,
    /// Its mode.
    #[serde(serialize_with = "octal")]
    pub mode: u32,
    /// Its group; absent: the agent's own.
    pub gid: Option<u32>,
}

/// A FIFO and what is reported through it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Fifo {
    /// Where it is.
    pub path: PathBuf,
    /// Whose it is; absent: it is not there yet, and is made as the agent's own, 0600.
    pub file: Option<File>,
    /// Whether the calling user may not look at it.
    #[serde(skip_serializing_if = "is_false")]
    pub hidden: bool,
    /// Its routers, or `*`.
    pub routers: Vec<String>,
}

/// A program and when it is run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Program {
    /// `on_primary` and the like.
    pub on: &'static str,
    /// The program as configured.
    pub program: PathBuf,
    /// Whose it is, where links lead; absent: it is not there, or cannot be seen.
    pub file: Option<File>,
    /// Whether the calling user may not look at it.
    #[serde(skip_serializing_if = "is_false")]
    pub hidden: bool,
}

/// Owner and mode.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct File {
    /// Its owner.
    pub uid: u32,
    /// Its group.
    pub gid: u32,
    /// Its permission bits.
    #[serde(serialize_with = "octal")]
    pub mode: u32,
}

impl Trust {
    /// Looks at what a configuration names.
    pub fn of(config: &Config, config_path: Option<&Path>) -> Self {
        let intake = &config.intake;
        let by_user = Grant::by(&intake.grants, |to| match to {
            Grantee::User(uid) => Some(*uid),
            Grantee::Fifo(_) => None,
        });
        let by_fifo = Grant::by(&intake.grants, |to| match to {
            Grantee::Fifo(path) => Some(path.clone()),
            Grantee::User(_) => None,
        });
        let uids: BTreeSet<u32> = intake.allow_uids.iter().chain(by_user.keys()).copied().collect();
        let (hidden, openings): (Vec<_>, Vec<_>) =
            guard::openings(&places(config, config_path)).into_iter().partition(|error| error.is_hidden());
        let words = |errors: Vec<_>| errors.iter().map(ToString::to_string).collect();
        Self {
            groups: intake.allow_gids.clone(),
            // The agent's own user, here root, is bound by no grant.
            users: uids
                .into_iter()
                .filter(|uid| *uid != 0)
                .map(|uid| User { uid, routers: routers(by_user.get(&uid)) })
                .collect(),
            socket: Socket { path: intake.socket.clone(), mode: intake.socket_mode, gid: intake.socket_gid },
            token_file: intake.token_file.clone(),
            fifos: intake
                .notify_fifos
                .iter()
                .map(|path| Fifo {
                    path: path.clone(),
                    file: file(path),
                    hidden: is_hidden(path),
                    routers: routers(by_fifo.get(path)),
                })
                .collect(),
            hooks: hooks(config)
                .map(|(on, hook)| Program {
                    on,
                    program: hook.program.clone(),
                    file: file(&hook.program),
                    hidden: is_hidden(&hook.program),
                })
                .collect(),
            missing: missing(config),
            openings: words(openings),
            hidden: words(hidden),
        }
    }

    /// Who may report over the socket, and how it is entered: a line each.
    pub fn reporters(&self) -> Vec<String> {
        let Socket { mode, gid, .. } = self.socket;
        let group = gid.map_or("the agent's own group".to_owned(), |gid| format!("group {gid}"));
        let token = match &self.token_file {
            Some(path) => format!("with the token in {}", path.display()),
            None => "without a token".to_owned(),
        };
        let door = format!("the agent's own user; the socket has mode {mode:04o}, {group}, and is used {token}");
        let users = self.users.iter().map(|User { uid, routers }| format!("uid {uid}: {}", counted(routers)));
        let groups = self.groups.iter().map(|gid| format!("group {gid}: every router"));
        [door].into_iter().chain(users).chain(groups).collect()
    }

    /// The FIFOs, a line each.
    pub fn fifo_lines(&self) -> Vec<String> {
        let line = |Fifo { path, file, hidden, routers }: &Fifo| {
            let whose = match file {
                Some(file) => file.to_string(),
                None if *hidden => CANNOT_LOOK.to_owned(),
                None => "not there yet, will be the agent's own, mode 0600".to_owned(),
            };
            format!("{}: {whose}: {}", path.display(), counted(routers))
        };
        self.fifos.iter().map(line).collect()
    }

    /// The hooks, a line each.
    pub fn hook_lines(&self) -> Vec<String> {
        let line = |Program { on, program, file, hidden }: &Program| {
            let whose = match file {
                Some(file) => file.to_string(),
                None if *hidden => CANNOT_LOOK.to_owned(),
                None => "does not exist".to_owned(),
            };
            format!("{on} {}: {whose}", program.display())
        };
        self.hooks.iter().map(line).collect()
    }
}

impl std::fmt::Display for File {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "uid {}, gid {}, mode {:04o}", self.uid, self.gid, self.mode)
    }
}

/// What is said of a place that the calling user may not look at.
pub const CANNOT_LOOK: &str = "cannot look: permission";

/// Whether the calling user may not look at it.
pub fn is_hidden(path: &Path) -> bool {
    std::fs::metadata(path).is_err_and(|error| error.kind() == ErrorKind::PermissionDenied)
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde's form")]
fn is_false(value: &bool) -> bool {
    !value
}

/// Where links lead.
fn file(path: &Path) -> Option<File> {
    let found = std::fs::metadata(path).ok()?;
    Some(File { uid: found.uid(), gid: found.gid(), mode: found.mode() & 0o7777 })
}

fn routers(granted: Option<&Granted>) -> Vec<String> {
    match granted {
        None | Some(Granted::All) => vec!["*".to_owned()],
        Some(Granted::These(routers)) => routers.iter().map(ToString::to_string).collect(),
    }
}

fn counted(routers: &[String]) -> String {
    match routers {
        [one] if one == "*" => "every router".to_owned(),
        [] => "no router".to_owned(),
        [one] => format!("router {one}"),
        more => format!("{} routers", more.len()),
    }
}

fn octal<S: Serializer>(mode: &u32, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&format!("{mode:04o}"))
}
