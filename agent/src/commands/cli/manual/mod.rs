//! Man pages, made from the definitions of the command line and from the shipped configuration.
//!
//! `swarmdr-agent(1)` holds every verb with every flag, to be searched in one place. Each verb also has a page of its
//! own, and the settings have `swarmdr-agent.toml(5)`.

mod settings;

use clap::{Command, CommandFactory};
use clap_mangen::Man;
use roff::{Roff, bold, roman};

use crate::{commands::cli::Cli, config::CREDENTIALS, outcome::program::PROGRAM};

const MANUAL: &str = "swarmdr manual";

/// Sections that the definitions do not contain; each heading with its entries.
const FURTHER: [(&str, &[(&str, &str)]); 3] = [
    (
        "EXIT STATUS",
        &[
            ("0", "Done."),
            ("1", "Failed; the message says what and what to do."),
            ("2", "Usage or configuration."),
            ("3", "Not this host's turn, or not due; nothing was done."),
            ("4", "Refused: it would do harm."),
            ("5", "Nothing usable was found in any vault."),
            ("6", "Done, or nothing to do now, but something needs attention."),
        ],
    ),
    (
        "ENVIRONMENT",
        &[
            (
                "SWARMDR_*",
                "Every setting, with two underscores for a dot: SWARMDR_BACKUP__MODE for backup.mode. Overrides the files.",
            ),
            ("SWARMDR_CONFIG", "Read this file instead of those below."),
            ("SWARMDR_LOG", "What is logged, in place of -v and -q: directives such as debug or swarmdr_vault=trace."),
            ("NO_COLOR", "If set and not empty, nothing is coloured."),
        ],
    ),
    (
        "FILES",
        &[
            ("/etc/swarmdr/agent.toml", "The settings, all commented; see swarmdr-agent.toml(5)."),
            ("/etc/swarmdr/agent.d/*.toml", "Read after it, in the order of their names: the place for one's own."),
            ("/var/lib/swarmdr", "The agent's own: keys, spool and default vault. No package removal deletes it."),
            ("/var/lib/docker/swarm", "The state that is backed up; what a restore replaces is kept next to it."),
            (
                "/run/swarmdr/agent.lock",
                "Held while a backup or a restore is at work, with its process and since when: one at a time on a host.",
            ),
        ],
    ),
];

const SEE_ALSO: &str = "swarmdr-agent.toml(5), systemd.timer(5), docker(1), minisign(1), age(1). \
    The guide, the runbook for the worst day and the FAQ are in /usr/share/doc/swarmdr-agent.";

/// One page, ready to be written.
#[derive(Debug)]
pub struct Page {
    /// File name, such as `swarmdr-agent.1`.
    pub file: String,
    pub roff: String,
}

/// Returns all pages; the first is the one that a user opens.
pub fn pages() -> Vec<Page> {
    let mut program = Cli::command().disable_help_subcommand(true);
    program.build();
    let verbs: Vec<Command> =
        program.get_subcommands().filter(|verb| !verb.is_hide_set()).map(without_shared_options).collect();
    let mut pages = vec![main_page(&program, &verbs)];
    pages.extend(verbs.iter().map(verb_page));
    pages.push(Page { file: format!("{PROGRAM}.toml.5"), roff: settings::page(MANUAL) });
    pages
}

fn main_page(program: &Command, verbs: &[Command]) -> Page {
    let man = man_of(program.clone());
    let mut out = Writer::titled(&man);
    out.add(|to| man.render_name_section(to));
    let mut roff = Roff::new();
    roff.control("SH", ["SYNOPSIS"]);
    roff.text([bold(PROGRAM), roman(" [options] "), roman("verb [arguments]")]);
    out.append(&roff);
    out.add(|to| man.render_description_section(to));
    out.append(Roff::new().control("SH", ["VERBS"]));
    for verb in verbs {
        let man = man_of(verb.clone());
        out.append(Roff::new().control("SS", [verb.get_name()]));
        out.add_without_heading(|to| man.render_synopsis_section(to));
        out.append(Roff::new().control("PP", []));
        out.add_without_heading(|to| man.render_description_section(to));
        out.add_without_heading(|to| man.render_options_section(to));
        out.append(&after_help(verb));
    }
    out.add(|to| man.render_options_section(to));
    out.append(&examples(program));
    out.append(&further());
    Page { file: man.get_filename(), roff: out.text }
}

fn verb_page(verb: &Command) -> Page {
    let man = man_of(verb.clone());
    let mut out = Writer::titled(&man);
    out.add(|to| man.render_name_section(to));
    out.add(|to| man.render_synopsis_section(to));
    out.add(|to| man.render_description_section(to));
    out.add(|to| man.render_options_section(to));
    out.append(&examples(verb));
    let mut roff = Roff::new();
    roff.control("SH", ["SEE ALSO"]);
    roff.text([roman(format!("{PROGRAM}(1) for the options of all verbs, exit codes and files; {PROGRAM}.toml(5)."))]);
    out.append(&roff);
    Page { file: man.get_filename(), roff: out.text }
}

fn man_of(command: Command) -> Man {
    let title = command.get_display_name().unwrap_or(PROGRAM).to_uppercase();
    Man::new(command).title(title).source(format!("swarmdr {}", env!("CARGO_PKG_VERSION"))).manual(MANUAL)
}

/// Hides the options that every verb takes: they are on the main page once.
fn without_shared_options(verb: &Command) -> Command {
    verb.clone().mut_args(|arg| {
        let shared = arg.is_global_set() || ["help", "version"].contains(&arg.get_id().as_str());
        if shared { arg.hide(true) } else { arg }
    })
}

fn examples(command: &Command) -> Roff {
    let mut roff = Roff::new();
    if command.get_after_help().is_some() {
        roff.control("SH", ["NOTES AND EXAMPLES"]);
        roff.extend([after_help(command)]);
    }
    roff
}

/// Renders the text after the options. Indented lines are commands, each followed by a gap and its meaning, or by
/// nothing; the other lines are filled. Exit codes have a section of their own.
fn after_help(command: &Command) -> Roff {
    let mut roff = Roff::new();
    let text = command.get_after_help().map(ToString::to_string).unwrap_or_default();
    let text = text.split("\nExit codes:").next().unwrap_or_default();
    let mut filled = false;
    for line in text.lines() {
        let command = line.strip_prefix("  ").map(|line| line.split_once("  ").unwrap_or((line, "")));
        match (line, command) {
            ("", _) => filled = false,
            (_, Some((command, meaning))) => {
                roff.control("TP", []);
                roff.text([bold(command)]);
                roff.text([roman(meaning.trim())]);
                filled = false;
            }
            _ => {
                if !filled {
                    roff.control("PP", []);
                }
                roff.text([roman(line)]);
                filled = true;
            }
        }
    }
    roff
}

fn further() -> Roff {
    let mut roff = Roff::new();
    let credentials = credentials();
    for (heading, entries) in FURTHER {
        roff.control("SH", [heading]);
        let made = (heading == "ENVIRONMENT").then_some(("CREDENTIALS_DIRECTORY", credentials.as_str()));
        for (term, meaning) in entries.iter().copied().chain(made) {
            roff.control("TP", []);
            roff.text([bold(term)]);
            roff.text([roman(meaning)]);
        }
    }
    roff.control("SH", ["SEE ALSO"]);
    roff.text([roman(SEE_ALSO)]);
    roff
}

fn credentials() -> String {
    let each: Vec<String> = CREDENTIALS.iter().map(|(name, key)| format!("{name} in it sets {key}")).collect();
    format!("Where systemd puts credentials: {}.", each.join(", "))
}

struct Writer {
    text: String,
}

impl Writer {
    fn titled(man: &Man) -> Self {
        let mut writer = Self { text: rendered(|to| man.render_title(to)) };
        // Users copy commands from the page: no hyphenation, and no spaces inserted to justify the lines.
        writer.append(Roff::new().control("ad", ["l"]).control("nh", []));
        writer
    }

    fn add(&mut self, section: impl FnOnce(&mut dyn std::io::Write) -> std::io::Result<()>) {
        self.text.push_str(&rendered(section));
    }

    fn add_without_heading(&mut self, section: impl FnOnce(&mut dyn std::io::Write) -> std::io::Result<()>) {
        let text = rendered(section);
        self.text.extend(text.split_inclusive('\n').filter(|line| !line.starts_with(".SH ")));
    }

    fn append(&mut self, roff: &Roff) {
        self.add(|to| roff.to_writer(to));
    }
}

fn rendered(section: impl FnOnce(&mut dyn std::io::Write) -> std::io::Result<()>) -> String {
    let mut bytes = Vec::new();
    section(&mut bytes).expect("writing to memory does not fail");
    String::from_utf8(bytes).expect("definitions are text")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns the text as a reader sees it, without the escapes of roff that these pages use.
    fn seen(roff: &str) -> String {
        ["\\fB", "\\fI", "\\fR"].iter().fold(roff.replace("\\-", "-"), |text, font| text.replace(font, ""))
    }

    #[test]
    fn every_flag_of_every_verb_is_on_the_main_page_and_on_its_own() {
        let pages = pages();
        let page = |file: &str| {
            let page = pages.iter().find(|page| page.file == file);
            seen(&page.unwrap_or_else(|| panic!("there is no {file}")).roff)
        };
        let main = page("swarmdr-agent.1");
        let mut program = Cli::command().disable_help_subcommand(true);
        program.build();
        let mut flags = 0;
        for verb in program.get_subcommands().filter(|verb| !verb.is_hide_set()) {
            let own = page(&format!("swarmdr-agent-{}.1", verb.get_name()));
            let section = main.split(&format!(".SS {}\n", verb.get_name())).nth(1).expect("the verb has a section");
            let section = section.split("\n.S").next().expect("a split has a first part");
            for arg in verb.get_arguments().filter(|arg| !arg.is_hide_set()) {
                let id = arg.get_id().as_str();
                let Some(long) = arg.get_long().filter(|_| !arg.is_global_set() && !["help", "version"].contains(&id))
                else {
                    continue;
                };
                flags += 1;
                for (where_, text) in [("swarmdr-agent.1", section), ("its own page", &own)] {
                    assert!(text.contains(&format!("--{long}")), "--{long} of {} is not on {where_}", verb.get_name());
                }
            }
        }
        assert!(flags > 20, "{flags} flags were looked for");
        assert!(main.contains(".SH OPTIONS") && main.contains("--config"));
    }

    #[test]
    fn every_credential_is_on_the_main_page() {
        let main = seen(&pages()[0].roff);
        for (name, key) in CREDENTIALS {
            assert!(main.contains(&format!("{name} in it sets {key}")), "{name}");
        }
    }

    #[test]
    fn the_exit_codes_are_those_of_the_program() {
        use crate::outcome::exit::Exit;
        let (_, codes) = FURTHER[0];
        let all = [
            Exit::Done,
            Exit::Failed,
            Exit::Usage,
            Exit::NotOurTurn,
            Exit::Refused,
            Exit::NothingUsable,
            Exit::Attention,
        ];
        let listed: Vec<&str> = codes.iter().map(|(code, _)| *code).collect();
        assert_eq!(listed, all.map(|exit| (exit as u8).to_string()));
    }
}
