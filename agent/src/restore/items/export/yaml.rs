//! YAML of stack files, as `docker stack deploy` reads it.
//!
//! Every text is quoted, so that no parser takes it for a number, a date or `yes`. The command line replaces
//! `$VARIABLE` in every text that is a value, on whatever level, and never in keys (docker/cli
//! `cli/compose/interpolation`): values are written with `$$`, keys as they are. Numbers have no form that two versions
//! of YAML read differently: file modes are decimal, since `0444` is 444 for parsers of YAML 1.2.

use std::fmt::{self, Write};

use serde_json::Number;

/// A value in a document.
#[derive(Debug, Clone, PartialEq)]
pub enum Node {
    Text(String),
    Number(Number),
    /// Permissions of a file; written as a decimal number with the octal one beside it.
    Mode(u64),
    Flag(bool),
    Null,
    List(Vec<Node>),
    Map(Map),
}

/// A mapping; its entries keep the order in which they were added.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Map(Vec<(Key, Node)>);

#[derive(Debug, Clone, PartialEq)]
enum Key {
    /// A key of the schema, which needs no quotes.
    Known(&'static str),
    Name(String),
}

impl Map {
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Adds an entry whose key is a word of the schema.
    pub fn set(&mut self, key: &'static str, value: impl Into<Node>) {
        self.0.push((Key::Known(key), value.into()));
    }

    /// Adds an entry if there is a value.
    pub fn set_some(&mut self, key: &'static str, value: Option<impl Into<Node>>) {
        if let Some(value) = value {
            self.set(key, value);
        }
    }

    /// Adds an entry if the value is a list or a mapping that is not empty.
    pub fn set_filled(&mut self, key: &'static str, value: impl Into<Node>) {
        match value.into() {
            Node::List(list) if list.is_empty() => {}
            Node::Map(map) if map.is_empty() => {}
            value => self.set(key, value),
        }
    }

    /// Adds all entries of another mapping.
    pub fn append(&mut self, other: Self) {
        self.0.extend(other.0);
    }

    /// Adds an entry whose key may be any text.
    pub fn name(&mut self, key: impl Into<String>, value: impl Into<Node>) {
        self.0.push((Key::Name(key.into()), value.into()));
    }
}

impl From<&str> for Node {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<String> for Node {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl From<bool> for Node {
    fn from(flag: bool) -> Self {
        Self::Flag(flag)
    }
}

impl From<i64> for Node {
    fn from(number: i64) -> Self {
        Self::Number(number.into())
    }
}

impl From<u64> for Node {
    fn from(number: u64) -> Self {
        Self::Number(number.into())
    }
}

impl From<Number> for Node {
    fn from(number: Number) -> Self {
        Self::Number(number)
    }
}

impl From<Map> for Node {
    fn from(map: Map) -> Self {
        Self::Map(map)
    }
}

impl From<Vec<Node>> for Node {
    fn from(list: Vec<Node>) -> Self {
        Self::List(list)
    }
}

impl From<Vec<String>> for Node {
    fn from(texts: Vec<String>) -> Self {
        Self::List(texts.into_iter().map(Self::Text).collect())
    }
}

impl fmt::Display for Map {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        entries(self, 0, false, f)
    }
}

/// Writes the entries of a mapping, each on a line of its own; the first one without indentation if it goes on a line.
fn entries(map: &Map, depth: usize, goes_on: bool, out: &mut impl Write) -> fmt::Result {
    for (at, (key, value)) in map.0.iter().enumerate() {
        if at > 0 || !goes_on {
            indent(depth, out)?;
        }
        match key {
            Key::Known(word) => out.write_str(word)?,
            Key::Name(name) => quoted(name, false, out)?,
        }
        out.write_char(':')?;
        match value {
            Node::Map(inner) if !inner.is_empty() => {
                out.write_char('\n')?;
                entries(inner, depth + 1, false, out)?;
            }
            Node::List(inner) if !inner.is_empty() => {
                out.write_char('\n')?;
                elements(inner, depth + 1, out)?;
            }
            scalar => {
                out.write_char(' ')?;
                self::scalar(scalar, out)?;
            }
        }
    }
    Ok(())
}

fn elements(list: &[Node], depth: usize, out: &mut impl Write) -> fmt::Result {
    for element in list {
        indent(depth, out)?;
        match element {
            Node::Map(inner) if !inner.is_empty() => {
                out.write_str("- ")?;
                entries(inner, depth + 1, true, out)?;
            }
            Node::List(inner) if !inner.is_empty() => {
                out.write_str("-\n")?;
                elements(inner, depth + 1, out)?;
            }
            scalar => {
                out.write_str("- ")?;
                self::scalar(scalar, out)?;
            }
        }
    }
    Ok(())
}

fn indent(depth: usize, out: &mut impl Write) -> fmt::Result {
    (0..depth).try_for_each(|_| out.write_str("  "))
}

/// Writes a value that fits on a line, and ends the line.
fn scalar(value: &Node, out: &mut impl Write) -> fmt::Result {
    match value {
        Node::Text(text) => quoted(text, true, out)?,
        Node::Number(number) => write!(out, "{number}")?,
        Node::Mode(mode) => write!(out, "{mode} # {mode:04o}")?,
        Node::Flag(flag) => write!(out, "{flag}")?,
        Node::Null => out.write_str("null")?,
        Node::List(_) => out.write_str("[]")?,
        Node::Map(_) => out.write_str("{}")?,
    }
    out.write_char('\n')
}

/// Writes a text in double quotes. Everything but letters, digits and the signs of ASCII is escaped: what is invisible
/// or steers a terminal, and what YAML does not take.
fn quoted(text: &str, is_value: bool, out: &mut impl Write) -> fmt::Result {
    out.write_char('"')?;
    for character in text.chars() {
        match character {
            '"' | '\\' => write!(out, "\\{character}")?,
            '$' if is_value => out.write_str("$$")?,
            '\n' => out.write_str("\\n")?,
            '\t' => out.write_str("\\t")?,
            ' '..='~' => out.write_char(character)?,
            letter if letter.is_alphanumeric() => out.write_char(letter)?,
            other => match u32::from(other) {
                code @ ..=0xff => write!(out, "\\x{code:02x}")?,
                code @ ..=0xffff => write!(out, "\\u{code:04x}")?,
                code => write!(out, "\\U{code:08x}")?,
            },
        }
    }
    out.write_char('"')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use saphyr::{LoadableYamlNode, Scalar, Yaml};

    use super::*;

    #[test]
    fn documents_are_in_block_style() {
        let mut port = Map::default();
        port.set("target", 80_u64);
        port.set("mode", "host");
        let mut file = Map::default();
        file.set("mode", Node::Mode(0o444));
        let mut labels = Map::default();
        labels.name("a.$b", "cost: 5$ \u{1b}[0m\n");
        let mut web = Map::default();
        web.set("ports", vec![Node::Map(port)]);
        web.set("command", vec!["yes".to_owned(), String::new()]);
        web.set("secrets", vec![Node::Map(file)]);
        web.set("labels", labels);
        web.set("networks", Map::default());
        web.set_filled("dns", Vec::<String>::new());
        web.set("init", false);
        let mut document = Map::default();
        document.name("web", web);
        let expected = r#""web":
  ports:
    - target: 80
      mode: "host"
  command:
    - "yes"
    - ""
  secrets:
    - mode: 292 # 0444
  labels:
    "a.$b": "cost: 5$$ \x1b[0m\n"
  networks: {}
  init: false
"#;
        assert_eq!(document.to_string(), expected);
    }

    fn node() -> impl Strategy<Value = Node> {
        let leaf = prop_oneof![
            any::<String>().prop_map(Node::Text),
            "[ -~]{0,9}".prop_map(Node::Text),
            any::<i64>().prop_map(Node::from),
            any::<bool>().prop_map(Node::Flag),
            Just(Node::Null),
        ];
        leaf.prop_recursive(4, 40, 5, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..5).prop_map(Node::List),
                prop::collection::btree_map(any::<String>(), inner, 0..5).prop_map(|entries| {
                    let mut map = Map::default();
                    entries.into_iter().for_each(|(key, value)| map.name(key, value));
                    Node::Map(map)
                }),
            ]
        })
    }

    /// Whether a parser read what was written, after the command line has replaced `$$`.
    fn same(written: &Node, read: &Yaml<'_>) -> bool {
        match (written, read) {
            (Node::Text(text), Yaml::Value(Scalar::String(read))) => *text == read.replace("$$", "$"),
            (Node::Number(number), Yaml::Value(Scalar::Integer(read))) => number.as_i64() == Some(*read),
            (Node::Flag(flag), Yaml::Value(Scalar::Boolean(read))) => flag == read,
            (Node::Null, Yaml::Value(Scalar::Null)) => true,
            (Node::List(list), Yaml::Sequence(read)) => {
                list.len() == read.len() && list.iter().zip(read).all(|(written, read)| same(written, read))
            }
            (Node::Map(map), Yaml::Mapping(read)) => {
                let entry = |key: &str| read.iter().find(|(read, _)| read.as_str() == Some(key));
                let found = |(key, value): &(Key, Node)| {
                    let key = match key {
                        Key::Known(word) => *word,
                        Key::Name(name) => name,
                    };
                    entry(key).is_some_and(|(_, read)| same(value, read))
                };
                map.0.len() == read.len() && map.0.iter().all(found)
            }
            _ => false,
        }
    }

    proptest! {
        #[test]
        fn a_parser_reads_what_was_written(value in node()) {
            let mut document = Map::default();
            document.set("value", value);
            let text = document.to_string();
            let read = Yaml::load_from_str(&text).expect("is YAML");
            prop_assert_eq!(read.len(), 1);
            prop_assert!(same(&Node::Map(document), &read[0]), "{}", text);
        }
    }
}
