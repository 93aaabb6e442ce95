//! The agent's event file, followed while it grows.

use std::fs::File;
use std::io::{ErrorKind, Read};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::wait;

/// All events read so far, and a mark: [`Timeline::expect`] looks at what comes after it.
#[derive(Debug)]
pub struct Timeline {
    path: PathBuf,
    file: Option<File>,
    /// An unfinished line.
    partial: Vec<u8>,
    events: Vec<Value>,
    mark: usize,
}

impl Timeline {
    /// The events written to `path`, which need not exist yet.
    pub fn follow(path: &Path) -> Self {
        Self { path: path.to_owned(), file: None, partial: Vec::new(), events: Vec::new(), mark: 0 }
    }

    /// From now on only what happens from now on counts.
    ///
    /// # Errors
    /// When the file cannot be read or a line is no JSON object.
    pub fn mark(&mut self) -> Result<()> {
        self.read()?;
        self.mark = self.events.len();
        Ok(())
    }

    /// Waits for an event that has at least the given fields, with these values; nested objects are
    /// compared in the same way. The mark stays.
    ///
    /// # Errors
    /// When there is none in time: with everything that happened.
    pub fn expect(&mut self, within: Duration, fields: &Value) -> Result<Value> {
        let what = format!("an event with {fields}");
        let found = wait::until(within, &what, || match self.read() {
            Ok(()) => self.find(fields).cloned().map(Ok),
            Err(error) => Some(Err(error)),
        });
        match found {
            Ok(event) => event,
            Err(error) => bail!("{error:#}\n{}", self.story()),
        }
    }

    /// The first event after the mark that fits.
    pub fn find(&self, fields: &Value) -> Option<&Value> {
        self.since_mark().iter().find(|event| fits(event, fields))
    }

    /// Fails if an event that fits is there after the mark.
    ///
    /// # Errors
    /// When there is one: with everything that happened.
    pub fn deny(&mut self, fields: &Value) -> Result<()> {
        self.read()?;
        match self.find(fields) {
            Some(event) => bail!("did not expect {event}\n{}", self.story()),
            None => Ok(()),
        }
    }

    /// Events after the mark, as read so far.
    pub fn since_mark(&self) -> &[Value] {
        &self.events[self.mark..]
    }

    /// Every event read so far.
    pub fn all(&self) -> &[Value] {
        &self.events
    }

    /// One line per event, for people.
    pub fn story(&self) -> String {
        let mut text = format!("what the agent wrote to {}:", self.path.display());
        for (index, event) in self.events.iter().enumerate() {
            text.push_str(if index == self.mark { "\n> " } else { "\n  " });
            text.push_str(&event.to_string());
        }
        text
    }

    /// Takes in what was appended.
    ///
    /// # Errors
    /// When the file cannot be read or a line is no JSON object.
    pub fn read(&mut self) -> Result<()> {
        if self.file.is_none() {
            self.file = match File::open(&self.path) {
                Ok(file) => Some(file),
                Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
                Err(error) => bail!("opening {}: {error}", self.path.display()),
            };
        }
        if let Some(file) = self.file.as_mut() {
            file.read_to_end(&mut self.partial).with_context(|| format!("reading {}", self.path.display()))?;
        }
        while let Some(end) = self.partial.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = self.partial.drain(..=end).collect();
            let event: Value = serde_json::from_slice(&line)
                .with_context(|| format!("an event line: {}", String::from_utf8_lossy(&line)))?;
            if !event.is_object() {
                bail!("an event line that is no object: {event}");
            }
            self.events.push(event);
        }
        Ok(())
    }
}

/// Whether `event` has everything that `wanted` has.
pub fn fits(event: &Value, wanted: &Value) -> bool {
    match (event, wanted) {
        (Value::Object(event), Value::Object(wanted)) => {
            wanted.iter().all(|(key, value)| event.get(key).is_some_and(|found| fits(found, value)))
        }
        _ => event == wanted,
    }
}

#[cfg(test)]
mod tests;

/// When an event happened.
///
/// # Errors
/// When it does not say.
pub fn at(event: &Value) -> Result<SystemTime> {
    let at: jiff::Timestamp = event["ts"].as_str().context("ts")?.parse()?;
    Ok(at.into())
}

/// How long a confirmation took, from the first sign of the change on.
///
/// # Errors
/// When it is none.
pub fn latency(confirmed: &Value) -> Result<Duration> {
    let milliseconds = confirmed["latency_ms"].as_f64().with_context(|| format!("no latency_ms in {confirmed}"))?;
    Ok(Duration::from_secs_f64(milliseconds / 1000.0))
}
