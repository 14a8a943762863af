use super::*;
use crate::LockPolicy;

fn read(text: &str) -> VaultSettings {
    toml::from_str(text).unwrap()
}

fn s3(text: &str) -> S3Target {
    match read(text).target().unwrap() {
        Target::S3(target) => *target,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_url_alone_is_an_aws_bucket_locked_for_thirty_days() {
    let target = s3(r#"url = "s3://backups/prod/swarm/""#);
    assert_eq!((target.bucket.as_str(), target.prefix.as_str()), ("backups", "prod/swarm"));
    assert_eq!(target.lock, LockPolicy { mode: LockMode::Compliance, days: 30 });
    assert!(!target.path_style);
    assert!(read(r#"url = "s3://backups""#).required);
}

#[test]
fn every_key_is_read() {
    let target = s3(r#"
        url = "s3://backups"
        endpoint = "https://rgw.example:7443/"
        region = "eu-north-1"
        profile = "swarmdr"
        credentials_file = "/etc/swarmdr/credentials"
        ca_file = "/etc/swarmdr/ca.pem"
        proxy = "http://proxy:3128"
        proxy_login_file = "/etc/swarmdr/proxy-login"
        bucket_owner = "012345678901"
        requester_pays = true
        conditional_put = false
        sse = "aws:kms"
        kms_key_id = "alias/swarm"
        lock = { mode = "GOVERNANCE", days = 7 }
        required = false
        multipart_threshold = 10485760
        part_size = 5242880
    "#);
    let expected = S3Target {
        bucket: "backups".into(),
        prefix: String::new(),
        endpoint: Some("https://rgw.example:7443".into()),
        region: Some("eu-north-1".into()),
        path_style: true,
        profile: Some("swarmdr".into()),
        credentials_file: Some("/etc/swarmdr/credentials".into()),
        ca_file: Some("/etc/swarmdr/ca.pem".into()),
        proxy: Some("http://proxy:3128".into()),
        proxy_login_file: Some("/etc/swarmdr/proxy-login".into()),
        dual_stack: false,
        fips: false,
        bucket_owner: Some("012345678901".into()),
        requester_pays: true,
        conditional_put: false,
        sse: Sse::Kms,
        kms_key_id: Some("alias/swarm".into()),
        lock: LockPolicy { mode: LockMode::Governance, days: 7 },
        multipart_threshold: 10 << 20,
        part_size: 5 << 20,
    };
    assert_eq!(target, expected);
}

#[test]
fn a_directory_is_an_absolute_path() {
    let target = read(r#"url = "file:///var/lib//swarmdr/vault/""#).target().unwrap();
    assert_eq!(target, Target::Directory("/var/lib/swarmdr/vault".into()));
}

#[test]
fn an_unknown_key_is_refused_by_name() {
    let error = toml::from_str::<VaultSettings>("url = \"s3://backups\"\nendpiont = \"x\"").unwrap_err();
    assert!(error.to_string().contains("endpiont"), "{error}");
}

#[test]
fn an_error_names_its_key_and_what_to_write() {
    for (text, key, fix) in [
        (r#"url = "https://bucket.s3.amazonaws.com""#, "url", "`s3://bucket/prefix` or `file:///path`"),
        (r#"url = "s3://""#, "url", "3 to 63 characters"),
        (r#"url = "s3://key:secret@bucket""#, "url", "3 to 63 characters"),
        (r#"url = "s3://backups/a//b""#, "url", "without empty"),
        (r#"url = "s3://backups/../b""#, "url", "without empty"),
        (r#"url = "file://relative/path""#, "url", "three slashes"),
        (r#"url = "file:///a/../b""#, "url", "three slashes"),
        ("url = \"file:///a\"\nlock = { days = 3 }", "lock", "s3://"),
        ("url = \"s3://backups\"\nendpoint = \"rgw:7480\"", "endpoint", "https://host:port"),
        ("url = \"s3://backups\"\nendpoint = \"https://u:p@rgw\"", "endpoint", "https://host:port"),
        ("url = \"s3://backups\"\nkms_key_id = \"x\"", "kms_key_id", "aws:kms"),
        ("url = \"s3://backups\"\nproxy = \"socks5://proxy\"", "proxy", "http://host:port"),
        ("url = \"s3://backups\"\nproxy = \"http://user:planted@proxy\"", "proxy", "proxy_login_file"),
        ("url = \"s3://backups\"\nproxy_login_file = \"/x\"", "proxy_login_file", "add `proxy`"),
        ("url = \"s3://backups\"\nendpoint = \"https://x\"\nfips = true", "fips", "remove one"),
        ("url = \"s3://backups\"\nendpoint = \"https://x\"\ndual_stack = true", "dual_stack", "remove one"),
        ("url = \"s3://backups\"\nbucket_owner = \"me\"", "bucket_owner", "12 digits"),
        ("url = \"file:///a\"\nproxy = \"none\"", "proxy", "s3://"),
        ("url = \"file:///a\"\nconditional_put = false", "conditional_put", "s3://"),
        ("url = \"s3://backups\"\nlock = { days = 0 }", "lock.days", "1 to 3650"),
        ("url = \"s3://backups\"\nlock = { days = 36500 }", "lock.days", "1 to 3650"),
        ("url = \"s3://backups\"\npart_size = 1048576", "part_size", "5242880"),
    ] {
        let error = read(text).target().unwrap_err();
        assert_eq!(error.key, key, "{text}");
        assert!(error.to_string().contains(fix), "{text}: {error}");
        assert!(!error.to_string().contains("planted"), "{error}");
    }
}
