//! Whole files, read as they are.

use super::*;
use crate::{AfterDelivery, Destination, Watch};

const SENSORS: &str = include_str!("../../examples/sensors.toml");
const LOGS: &str = include_str!("../../examples/logs.toml");

/// A made-up machine.
pub(crate) fn environment() -> Environment {
    let variables = [
        ("HOME", "/home/ship"),
        ("SITE", "north"),
        ("CREDENTIALS_DIRECTORY", "/run/credentials/skiff.service"),
    ];
    Environment {
        variables: variables.map(|(name, value)| (name.to_owned(), value.to_owned())).into(),
        host_name: Some("edge-7".to_owned()),
        machine_id: Some("0123456789abcdef0123456789abcdef".to_owned()),
    }
}

fn parsed(text: &str) -> Settings {
    parse(text, Path::new("skiff.toml"), &environment()).unwrap_or_else(|problems| panic!("{problems}"))
}

/// A folder of this test's own, gone when dropped.
struct Folder(PathBuf);

impl Folder {
    fn with(name: &str, files: &[(&str, &[u8])]) -> Self {
        let root = std::env::temp_dir().join(format!("skiff-config-{}-{name}", std::process::id()));
        std::fs::create_dir_all(root.join("skiff.d")).expect("a folder for this test");
        for (file, text) in files {
            std::fs::write(root.join(file), text).expect("a file for this test");
        }
        Self(root)
    }

    fn load(&self) -> Result<Settings, Problems> {
        load(&self.0.join("skiff.toml"), &environment())
    }

    /// What is wrong, with paths relative to this folder.
    fn problems(&self) -> String {
        let problems = self.load().expect_err("this configuration has problems").to_string();
        problems.replace(&format!("{}/", self.0.display()), "")
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // What is left behind in a temporary folder harms no other test.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

#[test]
fn the_examples_say_what_they_promise() {
    let sensors = parsed(SENSORS);
    let collector = sensors.destination("collector").expect("is declared");
    assert_eq!((collector.user.as_deref(), collector.port), (Some("ingest"), 2222));
    assert_eq!(collector.path.to_string(), "/srv/incoming/edge-7");
    assert_eq!(collector.bandwidth, Some(1_200_000));
    assert_eq!(sensors.watches[0].after_delivery, AfterDelivery::Delete);
    assert_eq!(sensors.watches[1].after_delivery, AfterDelivery::Move("/var/spool/camera-sent".into()));
    assert_eq!(sensors.watches[1].settle_marker.as_deref(), Some(".done"));

    let logs = parsed(LOGS);
    let archive = logs.destination("archive").expect("is declared");
    assert_eq!((archive.host.as_str(), archive.port), ("2001:db8::17", 22));
    assert_eq!(archive.path.to_string(), "logs/0123456789abcdef0123456789abcdef");
    assert_eq!(archive.identity, [PathBuf::from("/run/credentials/skiff.service/keys_archive")]);
    assert_eq!(archive.known_hosts, [PathBuf::from("/etc/skiff/known_hosts")]);
    assert_eq!(logs.watches[0].settle.as_secs(), 5, "its own defaults hold for all its watches");
    assert_eq!(logs.watches[1].path, Path::new("/var/log/application"));
}

/// S10: whoever sets nothing loses nothing.
#[test]
fn nothing_is_deleted_or_overwritten_unless_it_is_said() {
    let watch = Watch::with_defaults("w", "/w", "d");
    assert_eq!(watch.after_delivery, AfterDelivery::Keep);
    assert!(!watch.removes());
    assert_ne!(watch.on_conflict, crate::OnConflict::Replace);
}

#[test]
fn the_example_in_default_toml_loads_once_its_hashes_are_gone() {
    let is_example =
        |line: &&str| line.strip_prefix('#').is_some_and(|rest| !rest.is_empty() && !rest.starts_with(' '));
    let lines: Vec<_> = crate::DEFAULT_TOML.lines().filter(is_example).map(|line| &line[1..]).collect();
    let settings = parsed(&lines.join("\n"));
    let path = crate::PathTemplate::literal("/srv/incoming/edge-7");
    let collector = Destination {
        user: Some("ingest".to_owned()),
        says_port: true,
        path,
        identity: vec!["/etc/skiff/id_ed25519".into()],
        known_hosts: vec!["/home/ship/.ssh/known_hosts".into(), "/etc/ssh/ssh_known_hosts".into()],
        ..Destination::with_defaults("collector", "collector.example.net")
    };
    assert_eq!(settings.destinations, [collector]);
    let sensors = Watch {
        include: vec!["*.csv".to_owned()],
        after_delivery: AfterDelivery::Delete,
        ..Watch::with_defaults("sensors", "/var/spool/sensors", "collector")
    };
    assert_eq!(settings.watches, [sensors]);
}

#[test]
fn shown_settings_load_back_on_another_machine() {
    let odd = r#"
        state_dir = "/a $${b} {c}"
        log = { format = "human", level = "trace" }
        control = { listen = "[::]:9723", token_file = "/t/{x}" }
        receipts = { rotate = "100 kB", keep = 7 }
        destination."a.b" = { address = "me@there@h", path = "~/~/{{x}}$${{y}}", in_flight = 7, bandwidth = "8001 bit/s" }
        destination.v6 = { address = "[fe80::1%eth0]:2200", path = "", identity = "~/k", known_hosts = [], agent = "~/agent", certificate = "~/k-cert.pub", passphrase_file = "${credential:p}", password_file = "/p w", jump = ["u@gate:2200", "[::1]:22"], ssh_config = "~/c" }
        [[watch]]
        name = "w-1"
        path = "/x/é \\ \" '"
        to = "a.b"
        include = ["a{b,c}", "\\$${x}"]
        exclude = []
        settle = "1h 1ms"
        settle_marker = ".done"
        after_delivery = { move = "/sent/{x}" }
        small_file = 1025
        batch_wait = "0s"
        on_conflict = "park"
        retry_attempts = 9
        on_delivery = ["/bin/t", "$${x} 'y'"]
        on_quarantine = "/bin/q"
        hook_timeout = "90s"
        manifest = "sha256sum"
        destination_path = "s/{{t}}/"
    "#;
    for text in [SENSORS, LOGS, odd] {
        let settings = parsed(text);
        let shown = settings.to_toml();
        let elsewhere = parse(&shown, Path::new("shown.toml"), &Environment::default());
        assert_eq!(elsewhere.unwrap_or_else(|problems| panic!("{problems}\n{shown}")), settings);
    }
    let odd = parsed(odd);
    assert_eq!(odd.destinations[0].path.to_string(), "./~/{{x}}${{y}}");
    assert_eq!(odd.watches[0].destination_path.to_string(), "s/{{t}}");
}

#[test]
fn a_file_from_windows_reads_the_same() {
    let from_windows = format!("\u{feff}{}", SENSORS.replace('\n', "\r\n"));
    assert_eq!(parsed(&from_windows), parsed(SENSORS));
}

#[test]
fn every_beginning_of_a_file_is_read_or_refused() {
    let (mut loaded, mut refused) = (0, 0);
    for text in [SENSORS, LOGS] {
        for (end, _) in text.char_indices() {
            match parse(&text[..end], Path::new("skiff.toml"), &environment()) {
                Ok(_) => loaded += 1,
                Err(problems) => refused += usize::from(problems.iter().len() > 0),
            }
        }
    }
    assert_eq!(loaded + refused, SENSORS.chars().count() + LOGS.chars().count());
    assert!(loaded > 0 && refused > loaded, "{loaded} loaded, {refused} refused");
}

#[test]
fn drop_ins_join_in_the_order_of_their_names() {
    let folder = Folder::with(
        "join",
        &[
            (
                "skiff.toml",
                b"log.level = 'debug'\n[destination.a]\naddress = 'a'\n[defaults.watch]\nsettle = '2s'",
            ),
            ("skiff.d/20.toml", b"[[watch]]\nname = 'two'\npath = '/two'\nto = 'b'\n"),
            (
                "skiff.d/10.toml",
                b"[destination.b]\naddress = 'b'\n[[watch]]\nname = 'one'\npath = '/one'\nto = 'a'",
            ),
            ("skiff.d/30.toml", b"log.format = 'json'\n[defaults.watch]\nrescan = '1m'"),
            ("skiff.d/.40.toml", b"not even TOML"),
            ("skiff.d/50.toml.dpkg-old", b"not even TOML"),
        ],
    );
    let settings = folder.load().unwrap_or_else(|problems| panic!("{problems}"));
    assert_eq!(settings.watches.iter().map(|watch| watch.name.as_str()).collect::<Vec<_>>(), ["one", "two"]);
    assert_eq!(settings.destinations.len(), 2);
    let two = settings.watch("two").expect("is declared");
    assert_eq!((two.settle.as_secs(), two.rescan.as_secs()), (2, 60));
    assert_eq!(settings.log, crate::Log { format: crate::LogFormat::Json, level: crate::LogLevel::Debug });
}

#[test]
fn drop_ins_are_read_by_name_whatever_the_file_system_says() {
    let order = [7, 2, 9, 4, 1, 8, 3, 6, 5];
    let texts = order.map(|nth| {
        let watch = format!("[[watch]]\nname = 'w{nth}'\npath = '/w{nth}'\nto = 'a'\n");
        (format!("skiff.d/{nth}.toml"), watch)
    });
    let mut files: Vec<_> = texts.iter().map(|(file, text)| (file.as_str(), text.as_bytes())).collect();
    files.push(("skiff.toml", b"[destination.a]\naddress = 'a'"));
    let folder = Folder::with("order", &files);
    let settings = folder.load().unwrap_or_else(|problems| panic!("{problems}"));
    let names: String = settings.watches.iter().map(|watch| watch.name.as_str()).collect();
    assert_eq!(names, "w1w2w3w4w5w6w7w8w9");
}

#[test]
fn local_paths_lose_what_means_nothing() {
    let text = "[destination.a]\naddress = 'a'\n[[watch]]\nname = 'w'\npath = '~//x/./y/'\nto = 'a'";
    assert_eq!(parsed(text).watches[0].path.as_os_str(), "/home/ship/x/y");
}

#[test]
fn nothing_is_set_in_two_files() {
    let folder = Folder::with(
        "twice",
        &[
            (
                "skiff.toml",
                b"state_dir = '/s'\n[destination.a]\naddress = 'a'\n[[watch]]\nname='w'\npath='/w'\nto='a'",
            ),
            ("skiff.d/10.toml", b"\nstate_dir = '/t'\n[destination.a]\naddress = 'b'\n"),
            ("skiff.d/20.toml", b"[[watch]]\nname = 'w'\npath = '/v'\nto = 'a'\n"),
        ],
    );
    assert_eq!(
        folder.problems(),
        "skiff.d/10.toml:2: state_dir: is already set at skiff.toml:1, keep one of them\n\
         skiff.d/10.toml:3: destination.a: is already declared at skiff.toml:2, rename one of them\n\
         skiff.d/20.toml:2: watch.w.name: is already the name of the watch at skiff.toml:5, rename one of them"
    );
}

#[test]
fn a_broken_file_hides_no_problem_of_another_and_makes_none_up() {
    let folder = Folder::with(
        "broken",
        &[
            ("skiff.toml", b"[[watch]]\nname = 'w'\npath = '/w'\nto = 'declared-below'\nsettel = '1s'\n"),
            ("skiff.d/10.toml", b"\n[destination.declared-below\n"),
            ("skiff.d/20.toml", b"# caf\xe9\n"),
        ],
    );
    assert_eq!(
        folder.problems(),
        "skiff.toml:5: watch.w.settel: unknown key, did you mean \"settle\"?\n\
         skiff.d/10.toml:2: is not TOML: unclosed table, expected `]`\n\
         skiff.d/20.toml:1: is not UTF-8 text, save it as UTF-8"
    );
}

#[test]
fn a_file_that_is_not_there_or_cannot_be_read_is_a_problem() {
    let folder = Folder::with("unreadable", &[]);
    assert_eq!(
        folder.problems(),
        "skiff.toml: there is no such file, write one with \"skiff init\" or name another with --config"
    );
    std::fs::create_dir(folder.0.join("skiff.toml")).expect("a folder in the way");
    assert_eq!(
        folder.problems(),
        "skiff.toml: cannot be read: is a directory, let the user that runs skiff read it"
    );
}
