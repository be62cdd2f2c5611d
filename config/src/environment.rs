//! What a configuration may ask of the machine that it is read on.
//!
//! Plain data, gathered once: tests and `skiff config check` make up their own.

use std::collections::BTreeMap;
use std::path::Path;

/// Where systemd tells a service of its credentials.
const CREDENTIALS: &str = "CREDENTIALS_DIRECTORY";
/// Where systemd keeps them, for the unit of packaging/systemd.
const CREDENTIALS_OF_SERVICE: &str = "/run/credentials/skiff.service";

/// Variables, host name and machine id. Deliberately not `Debug`: variables may hold secrets.
#[derive(Clone, Default)]
pub struct Environment {
    /// Environment variables, for `${NAME}`, `~` (`HOME`) and `${credential:NAME}` (`CREDENTIALS_DIRECTORY`).
    pub variables: BTreeMap<String, String>,
    /// For `{hostname}`.
    pub host_name: Option<String>,
    /// For `{machine_id}`.
    pub machine_id: Option<String>,
}

impl Environment {
    /// This process and the machine it runs on. What cannot be found out stays unset.
    pub fn from_process() -> Self {
        let variables = std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
            .collect();
        let environment = Self { variables, host_name: host_name(), machine_id: machine_id() };
        if Path::new(CREDENTIALS_OF_SERVICE).is_dir() {
            return environment.with_credentials_of_service();
        }
        environment
    }

    /// With the place of the packaged service's credentials, for whoever asks that service something from outside of it.
    /// There is such a place while it runs, and only root and the service can enter it.
    #[must_use]
    pub fn with_credentials_of_service(mut self) -> Self {
        self.variables.entry(CREDENTIALS.to_owned()).or_insert_with(|| CREDENTIALS_OF_SERVICE.to_owned());
        self
    }

    /// The value of a variable.
    pub fn variable(&self, name: &str) -> Option<&str> {
        self.variables.get(name).map(String::as_str)
    }

    /// The home folder that `~` stands for.
    pub(crate) fn home(&self) -> Option<&Path> {
        self.variable("HOME").map(Path::new).filter(|home| home.is_absolute())
    }
}

/// By the system call, since a service may be shown nothing of `/proc/sys`.
fn host_name() -> Option<String> {
    let name = rustix::system::uname().nodename().to_str().ok().map(str::trim).map(str::to_owned);
    // What Linux answers as long as nobody has named the machine.
    name.filter(|name| !name.is_empty() && name != "(none)").or_else(|| first_line("/etc/hostname"))
}

/// 32 hex digits. A first boot may find the word `uninitialized` there instead, which names no machine.
fn machine_id() -> Option<String> {
    first_line("/etc/machine-id")
        .or_else(|| first_line("/var/lib/dbus/machine-id"))
        .filter(|id| id.len() == 32 && id.bytes().all(|b| b.is_ascii_hexdigit()))
}

fn first_line(path: &str) -> Option<String> {
    let text = std::fs::read_to_string(path).ok()?;
    text.lines().next().map(str::trim).filter(|line| !line.is_empty()).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_has_a_path_and_a_sound_machine_id() {
        let environment = Environment::from_process();
        assert_eq!(environment.variable("PATH"), std::env::var("PATH").ok().as_deref());
        assert_ne!(environment.host_name.as_deref(), Some(""));
        assert!(environment.machine_id.is_none_or(|id| id.len() == 32));
    }

    #[test]
    fn credentials_of_the_service_stand_in_for_ones_of_our_own() {
        let mut environment = Environment::default().with_credentials_of_service();
        assert_eq!(environment.variable(CREDENTIALS), Some(CREDENTIALS_OF_SERVICE));
        environment.variables.insert(CREDENTIALS.into(), "/run/ours".into());
        assert_eq!(environment.with_credentials_of_service().variable(CREDENTIALS), Some("/run/ours"));
    }

    #[test]
    fn a_home_that_is_not_absolute_is_no_home() {
        let mut environment = Environment::default();
        environment.variables.insert("HOME".into(), "somewhere".into());
        assert_eq!(environment.home(), None);
    }
}
