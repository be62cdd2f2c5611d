//! The way to a server: through others, with host certificates, and to hosts that are new.

use super::*;
use crate::remote::host_key::KnownHosts;

fn hop(sshd: &Sshd) -> Login {
    sshd.login("id_ed25519")
}

/// Through servers, the first one first.
fn through(hops: &[&Sshd], last: &Sshd) -> Login {
    Login { jumps: hops.iter().map(|one| hop(one)).collect(), ..hop(last) }
}

#[tokio::test]
async fn one_and_two_servers_on_the_way() {
    let (first, second, last) = (Sshd::start(""), Sshd::start(""), Sshd::start(""));
    for login in [through(&[&first], &last), through(&[&first, &second], &last)] {
        let session = Session::connect(&login).await.expect("a session");
        let (_, out) = run(&session, "printf %s \"$SSH_CONNECTION\"").await;
        assert!(String::from_utf8_lossy(&out).ends_with(&last.port.to_string()));
        let known = KnownHosts::load(&login.known_hosts).expect("readable");
        assert_eq!(known.algorithms_for(HOST, last.port).len(), 1);
        session.disconnect().await;
        assert!(session.is_closed());
    }
}

#[tokio::test]
async fn every_server_on_the_way_has_to_be_known() {
    let (first, last) = (Sshd::start(""), Sshd::start(""));
    first.record("");
    let ConnectError::HostKeyUnknown { port, .. } = last.refusal(&through(&[&first], &last)).await else {
        panic!("another error")
    };
    assert_eq!(port, first.port);
    first.record(&first.host_line());
    last.record("");
    let ConnectError::HostKeyUnknown { port, .. } = last.refusal(&through(&[&first], &last)).await else {
        panic!("another error")
    };
    assert_eq!(port, last.port);
}

#[tokio::test]
async fn a_way_that_ends_is_told_with_its_end() {
    let (first, last) = (Sshd::start(""), Sshd::start(""));
    let mut login = through(&[&first], &last);
    login.port = free_port();
    let error = last.refusal(&login).await;
    assert_eq!(error.code(), "jump-failed", "{error}");
    assert!(
        error
            .to_string()
            .contains(&format!("{HOST}:{} makes no connection to {HOST}:{}", first.port, login.port)),
        "{error}"
    );
    let shut = Sshd::start("AllowTcpForwarding no");
    let error = last.refusal(&through(&[&shut], &last)).await;
    assert!(error.hint().contains("AllowTcpForwarding"), "{error}");
}

#[tokio::test]
async fn the_deadline_holds_for_the_whole_way() {
    let first = Sshd::start("");
    let silent = TcpListener::bind((HOST, 0)).expect("a port");
    let port = silent.local_addr().expect("an address").port();
    let login = Login { port, connect_timeout: Duration::from_secs(5), ..through(&[&first], &first) };
    let began = Instant::now();
    let error = Session::connect(&login).await.expect_err("nobody greets");
    assert!(matches!(error, ConnectError::TimedOut { step: Step::Greeting, .. }), "{error}");
    assert!(began.elapsed() < Duration::from_secs(7));
}

#[tokio::test]
async fn the_key_of_a_host_behind_another_can_be_looked_at() {
    let (first, last) = (Sshd::start(""), Sshd::start(""));
    let key = offered_key(&through(&[&first], &last)).await.expect("a key");
    assert!(last.host_line().contains(key.to_openssh().expect("text").split(' ').nth(1).expect("base64")));
}

#[tokio::test]
async fn a_new_host_is_recorded_if_that_is_wanted_and_a_changed_one_refused_all_the_same() {
    let sshd = Sshd::start("");
    sshd.record("");
    let login = Login { new_hosts: NewHosts::Record, ..sshd.login("id_ed25519") };
    Session::connect(&login).await.expect("it is new");
    let recorded = text(&login.known_hosts[0]);
    let host_line = sshd.host_line();
    assert_eq!(
        recorded.split(' ').take(3).collect::<Vec<_>>().join(" ").trim(),
        host_line.split(' ').take(3).collect::<Vec<_>>().join(" ")
    );
    let other = text(&sshd.folder.path().join("stranger.pub"));
    sshd.record(&format!("[{HOST}]:{} {other}", sshd.port));
    assert_eq!(sshd.refusal(&login).await.code(), "host-key-changed");
    sshd.record(&format!("@revoked {}", sshd.host_line()));
    assert_eq!(sshd.refusal(&login).await.code(), "host-key-revoked");
}

/// A server with a certificate for `principals`.
fn with_certificate(more: &[&str]) -> Sshd {
    Sshd::start_prepared(|folder| {
        keygen("ed25519", &folder.join("ca"));
        let signed = Command::new("ssh-keygen")
            .args(["-q", "-h", "-I", "host", "-s"])
            .arg(folder.join("ca"))
            .args(more)
            .arg(folder.join("host.pub"))
            .output()
            .expect("ssh-keygen runs");
        assert!(signed.status.success(), "{signed:?}");
        format!("HostCertificate {}/host-cert.pub", folder.display())
    })
}

fn authority(sshd: &Sshd) -> String {
    text(&sshd.folder.path().join("ca.pub"))
}

#[tokio::test]
async fn a_host_certificate_by_a_recorded_authority_is_enough() {
    let sshd = with_certificate(&["-n", "other.example,127.0.0.1", "-V", "+1h"]);
    for pattern in ["*", "[127.0.0.1]:*", "127.0.0.1"] {
        sshd.record(&format!("@cert-authority {pattern} {}", authority(&sshd)));
        let session = Session::connect(&sshd.login("id_ed25519")).await.expect(pattern);
        assert!(session.host_key().starts_with("SHA256:"));
    }
}

#[tokio::test]
async fn a_host_certificate_that_does_not_hold_is_refused() {
    for (more, why) in [
        (&["-n", "other.example", "-V", "+1h"][..], "it is for other.example"),
        (&["-n", HOST, "-V", "20200101:20200102"], "it has expired"),
        (&["-n", HOST, "-V", "20990101:20990102"], "it is not valid yet"),
        (&["-V", "+1h"], "it names no host"),
    ] {
        let sshd = with_certificate(more);
        sshd.record(&format!("@cert-authority * {}", authority(&sshd)));
        let error = sshd.refusal(&sshd.login("id_ed25519")).await;
        assert_eq!(error.code(), "host-key-certificate", "{error}");
        assert!(error.to_string().ends_with(why), "{error}");
    }
}

#[tokio::test]
async fn a_host_certificate_by_a_revoked_or_unknown_authority_is_no_trust() {
    let sshd = with_certificate(&["-n", HOST, "-V", "+1h"]);
    let ca = authority(&sshd);
    sshd.record(&format!("@cert-authority * {ca}@revoked * {ca}"));
    let error = sshd.refusal(&sshd.login("id_ed25519")).await;
    assert!(error.to_string().contains("it is revoked"), "{error}");
    let stranger = text(&sshd.folder.path().join("stranger.pub"));
    sshd.record(&format!("@cert-authority * {stranger}"));
    assert_eq!(sshd.refusal(&sshd.login("id_ed25519")).await.code(), "host-key-unknown");
    // The key in it may be recorded for itself.
    sshd.record(&format!("@cert-authority * {stranger}{}", sshd.host_line()));
    Session::connect(&sshd.login("id_ed25519")).await.expect("its key is recorded");
}

#[tokio::test]
async fn another_name_may_be_recorded() {
    let sshd = Sshd::start("");
    sshd.record(&format!("the-collector {}", text(&sshd.folder.path().join("host.pub"))));
    let mut login = sshd.login("id_ed25519");
    assert_eq!(sshd.refusal(&login).await.code(), "host-key-unknown");
    login.known_as = Some("the-collector".to_owned());
    Session::connect(&login).await.expect("it is known by that name");
}

#[tokio::test]
async fn ciphers_and_compression_are_as_wanted() {
    let sshd = Sshd::start("Ciphers aes256-ctr\nLogLevel DEBUG1");
    let mut login = sshd.login("id_ed25519");
    login.compression = true;
    login.ciphers = vec![cipher("aes128-ctr").expect("known")];
    assert_eq!(sshd.refusal(&login).await.code(), "no-common-algorithm");
    login.ciphers.push(cipher("aes256-ctr").expect("known"));
    let session = Session::connect(&login).await.expect("a cipher in common");
    let (_, out) = run(&session, "head -c 300000 /dev/zero").await;
    assert_eq!(out.len(), 300_000);
    let log = text(&sshd.folder.path().join("log"));
    assert!(log.contains("cipher: aes256-ctr") && log.contains("compression: zlib"), "{log}");
}
