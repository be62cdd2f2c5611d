//! What names this machine.

use skiff_config::Environment;

/// This machine, in eight digits: names its staging and its conflicting files at the destination.
pub fn sender() -> String {
    blake3::hash(machine().as_bytes()).to_hex()[..8].to_owned()
}

/// What chooses a destination where files are spread: this machine, for good.
pub(crate) fn machine() -> String {
    let environment = Environment::from_process();
    environment.machine_id.or(environment.host_name).unwrap_or_default()
}
