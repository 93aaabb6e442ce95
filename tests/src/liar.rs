//! A process that claims what is not so and is gone.

use std::path::Path;
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result};
use uuid::Uuid;

use crate::abuse::GROUP;

/// Who claims, in Python, so that nothing has to be built for it.
#[derive(Clone, Copy, Debug, Default)]
pub struct Liar<'a> {
    /// Its user id.
    pub uid: u32,
    /// What starts it, with `setpriv` after it.
    pub through: &'a [&'a str],
    /// Run before it connects.
    pub before: &'a str,
    /// Run after it claimed.
    pub after: &'a str,
}

impl Liar<'_> {
    /// Claims a state and ends without waiting for the answer. Until it is waited for, it has its process id.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn claim(&self, socket: &Path, router: Uuid, state: &str) -> Result<Child> {
        let request = format!(
            "POST / HTTP/1.1\\r\\nX-Neutron-Router-Id: {router}\\r\\nX-Neutron-State: {state}\\r\\nConnection: close\\r\\n\\r\\n"
        );
        let code = format!(
            "import os,socket,sys\n{}\ns=socket.socket(socket.AF_UNIX)\ns.connect(sys.argv[1])\ns.sendall(b'{request}')\n{}\nos._exit(0)\n",
            self.before, self.after
        );
        let uid = format!("--reuid={}", self.uid);
        let gid = format!("--regid={GROUP}");
        let words =
            [self.through, &["setpriv", &uid, &gid, "--clear-groups", "/usr/bin/python3", "-c", &code]].concat();
        Command::new(words[0])
            .args(&words[1..])
            .arg(socket)
            // Secrets may stand in a command line.
            .arg("--token=secret")
            .stdin(Stdio::null())
            .spawn()
            .with_context(|| format!("starting {}", words[0]))
    }
}
