use std::time::Duration;

use futures_util::future::join;
use jiff::SignedDuration;

use super::*;
use crate::{
    Ending, LockMode, NO_PROGRESS, StreamSizes, StreamUpload, VaultSettings, payload, put_stream,
    s3::canned::{Request, Response, Server, connect},
    settings::{LockSettings, Sse},
};

fn parts(size: u64, part_size: u64) -> Vec<(u32, Range<u64>)> {
    plan(size, part_size).collect()
}

#[test]
fn sections_cover_the_whole_without_gap() {
    assert_eq!(parts(10, 5), [(1, 0..5), (2, 5..10)]);
    assert_eq!(parts(11, 5), [(1, 0..5), (2, 5..10), (3, 10..11)]);
    assert_eq!(parts(4, 5), [(1, 0..4)]);
    assert_eq!(parts(0, 5), [(1, 0..0)]);
}

#[test]
fn parts_grow_when_there_would_be_too_many() {
    let size = 5 << 40;
    let parts = parts(size, 5 << 20);
    assert!(parts.len() <= 10_000, "{}", parts.len());
    assert_eq!(parts.last().unwrap().1.end, size);
}

const UNTIL: &str = "2026-11-23T16:00:00Z";

/// Takes a stream of two parts. Its object is then locked, and has the checksum of its parts.
fn takes(asked: &Request) -> Response {
    let lock = format!("<Mode>COMPLIANCE</Mode><RetainUntilDate>{UNTIL}</RetainUntilDate>");
    let query = asked.line.split_once('?').map_or("", |(_, query)| query);
    match () {
        () if asked.is("POST ") && query.contains("uploads") => {
            let result = "<InitiateMultipartUploadResult><UploadId>u1</UploadId></InitiateMultipartUploadResult>";
            Response::new(200, result)
        }
        () if asked.is("POST ") => {
            let result = "<CompleteMultipartUploadResult><ETag>e</ETag></CompleteMultipartUploadResult>";
            Response::new(200, result).with("x-amz-version-id: v1")
        }
        () if asked.is("PUT ") => Response::new(200, "").with("etag: \"e\""),
        () if asked.is("HEAD ") => Response::new(200, "").with(&format!("content-length: {}", WHOLE)),
        () if query.contains("versions") => Response::new(200, "<ListVersionsResult></ListVersionsResult>"),
        () if query.contains("retention") => Response::new(200, format!("<Retention>{lock}</Retention>")),
        () => Response::new(200, "<VersioningConfiguration/>"),
    }
}

const HEAD: usize = 100;
const PAYLOAD: usize = (5 << 20) + 10;
const WHOLE: usize = HEAD + PAYLOAD;

/// Stores a stream of two parts, and returns its error: the server cannot read it back.
async fn stream(settings: &VaultSettings) -> VaultError {
    let vault = connect(settings).await;
    let (sender, payload) = payload();
    let upload = StreamUpload {
        key: "streams/a".into(),
        metadata: vec![("swarmdr-id".into(), "a".into())],
        now: jiff::Timestamp::now(),
        longest: SignedDuration::from_hours(6),
        expect: None,
        sizes: StreamSizes { part: 5 << 20, parallel: 3, memory: 50 << 20 },
        patience: Duration::from_secs(1),
    };
    let produce = async {
        sender.send(vec![1; PAYLOAD]).await?;
        sender.finish(Ending { head: vec![2; HEAD].into(), tail: "".into() }).await
    };
    join(put_stream(&*vault, &upload, payload, NO_PROGRESS), produce).await.0.expect_err("nothing can be read")
}

fn posts(server: &Server) -> Vec<Request> {
    server.requests().into_iter().filter(|asked| asked.is("POST ")).collect()
}

#[tokio::test]
async fn a_stream_asks_for_lock_and_encryption_at_its_beginning_and_for_a_free_key_at_its_end() {
    let server = Server::start(|asked| Some(takes(asked)));
    let settings = VaultSettings {
        sse: Sse::Kms,
        kms_key_id: Some("alias/swarm".into()),
        lock: Some(LockSettings { mode: LockMode::Compliance, days: 2 }),
        ..server.settings()
    };
    let error = stream(&settings).await;
    // The lock of the answer is older than the one that was asked for.
    assert!(matches!(error, VaultError::LockDropped { found: Some(_), .. }), "{error:?}");
    let parts: Vec<_> = server.requests().into_iter().filter(|asked| asked.is("PUT ")).collect();
    let number = |number: u32| format!("partNumber={number}&");
    assert!(parts[0].line.contains(&number(2)) && parts[1].line.contains(&number(1)) && parts.len() == 2);
    assert_eq!([parts[0].body.len(), parts[1].body.len()], [10, (5 << 20) + HEAD]);
    assert!(parts[1].body.starts_with(&[2; HEAD]) && parts[1].body[HEAD..].iter().all(|byte| *byte == 1));
    let [begun, completed] = &posts(&server)[..] else { panic!("{:?}", server.requests().len()) };
    let until = begun.headers.lines().find_map(|line| line.strip_prefix("x-amz-object-lock-retain-until-date: "));
    let until: jiff::Timestamp = until.unwrap().to_ascii_uppercase().parse().unwrap();
    let expected = jiff::Timestamp::now() + SignedDuration::from_hours(2 * 24 + 6);
    assert!(
        until.duration_since(expected).abs() < SignedDuration::from_mins(5),
        "two days behind the longest: {until}"
    );
    for header in [
        "x-amz-object-lock-mode: compliance",
        "x-amz-server-side-encryption: aws:kms",
        "x-amz-server-side-encryption-aws-kms-key-id: alias/swarm",
        "x-amz-checksum-algorithm: sha256",
        "x-amz-meta-swarmdr-id: a",
    ] {
        assert!(begun.has(header), "{header}: {}", begun.headers);
    }
    assert!(completed.has("if-none-match: *") && !begun.has("if-none-match"), "{}", completed.headers);
    let body = String::from_utf8_lossy(&completed.body);
    let order = [body.find("<PartNumber>1<"), body.find("<PartNumber>2<")];
    assert!(order[0] < order[1] && order[0].is_some(), "{body}");
    assert_eq!(body.matches("<ChecksumSHA256>").count(), 2);
}

#[tokio::test]
async fn a_server_that_knows_no_condition_at_a_completion_is_asked_without_and_the_stream_is_not_lost() {
    let implied = "A header you provided implies functionality that is not implemented";
    let server = Server::start(move |asked| {
        let refused = asked.is("POST ") && asked.has("if-none-match");
        let refusal = Response::error(501, "NotImplemented", implied, "<Header>If-None-Match</Header>");
        Some(if refused { refusal } else { takes(asked) })
    });
    let error = stream(&server.settings()).await;
    assert!(matches!(error, VaultError::LockDropped { .. }), "it was completed: {error:?}");
    assert_eq!(posts(&server).iter().map(|asked| asked.has("if-none-match")).collect::<Vec<_>>(), [false, true, false]);
    assert_eq!(server.count("DELETE "), 0);
    // And it is not asked for at all if the settings say so.
    let server = Server::start(|asked| Some(takes(asked)));
    stream(&VaultSettings { conditional_put: false, ..server.settings() }).await;
    assert!(posts(&server).iter().all(|asked| !asked.has("if-none-match")));
}
