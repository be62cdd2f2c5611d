//! Every system call of an agent as a point where something can be made to happen, by strace.
//!
//! strace counts calls for each thread, so a point is a call, the file that it is about and its number in its thread;
//! the first thread to come so far meets it.

use std::collections::{BTreeSet, HashMap};
use std::fs;
use std::path::Path;
use std::time::Duration;

use super::Expected;
use super::rig::Rig;

/// One call of one thread.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Point {
    /// The system call.
    pub(super) call: String,
    /// What it is about, where that has a path.
    pub(super) path: Option<String>,
    /// The how manieth such call of its thread.
    pub(super) number: u64,
}

impl Point {
    /// Arguments for strace, so that `what` happens at this point.
    pub(super) fn inject(&self, what: &str) -> Vec<String> {
        // With seccomp strace 6.1 injects errors, but no signals.
        let mut arguments: Vec<String> = ["-qqq", "-f", "-o", "/dev/null"].map(str::to_owned).to_vec();
        arguments.push(format!("--trace={}", self.call));
        arguments.push(format!("--inject={}:{what}:when={}", self.call, self.number));
        if let Some(path) = &self.path {
            arguments.push(format!("--trace-path={path}"));
        }
        arguments
    }
}

/// All points of one undisturbed delivery of what is in the watched folder, from the start to the orderly end.
pub(super) fn points(rig: &mut Rig, expected: &Expected, calls: &[&str]) -> Result<Vec<Point>, String> {
    let trace = rig.home().join("trace");
    let mut arguments: Vec<String> =
        ["-qqq", "-f", "--seccomp-bpf", "-y", "-s", "0", "-o"].map(str::to_owned).to_vec();
    arguments.push(trace.display().to_string());
    arguments.push(format!("--trace={}", calls.join(",")));
    rig.start_traced(&arguments);
    rig.wait_until_done(expected, Duration::from_secs(60))?;
    let ended = rig.terminate()?;
    if !ended.success() {
        return Err(format!("an undisturbed agent ends in order, not with {ended}"));
    }
    let text = fs::read(&trace).map_err(|error| format!("strace left no trace: {error}"))?;
    Ok(read(&String::from_utf8_lossy(&text)))
}

fn read(trace: &str) -> Vec<Point> {
    let mut numbers: HashMap<(String, String, Option<String>), u64> = HashMap::new();
    let mut points = BTreeSet::new();
    for line in trace.lines() {
        let Some((thread, call, arguments)) = parse(line) else { continue };
        let mut count = |path: Option<&String>| {
            let number = numbers.entry((thread.to_owned(), call.to_owned(), path.cloned())).or_insert(0);
            *number += 1;
            *number
        };
        let paths = paths(arguments);
        let of_call = count(None);
        let of_paths: Vec<u64> = paths.iter().map(|path| count(Some(path))).collect();
        let (path, number) = match (paths.first(), of_paths.first()) {
            (Some(path), Some(number)) => (Some(path.clone()), *number),
            _ => (None, of_call),
        };
        points.insert(Point { call: call.to_owned(), path, number });
    }
    points.into_iter().collect()
}

/// `THREAD CALL(ARGUMENTS…`; what is told in two lines counts where it begins.
fn parse(line: &str) -> Option<(&str, &str, &str)> {
    let (thread, rest) = line.split_once(' ')?;
    let (call, arguments) = rest.trim_start().split_once('(')?;
    let is_name = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    call.bytes().all(is_name).then_some((thread, call, arguments))
}

/// Absolute paths in arguments, without the folder that relative names begin at.
fn paths(arguments: &str) -> Vec<String> {
    let arguments = arguments.split(") = ").next().unwrap_or(arguments);
    let mut found: Vec<String> = Vec::new();
    let mut add = |path: &str| {
        if path.starts_with('/') && Path::new(path).is_absolute() && !found.iter().any(|other| other == path)
        {
            found.push(path.to_owned());
        }
    };
    let mut rest = arguments.replace("AT_FDCWD<", "AT_FDCWD(");
    while let Some(begin) = rest.find(['<', '"']) {
        let end = if rest.as_bytes()[begin] == b'<' { '>' } else { '"' };
        let after = rest.split_off(begin + 1);
        let Some((path, more)) = after.split_once(end) else { break };
        add(path);
        more.clone_into(&mut rest);
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trace_becomes_points() {
        let trace = "7 openat(AT_FDCWD</home>, \"/a/b\", O_RDONLY) = 3</a/b>\n\
                     7 write(3</a/b>, \"\"..., 5 <unfinished ...>\n\
                     8 write(3</a/b>, \"\"..., 5) = 5\n\
                     7 <... write resumed>) = 5\n\
                     7 write(3</a/b>, \"\"..., 5) = 5\n\
                     7 sendto(5<socket:[77]>, \"\"..., 9, 0, NULL, 0) = 9\n\
                     8 +++ exited with 0 +++\n";
        let point = |call: &str, path: Option<&str>, number| Point {
            call: call.to_owned(),
            path: path.map(str::to_owned),
            number,
        };
        let expected = vec![
            point("openat", Some("/a/b"), 1),
            point("sendto", None, 1),
            point("write", Some("/a/b"), 1),
            point("write", Some("/a/b"), 2),
        ];
        assert_eq!(read(trace), expected);
    }
}
