//! What can be said on the command line.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Args as ClapArgs, Parser, Subcommand};

/// Watches folders and delivers what appears in them over SSH: verified, exactly once in effect.
#[derive(Debug, Parser)]
#[command(name = "skiff", version, about, max_term_width = 100, after_long_help = MORE)]
pub(super) struct Args {
    #[command(subcommand)]
    pub(super) command: Command,
}

/// What a manual says besides.
const MORE: &str = "\
Exit status:
  0    all done
  1    some items failed
  2    usage or configuration
  3    a server could not be reached, or did not let us in
  4    the server's host key is unknown, changed, revoked, not valid, or can't be looked up
  130  interrupted
  141  nobody read the output any longer

Files:
  /etc/skiff/skiff.toml, /etc/skiff/skiff.d/*.toml  the configuration of the agent
  /var/lib/skiff                                    what it remembers, its receipts and its control socket
  ~/.local/state/skiff                              receipts of push

Environment:
  NO_COLOR               set to anything: no colours
  SSH_AUTH_SOCK          the socket of ssh-agent
  XDG_STATE_HOME         receipts of push are in its folder skiff instead
  CREDENTIALS_DIRECTORY  where systemd puts what ${credential:NAME} stands for
  OTEL_*                 of a build with the feature otel: where figures and traces go";

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Watch and deliver until told to stop
    Run(ConfigFile),
    /// Deliver now, verified and resumable
    Push(Push),
    /// Fetch now, verified and resumable
    Pull(Pull),
    /// Test every thing that could stop a delivery, and say what to do about it
    Check(Check),
    /// What the agent is doing
    Status(Status),
    /// What is pending, held or delivered, file by file
    Items(Items),
    /// Try again now what waits or is quarantined
    Retry(Retry),
    /// Let a watch rest, or all; what is on its way is finished
    Pause(Pause),
    /// Let a watch go on, or all
    Resume(Pause),
    /// Have the agent read its configuration again
    Reload(AgentOf),
    /// Make a key to log in with, and print the line that lets it in at a server
    Keygen(Keygen),
    /// Show a server's host key, and record it after a yes
    Trust(Trust),
    /// Read digests at the destination again, and compare them with the receipts
    Verify(Verify),
    /// Write a commented configuration; asks what the flags don't say
    Init(Init),
    /// Print completions for a shell
    Completions {
        /// The shell
        #[arg(value_enum)]
        shell: clap_complete::Shell,
    },
    /// Print the manual page, or write those of all commands
    Man {
        /// Where to write them
        #[arg(long, value_name = "DIR")]
        dir: Option<PathBuf>,
    },
    /// See it work on this machine, against an embedded SSH server
    Demo(Demo),
    /// Look at the configuration
    Config {
        #[command(subcommand)]
        command: ConfigCommand,
    },
}

#[derive(Debug, ClapArgs)]
pub(super) struct Verify {
    #[command(flatten)]
    pub(super) agent: AgentOf,
    /// The watch; all if there is none
    pub(super) watch: Option<String>,
    /// Send again what is lost or different there and still here
    #[arg(long)]
    pub(super) repair: bool,
    /// As a JSON list
    #[arg(long)]
    pub(super) json: bool,
}

#[derive(Debug, ClapArgs)]
pub(super) struct Init {
    /// The file to write
    #[arg(long, value_name = "FILE", default_value = "/etc/skiff/skiff.toml")]
    pub(super) config: PathBuf,
    /// The folder to watch
    #[arg(long, value_name = "FOLDER")]
    pub(super) watch: Option<String>,
    /// Where its files go
    #[arg(long, value_name = "[USER@]HOST:FOLDER")]
    pub(super) to: Option<String>,
    /// The server's port
    #[arg(short = 'P', long, value_name = "PORT")]
    pub(super) port: Option<u16>,
    /// What to call the destination
    #[arg(long, value_name = "NAME", default_value = "server")]
    pub(super) name: String,
    /// A private key to log in with
    #[arg(short, long, value_name = "FILE")]
    pub(super) identity: Option<PathBuf>,
    /// What becomes of delivered files: keep or delete
    #[arg(long, value_name = "WHAT")]
    pub(super) after_delivery: Option<String>,
    /// Where skiff remembers
    #[arg(long, value_name = "DIR", default_value = "/var/lib/skiff")]
    pub(super) state_dir: PathBuf,
    /// Print it instead of writing it
    #[arg(long)]
    pub(super) print: bool,
}

/// Which agent is meant.
#[derive(Debug, ClapArgs)]
pub(super) struct AgentOf {
    /// The agent's configuration
    #[arg(long, value_name = "FILE", default_value = "/etc/skiff/skiff.toml")]
    pub(super) config: PathBuf,
    /// Where the agent remembers, if not where its configuration says
    #[arg(long, value_name = "DIR")]
    pub(super) state_dir: Option<PathBuf>,
}

#[derive(Debug, ClapArgs)]
pub(super) struct Status {
    #[command(flatten)]
    pub(super) agent: AgentOf,
    /// As one JSON object
    #[arg(long, conflicts_with = "watch")]
    pub(super) json: bool,
    /// On a live screen
    #[arg(long)]
    pub(super) watch: bool,
}

#[derive(Debug, ClapArgs)]
pub(super) struct Items {
    #[command(flatten)]
    pub(super) agent: AgentOf,
    /// Only these
    #[arg(long, value_enum, default_value_t = State::Open)]
    pub(super) state: State,
    /// Only those with this in their path
    #[arg(long = "match", value_name = "TEXT", default_value = "")]
    pub(super) wanted: String,
    /// At most so many
    #[arg(long, value_name = "N", default_value_t = 100)]
    pub(super) limit: usize,
    /// As a JSON list
    #[arg(long)]
    pub(super) json: bool,
}

/// What `skiff items` lists.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum State {
    /// All that is not delivered, and logs that grow
    Open,
    /// What is on its way, waits for its turn or hasn't settled for more than a minute
    Pending,
    /// What failed: waiting and quarantined
    Held,
    /// What failed and is tried again by itself
    Waiting,
    /// What failed and waits for "skiff retry"
    Quarantined,
    /// Logs that are delivered while they grow, and how far each is
    Growing,
    /// What was delivered, the latest first
    Delivered,
}

#[derive(Debug, ClapArgs)]
pub(super) struct Retry {
    #[command(flatten)]
    pub(super) agent: AgentOf,
    /// Paths as "skiff items" shows them, WATCH:PATH, or the items' ids
    #[arg(value_name = "ITEM", required_unless_present = "all")]
    pub(super) items: Vec<String>,
    /// All of them, and all destinations too
    #[arg(long, conflicts_with = "items")]
    pub(super) all: bool,
}

#[derive(Debug, ClapArgs)]
pub(super) struct Pause {
    #[command(flatten)]
    pub(super) agent: AgentOf,
    /// The watch; all if there is none
    pub(super) watch: Option<String>,
}

#[derive(Debug, Subcommand)]
pub(super) enum ConfigCommand {
    /// Report all problems of the configuration
    Check(ConfigFile),
    /// Print the configuration that is in force, defaults included
    Show(ConfigFile),
    /// Print a JSON Schema of the configuration, for editors
    Schema,
}

#[derive(Debug, ClapArgs)]
pub(super) struct ConfigFile {
    /// The configuration; for NAME.toml, NAME.d/*.toml is read too
    #[arg(long, value_name = "FILE", default_value = "/etc/skiff/skiff.toml")]
    pub(super) config: PathBuf,
}

#[derive(Debug, ClapArgs)]
pub(super) struct Check {
    #[command(flatten)]
    pub(super) file: ConfigFile,
    /// As one JSON object
    #[arg(long)]
    pub(super) json: bool,
}

/// How a server is reached, as scp is told.
#[derive(Debug, ClapArgs)]
pub(super) struct Way {
    /// The server's port
    #[arg(short = 'P', value_name = "PORT", value_parser = clap::value_parser!(u16).range(1..))]
    pub(super) port: Option<u16>,
    /// A private key; may be given several times
    #[arg(short, value_name = "FILE")]
    pub(super) identity: Vec<PathBuf>,
    /// An `ssh_config` file instead of ~/.ssh/config and the system's; "none" for no file
    #[arg(short = 'F', value_name = "FILE")]
    pub(super) ssh_config: Option<PathBuf>,
    /// Servers to go through, with commas between
    #[arg(short = 'J', value_name = "[USER@]HOST[:PORT]")]
    pub(super) jump: Option<String>,
    /// An option as in an `ssh_config` file; comes before all files
    #[arg(short = 'o', value_name = "KEY=VALUE")]
    pub(super) options: Vec<String>,
}

/// What `push` and `pull` have in common, most of it from scp.
#[derive(Debug, ClapArgs)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of scp's")]
pub(super) struct Scp {
    #[command(flatten)]
    pub(super) way: Way,
    /// The ciphers to use, with commas between
    #[arg(short = 'c', value_name = "CIPHER")]
    pub(super) cipher: Option<String>,
    /// Compress the connection
    #[arg(short = 'C')]
    pub(super) compress: bool,
    /// At most so many Kbit/s
    #[arg(short, value_name = "KBIT/S")]
    pub(super) limit: Option<u64>,
    /// Folders too; skiff always does
    #[arg(short)]
    pub(super) recursive: bool,
    /// Keep times and modes; skiff always does
    #[arg(short)]
    pub(super) preserve: bool,
    /// Only errors
    #[arg(short)]
    pub(super) quiet: bool,
    /// Say what is done; twice and thrice say more
    #[arg(short, action = clap::ArgAction::Count)]
    pub(super) verbose: u8,
    /// Whose host keys are known
    #[arg(long, value_name = "FILE")]
    pub(super) known_hosts: Vec<PathBuf>,
    /// A file whose first line opens encrypted keys; only its owner may read it
    #[arg(long, value_name = "FILE")]
    pub(super) passphrase_file: Option<PathBuf>,
    /// A file whose first line is the password, for a server that takes no key; only its owner may read it
    #[arg(long, value_name = "FILE")]
    pub(super) password_file: Option<PathBuf>,
    /// Say what would be done, and do nothing
    #[arg(long)]
    pub(super) dry_run: bool,
    /// How files travel: by scp under a shell, by SFTP, or by whichever the server has
    #[arg(long, value_enum, value_name = "HOW", default_value_t = Transport::Auto)]
    pub(super) transport: Transport,
    /// The result, and what failed, as one JSON object
    #[arg(long)]
    pub(super) json: bool,
}

/// How files travel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Transport {
    Auto,
    Scp,
    Sftp,
}

impl From<Transport> for skiff_config::Transport {
    fn from(transport: Transport) -> Self {
        match transport {
            Transport::Auto => Self::Auto,
            Transport::Scp => Self::Scp,
            Transport::Sftp => Self::Sftp,
        }
    }
}

#[derive(Debug, ClapArgs)]
pub(super) struct Push {
    /// Files and folders; `SRC/` and `.` are a folder's content, `SRC` the folder itself. A symlink that is named stands for what
    /// it leads to, under its own name
    #[arg(required = true, value_name = "SRC")]
    pub(super) sources: Vec<PathBuf>,
    /// The folder they go to; it is made if it is missing
    #[arg(value_name = "[USER@]HOST:DEST")]
    pub(super) target: String,
    #[command(flatten)]
    pub(super) scp: Scp,
    /// Also leave a list of what was delivered, which this tool accepts there: in DEST, `sha256sum -c skiff-manifests/*.sha256`,
    /// or `b3sum -c skiff-manifests/*.b3`; where `SRC` is a folder, in the folder of that name there
    #[arg(long, value_name = "TOOL", value_enum)]
    pub(super) manifest: Option<Manifest>,
    /// Where receipts are kept
    #[arg(long, value_name = "DIR")]
    pub(super) state_dir: Option<PathBuf>,
}

/// What accepts the list of what was delivered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Manifest {
    Sha256sum,
    B3sum,
}

impl From<Manifest> for skiff_config::ManifestFile {
    fn from(manifest: Manifest) -> Self {
        match manifest {
            Manifest::Sha256sum => Self::Sha256sum,
            Manifest::B3sum => Self::B3sum,
        }
    }
}

#[derive(Debug, ClapArgs)]
pub(super) struct Pull {
    /// Files and folders of one server; `SRC/` is a folder's content, `SRC` the folder itself. Names are literal: the
    /// server expands no patterns
    #[arg(required = true, value_name = "[USER@]HOST:SRC")]
    pub(super) sources: Vec<OsString>,
    /// The folder they go to; it is made if it is missing
    #[arg(value_name = "DEST")]
    pub(super) target: PathBuf,
    /// Fetch a file even if another one stands here under its name, and replace that
    #[arg(long)]
    pub(super) replace: bool,
    /// Use the server's scp alone, as for a server without a shell
    #[arg(short = 'O')]
    pub(super) scp_only: bool,
    #[command(flatten)]
    pub(super) scp: Scp,
    /// Taken as for `push`; a pull keeps nothing there, for what stands here says what was fetched
    #[arg(long, value_name = "DIR")]
    pub(super) state_dir: Option<PathBuf>,
}

#[derive(Debug, ClapArgs)]
pub(super) struct Keygen {
    /// Where to write the private key; its public part goes beside it, into FILE.pub
    #[arg(value_name = "FILE", default_value = "/etc/skiff/id_ed25519")]
    pub(super) file: PathBuf,
    /// What it is for, at the end of its public line
    #[arg(short = 'C', long, value_name = "TEXT")]
    pub(super) comment: Option<String>,
}

#[derive(Debug, ClapArgs)]
pub(super) struct Trust {
    /// The server
    #[arg(value_name = "[USER@]HOST[:PORT]")]
    pub(super) server: String,
    #[command(flatten)]
    pub(super) way: Way,
    /// Where to record it; the first file that ssh would look into, if it isn't said
    #[arg(long, value_name = "FILE")]
    pub(super) known_hosts: Option<PathBuf>,
    /// Record it without a question if the key has this fingerprint
    #[arg(long, value_name = "SHA256:…")]
    pub(super) fingerprint: Option<String>,
}

#[derive(Debug, ClapArgs)]
pub(super) struct Demo {
    /// Small files to make
    #[arg(long, default_value_t = 3000)]
    pub(super) files: usize,
    /// Size of the large file
    #[arg(long, value_name = "MIB", default_value_t = 192)]
    pub(super) large_mib: usize,
}
