//! What the demo delivers: sensor readings, logs, and one large file.

use std::fs;
use std::io::{self, Write as _};
use std::path::Path;

/// Fills `folder` with `readings` small files in folders by the hour, logs, and one file of `large_mib` MiB. Returns
/// how many files and bytes that is.
pub(super) fn fill(folder: &Path, readings: usize, large_mib: usize) -> io::Result<(u64, u64)> {
    for hour in 0..24 {
        fs::create_dir_all(folder.join(format!("readings/{hour:02}")))?;
    }
    for number in 0..readings {
        let path = folder.join(format!("readings/{:02}/sensor-{number:05}.csv", number % 24));
        fs::write(path, reading(number))?;
    }
    fs::create_dir_all(folder.join("logs"))?;
    for day in 1..=20 {
        let mut log = io::BufWriter::new(fs::File::create(folder.join(format!("logs/app-{day:02}.log")))?);
        for line in 0..day * 200 {
            writeln!(
                log,
                "2026-01-{day:02}T{:02}:{:02}:00Z request {line} served in {} ms",
                line / 60 % 24,
                line % 60,
                line % 97
            )?;
        }
        log.flush()?;
    }
    let mut large = io::BufWriter::with_capacity(1 << 20, fs::File::create(folder.join("recording.raw"))?);
    let mut noise = blake3::Hasher::new().update(b"a recording").finalize_xof();
    let mut block = vec![0; 1 << 20];
    for _ in 0..large_mib {
        noise.fill(&mut block);
        large.write_all(&block)?;
    }
    large.flush()?;
    count(folder)
}

fn reading(number: usize) -> String {
    let line = |second: usize| {
        format!("{second},{}.{:02},{}\n", 18 + number % 9, (second * 7) % 100, 980 + second % 40)
    };
    std::iter::once("second,celsius,hPa\n".to_owned()).chain((0..60 + number % 60).map(line)).collect()
}

/// Files and bytes below `folder`, but for `.skiff`.
pub(super) fn count(folder: &Path) -> io::Result<(u64, u64)> {
    let (mut files, mut bytes) = (0, 0);
    let entries = match fs::read_dir(folder) {
        // A folder of the staging comes and goes.
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok((0, 0)),
        entries => entries?,
    };
    for entry in entries {
        let entry = entry?;
        if entry.file_name() == ".skiff" {
            continue;
        }
        // A file that is being renamed may be gone by now.
        let Ok(metadata) = entry.metadata() else { continue };
        if metadata.is_dir() {
            let below = count(&entry.path())?;
            files += below.0;
            bytes += below.1;
        } else {
            files += 1;
            bytes += metadata.len();
        }
    }
    Ok((files, bytes))
}

/// Files below `ours` that don't stand with equal content below `theirs`.
pub(super) fn differences(ours: &Path, theirs: &Path) -> io::Result<u64> {
    let mut different = 0;
    for entry in fs::read_dir(ours)? {
        let entry = entry?;
        let other = theirs.join(entry.file_name());
        different += if entry.file_type()?.is_dir() {
            differences(&entry.path(), &other)?
        } else {
            u64::from(!other.exists() || digest(&entry.path())? != digest(&other)?)
        };
    }
    Ok(different)
}

fn digest(path: &Path) -> io::Result<blake3::Hash> {
    let mut hasher = blake3::Hasher::new();
    hasher.update_reader(fs::File::open(path)?)?;
    Ok(hasher.finalize())
}
