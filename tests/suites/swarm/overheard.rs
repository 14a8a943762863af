//! All output of the agent, searched for values that must not be in it.

use aho_corasick::AhoCorasick;
use anyhow::{Context, Result, bail, ensure};
use data_encoding::{BASE64_NOPAD, BASE64URL_NOPAD, HEXLOWER, HEXUPPER};
use serde_json::Value;
use swarmdr_tests::lab::{Host, Output};

/// Length in bytes of a piece of a value whose appearance is a leak, even if the rest is cut off.
const PIECE: usize = 16;

/// Planted values, and all output so far.
#[derive(Debug, Default)]
pub struct Overheard {
    /// Name of a value, and one form of a piece of it.
    planted: Vec<(String, String)>,
    /// Source of an output, and its text.
    said: Vec<(String, String)>,
}

impl Overheard {
    /// Adds each piece of a value to the search: as it is, in base64 at any alignment, in hex.
    pub fn plant(&mut self, what: &str, value: impl AsRef<[u8]>) -> Result<()> {
        let value = value.as_ref();
        ensure!(value.len() >= PIECE / 2, "{what} is too short to be looked for");
        for piece in value.chunks(PIECE).filter(|piece| piece.len() >= PIECE.min(value.len()) / 2) {
            self.planted.extend(forms(piece).into_iter().map(|form| (what.to_owned(), form)));
        }
        Ok(())
    }

    /// Adds a key in base64: the text, and the bytes that it encodes.
    pub fn plant_base64(&mut self, what: &str, text: &str) -> Result<()> {
        let bytes = BASE64_NOPAD.decode(text.trim_end_matches('=').as_bytes());
        self.plant(what, bytes.with_context(|| format!("{what} is no base64"))?)?;
        self.plant(what, text)
    }

    /// Adds the lines between the armour of a PEM file.
    pub fn plant_pem(&mut self, what: &str, pem: &str) -> Result<()> {
        let body: String = pem.lines().filter(|line| !line.contains("---") && !line.contains(": ")).collect();
        self.plant_base64(what, &body)
    }

    /// Runs the agent with all of its logging. Fails if its exit code is not the expected one.
    pub fn say(&mut self, host: &Host, expected: i32, args: &[&str]) -> Result<String> {
        self.say_with(host, "swarmdr-agent", &[], expected, args)
    }

    pub fn say_json(&mut self, host: &Host, expected: i32, args: &[&str]) -> Result<Value> {
        let text = self.say(host, expected, &[args, &["--json"]].concat())?;
        serde_json::from_str(&text).with_context(|| format!("{args:?} printed no JSON: {text}"))
    }

    /// Runs a command that changes nothing, without and with `--json`.
    pub fn say_both(&mut self, host: &Host, expected: i32, args: &[&str]) -> Result<(String, Value)> {
        Ok((self.say(host, expected, args)?, self.say_json(host, expected, args)?))
    }

    /// Runs a program with variables of the form `NAME=value`.
    pub fn say_with(
        &mut self,
        host: &Host,
        program: &str,
        environment: &[&str],
        expected: i32,
        args: &[&str],
    ) -> Result<String> {
        let full = [&["env", "RUST_BACKTRACE=full", "SWARMDR_LOG=trace"], environment, &[program, "-vv"], args];
        let Output { status, stdout, stderr } = host.run(&full.concat())?;
        ensure!(status.code() == Some(expected), "{args:?} exited {:?}:\n{stdout}{stderr}", status.code());
        self.hear(args.join(" "), format!("{stdout}\n{stderr}"));
        Ok(stdout)
    }

    /// Returns the source and text of the last output.
    pub fn last(&self) -> (&str, &str) {
        self.said.last().map_or(("nobody", ""), |(who, text)| (who, text))
    }

    pub fn hear(&mut self, who: impl Into<String>, text: impl Into<String>) {
        self.said.push((who.into(), text.into()));
    }

    /// Checks that the search works: this text contains planted values.
    pub fn would_notice(&self, text: &str) -> Result<()> {
        ensure!(self.planted.iter().any(|(_, form)| text.contains(form.as_str())), "nothing planted is in a secret");
        Ok(())
    }

    /// Fails if any output contains a planted value; names the value, but does not show it.
    pub fn check(&self) -> Result<()> {
        let bytes: usize = self.said.iter().map(|(_, text)| text.len()).sum();
        println!(
            "searched {} outputs, {bytes} bytes, for {} forms of planted values",
            self.said.len(),
            self.planted.len()
        );
        // Searches for all forms in one pass: there are hundreds, and the output is as long as a hundred books.
        let any = AhoCorasick::new(self.planted.iter().map(|(_, form)| form))?;
        for (who, text) in &self.said {
            if let Some(found) = any.find(text) {
                let (what, form) = &self.planted[found.pattern()];
                bail!("`{who}` says {what}: {}", around(text, form));
            }
        }
        Ok(())
    }
}

/// Returns the line in which a form was found, with the form replaced.
fn around(text: &str, form: &str) -> String {
    text.lines().find(|line| line.contains(form)).unwrap_or_default().replace(form, "[HERE]")
}

fn forms(piece: &[u8]) -> Vec<String> {
    let mut forms = vec![HEXLOWER.encode(piece), HEXUPPER.encode(piece)];
    forms.extend(String::from_utf8(piece.to_vec()).ok());
    for before in 0..3 {
        for encoding in [BASE64_NOPAD, BASE64URL_NOPAD] {
            let shifted = [&[0; 3][..before], piece].concat();
            // Characters that depend on the bytes around the piece are dropped.
            let whole = shifted.len() / 3 * 3;
            let text = encoding.encode(&shifted[..whole]);
            forms.push(text[if before == 0 { 0 } else { 4 }..].to_owned());
        }
    }
    forms.sort();
    forms.dedup();
    forms
}

#[test]
fn a_value_is_found_in_every_form() {
    let mut overheard = Overheard::default();
    overheard.plant("it", "a value that is long enough for two pieces").unwrap();
    overheard.check().unwrap();
    for text in [
        "it says `value that is long enough for two` there".to_owned(),
        BASE64_NOPAD.encode(b"xa value that is long enough for two piecesx"),
        BASE64_NOPAD.encode(b"xxa value that is long enough for two pieces"),
        HEXUPPER.encode(b"--a value that is long"),
    ] {
        let mut overheard = Overheard { planted: overheard.planted.clone(), said: Vec::new() };
        overheard.hear("somebody", text.clone());
        let found = overheard.check().unwrap_err().to_string();
        assert!(found.starts_with("`somebody` says it") && !found.contains("long enough"), "{text}: {found}");
    }
}
