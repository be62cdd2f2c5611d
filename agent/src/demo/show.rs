//! What a person sees of the demo, and the process that does the work.

use std::collections::HashSet;
use std::io::{self, IsTerminal as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde_json::Value;

use super::server::EmbeddedServer;
use super::workload::{count, differences, fill};
use crate::size;

/// The demo ends by then, one way or the other.
const DEADLINE: Duration = Duration::from_secs(120);

/// Where everything of the demo lies; gone when it ends.
struct Stage {
    _folder: tempfile::TempDir,
    outbox: PathBuf,
    home: PathBuf,
    state: PathBuf,
    config: PathBuf,
}

/// Shows the whole of it. Returns how many files did not arrive.
pub(crate) async fn demo(readings: usize, large_mib: usize) -> io::Result<u64> {
    let stage = Stage::new()?;
    let server = EmbeddedServer::start(&stage.home).await.map_err(io::Error::other)?;
    stage.write_config(&server)?;
    println!("An SSH server listens on {}; skiff watches {}.", server.address(), stage.outbox.display());
    let (files, bytes) = fill(&stage.outbox, readings, large_mib)?;
    println!(
        "{} are in the folder, {}: readings, logs and a recording.",
        size::count(files, "file"),
        size::bytes(bytes)
    );

    let started = Instant::now();
    let bar = bar(bytes);
    let mut agent = stage.start_agent()?;
    stage.wait(&bar, &mut agent, |receipts, arrived| arrived >= bytes / 2 || receipts >= files).await?;
    agent.kill()?;
    agent.wait()?;
    let ((before, _), arrived) = (stage.delivered()?, stage.arrived()?);
    bar.suspend(|| {
        println!(
            "The agent was killed half-way (kill -9): {} delivered, {} of the bytes have arrived. It starts again.",
            size::count(before, "file"),
            size::bytes(arrived)
        );
    });
    let mut agent = stage.start_agent()?;
    stage.wait(&bar, &mut agent, |receipts, _| receipts >= files).await?;
    bar.finish_and_clear();
    let took = started.elapsed();
    stop(&mut agent)?;
    server.shutdown().await;

    stage.conclude(files, bytes, took)
}

impl Stage {
    fn new() -> io::Result<Self> {
        let folder = tempfile::Builder::new().prefix("skiff-demo-").tempdir()?;
        let path = |name: &str| folder.path().join(name);
        let stage = Self {
            outbox: path("outbox"),
            home: path("server"),
            state: path("state"),
            config: path("skiff.toml"),
            _folder: folder,
        };
        std::fs::create_dir(&stage.outbox)?;
        std::fs::create_dir(&stage.home)?;
        Ok(stage)
    }

    fn write_config(&self, server: &EmbeddedServer) -> io::Result<()> {
        let quoted = |path: &Path| skiff_config::quoted(&path.display().to_string());
        let text = format!(
            "state_dir = {}\n\n[destination.demo]\naddress = \"demo@{}\"\npath = \"inbox\"\nidentity = {}\n\
             known_hosts = {}\n\n[[watch]]\nname = \"outbox\"\npath = {}\nto = \"demo\"\nsettle = \"300ms\"\n",
            quoted(&self.state),
            server.address(),
            quoted(server.client_key()),
            quoted(server.known_hosts()),
            quoted(&self.outbox),
        );
        std::fs::write(&self.config, text)
    }

    fn start_agent(&self) -> io::Result<Child> {
        let log =
            std::fs::File::options().create(true).append(true).open(self.state.with_extension("log"))?;
        Command::new(std::env::current_exe()?)
            .args(["run", "--config"])
            .arg(&self.config)
            .stdin(Stdio::null())
            .stderr(log)
            .spawn()
    }

    /// Waits until `done` of the files with a receipt and the bytes that have arrived.
    async fn wait(
        &self,
        bar: &ProgressBar,
        agent: &mut Child,
        done: impl Fn(u64, u64) -> bool,
    ) -> io::Result<()> {
        let started = Instant::now();
        loop {
            let bytes = self.arrived()?;
            let receipts = self.files_with_receipt()?;
            bar.set_position(bytes);
            bar.set_message(format!("{receipts} files verified"));
            if done(receipts, bytes) {
                return Ok(());
            }
            if let Some(status) = agent.try_wait()? {
                return Err(io::Error::other(format!(
                    "the agent ended with {status}: {}",
                    self.last_words()
                )));
            }
            if started.elapsed() > DEADLINE {
                return Err(io::Error::other(format!("it took too long: {}", self.last_words())));
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    fn delivered(&self) -> io::Result<(u64, u64)> {
        count(&self.home.join("inbox"))
    }

    /// Bytes under final names and in staging.
    fn arrived(&self) -> io::Result<u64> {
        Ok(self.delivered()?.1 + count(&self.home.join("inbox/.skiff"))?.1)
    }

    fn receipts(&self) -> io::Result<String> {
        match std::fs::read_to_string(self.state.join("receipts.jsonl")) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(String::new()),
            outcome => outcome,
        }
    }

    /// A file that was delivered just before the kill gets a second receipt, and counts once.
    fn files_with_receipt(&self) -> io::Result<u64> {
        let receipts = self.receipts()?;
        let name = |line| serde_json::from_str::<Value>(line).ok()?["name"].as_str().map(str::to_owned);
        Ok(receipts.lines().filter_map(name).collect::<HashSet<_>>().len() as u64)
    }

    fn last_words(&self) -> String {
        let log = std::fs::read_to_string(self.state.with_extension("log")).unwrap_or_default();
        log.lines().last().unwrap_or("it said nothing").to_owned()
    }

    fn conclude(&self, files: u64, bytes: u64, took: Duration) -> io::Result<u64> {
        let different = differences(&self.outbox, &self.home.join("inbox"))?;
        let (there, _) = self.delivered()?;
        let receipts = self.receipts()?;
        let standing = receipts.lines().filter(|line| line.contains("\"sent\":false")).count();
        println!(
            "\n{} of {files} files delivered, {}, in {} ({}), through a kill.",
            files - different,
            size::bytes(bytes),
            size::time(took),
            size::rate(bytes, took)
        );
        let equal = if different == 0 { "equal" } else { "NOT equal" };
        println!("  verified   every digest was read at the destination, and both trees are {equal}");
        println!(
            "  resumed    the recording went on where it was cut; {standing} files that stood there were not sent again"
        );
        println!(
            "  exactly once   {there} files at the destination, {} too many",
            there.saturating_sub(files)
        );
        println!("\nNext: skiff push FOLDER user@host:PATH, or write a configuration (README.md).");
        Ok(different)
    }
}

fn stop(agent: &mut Child) -> io::Result<()> {
    let pid = rustix::process::Pid::from_child(agent);
    rustix::process::kill_process(pid, rustix::process::Signal::TERM)?;
    agent.wait().map(drop)
}

fn bar(bytes: u64) -> ProgressBar {
    let target =
        if io::stderr().is_terminal() { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
    let style = ProgressStyle::with_template("{bar:30} {bytes}/{total_bytes} {binary_bytes_per_sec} {msg}")
        .expect("the template is right");
    ProgressBar::with_draw_target(Some(bytes), target).with_style(style)
}
