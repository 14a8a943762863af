//! Signed streams of one name after the other.

use swarmdr_archive::{
    SecretKey,
    stream_archive::{StreamDraft, StreamEnding, StreamKey, StreamWriter},
};

use super::{Archived, BackupId, CLUSTER, Timestamp, Vault, minute, store_bytes};
use std::io::Write as _;

/// A sealed stream in memory.
pub type Stream = Archived<StreamKey>;

/// Makes the stream of this name that follows another one, or the first: begun at this minute, with so many bytes.
pub fn following(previous: Option<&Stream>, name: &str, at: i64, size: usize, key: &SecretKey) -> Stream {
    let (started_at, cluster) = (minute(at), CLUSTER.parse().unwrap());
    let name = StreamKey { cluster, name: name.parse().unwrap(), id: BackupId::new(started_at, [0xcd; 4]) };
    let draft = StreamDraft {
        id: name.id,
        name: name.name.clone(),
        cluster_id: name.cluster.clone(),
        node_id: None,
        hostname: "w1".to_owned(),
        agent_version: "0.1.0".to_owned(),
        started_at,
        as_of: started_at,
        command: vec!["dump".to_owned()],
    };
    let mut writer = StreamWriter::new(draft, &[], 1, Vec::new()).unwrap();
    writer.write_all(&vec![b'x'; size]).unwrap();
    let sequence = previous.map_or(1, |previous| previous.sequence + 1);
    let previous = previous.map(|previous| previous.digest);
    let ending = StreamEnding { sequence, previous, ended_at: started_at, exit_status: Some(0) };
    let sealed = writer.finish(ending, key, 0).unwrap();
    Stream { name, bytes: [sealed.head, sealed.sink, sealed.tail].concat(), sequence, digest: sealed.manifest_digest }
}

/// Makes the first stream of a name.
pub fn stream(name: &str, at: i64, key: &SecretKey) -> Stream {
    following(None, name, at, 1000, key)
}

/// Stores a stream as if it had ended when it began.
pub async fn put(vault: &dyn Vault, stream: &Stream) {
    put_at(vault, stream, stream.name.id.created_at()).await;
}

/// Stores a stream at this time.
pub async fn put_at(vault: &dyn Vault, stream: &Stream, at: Timestamp) {
    store_bytes(vault, stream.name.to_string(), &stream.bytes, at).await.unwrap();
}
