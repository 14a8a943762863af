//! Stand-ins for text that differs from run to run, of the same length if the layout depends on it.

use std::{collections::HashMap, sync::LazyLock};

use regex::{Captures, Regex};
use serde_json::Value;

/// Patterns of text that may be anywhere, and their stand-ins.
static RULES: LazyLock<Vec<(Regex, &str)>> = LazyLock::new(|| {
    [
        (r"\b\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z", "2026-01-01T00:00:00Z"),
        (r"\b\d{4}-\d\d-\d\d \d\d:\d\d\b", "2026-01-01 00:00"),
        (r"\b\d{4}-\d\d-\d\d\b", "2026-01-01"),
        (r"\bage1[0-9a-z]{58}\b", "age1qqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqq"),
        (r"\bRW[A-Za-z0-9+/]{54}", "RWQAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"),
        (r"\b[0-9A-F]{16}\b", "0123456789ABCDEF"),
        (r"\b[0-9a-f]{64}\b", "0000000000000000000000000000000000000000000000000000000000000000"),
        (r"\b[0-9a-f]{32}\b", "00000000000000000000000000000000"),
        (r"\b\d+ s apart\b", "5 s apart"),
        (r"\b\d+\.\d s\b", "1.2 s"),
        (r"\b\d+ ms\b", "1.2 s"),
        // A size within columns.
        (r" {2,}\d+(\.\d+)? [KMGT]iB {2}", "  1.2 KiB  "),
        // Any other size, but not a limit, which is written as a number of bytes first.
        (r"(?P<limit>\b\d+ \([\d.]+ [KMGT]iB\))|\b\d+(\.\d+)? [KMGT]iB\b", "1.2 KiB"),
        (r"\b26\.1\.\d+(\+[a-z0-9]+)?", "26.1.5"),
        (r"\b257\.[\w.~+-]+", "257.1"),
        (r"\b\d+ (s|min) ago\b", "5 s ago"),
        (r"\bup to \d+ s\b", "up to 30 s"),
        (r"\bprocess \d+", "process 1234"),
        (r"-[1-9]\d*-(?P<number>\d)\.(?P<unit>service|timer)\b", "-1234-${number}.${unit}"),
        (r"\((?P<thread>\d+)\) panicked at .*", "(1234) panicked at agent"),
        (r"\brequest tx[0-9a-z-]+", "request tx0123456789abcdef-4119-default"),
        (r"\b\d+ hours old\b", "0 hours old"),
        (r"\bterm \d+", "term 2"),
        (r"\bcommit \d+", "commit 34"),
        (r"\bindex \d+", "index 34"),
        (r"\bsnapshot at \d+", "snapshot at 32"),
        (r"\bkek-version \d+", "kek-version 34"),
        (r"\b\d+ log entries\b", "2 log entries"),
        (r"\bmembers: [0-9a-f]{8,16}\b", "members: 0123456789abcdef"),
        (r"\bshould have \d+", "should have 67890"),
        (r"\bage=\d+s", "age=5s"),
        (r"\bspool_bytes=[1-9]\d*B", "spool_bytes=12345B"),
        (r"\b(?P<metric>swarmdr_\w*(timestamp|seconds|bytes)\w*(\{.*\})?) [0-9.]+$", "${metric} 1"),
        (concat!(r#"\b(?P<program>swarmdr-agent |agent |version="?)"#, env!("CARGO_PKG_VERSION")), "${program}0.0.0"),
    ]
    .map(|(pattern, standin)| (Regex::new(pattern).expect("is a pattern"), standin))
    .into()
});

/// Function that returns the stand-in with this number.
type Number = fn(usize) -> String;

/// Patterns of ids; the same id has the same stand-in throughout.
static IDS: LazyLock<[(Regex, Number); 2]> = LazyLock::new(|| {
    let backup: Number = |number| format!("20260101T000000Z-{number:08x}");
    let of_engine: Number = |number| format!("{:x<25}", format!("id{number}"));
    [(r"\b\d{8}T\d{6}Z-[0-9a-f]{8}\b", backup), (r"\b[a-z0-9]{25}\b", of_engine)]
        .map(|(pattern, standin)| (Regex::new(pattern).expect("is a pattern"), standin))
});

/// Ends of the names of a document's fields whose numbers differ.
const NUMBERS: [&str; 11] =
    ["raft_id", "seconds", "age", "ms", "_us", "size", "bytes", "index", "term", "memory", "version"];

#[derive(Debug)]
pub struct StandIns {
    ids: [HashMap<String, String>; 2],
}

impl StandIns {
    pub fn new() -> Self {
        Self { ids: Default::default() }
    }

    /// Replaces what differs in lines that are seen together.
    pub fn replace(&mut self, lines: Vec<String>) -> Vec<String> {
        let lines = lines.iter().filter(|line| !line.starts_with("fault: ")).map(|line| self.text(line)).collect();
        aligned(lines)
    }

    fn text(&mut self, line: &str) -> String {
        let mut line = line.to_owned();
        for ((pattern, standin), known) in IDS.iter().zip(&mut self.ids) {
            let replaced = pattern.replace_all(&line, |found: &Captures<'_>| {
                let number = known.len() + 1;
                known.entry(found[0].to_owned()).or_insert_with(|| standin(number)).clone()
            });
            line = replaced.into_owned();
        }
        for (pattern, standin) in RULES.iter() {
            let replaced = pattern.replace_all(&line, |found: &Captures<'_>| match found.name("limit") {
                Some(limit) => limit.as_str().to_owned(),
                None => {
                    let mut replaced = String::new();
                    found.expand(standin, &mut replaced);
                    replaced
                }
            });
            line = replaced.into_owned();
        }
        line
    }

    /// Replaces what differs in the texts and numbers of a document.
    pub fn document(&mut self, document: Value) -> Value {
        match document {
            Value::String(text) => Value::String(self.text(&text)),
            Value::Array(mut all) => {
                // Lists from an engine are in the order of its ids.
                if all.iter().all(|it| it["id"].is_string()) {
                    all.sort_by(|a, b| a["name"].as_str().cmp(&b["name"].as_str()));
                }
                all.into_iter().map(|value| self.document(value)).collect()
            }
            Value::Object(all) => all
                .into_iter()
                .map(|(key, value)| {
                    let differs = value.is_number() && NUMBERS.iter().any(|end| key.ends_with(end));
                    let value = match value {
                        Value::Object(phases) if key == "phases" => {
                            phases.into_iter().map(|(name, _)| (name, Value::from(0))).collect()
                        }
                        _ if differs => Value::from(0),
                        value => self.document(value),
                    };
                    (key, value)
                })
                .collect(),
            other => other,
        }
    }
}

/// Lays tables out again, with columns as wide as the stand-ins in them.
fn aligned(lines: Vec<String>) -> Vec<String> {
    let mut out: Vec<String> = Vec::new();
    let mut table: Vec<Vec<String>> = Vec::new();
    for line in lines {
        let cells: Vec<String> =
            line.trim().split("  ").map(|it| it.trim().to_owned()).filter(|it| !it.is_empty()).collect();
        let is_head = cells.len() > 4 && cells[0].chars().all(|c| c.is_ascii_uppercase());
        if is_head || table.first().is_some_and(|head| head.len() == cells.len()) {
            table.push(cells);
            continue;
        }
        out.extend(laid_out(&std::mem::take(&mut table)));
        out.push(line);
    }
    out.extend(laid_out(&table));
    out
}

fn laid_out(table: &[Vec<String>]) -> Vec<String> {
    let width = |column: usize| table.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let line = |row: &Vec<String>| {
        let cells = row.iter().enumerate().map(|(column, cell)| format!("{cell:0$}", width(column)));
        format!(" {}", cells.collect::<Vec<_>>().join("  ")).trim_end().to_owned()
    };
    table.iter().map(line).collect()
}
