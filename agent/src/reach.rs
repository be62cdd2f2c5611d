//! The destinations of a configuration, as what one connects to.

use std::sync::Arc;

use skiff_config::Destination;

use crate::login::login_or_alone;
use crate::machine::sender;
use crate::remote::session::Login;
use crate::remote::{Connection, Limiter, Remote};
use crate::status::Status;

/// A destination to connect to.
pub(crate) fn reach(
    destination: &Destination,
    status: &Arc<Status>,
    limits: (Option<u64>, Arc<Limiter>),
) -> Arc<Remote> {
    with_login(destination, login_or_alone(destination), status, limits)
}

/// The same, with another login than its settings say.
pub(crate) fn with_login(
    destination: &Destination,
    login: Login,
    status: &Arc<Status>,
    (limit, overall): (Option<u64>, Arc<Limiter>),
) -> Arc<Remote> {
    let limit = limit.or(destination.bandwidth);
    let (status, compression) = (Arc::clone(status), destination.compression);
    let connection =
        Connection::new(&destination.name, login, &sender(), status, (limit, overall), compression);
    Arc::new(Remote::new(connection, destination))
}
