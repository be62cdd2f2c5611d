//! Servers that lie to `skiff pull`: they say what they are told to, whatever is asked for.

use std::fs;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use crate::pull::Pull;
use crate::skiff::Ended;
use crate::sshd::Sshd;
use crate::tree;

/// What a liar does in the place of each step; `sh`, with `$N` the word that marks its answers and `$C` how many files
/// were asked for. The defaults tell the truth about one folder without files, all of whose files say "hello".
pub struct Lies<'a> {
    /// Answers that it is there.
    pub hello: &'a str,
    /// Tells what it is asked for: a folder or a file.
    pub kind: &'a str,
    /// Lists, in the way of `find -printf`.
    pub list: &'a str,
    /// Sends so many files.
    pub bodies: &'a str,
    /// The digest of each.
    pub digest: String,
}

impl Default for Lies<'_> {
    fn default() -> Self {
        Lies {
            hello: "printf '%s ok ready\\n%s ok digest=blake3 list=find dd=yes\\n' $N $N",
            kind: "folder",
            list: ":",
            bodies: "while [ $C -gt 0 ]; do printf hello; C=$((C - 1)); done",
            digest: blake3::hash(b"hello").to_hex().to_string(),
        }
    }
}

/// A server that lies, and a folder to pull into, beside which nothing may appear.
pub struct Liar {
    sshd: Sshd,
    place: TempDir,
    _script: TempDir,
}

impl Liar {
    /// One that seems to have a shell.
    pub fn with_shell(lies: &Lies) -> Self {
        let Lies { hello, kind, list, bodies, digest } = lies;
        Liar::running(&format!(
            "N=${{SSH_ORIGINAL_COMMAND##* }}\n\
             IFS= read -r P\n\
             names() {{ I=0; while [ $I -lt $1 ]; do IFS= read -r L; I=$((I + 1)); done; }}\n\
             while IFS= read -r L; do\n\
               case $L in\n\
                 hello) {hello} ;;\n\
                 list) names 1; printf '%s ok {kind}\\n' $N; {list}; printf '\\n%s end\\n%s ok\\n' $N $N ;;\n\
                 send*) C=${{L#send }}; names $C; printf '%s ok\\n' $N; {bodies}; printf '\\n%s end\\n' $N ;;\n\
                 digests*) C=${{L#digests }}; names $C; I=0\n\
                   while [ $I -lt $C ]; do printf 'digest %s %s\\n' $I {digest}; I=$((I + 1)); done\n\
                   printf '%s ok\\n' $N ;;\n\
               esac\n\
             done\n"
        ))
    }

    /// One that has nothing but `scp`, which sends these bytes. The answers are not waited for.
    pub fn with_scp(wire: &[u8]) -> Self {
        let script = TempDir::new().expect("there is room for a temporary folder");
        fs::write(script.path().join("wire"), wire).expect("the folder is writable");
        Liar::in_folder(script, "cat \"${0%/*}/wire\"; exec 1>&- 2>&-; cat >/dev/null\n")
    }

    /// One that has nothing but `scp`, in whose place these commands of `sh` run.
    pub fn in_place_of_scp(commands: &str) -> Self {
        Liar::running(&format!("{commands}\nexec 1>&- 2>&-; cat >/dev/null\n"))
    }

    fn running(text: &str) -> Self {
        Liar::in_folder(TempDir::new().expect("there is room for a temporary folder"), text)
    }

    fn in_folder(script: TempDir, text: &str) -> Self {
        let path = script.path().join("liar");
        fs::write(&path, text).expect("the folder is writable");
        let sshd = Sshd::start_with(&format!("ForceCommand /bin/sh {}", path.display()));
        let place = TempDir::new().expect("there is room for a temporary folder");
        fs::write(place.path().join("canary"), "mine").expect("the folder is writable");
        fs::create_dir(place.path().join("here")).expect("the folder is writable");
        Liar { sshd, place, _script: script }
    }

    /// The folder that is pulled into.
    pub fn here(&self) -> PathBuf {
        self.place.path().join("here")
    }

    /// The folder around it.
    pub fn around(&self) -> &Path {
        self.place.path()
    }

    /// Asks for `source` with these flags.
    #[track_caller]
    pub fn ask(&self, flags: &[&str], source: &str) -> Ended {
        Pull::from(&self.sshd).with(flags).run(source, &self.here())
    }

    /// Panics unless nothing is beside the target, and in it just these.
    #[track_caller]
    pub fn expect_here(&self, names: &[&str]) {
        assert_eq!(fs::read(self.place.path().join("canary")).expect("it was there"), b"mine");
        let found: Vec<_> = tree::files(self.place.path()).expect("it can be read").into_keys().collect();
        let expected: Vec<_> = ["canary".to_owned()]
            .into_iter()
            .chain(names.iter().map(|name| format!("here/{name}")))
            .collect();
        assert_eq!(found, expected.iter().map(PathBuf::from).collect::<Vec<_>>());
        for name in names {
            assert_eq!(fs::read(self.here().join(name)).expect("it is here"), b"hello", "{name}");
        }
    }
}
