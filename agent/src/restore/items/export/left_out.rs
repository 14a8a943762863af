//! What a stack file or a command line cannot hold.

use std::fmt;

use serde::Serialize;
use serde_json::Value;
use swarm_state::specs::Item;
use swarmdr_archive::untrusted::shown;

use super::{command::Command, rest::Rest};

/// Name of the file that tells what was left out.
pub const FILE: &str = "LEFT-OUT.md";

/// What was left out of one object.
#[derive(Debug, Clone)]
pub struct LeftOut {
    /// Kind and name, as in messages.
    pub object: String,
    pub fields: Vec<Field>,
    /// The command that sets some of the fields afterwards.
    pub command: Option<Command>,
}

/// A field, or a fact that has no field of its own.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Field {
    /// Path in the spec; empty for a fact about the whole object.
    pub path: String,
    /// The value; the report names the file that has it, which only its owner can read.
    #[serde(skip)]
    pub value: Value,
    /// What becomes of it, in words; empty if it is just not there.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub why: String,
}

impl LeftOut {
    /// Makes an account of an object, of which nothing is left out yet.
    pub fn of(item: &Item) -> Self {
        Self { object: format!("{} `{}`", item.kind, item.name), fields: Vec::new(), command: None }
    }

    /// Adds a field that is not expressed.
    pub fn field(&mut self, path: impl Into<String>, value: impl Into<Value>) {
        self.because(path, value, "");
    }

    /// Adds a field that is not expressed, with what becomes of it.
    pub fn because(&mut self, path: impl Into<String>, value: impl Into<Value>, why: impl Into<String>) {
        self.fields.push(Field { path: path.into(), value: value.into(), why: why.into() });
    }

    /// Adds everything that was not translated.
    pub fn rest(&mut self, rest: Rest) {
        rest.into_leaves().into_iter().for_each(|(path, value)| self.field(path, value));
    }

    pub fn is_empty(&self) -> bool {
        self.fields.is_empty()
    }
}

/// Returns the accounts as a document, for a person. Each field is on a line of its own, indented: a form in which
/// Markdown changes nothing.
pub fn document(heading: &str, introduction: &str, all: &[LeftOut]) -> String {
    let sections: Vec<String> = all.iter().map(ToString::to_string).collect();
    format!("# {}\n\n{introduction}\n\n{}", shown(heading), sections.join("\n"))
}

impl fmt::Display for LeftOut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "## {}\n", shown(&self.object))?;
        for field in &self.fields {
            writeln!(f, "    {field}")?;
        }
        if let Some(command) = &self.command {
            writeln!(f, "\nThis command sets what a command can set:\n\n    {}", shown(command.line()))?;
        }
        Ok(())
    }
}

impl fmt::Display for Field {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parts = [&self.path, &if self.value.is_null() { String::new() } else { self.value.to_string() }];
        let parts: Vec<&str> = parts.into_iter().map(String::as_str).filter(|part| !part.is_empty()).collect();
        let fact = parts.join(" = ");
        match (fact.as_str(), self.why.as_str()) {
            (fact, "") => write!(f, "{}", shown(fact)),
            ("", why) => write!(f, "{}", shown(why)),
            (fact, why) => write!(f, "{}  ({})", shown(fact), shown(why)),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use swarm_state::inventory::ObjectKind;
    use swarmdr_archive::untrusted::{HOSTILE, needs_escape};

    use super::*;

    #[test]
    fn fields_are_listed_with_the_command_that_sets_them() {
        let mut left = LeftOut::of(&Item::test(ObjectKind::Service, "s1", "shop_web", json!({})));
        left.rest(Rest::of("TaskTemplate", json!({ "ContainerSpec": { "Groups": ["audio"] } })));
        left.because("", Value::Null, "it is in no network");
        let mut command = Command::new("docker service update");
        command.option("group-add", "audio");
        command.operand("shop_web");
        left.command = Some(command);
        let expected = "# Left out\n\nRead this.\n\n## service `shop_web`\n\n    \
            TaskTemplate.ContainerSpec.Groups = [\"audio\"]\n    it is in no network\n\n\
            This command sets what a command can set:\n\n    docker service update --group-add audio shop_web\n";
        assert_eq!(document("Left out", "Read this.", &[left]), expected);
    }

    #[test]
    fn texts_of_others_begin_no_line_and_steer_no_terminal() {
        let mut left = LeftOut::of(&Item::test(ObjectKind::Service, "s1", HOSTILE, json!({})));
        left.because(HOSTILE, HOSTILE, HOSTILE);
        let text = document(HOSTILE, "Read this.", &[left]);
        assert_eq!(text.lines().count(), 7, "{text}");
        assert!(!text.contains(|character| needs_escape(character) && character != '\n'), "{text:?}");
    }
}
