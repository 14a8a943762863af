//! Records of the log. Numbers and fields are those of etcd's walpb and raftpb.

use std::{fmt, ops::Range};

use crate::wire::{Field, Fields, Malformed};

/// A record whose data is not parsed yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct RawRecord {
    pub(super) kind: Kind,
    /// CRC-32C over the data of all records up to this one.
    pub(super) checksum: u32,
    /// Position of the data in the record.
    pub(super) data: Range<usize>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Metadata,
    Entry,
    State,
    Checksum,
    Snapshot,
}

/// Content of a record. Checksum records are handled before this.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Record<'a> {
    /// A `RaftMember`: the manager that wrote this log.
    Metadata(&'a [u8]),
    Entry(Entry<'a>),
    State(HardState),
    Snapshot(SnapshotMark),
}

/// A raft entry. `data` is an encrypted envelope.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Entry<'a> {
    pub(crate) kind: EntryKind,
    pub(crate) term: u64,
    pub(crate) index: u64,
    pub(crate) data: &'a [u8],
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum EntryKind {
    /// A transaction on the store, or nothing: the first entry of every leader is empty.
    Normal,
    /// A manager is added, removed or changed.
    ConfChange,
}

/// State that raft must not lose.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct HardState {
    pub(crate) term: u64,
    pub(crate) vote: u64,
    pub(crate) commit: u64,
}

/// Mark of a snapshot that was taken at this point of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SnapshotMark {
    pub(crate) index: u64,
    pub(crate) term: u64,
}

const INCOMPLETE: Malformed = Malformed { at: 0, why: "a field is missing" };

impl RawRecord {
    pub(super) fn parse(record: &[u8]) -> Result<Self, Malformed> {
        let mut fields = Fields::new(record);
        let mut number = |tag| numbered(fields.next(), tag);
        let kind = match number(1)? {
            1 => Kind::Metadata,
            2 => Kind::Entry,
            3 => Kind::State,
            4 => Kind::Checksum,
            5 => Kind::Snapshot,
            _ => {
                return Err(Malformed { at: 1, why: "an unknown type of record" });
            }
        };
        let checksum = number(2)?;
        let checksum = u32::try_from(checksum).map_err(|_| Malformed { at: 2, why: "a checksum beyond 32 bits" })?;
        let data = match fields.next() {
            None => 0..0,
            Some(field) => {
                let field = field?;
                if field.tag != 3 {
                    return field.unknown();
                }
                field.at..field.at + field.bytes()?.len()
            }
        };
        // Only checksum records have no data; in all others the data comes last.
        let whole = if kind == Kind::Checksum { data.is_empty() } else { data.end == record.len() };
        match (whole, fields.next()) {
            (true, None) => Ok(Self { kind, checksum, data }),
            _ => Err(Malformed { at: 0, why: "the fields are not those of its type" }),
        }
    }
}

impl<'a> Record<'a> {
    pub(super) fn parse(kind: Kind, data: &'a [u8]) -> Result<Self, Malformed> {
        Ok(match kind {
            Kind::Metadata | Kind::Checksum => Self::Metadata(data),
            Kind::Entry => Self::Entry(Entry::parse(data)?),
            Kind::State => Self::State(HardState::parse(data)?),
            Kind::Snapshot => Self::Snapshot(SnapshotMark::parse(data)?),
        })
    }
}

impl<'a> Entry<'a> {
    fn parse(data: &'a [u8]) -> Result<Self, Malformed> {
        let mut fields = Fields::new(data);
        let kind = match numbered(fields.next(), 1)? {
            0 => EntryKind::Normal,
            1 => EntryKind::ConfChange,
            _ => {
                return Err(Malformed { at: 0, why: "a type of entry that swarm never uses" });
            }
        };
        let term = numbered(fields.next(), 2)?;
        let index = numbered(fields.next(), 3)?;
        let data = fields.next().ok_or(INCOMPLETE)??;
        if data.tag != 4 {
            return data.unknown();
        }
        Ok(Self { kind, term, index, data: data.bytes()? })
    }
}

impl HardState {
    fn parse(data: &[u8]) -> Result<Self, Malformed> {
        let mut fields = Fields::new(data);
        let mut number = |tag| numbered(fields.next(), tag);
        let state = Self { term: number(1)?, vote: number(2)?, commit: number(3)? };
        match fields.next() {
            None => Ok(state),
            Some(field) => field?.unknown(),
        }
    }
}

impl SnapshotMark {
    /// Parses a snapshot mark. The list of voters that newer engines add is ignored: the snapshot file contains it too.
    fn parse(data: &[u8]) -> Result<Self, Malformed> {
        let mut fields = Fields::new(data);
        let mut number = |tag| numbered(fields.next(), tag);
        let mark = Self { index: number(1)?, term: number(2)? };
        match fields.next() {
            None => Ok(mark),
            Some(Ok(field)) if field.tag == 3 && field.bytes().is_ok() => Ok(mark),
            Some(field) => field?.unknown(),
        }
    }
}

/// Returns the number in a field that must exist and have this tag.
fn numbered(field: Option<Result<Field<'_>, Malformed>>, tag: u32) -> Result<u64, Malformed> {
    let field = field.ok_or(INCOMPLETE)??;
    if field.tag == tag { field.number() } else { field.unknown() }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Metadata => "metadata",
            Self::Entry => "entry",
            Self::State => "state",
            Self::Checksum => "checksum",
            Self::Snapshot => "snapshot",
        })
    }
}
