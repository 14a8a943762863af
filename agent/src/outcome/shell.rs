//! Words of a command line that a person pastes into a shell.

use std::fmt::Write;

use swarmdr_archive::untrusted::needs_escape;

/// Joins the words to a line that a shell reads as these words.
pub fn line(words: &[String]) -> String {
    words.iter().map(|word| quoted(word)).collect::<Vec<_>>().join(" ")
}

/// Quotes a word for a shell if it needs that.
///
/// A character that controls a terminal, or is invisible on it, becomes an octal escape in `$'…'`, which bash, ksh and
/// zsh read and which POSIX has since 2024: what is pasted means exactly what is shown.
pub fn quoted(word: &str) -> String {
    let is_safe = |character: char| character.is_ascii_alphanumeric() || "-_./:@%+,".contains(character);
    if !word.is_empty() && word.chars().all(is_safe) {
        return word.to_owned();
    }
    if word.chars().any(needs_escape) {
        return with_escapes(word);
    }
    format!("'{}'", word.replace('\'', r"'\''"))
}

fn with_escapes(word: &str) -> String {
    let mut out = String::from("$'");
    for character in word.chars() {
        match character {
            '\'' | '\\' => out.extend(['\\', character]),
            _ if needs_escape(character) => {
                for byte in character.encode_utf8(&mut [0; 4]).bytes() {
                    // Writing to a `String` does not fail.
                    let _ = write!(out, "\\{byte:03o}");
                }
            }
            _ => out.push(character),
        }
    }
    out.push('\'');
    out
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use swarmdr_archive::untrusted::HOSTILE;

    use super::*;

    #[test]
    fn only_what_needs_it_is_quoted() {
        for (word, expected) in [
            ("shop_web-1.x", "shop_web-1.x"),
            ("./b.swarmdr", "./b.swarmdr"),
            ("", "''"),
            ("a b", "'a b'"),
            ("it's", r"'it'\''s'"),
            ("~root", "'~root'"),
            ("=ls", "'=ls'"),
            ("ä", "'ä'"),
            ("a\n'b\\", r"$'a\012\'b\\'"),
            ("\u{202e}", r"$'\342\200\256'"),
        ] {
            assert_eq!(quoted(word), expected);
        }
    }

    #[test]
    fn a_shell_reads_the_words_that_were_meant() {
        // No argument of a program has this character in it.
        let hostile = HOSTILE.replace('\0', "");
        let words = ["", "a b", "it's", "$(exit 7)", "`x`", "a\\", "*", "!!", "~", "#x", "a;b", "ä", &hostile];
        let words = words.map(str::to_owned);
        let script = format!("printf '%s\\0' {}", line(&words));
        assert!(!script.chars().any(needs_escape), "{script:?}");
        let out = Command::new("bash").args(["-c", &script]).output().expect("there is a shell");
        let read: Vec<String> =
            String::from_utf8(out.stdout).expect("is text").split('\0').map(str::to_owned).collect();
        assert_eq!(read, [&words[..], &[String::new()]].concat());
    }
}
