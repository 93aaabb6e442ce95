//! The `[Service]` section: every setting known, either translated or the service manager's own business.

use std::collections::BTreeMap;

use anyhow::{Context, Result, bail};

/// Done by the modules of this program.
const TRANSLATED: &[&str] = &[
    "AmbientCapabilities",
    "CapabilityBoundingSet",
    "LimitNOFILE",
    "LockPersonality",
    "MemoryDenyWriteExecute",
    "NoNewPrivileges",
    "PrivateDevices",
    "PrivateIPC",
    "PrivateMounts",
    "PrivateTmp",
    "ProtectControlGroups",
    "ProtectHome",
    "ProtectHostname",
    "ProtectKernelLogs",
    "ProtectKernelModules",
    "ProtectKernelTunables",
    "ProtectProc",
    "ProtectSystem",
    "ReadWritePaths",
    "RestrictAddressFamilies",
    "RestrictNamespaces",
    "RestrictRealtime",
    "RestrictSUIDSGID",
    "SystemCallErrorNumber",
    "SystemCallFilter",
    "UMask",
];

/// When and how it is started; directories, for which kept paths stand; what other settings imply here
/// (`ProtectClock` and `DevicePolicy`: no capability for it, no devices), or what has no effect without a manager.
const OF_THE_MANAGER: &[&str] = &[
    "ConfigurationDirectory",
    "DevicePolicy",
    "ExecReload",
    "ExecStart",
    "KeyringMode",
    "KillMode",
    "LogsDirectory",
    "LogsDirectoryMode",
    "NotifyAccess",
    "OOMScoreAdjust",
    "ProtectClock",
    "RemoveIPC",
    "Restart",
    "RestartPreventExitStatus",
    "RestartSec",
    "RuntimeDirectory",
    "RuntimeDirectoryMode",
    "RuntimeDirectoryPreserve",
    "StateDirectory",
    "StateDirectoryMode",
    "SystemCallArchitectures",
    "TimeoutStopSec",
    "Type",
    "User",
];

/// Values by setting, in the order in which they are given.
pub(crate) struct Settings {
    values: BTreeMap<String, Vec<String>>,
}

impl Settings {
    /// Reads a unit's text.
    pub(crate) fn read(text: &str) -> Result<Self> {
        let mut values: BTreeMap<String, Vec<String>> = BTreeMap::new();
        let mut section = "";
        for line in text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#')) {
            if line.starts_with('[') {
                section = line;
                continue;
            }
            if section != "[Service]" {
                continue;
            }
            let (name, value) = line.split_once('=').with_context(|| format!("not a setting: {line}"))?;
            if !TRANSLATED.contains(&name) && !OF_THE_MANAGER.contains(&name) {
                bail!("{name} is not known to this test: translate it, or say why it need not be");
            }
            values.entry(name.to_owned()).or_default().push(value.to_owned());
        }
        Ok(Self { values })
    }

    /// Every value of a setting.
    pub(crate) fn all(&self, name: &str) -> &[String] {
        debug_assert!(TRANSLATED.contains(&name), "{name}");
        self.values.get(name).map_or(&[], Vec::as_slice)
    }

    /// The last value of a setting.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.all(name).last().map(String::as_str)
    }

    /// A setting that says yes or no; no when it is absent.
    pub(crate) fn yes(&self, name: &str) -> Result<bool> {
        match self.get(name) {
            Some("yes" | "true" | "1" | "on") => Ok(true),
            None | Some("no" | "false" | "0" | "off") => Ok(false),
            Some(other) => bail!("{name}={other} is neither yes nor no"),
        }
    }

    /// A number.
    pub(crate) fn number(&self, name: &str) -> Result<Option<u64>> {
        self.get(name).map(|value| value.parse().with_context(|| format!("{name}={value}"))).transpose()
    }
}
