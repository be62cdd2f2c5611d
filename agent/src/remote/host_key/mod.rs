//! Which server keys are trusted: `known_hosts` files, read as OpenSSH reads them.
//!
//! It owns reading those files ([`KnownHosts::load`]), judging a key that a server presents
//! ([`KnownHosts::check`]), showing a key to a person ([`fingerprint`], [`random_art`]) and recording one ([`append`]).
//! It promises that the lines it takes for a host are the ones `ssh-keygen -F` finds and `ssh` uses, and that whatever is
//! in doubt is no trust: an unreadable file is an error, [`Verdict::Trusted`] the only verdict to go on with.
//!
//! In three things it is stricter than OpenSSH. A host certificate has to name the host, as that of newer versions. And
//! two are about `@revoked`: a tab may end that marker whatever follows
//! (OpenSSH drops `@revoked<TAB>host kind key` in silence), and a key revoked under the plain name of a host is refused
//! on its other ports too, unless recorded for such a port.
//!
//! A host certificate counts if an authority that is recorded for the host has signed it.
//!
//! Deliberately absent: asking a person, changing or removing lines, and `CheckHostIP`.

mod append;
mod certificate;
mod error;
mod fingerprint;
mod known_hosts;
mod line;
mod name;
mod pattern;
mod verdict;

#[cfg(test)]
mod agreement;
#[cfg(test)]
mod sample;

pub use append::append;
pub use error::KnownHostsError;
pub use fingerprint::{described, fingerprint, random_art};
#[cfg(any(test, fuzzing))]
pub(crate) use known_hosts::any_file;
pub use known_hosts::{KnownHosts, Skipped};
pub use line::Flaw;
pub use name::recorded_name;
pub use verdict::{LineAt, Recorded, Verdict};
