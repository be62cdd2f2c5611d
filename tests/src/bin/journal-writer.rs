//! Writes into a journal until it is killed: `journal-writer STATE_DIR ACKNOWLEDGED`. First it sees whether all that was
//! acknowledged is there. Says each number that is acknowledged, on a line.

use std::io::Write as _;
use std::path::Path;
use std::process::ExitCode;

use skiff::journal::{Journal, Trust};
use skiff_tests::shipments;

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let [state, acknowledged] = words.as_slice() else { return ExitCode::from(2) };
    let acknowledged = acknowledged.parse().expect("a number");
    match look(Path::new(state), acknowledged) {
        Err(why) => {
            eprintln!("{why}");
            ExitCode::FAILURE
        }
        Ok(journal) => {
            say(acknowledged);
            write(&journal, acknowledged);
            ExitCode::SUCCESS
        }
    }
}

fn say(acknowledged: u64) {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{acknowledged}").and_then(|()| out.flush()).expect("somebody listens");
}

/// Opens the journal, and sees whether all that it acknowledged is in it.
fn look(state: &Path, acknowledged: u64) -> Result<Journal, String> {
    let (journal, opening) = Journal::open(state).map_err(|error| error.to_string())?;
    if matches!(opening.trust, Trust::Rebuilt { .. }) || (opening.trust == Trust::Fresh && acknowledged > 0) {
        return Err(format!("with {acknowledged} shipments acknowledged: {:?}", opening.trust));
    }
    let (known, files) = (shipments::known(&journal, acknowledged), shipments::files(acknowledged));
    match known.map_err(|error| error.to_string())? {
        known if known == files => Ok(journal),
        known => Err(format!("{known} of {files} files are left of {acknowledged} acknowledged shipments")),
    }
}

/// Records shipments until the disk is gone, and says how many were acknowledged.
fn write(journal: &Journal, acknowledged: u64) {
    for number in acknowledged.. {
        if shipments::deliver(journal, number).is_err() {
            return;
        }
        say(number + 1);
    }
}
