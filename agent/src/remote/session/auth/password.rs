//! Passwords, by either of the two methods that servers know for them. They come from a file, never from a person.

use russh::client::{Handle, KeyboardInteractiveAuthResponse as Response};
use russh::{MethodKind, MethodSet};
use zeroize::Zeroizing;

use super::shown;
use crate::remote::session::handler::Handler;

/// A server may say something, ask, and say something again; more is no login.
const MAX_ROUNDS: usize = 8;

/// What became of it.
pub(super) enum Answer {
    Accepted,
    Refused {
        methods: MethodSet,
        partly: bool,
    },
    /// It asks what a password doesn't answer.
    Asks(String),
    Lost,
}

/// By the method `password`.
pub(super) async fn plain(handle: &mut Handle<Handler>, user: &str, password: &Zeroizing<String>) -> Answer {
    use russh::client::AuthResult;
    match handle.authenticate_password(user, password.as_str()).await {
        Ok(AuthResult::Success) => Answer::Accepted,
        Ok(AuthResult::Failure { remaining_methods, partial_success }) => {
            Answer::Refused { methods: remaining_methods, partly: partial_success }
        }
        Err(_) => Answer::Lost,
    }
}

/// By `keyboard-interactive`, where the server asks for it as it would ask a person: once, and hidden.
pub(super) async fn interactive(
    handle: &mut Handle<Handler>,
    user: &str,
    password: &Zeroizing<String>,
) -> Answer {
    let mut answered = false;
    let mut response = handle.authenticate_keyboard_interactive_start(user, None).await;
    for _ in 0..MAX_ROUNDS {
        let prompts = match response {
            Ok(Response::Success) => return Answer::Accepted,
            Ok(Response::Failure { remaining_methods, partial_success }) => {
                return Answer::Refused { methods: remaining_methods, partly: partial_success };
            }
            Ok(Response::InfoRequest { prompts, .. }) => prompts,
            Err(_) => return Answer::Lost,
        };
        let answers = match prompts.as_slice() {
            [] => Vec::new(),
            [one] if !one.echo && !answered => {
                answered = true;
                vec![password.to_string()]
            }
            [_] if answered => {
                // Asked again: it was wrong. To say nothing ends it.
                vec![String::new()]
            }
            others => {
                let asked: Vec<_> = others.iter().map(|one| shown(one.prompt.trim())).collect();
                return Answer::Asks(asked.join(" "));
            }
        };
        response = handle.authenticate_keyboard_interactive_respond(answers).await;
    }
    Answer::Refused { methods: MethodSet::from(&[MethodKind::KeyboardInteractive][..]), partly: false }
}
