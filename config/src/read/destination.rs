//! The keys of `[destination.NAME]` and of `[defaults.destination]`.

use std::ops::RangeInclusive;
use std::time::Duration;

use crate::problem::Complaint;
use crate::raw::{Given, Section};
use crate::settings::{Destination, PauseWhen};
use crate::value::{
    SSH_PORT, absolute_command, address, agent, check_name, choice, count_up_to, duration, jump, keep_free,
    local_path, optional_path, rate, remote_path, secret_path, ssh_config, window,
};

/// From a tenth of a second to a day: a wait on the network that is neither hopeless nor endless.
const PATIENCE: RangeInclusive<Duration> = Duration::from_millis(100)..=Duration::from_secs(86_400);

/// Each check may start a process.
const CHECK: RangeInclusive<Duration> = Duration::from_millis(100)..=Duration::from_secs(3600);

/// `base`, with what `section` says.
pub(super) fn overlaid(base: &Destination, section: &mut Section<'_>) -> Destination {
    Destination {
        path: section.get("path", &base.path, remote_path),
        time_zone: section.get("time_zone", &base.time_zone, choice),
        ssh_config: section.get("ssh_config", &base.ssh_config, ssh_config),
        identity: section.list("identity", &base.identity, local_path),
        agent: section.get("agent", &base.agent, agent),
        certificate: section.list("certificate", &base.certificate, local_path),
        passphrase_file: section.get("passphrase_file", &base.passphrase_file, secret_path),
        password_file: section.get("password_file", &base.password_file, secret_path),
        jump: section.list("jump", &base.jump, jump),
        known_hosts: section.list("known_hosts", &base.known_hosts, local_path),
        bandwidth: section.get("bandwidth", &base.bandwidth, rate),
        schedule: section.list("schedule", &base.schedule, window),
        pause_when: section.get("pause_when", &base.pause_when, pause_when),
        pause_check: section.get("pause_check", &base.pause_check, duration(CHECK)),
        transport: section.get("transport", &base.transport, choice),
        compression: section.get("compression", &base.compression, choice),
        duplicates: section.get("duplicates", &base.duplicates, choice),
        owner: section.get("owner", &base.owner, choice),
        keep_free: section.get("keep_free", &base.keep_free, keep_free),
        in_flight: section.get("in_flight", &base.in_flight, count_up_to(64)),
        connect_timeout: section.get("connect_timeout", &base.connect_timeout, duration(PATIENCE)),
        stall_timeout: section.get("stall_timeout", &base.stall_timeout, duration(PATIENCE)),
        keepalive: section.get("keepalive", &base.keepalive, duration(PATIENCE)),
        ..base.clone()
    }
}

/// The path of a file, or a command and its arguments.
fn pause_when(given: Given<'_>) -> Result<PauseWhen, Complaint> {
    match given.members() {
        Some(words) => {
            let words = absolute_command(words)?;
            Ok(if words.is_empty() { PauseWhen::Never } else { PauseWhen::Command(words) })
        }
        None => Ok(optional_path(given)?.map_or(PauseWhen::Never, PauseWhen::File)),
    }
}

/// The destination called `name`.
pub(super) fn read(name: String, base: &Destination, mut section: Section<'_>) -> Destination {
    if let Err(complaint) = check_name(&name) {
        section.report(complaint);
    }
    let remedy = r#"add a line such as address = "user@host""#;
    let address = section.need("address", remedy, address);
    let destination = overlaid(base, &mut section);
    section.finish();
    match address {
        Some(address) => Destination {
            name,
            user: address.user,
            host: address.host,
            port: address.port.unwrap_or(SSH_PORT),
            says_port: address.port.is_some(),
            ..destination
        },
        None => Destination { name, ..destination },
    }
}
