//! Logs: for people on a terminal, one JSON object a line otherwise.

use std::io::{self, IsTerminal as _};

use skiff_config::{LogFormat, LogLevel};
use tracing::level_filters::LevelFilter;
use tracing_subscriber::Layer as _;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

/// Starts logging to standard error. Called twice, the first call counts.
pub fn start(format: LogFormat, level: LogLevel) {
    let json = match format {
        LogFormat::Human => false,
        LogFormat::Json => true,
        LogFormat::Auto => !io::stderr().is_terminal(),
    };
    let level = filter(level);
    // What the libraries say is for those who debug them; russh logs what it receives only at levels below.
    let targets =
        Targets::new().with_default(level.min(LevelFilter::WARN)).with_target("skiff", level).with_target(
            "russh",
            if level == LevelFilter::TRACE { LevelFilter::DEBUG } else { LevelFilter::ERROR },
        );
    let layer = tracing_subscriber::fmt::layer().with_writer(io::stderr).with_target(false);
    let layer = if json {
        layer.json().flatten_event(true).boxed()
    } else {
        let colour = io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
        layer.with_ansi(colour).compact().boxed()
    };
    let registry = tracing_subscriber::registry().with(layer.with_filter(targets));
    #[cfg(feature = "otel")]
    let registry = registry.with(crate::otel::traces());
    let _ = registry.try_init();
}

const fn filter(level: LogLevel) -> LevelFilter {
    match level {
        LogLevel::Error => LevelFilter::ERROR,
        LogLevel::Warn => LevelFilter::WARN,
        LogLevel::Info => LevelFilter::INFO,
        LogLevel::Debug => LevelFilter::DEBUG,
        LogLevel::Trace => LevelFilter::TRACE,
    }
}
