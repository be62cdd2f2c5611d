//! The keys of `[receipts]`.

use std::num::NonZeroUsize;

use crate::raw::Section;
use crate::settings::ReceiptFiles;
use crate::value::{count_up_to, size};

/// Each conflict reads all of them: more files than this are an archive, which belongs elsewhere.
const MOST_FILES: u32 = 1000;

/// `base`, with what `section` says.
pub(super) fn overlaid(base: &ReceiptFiles, section: &mut Section<'_>) -> ReceiptFiles {
    ReceiptFiles {
        rotate_bytes: section.get("rotate", &base.rotate_bytes, size(64 << 10..=1 << 40)),
        keep: section.get("keep", &base.keep, count_up_to(MOST_FILES)),
    }
}

/// Without any defaults: what `default.toml` is read into.
pub(super) const BLANK: ReceiptFiles = ReceiptFiles { rotate_bytes: 0, keep: NonZeroUsize::MIN };
