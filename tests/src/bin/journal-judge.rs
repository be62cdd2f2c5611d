//! Opens a journal that was harmed: `journal-judge STATE_DIR COUNT`. Says "kept" if so many shipments are in it, "set
//! aside" if it was and none is, and fails with the reason if it is anything between or takes no records.

use std::path::Path;
use std::process::ExitCode;

use skiff::journal::{Journal, JournalError, Trust};
use skiff_tests::shipments;

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let [state, count] = words.as_slice() else { return ExitCode::from(2) };
    match judge(Path::new(state), count.parse().expect("a number")) {
        Ok(Ok(verdict)) => {
            println!("{verdict}");
            ExitCode::SUCCESS
        }
        Ok(Err(why)) => {
            eprintln!("{why}");
            ExitCode::FAILURE
        }
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn judge(state: &Path, count: u64) -> Result<Result<&'static str, String>, JournalError> {
    let (journal, opening) = Journal::open(state)?;
    let known = shipments::known(&journal, count)?;
    shipments::deliver(&journal, count)?;
    journal.close_blocking()?;
    let (journal, again) = Journal::open(state)?;
    let has_new = shipments::known(&journal, count + 1)? == known + shipments::files(1);
    Ok(match (&opening.trust, known) {
        _ if again.trust != Trust::Kept || !has_new => Err(format!("afterwards {:?}", again.trust)),
        (Trust::Kept, known) if known == shipments::files(count) => Ok("kept"),
        (Trust::Rebuilt { .. }, 0) => Ok("set aside"),
        (trust, known) => Err(format!("{trust:?} with {known} of {} files", shipments::files(count))),
    })
}
