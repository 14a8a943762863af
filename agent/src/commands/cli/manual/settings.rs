//! The page `swarmdr-agent.toml(5)`, made from the shipped file. A test of the configuration ensures that the file is
//! complete and its defaults are correct, so nothing is written twice.

use roff::{Roff, bold, roman};

const SHIPPED: &str = include_str!("../../../../../packaging/agent.toml");

/// A part of the file.
#[derive(Debug, PartialEq, Eq)]
enum Part {
    /// A comment by itself.
    Text(String),
    /// The head of a table, with the comment before it.
    Table { head: String, about: String },
    /// Settings that share one comment, in the order of the file.
    Settings { lines: Vec<String>, about: String },
}

pub(super) fn page(manual: &str) -> String {
    let mut roff = Roff::new();
    let source = format!("swarmdr {}", env!("CARGO_PKG_VERSION"));
    roff.control("TH", ["SWARMDR-AGENT.TOML", "5", "", &source, manual]);
    roff.control("ad", ["l"]);
    roff.control("nh", []);
    roff.control("SH", ["NAME"]);
    roff.text([roman("swarmdr-agent.toml - the settings of swarmdr-agent(1)")]);
    roff.control("SH", ["SYNOPSIS"]);
    roff.text([roman("/etc/swarmdr/agent.toml, /etc/swarmdr/agent.d/*.toml")]);
    roff.control("SH", ["DESCRIPTION"]);
    for part in parse(SHIPPED) {
        render(&part, &mut roff);
    }
    roff.control("SH", ["SEE ALSO"]);
    roff.text([roman(
        "swarmdr-agent(1); `swarmdr-agent config` shows what is in force and where each value came from.",
    )]);
    roff.to_roff()
}

fn render(part: &Part, roff: &mut Roff) {
    match part {
        Part::Text(text) => {
            roff.control("PP", []);
            roff.text([roman(text)]);
        }
        Part::Table { head, about } => {
            roff.control("SH", [head.as_str()]);
            roff.text([roman(about)]);
        }
        Part::Settings { lines, about } => {
            for (n, line) in lines.iter().enumerate() {
                roff.control(if n == 0 { "TP" } else { "TQ" }, []);
                roff.text([bold(line)]);
            }
            roff.text([roman(about)]);
        }
    }
}

/// Parses the file. Settings that are commented out (`#key = value`) count like the others: all are documentation.
fn parse(text: &str) -> Vec<Part> {
    let mut parts = Vec::new();
    let mut about: Vec<&str> = Vec::new();
    let said = |about: &mut Vec<&str>| std::mem::take(about).join(" ");
    for line in text.lines() {
        let live = line.strip_prefix('#').filter(|rest| !rest.starts_with(' ') && !rest.is_empty()).unwrap_or(line);
        if line.is_empty() {
            if !about.is_empty() {
                parts.push(Part::Text(said(&mut about)));
            }
        } else if live.starts_with('[') {
            parts.push(Part::Table { head: live.to_owned(), about: said(&mut about) });
        } else if let Some(comment) = live.strip_prefix('#') {
            about.push(comment.trim());
        } else {
            match parts.last_mut() {
                Some(Part::Settings { lines, .. }) if about.is_empty() => lines.push(live.to_owned()),
                _ => parts.push(Part::Settings { lines: vec![live.to_owned()], about: said(&mut about) }),
            }
        }
    }
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_comment_belongs_to_the_settings_after_it() {
        let text = "# All of it.\n#\n# More.\n\n# Where.\n#dir = \"/x\"\n\n# About b.\n[b]\n# Seconds.\n#stop = 1\n#start = 2\n";
        let settings = |lines: &[&str], about: &str| Part::Settings {
            lines: lines.iter().map(|line| (*line).to_owned()).collect(),
            about: about.to_owned(),
        };
        assert_eq!(
            parse(text),
            [
                Part::Text("All of it.  More.".to_owned()),
                settings(&["dir = \"/x\""], "Where."),
                Part::Table { head: "[b]".to_owned(), about: "About b.".to_owned() },
                settings(&["stop = 1", "start = 2"], "Seconds."),
            ]
        );
    }

    #[test]
    fn every_setting_of_the_shipped_file_is_on_the_page() {
        let page = page("manual").replace("\\-", "-");
        let mut settings = 0;
        for line in SHIPPED.lines().filter_map(|line| line.strip_prefix('#').filter(|rest| !rest.starts_with(' '))) {
            let Some((key, _)) = line.split_once(" = ") else { continue };
            settings += 1;
            assert!(page.contains(&format!("\\fB{key} = ")), "{key} is not on the page");
        }
        assert!(settings > 20, "{settings} settings were looked for");
    }
}
