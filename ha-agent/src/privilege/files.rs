//! Landlock: the part of the file system that a thread can open.
//!
//! It does not stop `stat`, `inotify_add_watch` and connecting to a socket's path. What it does not
//! stop and root's files must not suffer (`chmod` and its kin) is among the forbidden calls.

use std::io;
use std::path::{Path, PathBuf};

use landlock::{
    ABI, Access, AccessFs, BitFlags, PathBeneath, PathFd, Ruleset, RulesetAttr, RulesetCreated, RulesetCreatedAttr,
    RulesetError,
};

use super::table::{Place, Use};

/// The accesses that are spoken of. Later ABIs would stop connecting to the L3 agent by default.
const SPOKEN_OF: ABI = ABI::V5;

/// Rules that are ready for any number of threads.
pub(super) struct Rules {
    rules: RulesetCreated,
}

impl Rules {
    /// Looks the places up. One that is not there stands for its nearest ancestor that is, so that it
    /// may appear later; but nothing is granted for the whole file system except to read.
    pub(super) fn prepare(places: &[Place]) -> Result<Self, RulesetError> {
        let mut rules = Ruleset::default().handle_access(AccessFs::from_all(SPOKEN_OF))?.create()?;
        for place in places {
            let Some(path) = existing(&place.path) else { continue };
            if path == Path::new("/") && place.use_ != Use::Read {
                continue;
            }
            let Ok(folder) = PathFd::new(&path) else { continue };
            let mut access = access(place.use_);
            if !path.is_dir() {
                access &= AccessFs::from_file(SPOKEN_OF);
            }
            rules = rules.add_rule(PathBeneath::new(folder, access))?;
        }
        Ok(Self { rules })
    }

    /// Holds for the calling thread from now on.
    pub(super) fn enforce(&self) -> io::Result<()> {
        let rules = self.rules.try_clone()?;
        rules.restrict_self().map(drop).map_err(io::Error::other)
    }
}

fn access(use_: Use) -> BitFlags<AccessFs> {
    match use_ {
        Use::Read => AccessFs::ReadFile | AccessFs::ReadDir,
        Use::Keep => {
            AccessFs::ReadFile
                | AccessFs::ReadDir
                | AccessFs::WriteFile
                | AccessFs::Truncate
                | AccessFs::MakeReg
                | AccessFs::RemoveFile
        }
        Use::Fifo => AccessFs::ReadFile | AccessFs::MakeFifo,
        Use::Remove => AccessFs::RemoveFile.into(),
    }
}

/// The path, or what is there of it.
fn existing(path: &Path) -> Option<PathBuf> {
    path.ancestors().find(|place| place.exists()).map(Path::to_owned)
}
