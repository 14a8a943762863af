//! Logging: to the journal under systemd, otherwise to standard error, and to both if standard error is no
//! terminal (cloud-init, cron).
//!
//! The report of a verb is not logged: it goes to standard output.

use std::{env, fs, io::IsTerminal, os::unix::fs::MetadataExt};

use tracing::level_filters::LevelFilter;
use tracing_subscriber::{
    EnvFilter, Layer, field::MakeExt, filter::filter_fn, fmt::format::debug_fn, layer::SubscriberExt,
    util::SubscriberInitExt,
};

use super::terminal;

/// Target of log entries for programs that read the journal; they are not shown on standard error.
pub const JOURNAL: &str = "swarmdr_agent::journal";

/// Sets up the logger of the process. `SWARMDR_LOG` (directives of tracing-subscriber's `EnvFilter`)
/// overrides the flags.
pub fn init(verbose: u8, quiet: bool) {
    let own = match (quiet, verbose) {
        (true, _) => LevelFilter::WARN,
        (false, 0) => LevelFilter::INFO,
        (false, 1) => LevelFilter::DEBUG,
        (false, _) => LevelFilter::TRACE,
    };
    let libraries = if verbose > 1 { "info" } else { "warn" };
    // Warnings of modules that the directives do not name are logged anyway; a later directive replaces an equal one.
    let filter = match env::var("SWARMDR_LOG") {
        Ok(directives) => format!("warn,{directives}"),
        Err(_) => {
            const OWN: [&str; 6] = [
                "swarmdr_agent",
                "swarmdr_vault",
                "swarmdr_archive",
                "swarm_state",
                "swarmdr_registry",
                "swarmdr_http",
            ];
            let own: Vec<String> = OWN.iter().map(|name| format!("{name}={own}")).collect();
            format!("{libraries},{}", own.join(","))
        }
    };
    let filter = EnvFilter::builder().parse_lossy(filter);
    if is_stderr_the_journal()
        && let Ok(journal) = tracing_journald::layer()
    {
        // No prefix, so that the field MESSAGE_ID has the name that journald knows (systemd.journal-fields(7)).
        tracing_subscriber::registry().with(journal.with_field_prefix(None).with_filter(filter)).init();
        return;
    }
    let terminal = terminal::stderr().is_terminal();
    let colour = terminal && env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    let stderr = tracing_subscriber::fmt::layer()
        .with_writer(terminal::stderr)
        .fmt_fields(debug_fn(terminal::write_field).delimited(" "))
        .with_ansi(colour)
        .without_time()
        .with_target(false)
        .with_filter(filter_fn(|event| event.target() != JOURNAL))
        .with_filter(filter.clone());
    // The output of user-data goes to a console that few can read afterwards.
    let journal = if terminal { None } else { tracing_journald::layer().ok() };
    let journal = journal.map(|journal| journal.with_field_prefix(None).with_filter(filter));
    tracing_subscriber::registry().with(stderr).with(journal).init();
}

/// Whether standard error goes to the journal. `JOURNAL_STREAM` is `device:inode` of the stream that systemd connected
/// (systemd.exec(5)); a redirected standard error no longer matches it.
fn is_stderr_the_journal() -> bool {
    let Ok(stream) = env::var("JOURNAL_STREAM") else {
        return false;
    };
    let Ok(stderr) = fs::metadata("/proc/self/fd/2") else {
        return false;
    };
    stream == format!("{}:{}", stderr.dev(), stderr.ino())
}
