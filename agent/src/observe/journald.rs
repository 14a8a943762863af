//! Journal entries for machines: one for each run that ended and for each failed hook, with a MESSAGE_ID that never
//! changes.
//!
//! `packaging/journal/swarmdr.catalog` explains each of them for `journalctl --catalog`, and names the fields. The
//! entries do not go to a terminal, where the report has the same information.

use super::{hooks::Hook, verb::Verb};
use crate::outcome::{exit::Exit, logging::JOURNAL};

pub const BACKUP_STORED: &str = "547802e086d0469bb1c056ae86314b59";
pub const BACKUP_FAILED: &str = "b0f4da1ebf8e403ca80c5b5185425e7d";
pub const BACKUP_REFUSED: &str = "20ef4e5475704438aaeb617be9e908f7";
pub const RESTORE_DONE: &str = "9da59a4d250647b7817ea33d5edb16bd";
pub const RESTORE_FAILED: &str = "0a473cf1996142f292bf0645d2cf1995";
pub const VERIFY_GOOD: &str = "64c78994b3a142199acebfa437ebd9ea";
pub const VERIFY_FAILED: &str = "e85393b72f5848a28beecae17752c23c";
pub const HOOK_FAILED: &str = "a72540c8c90246d08dd61fd660727d0f";
pub const DRILL_PROVEN: &str = "0dcec0ae01ed4efcb52a52c0bb415cf0";
pub const DRILL_FAILED: &str = "a043009c609a4f79a79d20d16725ba21";
pub const QUORUM_RECOVERED: &str = "4ed9af910f644e57b0df20d1accd2f7e";
pub const QUORUM_NOT_RECOVERED: &str = "db18dc6ac17945c0a98000689ba70320";
pub const PROMOTED: &str = "5e1f3c0b9d7a4e6f8a2b4c6d8e0f1a3b";
pub const NOT_PROMOTED: &str = "c3b7a9d1e5f24068b1d3f5a7c9e0b2d4";
pub const STANDBY_KEPT: &str = "7a4d2e9c61b84f3fa0c5d8e2b6f91c37";
pub const STANDBY_FAILED: &str = "f08b6d3e92c74a15b7e4a1d9c5832f6e";
pub const STEPPED_DOWN: &str = "2d9f7b1ac4e84e50963b8f0d5a7c1e42";
pub const NOT_STEPPED_DOWN: &str = "91c5e3f7a0d24b8cb6a2d4f8e1093b75";
pub const STREAM_STORED: &str = "6c1e8a5d3f7b4290a4d6c8e0f2b13597";
pub const STREAM_NOT_STORED: &str = "d47f0b92e6a84c31b58e1d3c7a96f204";
pub const STREAM_PROVEN: &str = "b2e94f7c16d84a0e93c5a7f1d8e6024b";
pub const STREAM_NOT_PROVEN: &str = "58a3d0c7f91e4b26a4e8c2f6b7d01935";

/// Returns the MESSAGE_ID for a verb with this result; `None` where nothing was done or the verb has no entry.
pub fn message_id(verb: Verb, exit: Exit) -> Option<&'static str> {
    let good = matches!(exit, Exit::Done | Exit::Attention);
    let (if_good, if_not) = match (verb, exit) {
        (_, Exit::NotOurTurn) => return None,
        (Verb::Backup, Exit::Refused) => (BACKUP_STORED, BACKUP_REFUSED),
        (Verb::Backup, _) => (BACKUP_STORED, BACKUP_FAILED),
        (Verb::Drill, _) => (DRILL_PROVEN, DRILL_FAILED),
        (Verb::Promote, _) => (PROMOTED, NOT_PROMOTED),
        (Verb::Put, _) => (STREAM_STORED, STREAM_NOT_STORED),
        (Verb::RecoverQuorum, _) => (QUORUM_RECOVERED, QUORUM_NOT_RECOVERED),
        (Verb::Restore, _) => (RESTORE_DONE, RESTORE_FAILED),
        (Verb::Standby, _) => (STANDBY_KEPT, STANDBY_FAILED),
        (Verb::StepDown, _) => (STEPPED_DOWN, NOT_STEPPED_DOWN),
        (Verb::Verify, _) => (VERIFY_GOOD, VERIFY_FAILED),
    };
    Some(if good { if_good } else { if_not })
}

/// Returns the MESSAGE_ID for the drill of a stream.
fn of_stream_drill(exit: Exit) -> Option<&'static str> {
    match exit {
        Exit::NotOurTurn => None,
        Exit::Done | Exit::Attention => Some(STREAM_PROVEN),
        _ => Some(STREAM_NOT_PROVEN),
    }
}

/// Writes the entry of a run that has ended, of a backup or of a stream with this name.
pub fn ended(verb: Verb, stream: Option<&str>, exit: Exit, id: Option<&str>, error: Option<&str>) {
    let of_drill = stream.filter(|_| verb == Verb::Drill).and_then(|_| of_stream_drill(exit));
    let Some(message_id) = of_drill.or_else(|| message_id(verb, exit)) else { return };
    let (verb, result, exit_code) = (verb.word(), exit.word(), exit as u8);
    let (backup_id, error) = (id.unwrap_or_default(), error.unwrap_or_default());
    let what = stream.map_or_else(|| verb.to_owned(), |stream| format!("{verb} {stream}"));
    match exit {
        Exit::Done => {
            tracing::info!(target: JOURNAL, message_id, verb, stream, result, exit_code, backup_id, "{what}: {result}")
        }
        Exit::Attention => {
            tracing::warn!(target: JOURNAL, message_id, verb, stream, result, exit_code, backup_id, "{what}: {result}");
        }
        _ => tracing::error!(
            target: JOURNAL, message_id, verb, stream, result, exit_code, backup_id, error, "{what}: {result}: {error}"
        ),
    }
}

/// Writes the entry of a hook that failed.
pub fn hook_failed(hook: Hook, program: &str, why: &str) {
    let hook = hook.to_string();
    tracing::warn!(target: JOURNAL, message_id = HOOK_FAILED, hook, program, "the hook {program} {why}");
}

#[cfg(test)]
mod tests {
    use super::*;

    const CATALOG: &str = include_str!("../../../packaging/journal/swarmdr.catalog");

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
            DRILL_PROVEN,
            DRILL_FAILED,
            QUORUM_RECOVERED,
            QUORUM_NOT_RECOVERED,
            PROMOTED,
            NOT_PROMOTED,
            STANDBY_KEPT,
            STANDBY_FAILED,
            STEPPED_DOWN,
            NOT_STEPPED_DOWN,
            STREAM_STORED,
            STREAM_NOT_STORED,
            STREAM_PROVEN,
            STREAM_NOT_PROVEN,
        ];
        let explained: Vec<&str> = CATALOG.lines().filter_map(|line| line.strip_prefix("-- ")).collect();
        assert_eq!(explained, own);
        assert!(own.iter().all(|id| id.len() == 32 && id.bytes().all(|byte| byte.is_ascii_hexdigit())));
        assert_eq!(CATALOG.matches("Subject: ").count(), own.len());
    }

    #[test]
    fn a_run_that_did_nothing_leaves_no_entry() {
        assert_eq!(message_id(Verb::Backup, Exit::NotOurTurn), None);
        assert_eq!(message_id(Verb::Backup, Exit::Attention), Some(BACKUP_STORED));
        assert_eq!(message_id(Verb::Restore, Exit::Refused), Some(RESTORE_FAILED));
        assert_eq!(message_id(Verb::Drill, Exit::Done), Some(DRILL_PROVEN));
        assert_eq!(message_id(Verb::Drill, Exit::NothingUsable), Some(DRILL_FAILED));
        assert_eq!(message_id(Verb::RecoverQuorum, Exit::Attention), Some(QUORUM_RECOVERED));
        assert_eq!(message_id(Verb::RecoverQuorum, Exit::Refused), Some(QUORUM_NOT_RECOVERED));
    }
}
