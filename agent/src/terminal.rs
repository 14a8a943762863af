//! The one door to standard output and standard error.
//!
//! Much of what is told was written by other machines: a hostname in a manifest, a label, the answer of a server. An
//! escape sequence in it would move the cursor, recolour or wipe what the terminal shows, and an invisible character
//! makes two names look alike. So everything goes through [`Escaped`], and text of others that stands within a line
//! goes through [`shown`] as well, so that it cannot make a line of its own.

use std::{
    fmt::{self, Write as _},
    io::{self, Write},
};

use serde::Serialize;
use tracing::field::Field;
use tracing_subscriber::fmt::format::Writer;

/// True for what steers a terminal or is not seen on it.
pub fn is_unseen(character: char) -> bool {
    character.is_control()
        || matches!(character,
            // Marks that turn the direction of text, or isolate a stretch of it.
            '\u{061c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}'
            // Without a width.
            | '\u{00ad}' | '\u{180e}' | '\u{200b}'..='\u{200d}' | '\u{2060}'..='\u{2064}' | '\u{feff}'
            // Ends of lines and paragraphs.
            | '\u{2028}' | '\u{2029}'
            // A second, invisible alphabet.
            | '\u{e0000}'..='\u{e007f}')
}

/// Text of others within a line: what steers a terminal, and the end of a line, is seen as `\u{1b}`.
#[derive(Debug, Clone, Copy)]
pub struct Shown<T>(T);

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

/// Several of them, with something between.
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

/// Writes the text with every unseen character but the ones that `pass` as an escape.
fn escape(text: &str, out: &mut impl fmt::Write, pass: impl Fn(char) -> bool) -> fmt::Result {
    let mut rest = text;
    while let Some(at) = rest.find(|character| is_unseen(character) && !pass(character)) {
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

/// The text as a terminal may have it: lines and tabs stay.
pub fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    // Writing into a `String` does not fail.
    let _ = escape(text, &mut out, |character| matches!(character, '\n' | '\t'));
    out
}

/// Bytes as a terminal may have them; what is no UTF-8 is seen as `\xff`.
pub fn escaped_bytes(bytes: &[u8]) -> String {
    let mut out = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        out.push_str(&escaped(chunk.valid()));
        for byte in chunk.invalid() {
            let _ = write!(out, "\\x{byte:02x}");
        }
    }
    out
}

/// Passes whole texts on to a terminal; each call brings whole characters.
#[derive(Debug)]
pub struct Escaped<W>(pub W);

impl<W: Write> Write for Escaped<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write_all(escaped_bytes(bytes).as_bytes())?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

/// A report for a script. Such a character can only stand within a string there, where a parser reads the escape as the
/// same text.
pub fn json(report: &impl Serialize) -> serde_json::Result<String> {
    let text = serde_json::to_string_pretty(report)?;
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        // What ends the lines of the document; within strings serde has escaped it.
        if character == '\n' || !is_unseen(character) {
            out.push(character);
            continue;
        }
        for unit in character.encode_utf16(&mut [0; 2]) {
            let _ = write!(out, "\\u{unit:04x}");
        }
    }
    Ok(out)
}

/// Raw; what writes there must be in the hand of this program, as a script, a bar or the colours of the log.
#[expect(clippy::disallowed_methods, reason = "the one door")]
pub fn stdout() -> io::Stdout {
    io::stdout()
}

/// As [`stdout`].
#[expect(clippy::disallowed_methods, reason = "the one door")]
pub fn stderr() -> io::Stderr {
    io::stderr()
}

/// Prints on standard output; a pipe that somebody closed is no error.
pub fn print(text: &str) -> io::Result<()> {
    ignoring_closed(Escaped(stdout()).write_all(text.as_bytes()))
}

/// Tells on standard error, as far as somebody listens.
pub fn tell(text: &str) {
    let _ = Escaped(stderr()).write_all(text.as_bytes());
}

fn ignoring_closed(written: io::Result<()>) -> io::Result<()> {
    match written {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        written => written,
    }
}

/// Writes one field of a log line. The logger colours around it, so only what is known here is passed on raw.
pub fn write_field(out: &mut Writer<'_>, field: &Field, value: &dyn fmt::Debug) -> fmt::Result {
    match field.name() {
        "message" => write_message(out, &format!("{value:?}")),
        name => write!(out, "{name}={}", shown(format_args!("{value:?}"))),
    }
}

/// The lines of an error that this program set apart itself stay; any other line break is text of others.
pub fn write_message(out: &mut impl fmt::Write, message: &str) -> fmt::Result {
    let mut rest = message;
    while let Some((at, mark)) = next_part(rest) {
        write!(out, "{}{mark}", shown(&rest[..at]))?;
        rest = &rest[at + mark.len()..];
    }
    write!(out, "{}", shown(rest))
}

fn next_part(text: &str) -> Option<(usize, &'static str)> {
    [BECAUSE, TO_DO].iter().filter_map(|mark| text.find(mark).map(|at| (at, *mark))).min()
}

/// How the parts of an error are set apart.
pub const BECAUSE: &str = "\n  because: ";
pub const TO_DO: &str = "\n  to do: ";

#[cfg(test)]
pub(crate) mod tests;
