//! Escapes untrusted text, so that it is safe within a line of a report.
//!
//! A hostname in a manifest, a label, a key in a bucket or the answer of a server may contain an escape sequence, which
//! would move the cursor, or recolour or wipe what a terminal shows. It may contain an invisible character, which makes
//! two names look alike.

use std::fmt::{self, Write as _};

/// Whether a character controls a terminal or is invisible on it.
pub fn needs_escape(character: char) -> bool {
    character.is_control()
        || matches!(character,
            // Marks that change the direction of text, or isolate a part of it.
            '\u{061c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}'
            // Characters without width.
            | '\u{00ad}' | '\u{180e}' | '\u{200b}'..='\u{200d}' | '\u{2060}'..='\u{2064}' | '\u{feff}'
            // Separators of lines and paragraphs.
            | '\u{2028}' | '\u{2029}'
            // Tag characters: an invisible copy of ASCII.
            | '\u{e0000}'..='\u{e007f}')
}

/// Untrusted text within a line: control and invisible characters, line breaks too, are displayed as escapes
/// such as `\u{1b}`.
#[derive(Debug, Clone, Copy)]
pub struct Shown<T>(T);

/// Wraps text so that it is displayed within one line, with control and invisible characters escaped.
pub fn shown<T: fmt::Display>(text: T) -> Shown<T> {
    Shown(text)
}

impl<T: fmt::Display> fmt::Display for Shown<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if f.width().is_some() || f.precision().is_some() {
            let mut text = String::new();
            write!(Inline(&mut text), "{}", self.0)?;
            return f.pad(&text);
        }
        write!(Inline(f), "{}", self.0)
    }
}

/// Joins several untrusted texts, each escaped as by [`shown`], with `between` as the separator.
pub fn joined<T: fmt::Display>(texts: impl IntoIterator<Item = T>, between: &str) -> String {
    let texts: Vec<String> = texts.into_iter().map(|text| shown(text).to_string()).collect();
    texts.join(between)
}

struct Inline<W>(W);

impl<W: fmt::Write> fmt::Write for Inline<W> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        escape(text, &mut self.0, |_| false)
    }
}

/// Writes the text, and escapes each control or invisible character unless `pass` returns true for it.
pub fn escape(text: &str, out: &mut impl fmt::Write, pass: impl Fn(char) -> bool) -> fmt::Result {
    let mut rest = text;
    while let Some(at) = rest.find(|character| needs_escape(character) && !pass(character)) {
        let (plain, from) = rest.split_at(at);
        out.write_str(plain)?;
        let mut characters = from.chars();
        if let Some(character) = characters.next() {
            match character {
                '\n' => out.write_str("\\n")?,
                '\r' => out.write_str("\\r")?,
                '\t' => out.write_str("\\t")?,
                other => write!(out, "\\u{{{:x}}}", u32::from(other))?,
            }
        }
        rest = characters.as_str();
    }
    out.write_str(rest)
}

/// Hostile text for tests: it wipes the screen, returns to the start of the line, begins a new line, reverses the
/// direction of text and hides characters.
#[doc(hidden)]
pub const HOSTILE: &str = "m1\u{1b}[2J\r\nERROR \u{7f}\u{9b}2J\u{202e}\u{200b}\u{2028}\u{feff}\u{7}\0";
