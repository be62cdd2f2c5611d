//! Whether a host's certificate holds, once its authority is known to be the right one.

use std::time::{SystemTime, UNIX_EPOCH};

use russh::keys::ssh_key::certificate::CertType;
use russh::keys::{Algorithm, Certificate, HashAlg};

/// What is wrong with it, if something is. Not asked here: who signed it.
pub(super) fn check(certificate: &Certificate, host: &str, now: SystemTime) -> Result<(), String> {
    if certificate.cert_type() != CertType::Host {
        return Err("it is not a host's, but a user's".to_owned());
    }
    if certificate.signature().algorithm() == (Algorithm::Rsa { hash: None }) {
        return Err("it is signed with SHA-1".to_owned());
    }
    let seconds = now.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    if seconds < certificate.valid_after() {
        return Err("it is not valid yet".to_owned());
    }
    if seconds >= certificate.valid_before() {
        return Err("it has expired".to_owned());
    }
    let fingerprint = certificate.signature_key().fingerprint(HashAlg::Sha256);
    certificate.validate_at(seconds, [&fingerprint]).map_err(|_| "its signature is wrong".to_owned())?;
    if let Some((name, _)) = certificate.critical_options().iter().next() {
        return Err(format!("it demands {name:?}, which is not known here"));
    }
    let principals = certificate.valid_principals();
    if principals.is_empty() {
        return Err("it names no host".to_owned());
    }
    if !principals.iter().any(|principal| principal.eq_ignore_ascii_case(host)) {
        return Err(format!("it is for {}", principals.join(", ")));
    }
    Ok(())
}
