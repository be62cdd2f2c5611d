//! What `skiff check` has found: a line each, or one object in the end.

use std::process::ExitCode;

use serde_json::{Value, json};
use skiff_common::RemotePath;

use crate::cli::exit;
use crate::remote::RemoteError;

/// What was found, shown line by line, or as one object in the end.
pub(super) struct Lines {
    json: bool,
    all: Vec<Value>,
    worst: u8,
}

/// Why something would stop a delivery.
pub(super) struct Obstacle<'a> {
    pub(super) why: &'a str,
    pub(super) hint: &'a str,
    /// A stable word for programs.
    pub(super) code: &'a str,
}

impl Lines {
    pub(super) fn new(json: bool) -> Self {
        Self { json, all: Vec::new(), worst: exit::DONE }
    }

    pub(super) fn ok(&mut self, what: &str, detail: &str) {
        self.say("ok", what, detail);
        self.all.push(json!({ "what": what, "state": "ok", "detail": detail }));
    }

    pub(super) fn warn(&mut self, what: &str, detail: &str) {
        self.say("warn", what, detail);
        self.all.push(json!({ "what": what, "state": "warn", "detail": detail }));
    }

    pub(super) fn fail(&mut self, what: &str, obstacle: &Obstacle<'_>, exit_code: u8) {
        let Obstacle { why, hint, code } = obstacle;
        self.say("FAIL", what, why);
        if !self.json && !hint.is_empty() {
            println!("      try: {hint}");
        }
        self.all.push(json!({ "what": what, "state": "fail", "detail": why, "code": code, "hint": hint }));
        self.worst = self.worst.max(exit_code);
    }

    pub(super) fn refuse(&mut self, what: &str, error: &RemoteError, root: &RemotePath) {
        let (why, hint) = (error.to_string(), error.hint_in(root));
        let obstacle = Obstacle { why: &why, hint: &hint, code: error.code() };
        self.fail(what, &obstacle, exit::of(error.code()).max(exit::FAILED));
    }

    fn say(&self, state: &str, what: &str, detail: &str) {
        if !self.json {
            println!("{state:<5} {what}: {detail}");
        }
    }

    pub(super) fn end(self) -> ExitCode {
        if self.json {
            println!("{}", self.as_json());
        }
        ExitCode::from(self.worst)
    }

    pub(super) fn as_json(&self) -> Value {
        json!({ "ok": self.worst == exit::DONE, "checks": self.all })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_is_documented() {
        let mut lines = Lines::new(true);
        lines.ok("what", "detail");
        lines.fail("what", &Obstacle { why: "why", hint: "hint", code: "state-folder" }, exit::FAILED);
        crate::documented::assert_documented("skiff check --json", &lines.as_json());
    }
}
