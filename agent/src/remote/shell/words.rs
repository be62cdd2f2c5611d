//! How a command ends: by what it said last on standard error, or because there is no shell to run it.

use skiff_common::escape::escaped_up_to;

use crate::remote::RemoteError;
use crate::remote::session::{ChannelError, Said};
use crate::remote::tail::Tail;

/// What a command said on standard error, and whether it ended.
#[derive(Debug, Default)]
pub(crate) struct LastWords {
    stderr: Tail,
    exited: bool,
}

impl LastWords {
    /// Takes what a channel brought, and gives back what is output.
    pub(crate) fn took(
        &mut self,
        said: Result<Said, ChannelError>,
        attempt: &'static str,
    ) -> Result<Option<Vec<u8>>, RemoteError> {
        match said {
            Ok(Said::Out(bytes)) => return Ok(Some(bytes)),
            Ok(Said::Err(bytes)) => self.stderr.push(&bytes),
            Ok(Said::Status(_)) => self.exited = true,
            Ok(Said::Signal(_) | Said::Eof) => {}
            // It may still be a server of files.
            Err(error @ ChannelError::ExecRefused) => {
                return Err(RemoteError::NoShell { words: error.to_string() });
            }
            Err(error) => return Err(RemoteError::Ended { attempt, words: error.to_string() }),
        }
        Ok(None)
    }

    /// The channel has ended.
    pub(crate) fn ended(&self, attempt: &'static str) -> RemoteError {
        RemoteError::Ended { attempt, words: self.stderr.shown() }
    }

    /// What `error` means where `noise` came instead of our first word: a server that runs no shell says so in its own
    /// words, on either stream, or nothing at all.
    pub(crate) fn without_shell(&self, noise: &[u8], error: RemoteError) -> RemoteError {
        match error {
            RemoteError::Ended { words, .. } if self.exited || (words.is_empty() && !noise.is_empty()) => {
                let said = [noise.trim_ascii(), self.stderr.bytes()].join(&b' ');
                let said = escaped_up_to(said.trim_ascii(), 200);
                let words =
                    if said.is_empty() { "what it runs said nothing and ended".to_owned() } else { said };
                RemoteError::NoShell { words }
            }
            error => error,
        }
    }
}
