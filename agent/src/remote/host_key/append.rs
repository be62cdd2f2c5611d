//! Recording a key that a person, or the configuration, has accepted.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, ErrorKind, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, FileExt as _, OpenOptionsExt as _};
use std::path::Path;

use russh::keys::PublicKey;
use russh::keys::ssh_key::public::KeyData;

use super::error::KnownHostsError;
use super::line::{self, Marker};
use super::name::HostName;

/// Adds a line for the key to the file, which is made if need be (mode 0600, its folder 0700), and is on the disk
/// afterwards. Nothing that stands there is changed, so [`KnownHosts::check`](super::KnownHosts::check) first: a key that
/// was recorded before stays trusted, a revoked one stays revoked.
pub fn append(path: &Path, host: &str, port: u16, key: &PublicKey) -> Result<(), KnownHostsError> {
    let name = HostName::recordable(host, port)?;
    let line =
        line_for(&name, key.key_data()).ok_or_else(|| KnownHostsError::Key { algorithm: key.algorithm() })?;
    create_folder(path).map_err(|error| KnownHostsError::io("make the folder of", path, error))?;
    write_line(path, &line).map_err(|error| KnownHostsError::io("add a line to", path, error))
}

/// Nothing for a key that would not be read back.
fn line_for(name: &HostName, key: &KeyData) -> Option<String> {
    let key_text = PublicKey::new(key.clone(), "").to_openssh().ok()?;
    let line = format!("{} {}", name.as_str(), key_text.trim_end());
    let read = line::parse(line.as_bytes())?.ok()?;
    let same = read.marker == Marker::None && read.hosts.include(name) && read.key == *key;
    same.then_some(line)
}

fn create_folder(path: &Path) -> io::Result<()> {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() && !folder.exists() => {
            DirBuilder::new().recursive(true).mode(0o700).create(folder)
        }
        _ => Ok(()),
    }
}

fn write_line(path: &Path, line: &str) -> io::Result<()> {
    let is_new = fs::exists(path).is_ok_and(|exists| !exists);
    let mut file = OpenOptions::new().read(true).append(true).create(true).mode(0o600).open(path)?;
    let newline_before = if ends_within_a_line(&file)? { "\n" } else { "" };
    let text = format!("{newline_before}{line}\n");
    // One write: nobody else's line ends up inside ours.
    if file.write(text.as_bytes())? != text.len() {
        return Err(ErrorKind::WriteZero.into());
    }
    file.sync_all()?;
    if is_new { sync_folder_of(path) } else { Ok(()) }
}

fn ends_within_a_line(file: &File) -> io::Result<bool> {
    let Some(last) = file.metadata()?.len().checked_sub(1) else { return Ok(false) };
    let mut byte = [0];
    file.read_exact_at(&mut byte, last)?;
    Ok(byte != *b"\n")
}

fn sync_folder_of(path: &Path) -> io::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    File::open(folder.unwrap_or(Path::new(".")))?.sync_all()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::super::sample::{RSA, ed25519, ed25519_text, parsed};
    use super::super::{KnownHosts, Verdict};
    use super::*;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).expect("it is there").permissions().mode() & 0o777
    }

    #[test]
    fn a_recorded_key_is_trusted_from_then_on() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let file = folder.path().join("a/b/known_hosts");
        append(&file, "Host.Example", 22, &ed25519(1)).expect("recorded");
        append(&file, "host.example", 2222, &parsed(RSA)).expect("recorded");
        let text = fs::read_to_string(&file).expect("readable");
        assert_eq!(text, format!("host.example {}\n[host.example]:2222 {RSA}\n", ed25519_text(1)));
        let known = KnownHosts::load(std::slice::from_ref(&file)).expect("readable");
        assert!(matches!(known.check("host.example", 22, &ed25519(1)), Verdict::Trusted { .. }));
        assert!(matches!(known.check("host.example", 2222, &parsed(RSA)), Verdict::Trusted { .. }));
    }

    #[test]
    fn only_the_owner_reads_what_is_made() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let file = folder.path().join("ssh/known_hosts");
        append(&file, "host", 22, &ed25519(1)).expect("recorded");
        assert_eq!((mode(&file), mode(&folder.path().join("ssh"))), (0o600, 0o700));
    }

    #[test]
    fn what_stands_there_stays_as_it_is() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let file = folder.path().join("known_hosts");
        fs::write(&file, "# no newline at the end").expect("a file");
        fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).expect("a file of ours");
        append(&file, "host", 22, &ed25519(1)).expect("recorded");
        let text = fs::read_to_string(&file).expect("readable");
        assert_eq!(text, format!("# no newline at the end\nhost {}\n", ed25519_text(1)));
        assert_eq!(mode(&file), 0o644);
    }

    #[test]
    fn names_that_say_more_than_one_host_are_refused_before_anything_is_made() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let file = folder.path().join("ssh/known_hosts");
        for host in ["a b", "a,b", "a\nb", "*", ""] {
            let error = append(&file, host, 22, &ed25519(1)).expect_err("refused");
            assert!(matches!(error, KnownHostsError::HostName { .. }), "{error}");
        }
        assert!(!folder.path().join("ssh").exists());
    }
}
