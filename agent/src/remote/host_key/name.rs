//! The name under which a host's keys are recorded.

use super::error::KnownHostsError;

/// The port that needs no mention.
const DEFAULT_PORT: u16 = 22;

/// What the patterns of a line are matched against: `host`, or `[host]:port`. In lower case, as `ssh` has it before it
/// looks anything up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct HostName(String);

/// As a host stands in a `known_hosts` line.
pub fn recorded_name(host: &str, port: u16) -> String {
    HostName::new(host, port).0
}

impl HostName {
    pub(super) fn new(host: &str, port: u16) -> Self {
        let host = host.to_ascii_lowercase();
        Self(if port == DEFAULT_PORT { host } else { format!("[{host}]:{port}") })
    }

    /// The name without its port; nothing for a name that has none.
    pub(super) fn without_port(host: &str, port: u16) -> Option<Self> {
        (port != DEFAULT_PORT).then(|| Self::new(host, DEFAULT_PORT))
    }

    /// A name that a line can be written for: read back, it means this host and no other.
    pub(super) fn recordable(host: &str, port: u16) -> Result<Self, KnownHostsError> {
        let special = |c: char| c.is_whitespace() || c.is_control() || ",*?!|#@[]".contains(c);
        if host.is_empty() || host.contains(special) {
            return Err(KnownHostsError::HostName { host: host.to_owned() });
        }
        Ok(Self::new(host, port))
    }

    /// As it stands in a `known_hosts` line.
    pub(super) fn as_str(&self) -> &str {
        &self.0
    }

    pub(super) fn as_bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_unusual_ports_are_part_of_the_name() {
        assert_eq!(HostName::new("Collector.Example", 22).as_str(), "collector.example");
        assert_eq!(HostName::new("Collector.Example", 2222).as_str(), "[collector.example]:2222");
        assert_eq!(HostName::new("FE80::1", 2222).as_str(), "[fe80::1]:2222");
    }

    #[test]
    fn names_that_would_mean_something_else_are_refused() {
        for host in [
            "", "a b", "a\tb", "a\nb", "a,b", "a\0b", "*", "!a", "|1|a|b", "#a", "@revoked", "a\u{a0}b",
            "[a]:1",
        ] {
            assert!(HostName::recordable(host, 22).is_err(), "{host:?}");
        }
        for host in ["a", "192.0.2.1", "fe80::1%eth0", "bücher.example", "a_b-c"] {
            assert!(HostName::recordable(host, 22).is_ok(), "{host:?}");
        }
    }
}
