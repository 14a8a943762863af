//! What ended, for machines that read the journal: one entry each, with a MESSAGE_ID that never changes.
//!
//! `packaging/journal/swarmdr.catalog` explains each of them to `journalctl --catalog`. The fields are named there
//! too. Nothing of this goes to a terminal, where the report says it.

use crate::exit::Exit;

/// Target of these entries, which a terminal does not show.
pub const TARGET: &str = "swarmdr_agent::journal";

pub const BACKUP_STORED: &str = "547802e086d0469bb1c056ae86314b59";
pub const BACKUP_FAILED: &str = "b0f4da1ebf8e403ca80c5b5185425e7d";
pub const BACKUP_REFUSED: &str = "20ef4e5475704438aaeb617be9e908f7";
pub const RESTORE_DONE: &str = "9da59a4d250647b7817ea33d5edb16bd";
pub const RESTORE_FAILED: &str = "0a473cf1996142f292bf0645d2cf1995";
pub const VERIFY_GOOD: &str = "64c78994b3a142199acebfa437ebd9ea";
pub const VERIFY_FAILED: &str = "e85393b72f5848a28beecae17752c23c";
pub const HOOK_FAILED: &str = "a72540c8c90246d08dd61fd660727d0f";

/// The entry for a verb that ended so; none where nothing was done.
pub fn message_id(verb: &str, exit: Exit) -> Option<&'static str> {
    let good = matches!(exit, Exit::Done | Exit::Attention);
    match (verb, exit) {
        (_, Exit::NotOurTurn) => None,
        ("backup", Exit::Refused) => Some(BACKUP_REFUSED),
        ("backup", _) => Some(if good { BACKUP_STORED } else { BACKUP_FAILED }),
        ("restore", _) => Some(if good { RESTORE_DONE } else { RESTORE_FAILED }),
        ("verify", _) => Some(if good { VERIFY_GOOD } else { VERIFY_FAILED }),
        _ => None,
    }
}

/// Writes the entry of a run that has ended.
pub fn ended(verb: &'static str, exit: Exit, id: Option<&str>, error: Option<&str>) {
    let Some(message_id) = message_id(verb, exit) else { return };
    let (result, exit_code) = (exit.word(), exit as u8);
    let (backup_id, error) = (id.unwrap_or_default(), error.unwrap_or_default());
    match exit {
        Exit::Done => {
            tracing::info!(target: TARGET, message_id, verb, result, exit_code, backup_id, "{verb}: {result}")
        }
        Exit::Attention => {
            tracing::warn!(target: TARGET, message_id, verb, result, exit_code, backup_id, "{verb}: {result}");
        }
        _ => tracing::error!(
            target: TARGET, message_id, verb, result, exit_code, backup_id, error, "{verb}: {result}: {error}"
        ),
    }
}

/// Writes the entry of a hook that failed.
pub fn hook_failed(hook: &str, program: &str, why: &str) {
    tracing::warn!(target: TARGET, message_id = HOOK_FAILED, hook, program, "the hook {program} {why}");
}

#[cfg(test)]
mod tests {
    use super::*;

    const CATALOG: &str = include_str!("../../packaging/journal/swarmdr.catalog");

    #[test]
    fn the_catalog_explains_every_message_once() {
        let own = [
            BACKUP_STORED,
            BACKUP_FAILED,
            BACKUP_REFUSED,
            RESTORE_DONE,
            RESTORE_FAILED,
            VERIFY_GOOD,
            VERIFY_FAILED,
            HOOK_FAILED,
        ];
        let explained: Vec<&str> = CATALOG.lines().filter_map(|line| line.strip_prefix("-- ")).collect();
        assert_eq!(explained, own);
        assert!(own.iter().all(|id| id.len() == 32 && id.bytes().all(|byte| byte.is_ascii_hexdigit())));
        assert_eq!(CATALOG.matches("Subject: ").count(), own.len());
    }

    #[test]
    fn a_run_that_did_nothing_leaves_no_entry() {
        assert_eq!(message_id("backup", Exit::NotOurTurn), None);
        assert_eq!(message_id("backup", Exit::Attention), Some(BACKUP_STORED));
        assert_eq!(message_id("restore", Exit::Refused), Some(RESTORE_FAILED));
    }
}
