//! The host on which each case is run, as a person would run it and as a script would.

use std::{fmt::Write as _, time::Instant};

use anyhow::{Context, Result};
use swarmdr_tests::{
    lab::{Engine, Host, HostSpec, Output, addr},
    s3::Release,
    scenario::{CONFIG, IDENTITY, Site, agent_with_faults},
};

use super::{
    book::Book,
    json,
    screen::{COLUMNS, folded, lines},
    standin::StandIns,
};

/// The directory that is the vault in most cases.
pub const VAULT: &str = "/srv/vault";

#[derive(Debug)]
pub struct Desk {
    pub site: Site,
    pub host: Host,
    pub book: Book,
    standins: StandIns,
    /// Time at which the last case ended.
    since: Instant,
}

impl Desk {
    /// Boots a host with an engine that is part of no swarm, with the agent, and without a configuration.
    pub async fn new() -> Result<Self> {
        let site = Site::new(Release::V20).await?;
        let host = site.lab.boot(HostSpec::new("m1", Engine::E26_1, addr(11)))?;
        host.install(&agent_with_faults()?)?;
        // The units are started more often than systemd allows within ten seconds.
        for unit in ["docker.service", "docker.socket"] {
            host.write_file(&format!("/etc/systemd/system/{unit}.d/often.conf"), "[Unit]\nStartLimitIntervalSec=0\n")?;
        }
        host.sh("systemctl daemon-reload")?;
        site.write_identity(&host)?;
        site.write_credentials(&host)?;
        Ok(Self { site, host, book: Book::default(), standins: StandIns::new(), since: Instant::now() })
    }

    /// Returns the configuration of most cases, with one vault.
    pub fn config(&self) -> String {
        format!(
            "recipients = [\"{}\"]\n[spool]\npatience = 1\n[[vault]]\nurl = \"file://{VAULT}\"\n",
            self.site.recipient
        )
    }

    pub fn configure(&self, config: &str) -> Result<()> {
        self.site.configure(&self.host, config)
    }

    /// Runs a case once on a terminal and once with `--json`, if it can be run twice.
    pub fn both(&mut self, section: &'static str, exit: i32, title: &str, words: &[&str]) -> Result<()> {
        self.terminal(section, exit, title, words)?;
        self.json(section, exit, title, words)
    }

    /// Runs a case on a terminal of 80 columns.
    pub fn terminal(&mut self, section: &'static str, exit: i32, title: &str, words: &[&str]) -> Result<()> {
        let quoted: Vec<String> = words.iter().map(|word| quoted(word)).collect();
        let agent = with_agent(&quoted);
        let script = format!("stty cols {COLUMNS} rows 50; {agent}");
        let output = self.host.run(&["env", "TERM=xterm", "script", "-qec", &script, "/dev/null"])?;
        let mut shown = String::new();
        let lines = lines(&output.stdout);
        // The examples in a help text are the same in each run.
        let lines = if words.contains(&"--help") { lines } else { self.standins.replace(lines) };
        for line in lines {
            append(&mut shown, ["|", ":"], &line);
        }
        self.note(section, exit, title, &quoted, &output, &shown);
        Ok(())
    }

    /// Runs a case as a script does, for a report that is a JSON document.
    pub fn json(&mut self, section: &'static str, exit: i32, title: &str, words: &[&str]) -> Result<()> {
        let words = [words, &["--json"]].concat();
        let output = self.run(&words)?;
        let text = match serde_json::from_str(&output.stdout) {
            Ok(document) => json::text(&self.standins.document(document)),
            Err(error) => {
                self.book.wrong(format!("{section}: {title}: {words:?} printed no JSON ({error}): {}", output.stdout));
                output.stdout.clone()
            }
        };
        self.piped(section, exit, title, &words, (&output, &text))
    }

    /// Runs a case as a script does, for a report that is text.
    pub fn plain(&mut self, section: &'static str, exit: i32, title: &str, words: &[&str]) -> Result<()> {
        let output = self.run(words)?;
        let text = self.standins.replace(output.stdout.lines().map(str::to_owned).collect()).join("\n");
        self.piped(section, exit, title, words, (&output, &text))
    }

    fn piped(
        &mut self,
        section: &'static str,
        exit: i32,
        title: &str,
        words: &[&str],
        (output, stdout): (&Output, &str),
    ) -> Result<()> {
        let mut shown = String::new();
        for line in stdout.lines() {
            let _ = writeln!(shown, "{}", format!("> {line}").trim_end());
        }
        let stderr = output.stderr.lines().map(str::to_owned).collect();
        for line in self.standins.replace(stderr) {
            append(&mut shown, ["!", ":"], &line);
        }
        let quoted: Vec<String> = words.iter().map(|word| quoted(word)).collect();
        self.note(section, exit, title, &quoted, output, &shown);
        Ok(())
    }

    fn run(&self, words: &[&str]) -> Result<Output> {
        let script = with_agent(&words.iter().map(|word| quoted(word)).collect::<Vec<_>>());
        self.host.run(&["sh", "-c", &script])
    }

    fn note(&mut self, section: &'static str, exit: i32, title: &str, quoted: &[String], output: &Output, shown: &str) {
        println!("{:6.1} s  {section}: {title}", self.since.elapsed().as_secs_f32());
        self.since = Instant::now();
        let command = self.standins.replace(vec![with_agent(quoted)]).join(" ");
        let code = output.status.code().map_or_else(|| "by a signal".to_owned(), |code| code.to_string());
        if output.status.code() != Some(exit) {
            self.book.wrong(format!("{section}: {title}: exit {code}, not {exit}\n$ {command}\n{shown}"));
        }
        self.book.add(section, format!("--- {title}\n$ {command}\n{shown}exit {code}\n"));
    }

    /// Returns the ids of the backups in the configured vault, oldest first.
    pub fn backups(&self) -> Result<Vec<String>> {
        let listed = self.host.sh("swarmdr-agent list --json || true")?;
        let listed: serde_json::Value = serde_json::from_str(&listed)?;
        let rows = listed["backups"].as_array().context("there is a list")?;
        Ok(rows.iter().rev().filter_map(|row| row["id"].as_str()).map(str::to_owned).collect())
    }
}

/// Appends a line in parts that fit onto the terminal, each with a mark before it.
fn append(shown: &mut String, [first, next]: [&str; 2], line: &str) {
    for (number, part) in folded(line).into_iter().enumerate() {
        let mark = if number == 0 { first } else { next };
        let _ = writeln!(shown, "{}", format!("{mark} {part}").trim_end());
    }
}

/// Returns the command line: words that set variables come before the program.
fn with_agent(quoted: &[String]) -> String {
    let (settings, args): (Vec<&String>, Vec<&String>) = quoted.iter().partition(|word| word.starts_with("SWARMDR"));
    let words = settings.into_iter().map(String::as_str).chain(["swarmdr-agent"]);
    words.chain(args.into_iter().map(String::as_str)).collect::<Vec<_>>().join(" ")
}

fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:@=,+".contains(c);
    if !word.is_empty() && word.chars().all(plain) { word.to_owned() } else { format!("'{word}'") }
}

/// Option with the identity that opens the archives.
pub const OPEN: [&str; 2] = ["--identity", IDENTITY];

pub const AGENT_TOML: &str = CONFIG;
