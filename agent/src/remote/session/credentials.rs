//! What there is to log in with.

use std::collections::HashMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use zeroize::Zeroizing;

/// How often a person may mistype.
const TRIES: usize = 3;

/// Keys, where their secrets are, and whom to ask for those that are nowhere.
#[derive(Debug, Clone, Default)]
pub struct Credentials {
    /// Private keys to try, in this order. None: those of ssh-agent, then the usual files in `~/.ssh` that exist. One that
    /// is not there matters only if no other works.
    pub identities: Vec<PathBuf>,
    /// Certificates for those keys; `KEY-cert.pub` beside a key need not be named.
    pub certificates: Vec<PathBuf>,
    /// What ssh-agent is asked.
    pub agent: AgentUse,
    /// Its socket, if not the one that `SSH_AUTH_SOCK` names.
    pub agent_socket: Option<PathBuf>,
    /// The file whose first line opens encrypted keys.
    pub passphrase_file: Option<PathBuf>,
    /// The file whose first line is the password.
    pub password_file: Option<PathBuf>,
    /// Who knows the passphrases, if somebody is there.
    pub asker: Option<Asker>,
}

/// What ssh-agent is asked to sign for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum AgentUse {
    /// The named keys; all of its keys, where none is named.
    #[default]
    Named,
    /// The named keys first, then all that it has.
    All,
    /// Nothing.
    Never,
}

type Ask = dyn Fn(&str) -> Option<Zeroizing<String>> + Send + Sync;

/// A person at a terminal. Asked once for each key, whatever the number of connections.
#[derive(Clone)]
pub struct Asker(Arc<Person>);

struct Person {
    ask: Box<Ask>,
    known: Mutex<HashMap<PathBuf, Zeroizing<String>>>,
}

impl fmt::Debug for Asker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // What is known is secret.
        f.write_str("Asker")
    }
}

impl Asker {
    /// `ask` shows a question and gives the answer, if there is one. It may block.
    pub fn new(ask: impl Fn(&str) -> Option<Zeroizing<String>> + Send + Sync + 'static) -> Self {
        Self(Arc::new(Person { ask: Box::new(ask), known: Mutex::default() }))
    }

    /// What `open` makes of the passphrase for `path`, which is asked for up to three times. Blocks.
    pub(super) fn unlock<T, E>(
        &self,
        path: &Path,
        mut open: impl FnMut(Option<&str>) -> Result<T, E>,
    ) -> Result<T, E> {
        // Held while asking: another connection waits for the same answer.
        let mut known = self.0.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(passphrase) = known.get(path)
            && let Ok(opened) = open(Some(passphrase))
        {
            return Ok(opened);
        }
        let mut last = open(None);
        for _ in 0..TRIES {
            let Some(passphrase) = (self.0.ask)(&format!("Passphrase for {}: ", path.display())) else {
                break;
            };
            last = open(Some(&passphrase));
            if last.is_ok() {
                known.insert(path.to_owned(), passphrase);
                break;
            }
        }
        last
    }
}
