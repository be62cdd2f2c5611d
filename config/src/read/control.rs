//! The keys of `[control]`.

use crate::problem::{Complaint, code};
use crate::raw::Section;
use crate::settings::Control;
use crate::value::{listen, optional_path};

/// `base`, with what `section` says.
pub(super) fn overlaid(base: &Control, section: &mut Section<'_>) -> Control {
    let before = section.context().count();
    let control = Control {
        listen: section.get("listen", &base.listen, listen),
        token_file: section.get("token_file", &base.token_file, optional_path),
    };
    let is_open = control.listen.is_some_and(|address| !address.ip().is_loopback());
    if is_open && control.token_file.is_none() && section.context().count() == before {
        let open =
            Complaint::new(code::TOKEN_MISSING, "is open to the network, and nobody has to show a token");
        section.report_at("listen", open.suggest("set token_file, or listen at 127.0.0.1"));
    }
    control
}
