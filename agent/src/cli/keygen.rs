//! `skiff keygen`: a key of its own for a machine, and the line that lets it in at a server.

use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use russh::keys::ssh_key::LineEnding;
use russh::keys::{Algorithm, PrivateKey};

use super::args::Keygen;
use super::exit;

/// Makes it.
pub(super) fn keygen(args: &Keygen) -> ExitCode {
    let comment = args.comment.clone().unwrap_or_else(comment);
    match make(&args.file, &comment) {
        Ok(line) => {
            println!(
                "{} is the private key, for this machine alone; {} is its public part.",
                args.file.display(),
                public(&args.file).display()
            );
            println!(
                "\nOne line in ~/.ssh/authorized_keys of the account at the server lets it in, to run commands and nothing more:\n"
            );
            println!("restrict {line}\n");
            println!(
                "Where only deliveries below one folder should be possible, run there: /usr/lib/skiff/authorize (of the package; in \
                 the source: packaging/server/authorize)"
            );
            println!(
                "Then: skiff trust HOST, and `identity = {:?}` in the destination.",
                args.file.display().to_string()
            );
            ExitCode::SUCCESS
        }
        Err((path, error)) => exit::fail(
            exit::FAILED,
            &format!("cannot make a key in {}: {error}", path.display()),
            "name another file: skiff keygen FILE",
        ),
    }
}

/// The public line. Never overwrites: whoever lost a key because of that could not deliver any longer.
fn make(file: &Path, comment: &str) -> Result<String, (PathBuf, std::io::Error)> {
    let mut key = PrivateKey::random(&mut russh::keys::key::safe_rng(), Algorithm::Ed25519)
        .expect("an ed25519 key is just random bytes");
    key.set_comment(comment);
    let private = key.to_openssh(LineEnding::LF).expect("a plain key can be written down");
    let line = key.public_key().to_openssh().expect("a public key can be written down");
    let beside = public(file);
    if beside.symlink_metadata().is_ok() {
        return Err((beside, std::io::ErrorKind::AlreadyExists.into()));
    }
    if let Some(folder) = file.parent() {
        fs::create_dir_all(folder).map_err(|error| (folder.to_owned(), error))?;
    }
    write(file, private.as_bytes(), 0o600).map_err(|error| (file.to_owned(), error))?;
    write(&beside, format!("{line}\n").as_bytes(), 0o644).map_err(|error| (beside, error))?;
    Ok(line)
}

fn write(path: &Path, bytes: &[u8], mode: u32) -> std::io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(path)?;
    let written = file.write_all(bytes).and_then(|()| file.sync_all());
    if written.is_err() {
        // Half a key is of no use, and would be in the way.
        fs::remove_file(path)?;
    }
    written
}

fn public(file: &Path) -> PathBuf {
    let mut name = file.as_os_str().to_owned();
    name.push(".pub");
    name.into()
}

fn comment() -> String {
    format!("skiff@{}", rustix::system::uname().nodename().to_string_lossy())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;
    use std::process::Command;

    use super::*;

    #[test]
    fn ssh_keygen_reads_it_and_nothing_is_overwritten() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("id");
        let line = make(&file, "skiff@here").expect("made");
        let mode = fs::metadata(&file).expect("there").permissions().mode() & 0o777;
        assert_eq!(mode, 0o600);
        let said = Command::new("ssh-keygen").arg("-yf").arg(&file).output().expect("ssh-keygen runs");
        assert_eq!(String::from_utf8_lossy(&said.stdout).trim(), line);
        assert!(line.ends_with(" skiff@here"), "{line}");
        let before = fs::read(&file).expect("there");
        let (path, error) = make(&file, "again").expect_err("it is there");
        assert_eq!((path, error.kind()), (public(&file), std::io::ErrorKind::AlreadyExists));
        fs::remove_file(public(&file)).expect("there");
        let (path, _) = make(&file, "again").expect_err("it is there");
        assert_eq!((path.as_path(), fs::read(&file).expect("there")), (file.as_path(), before));
    }
}
