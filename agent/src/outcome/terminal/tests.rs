use swarmdr_archive::untrusted::{HOSTILE, joined};

use super::*;

const HARMLESS: &str = "m1";

/// Checks that hostile text cannot get through the report that `make` builds from it.
pub(crate) fn assert_tame<T: Serialize + fmt::Display>(make: impl Fn(&str) -> T) {
    let (report, tame) = (make(HOSTILE), make(HARMLESS));
    let text = report.to_string();
    assert_eq!(text.lines().count(), tame.to_string().lines().count(), "{text}");
    let unseen = |text: &str| text.chars().any(|character| needs_escape(character) && character != '\n');
    assert!(!unseen(&text), "{text:?}");
    assert!(!unseen(&escaped(&text)), "{text:?}");
    let document = json(&report).expect("is written");
    assert!(!unseen(&document), "{document:?}");
    assert_eq!(document.lines().count(), json(&tame).expect("is written").lines().count(), "{document}");
    let read: serde_json::Value = serde_json::from_str(&document).expect("is JSON");
    assert_eq!(read, serde_json::to_value(&report).expect("is JSON"));
}

/// Replaces each string of the document that may be any text with `text`.
pub(crate) fn forged<T: Serialize + serde::de::DeserializeOwned>(of: &T, text: &str) -> T {
    let mut document = serde_json::to_value(of).expect("is JSON");
    let mut paths = Vec::new();
    strings(&document, String::new(), &mut paths);
    let mut forged = 0;
    for path in paths {
        let place = document.pointer_mut(&path).expect("was there");
        let before = std::mem::replace(place, text.into());
        match serde_json::from_value::<T>(document.clone()) {
            Ok(_) => forged += 1,
            // A digest, a time or an address: no other text is accepted there.
            Err(_) => *document.pointer_mut(&path).expect("was there") = before,
        }
    }
    assert!(forged > 0, "nothing of {document} is text");
    serde_json::from_value(document).expect("was read before")
}

fn strings(value: &serde_json::Value, path: String, found: &mut Vec<String>) {
    match value {
        serde_json::Value::String(_) => found.push(path),
        serde_json::Value::Array(all) => {
            all.iter().enumerate().for_each(|(at, value)| strings(value, format!("{path}/{at}"), found));
        }
        serde_json::Value::Object(all) => {
            all.iter().for_each(|(key, value)| strings(value, format!("{path}/{key}"), found));
        }
        _ => {}
    }
}

#[test]
fn what_steers_a_terminal_is_seen_on_it() {
    for (text, inline, line) in [
        ("web-1 \u{e4}\u{4e2d}", "web-1 \u{e4}\u{4e2d}", "web-1 \u{e4}\u{4e2d}"),
        ("\u{1b}[2J", r"\u{1b}[2J", r"\u{1b}[2J"),
        ("a\nb\tc", r"a\nb\tc", "a\nb\tc"),
        ("a\rb", r"a\rb", r"a\rb"),
        ("\0\u{7f}\u{80}\u{9b}\u{9f}", r"\u{0}\u{7f}\u{80}\u{9b}\u{9f}", r"\u{0}\u{7f}\u{80}\u{9b}\u{9f}"),
        (
            "\u{61c}\u{200e}\u{202a}\u{202e}\u{2066}",
            r"\u{61c}\u{200e}\u{202a}\u{202e}\u{2066}",
            r"\u{61c}\u{200e}\u{202a}\u{202e}\u{2066}",
        ),
        (
            "\u{200b}\u{200d}\u{2060}\u{feff}\u{2028}\u{2029}",
            r"\u{200b}\u{200d}\u{2060}\u{feff}\u{2028}\u{2029}",
            r"\u{200b}\u{200d}\u{2060}\u{feff}\u{2028}\u{2029}",
        ),
        ("\u{e0041}", r"\u{e0041}", r"\u{e0041}"),
    ] {
        assert_eq!(shown(text).to_string(), inline);
        assert_eq!(escaped(text), line);
    }
    assert_eq!(format!("[{:6}]", shown("a\n")), r"[a\n   ]");
    assert_eq!(joined(["a\n", "b"], ", "), r"a\n, b");
}

#[test]
fn bytes_that_are_no_text_are_seen_too() {
    let mut out = Vec::new();
    Escaped(&mut out).write_all(b"a\xffb\xc3\n\x1b[0m\xe2\x80").expect("is written");
    assert_eq!(String::from_utf8(out).expect("is text"), "a\\xffb\\xc3\n\\u{1b}[0m\\xe2\\x80");
}

#[test]
fn a_script_reads_the_same_text() {
    let value = serde_json::json!({ HOSTILE: [HOSTILE, "\u{e0041}"] });
    let text = json(&value).expect("is written");
    assert!(text.contains(r"\u202e") && text.contains(r"\udb40\udc41") && text.contains(r"\u007f"), "{text}");
    assert_eq!(serde_json::from_str::<serde_json::Value>(&text).expect("is JSON"), value);
}

#[test]
fn a_log_line_of_others_is_one_line() {
    let told = |message: &str| {
        let mut out = String::new();
        write_message(&mut out, message).expect("is written");
        out
    };
    assert_eq!(told("no\nERROR fake"), r"no\nERROR fake");
    let rendered = "no\n  because: x\r\n  to do: y\nz";
    assert_eq!(told(rendered), "no\n  because: x\\r\n  to do: y\\nz");
    assert!(!told(HOSTILE).chars().any(needs_escape));
}

#[test]
fn an_error_of_others_has_the_lines_of_ours() {
    let of = |text: &str| {
        let failure =
            crate::outcome::failure::Failure::failed(text).advice(text).because(anyhow::anyhow!("it: {text}"));
        let rendered = crate::outcome::failure::Rendered::of(&failure.into()).to_string();
        let mut out = String::new();
        write_message(&mut out, &rendered).expect("is written");
        out
    };
    let told = of(HOSTILE);
    assert_eq!(told.lines().count(), of("m1").lines().count(), "{told}");
    assert!(!told.chars().any(|character| needs_escape(character) && character != '\n'), "{told:?}");
}
