//! Commands for a shell, and scripts of them.

use std::fmt::{self, Write as _};

use swarmdr_archive::untrusted::shown;

use crate::outcome::shell::quoted;

/// What a script does first whose words need [`quoted`]'s escapes: the `sh` of some systems does not read them, and goes
/// on as bash then.
const ESCAPES_ARE_READ: &str = "[ $'\\101' = A ] || exec bash \"$0\"\n";

/// A command with its options, to be written into a script or shown to a person.
#[derive(Debug, Clone, PartialEq)]
pub struct Command {
    start: String,
    /// Options with their values, quoted; each is on a line of its own in a script.
    options: Vec<String>,
    /// What comes after the options, quoted.
    operands: Vec<String>,
}

impl Command {
    /// Makes a command of words that need no quotes, such as `docker service create`.
    pub fn new(start: &str) -> Self {
        Self { start: start.to_owned(), options: Vec::new(), operands: Vec::new() }
    }

    pub fn option(&mut self, name: &str, value: impl AsRef<str>) {
        self.options.push(format!("--{name} {}", quoted(value.as_ref())));
    }

    pub fn option_some(&mut self, name: &str, value: Option<impl AsRef<str>>) {
        if let Some(value) = value {
            self.option(name, value);
        }
    }

    pub fn options(&mut self, name: &str, values: impl IntoIterator<Item = impl AsRef<str>>) {
        values.into_iter().for_each(|value| self.option(name, value));
    }

    /// Adds an option without a value.
    pub fn flag(&mut self, name: &str, is_set: bool) {
        if is_set {
            self.options.push(format!("--{name}"));
        }
    }

    pub fn operand(&mut self, word: impl AsRef<str>) {
        self.operands.push(quoted(word.as_ref()));
    }

    pub fn has_options(&self) -> bool {
        !self.options.is_empty()
    }

    /// Returns the command on one line.
    pub fn line(&self) -> String {
        let words: Vec<&str> = self.words().collect();
        words.join(" ")
    }

    fn words(&self) -> impl Iterator<Item = &str> {
        let rest = self.options.iter().chain(&self.operands);
        std::iter::once(self.start.as_str()).chain(rest.map(String::as_str))
    }
}

impl fmt::Display for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.start)?;
        for option in &self.options {
            write!(f, " \\\n    {option}")?;
        }
        if !self.operands.is_empty() {
            write!(f, " \\\n    {}", self.operands.join(" "))?;
        }
        f.write_char('\n')
    }
}

/// Returns a script of these commands, with these lines as its comment. It goes to its own directory first, so that the
/// files beside it are found.
pub fn script(comment: &[String], commands: &[Command]) -> String {
    let mut text = "#!/bin/sh\n".to_owned();
    for line in comment {
        text.push_str(&format!("# {}\n", shown(line)));
    }
    let commands: String = commands.iter().map(|command| format!("\n{command}")).collect();
    if commands.contains("$'") {
        text.push_str(ESCAPES_ARE_READ);
    }
    text + "set -eu\ncd \"$(dirname \"$0\")\"\n" + &commands
}

/// Returns the text as one field of a line of comma-separated values, as the options `--mount`, `--secret` and others
/// take them (Go's `encoding/csv`).
pub fn field(text: &str) -> String {
    match text.contains([',', '"', '\n', '\r']) {
        true => format!("\"{}\"", text.replace('"', "\"\"")),
        false => text.to_owned(),
    }
}

/// Joins fields for such an option.
pub fn fields(fields: &[String]) -> String {
    let fields: Vec<String> = fields.iter().map(|text| field(text)).collect();
    fields.join(",")
}

#[cfg(test)]
mod tests {
    use std::{fs, process};

    use super::*;

    #[test]
    fn an_option_has_a_line_of_its_own_in_a_script() {
        let mut command = Command::new("docker service create");
        command.option("name", "web");
        command.flag("tty", true);
        command.flag("read-only", false);
        command.operand("web:1");
        command.operand("a b");
        assert_eq!(command.line(), "docker service create --name web --tty web:1 'a b'");
        let script = script(&["Made\nby a test".to_owned()], &[command]);
        let expected = "#!/bin/sh\n# Made\\nby a test\nset -eu\ncd \"$(dirname \"$0\")\"\n\n\
            docker service create \\\n    --name web \\\n    --tty \\\n    web:1 'a b'\n";
        assert_eq!(script, expected);
    }

    #[test]
    fn every_shell_reads_texts_of_several_lines() {
        let text = "it's\na \u{1b}[0m$HOME\n";
        let mut command = Command::new("printf %s");
        command.operand(text);
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("script.sh");
        fs::write(&path, script(&[], &[command])).expect("writes");
        for shell in ["sh", "bash"] {
            let ran = process::Command::new(shell).arg(&path).output().expect("runs");
            assert_eq!(String::from_utf8(ran.stdout).expect("is text"), text, "{shell}");
        }
    }

    #[test]
    fn fields_with_commas_and_quotes_are_one_field() {
        let values = ["type=bind".to_owned(), "source=/a,b".to_owned(), "target=/\"x\"".to_owned()];
        assert_eq!(fields(&values), "type=bind,\"source=/a,b\",\"target=/\"\"x\"\"\"");
    }
}
