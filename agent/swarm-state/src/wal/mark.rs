//! Encodes state records as etcd writes them.

use prost::Message as _;

use super::{frame, record::HardState};

/// etcd's `walpb.Record`.
#[derive(Clone, PartialEq, prost::Message)]
struct RecordMessage {
    #[prost(uint64, optional, tag = "1")]
    kind: Option<u64>,
    #[prost(uint64, optional, tag = "2")]
    checksum: Option<u64>,
    #[prost(bytes = "vec", optional, tag = "3")]
    data: Option<Vec<u8>>,
}

/// etcd's `raftpb.HardState`. Every field is written, even if it is zero.
#[derive(Clone, Copy, PartialEq, prost::Message)]
struct StateMessage {
    #[prost(uint64, optional, tag = "1")]
    term: Option<u64>,
    #[prost(uint64, optional, tag = "2")]
    vote: Option<u64>,
    #[prost(uint64, optional, tag = "3")]
    commit: Option<u64>,
}

const STATE_RECORD: u64 = 3;

/// Returns the frame of a record of `state` for a log whose checksum so far is `checksum`.
pub(super) fn state_record(state: HardState, checksum: u32) -> Vec<u8> {
    let state = StateMessage { term: Some(state.term), vote: Some(state.vote), commit: Some(state.commit) };
    let data = state.encode_to_vec();
    let checksum = crc32c::crc32c_append(checksum, &data);
    let record = RecordMessage { kind: Some(STATE_RECORD), checksum: Some(u64::from(checksum)), data: Some(data) }
        .encode_to_vec();
    frame::encode(&record)
}
