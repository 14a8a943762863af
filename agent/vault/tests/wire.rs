//! The requests of the S3 vault, recorded by a server: headers of a put, and the sources of credentials.
//!
//! The gateways of the whole-agent tests verify signatures but support neither roles nor KMS keys.

#![allow(clippy::unwrap_used, reason = "a test that fails may panic")]

use std::{
    collections::BTreeMap,
    fs,
    io::{BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    path::Path,
    process::Command,
    sync::{Arc, Mutex},
    thread,
};

use jiff::Timestamp;
use swarmdr_http::Proxies;
use swarmdr_vault::{
    LockMode, NO_PROGRESS, Upload, VaultSettings,
    settings::{LockSettings, Sse},
};

/// A request, header names in lower case.
#[derive(Debug, Clone, Default)]
struct Request {
    line: String,
    headers: BTreeMap<String, String>,
    body: Vec<u8>,
}

impl Request {
    fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", String::as_str)
    }
}

/// Answers like S3, the instance metadata, a container agent and STS.
struct Server {
    address: SocketAddr,
    seen: Arc<Mutex<Vec<Request>>>,
}

impl Server {
    /// Serves until the process ends.
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let server = Self { address: listener.local_addr().unwrap(), seen: Arc::default() };
        let seen = Arc::clone(&server.seen);
        thread::spawn(move || {
            for stream in listener.incoming() {
                let seen = Arc::clone(&seen);
                thread::spawn(move || serve(stream.unwrap(), &seen));
            }
        });
        server
    }

    fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    fn request(&self, start: &str) -> Request {
        let seen = self.seen.lock().unwrap();
        let found = seen.iter().find(|request| request.line.starts_with(start));
        found.unwrap_or_else(|| panic!("no {start} among {seen:#?}")).clone()
    }
}

fn serve(stream: TcpStream, seen: &Mutex<Vec<Request>>) {
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    let mut lines = Vec::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).unwrap();
        if line.trim_end().is_empty() {
            break;
        }
        lines.push(line.trim_end().to_owned());
    }
    let Some(line) = lines.first().cloned() else { return };
    let headers = lines[1..].iter().filter_map(|line| line.split_once(": "));
    let headers: BTreeMap<_, _> = headers.map(|(name, value)| (name.to_lowercase(), value.to_owned())).collect();
    let length = headers.get("content-length").map_or(0, |length| length.parse().unwrap());
    let mut body = vec![0; length];
    reader.read_exact(&mut body).unwrap();
    let (status, extra, answer) = answer(&line);
    seen.lock().unwrap().push(Request { line, headers, body });
    let length = answer.len();
    let head = format!("HTTP/1.1 {status} X\r\nConnection: close\r\nContent-Length: {length}\r\n{extra}\r\n");
    (&stream).write_all(format!("{head}{answer}").as_bytes()).unwrap();
}

const EXPIRES: &str = "2199-01-01T00:00:00Z";

fn answer(line: &str) -> (u16, &'static str, String) {
    let keys = |name: &str| {
        format!(
            r#"{{"Code":"Success","Type":"AWS-HMAC","AccessKeyId":"AKID{name}","SecretAccessKey":"s","Token":"token-{name}","Expiration":"{EXPIRES}","LastUpdated":"2020-01-01T00:00:00Z"}}"#
        )
    };
    let text = match line.split(" HTTP").next().unwrap() {
        "PUT /latest/api/token" => {
            return (200, "x-aws-ec2-metadata-token-ttl-seconds: 21600\r\n", "imds-session".into());
        }
        "GET /latest/meta-data/iam/security-credentials/" => "role".into(),
        "GET /latest/meta-data/iam/security-credentials/role" => keys("IMDS"),
        "GET /latest/meta-data/placement/region" => "eu-north-1".into(),
        "GET /ecs" => keys("ECS"),
        "POST /" => format!(
            "<AssumeRoleWithWebIdentityResponse><AssumeRoleWithWebIdentityResult><Credentials>\
             <AccessKeyId>AKIDWEB</AccessKeyId><SecretAccessKey>s</SecretAccessKey>\
             <SessionToken>token-WEB</SessionToken><Expiration>{EXPIRES}</Expiration></Credentials>\
             </AssumeRoleWithWebIdentityResult></AssumeRoleWithWebIdentityResponse>"
        ),
        line if line.starts_with("GET /backups/?versioning") => {
            "<VersioningConfiguration><Status>Enabled</Status></VersioningConfiguration>".into()
        }
        line if line.starts_with("GET /backups/?object-lock") => {
            "<ObjectLockConfiguration><ObjectLockEnabled>Enabled</ObjectLockEnabled></ObjectLockConfiguration>".into()
        }
        line if line.starts_with("PUT /backups/") => return (200, "x-amz-version-id: v1\r\n", String::new()),
        _ => return (404, "", String::new()),
    };
    (200, "", text)
}

/// Checks a vault in a process that has only the given environment; returns the request.
fn check_from(environment: &[(&str, &str)], home: &Path, server: &Server) -> Request {
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "child_checks_its_vault", "--ignored"])
        .env_clear()
        .env("PATH", "/usr/bin:/bin")
        .env("HOME", home)
        .env("VAULT_ENDPOINT", server.url())
        .envs(environment.iter().copied())
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    server.request("GET /backups/?versioning")
}

#[tokio::test]
#[ignore = "the other tests run it in processes with environments of their own"]
async fn child_checks_its_vault() {
    let mut settings = VaultSettings::new("s3://backups");
    settings.endpoint = Some(std::env::var("VAULT_ENDPOINT").unwrap());
    settings.target().unwrap().connect(&Proxies::none()).await.unwrap().check().await.unwrap();
}

#[test]
fn credentials_come_from_the_usual_places() {
    let home = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| {
        let path = home.path().join(name);
        fs::write(&path, text).unwrap();
        path.display().to_string()
    };
    let shared = file("credentials", "[default]\naws_access_key_id = AKIDFILE\naws_secret_access_key = s\n");
    let printed = r#"{"Version":1,"AccessKeyId":"AKIDPROCESS","SecretAccessKey":"s"}"#;
    let process = format!("[default]\ncredential_process = cat {}\n", file("printed.json", printed));
    let process = file("config", &process);
    let token = file("token", "web-token");
    for (name, session, environment) in [
        ("AKIDENV", "", vec![("AWS_ACCESS_KEY_ID", "AKIDENV"), ("AWS_SECRET_ACCESS_KEY", "s")]),
        ("AKIDFILE", "", vec![("AWS_SHARED_CREDENTIALS_FILE", &shared)]),
        ("AKIDPROCESS", "", vec![("AWS_CONFIG_FILE", &process)]),
        ("AKIDECS", "token-ECS", vec![("AWS_CONTAINER_CREDENTIALS_FULL_URI", "SERVER/ecs")]),
        ("AKIDIMDS", "token-IMDS", vec![("AWS_EC2_METADATA_SERVICE_ENDPOINT", "SERVER")]),
        (
            "AKIDWEB",
            "token-WEB",
            vec![
                ("AWS_WEB_IDENTITY_TOKEN_FILE", &token),
                ("AWS_ROLE_ARN", "arn:aws:iam::123456789012:role/backup"),
                ("AWS_ENDPOINT_URL_STS", "SERVER"),
            ],
        ),
    ] {
        let server = Server::start();
        let mut environment: Vec<_> =
            environment.iter().map(|(name, value)| (*name, value.replace("SERVER", &server.url()))).collect();
        // Instance metadata also has the region; elsewhere it is given, so that no request is made for it.
        if name != "AKIDIMDS" {
            environment.push(("AWS_REGION", "eu-north-1".into()));
            environment.push(("AWS_EC2_METADATA_DISABLED", "true".into()));
        }
        let environment: Vec<_> = environment.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let request = check_from(&environment, home.path(), &server);
        let authorization = request.header("authorization");
        assert!(authorization.contains(&format!("Credential={name}/")), "{name}: {authorization}");
        assert!(authorization.contains("/eu-north-1/s3/"), "{name}: {authorization}");
        assert_eq!(request.header("x-amz-security-token"), session, "{name}");
        if name == "AKIDIMDS" {
            let read = server.request("GET /latest/meta-data/iam/security-credentials/role");
            assert_eq!(read.header("x-aws-ec2-metadata-token"), "imds-session", "version 2 of the service");
        }
    }
}

#[tokio::test]
async fn a_put_carries_lock_checksum_condition_and_encryption() {
    let server = Server::start();
    let directory = tempfile::tempdir().unwrap();
    let credentials = directory.path().join("credentials");
    fs::write(&credentials, "[backup]\naws_access_key_id = AKIDPROFILE\naws_secret_access_key = s\n").unwrap();
    let settings = VaultSettings {
        endpoint: Some(server.url()),
        region: Some("eu-north-1".into()),
        profile: Some("backup".into()),
        credentials_file: Some(credentials),
        sse: Sse::Kms,
        kms_key_id: Some("alias/swarm".into()),
        lock: Some(LockSettings { mode: LockMode::Governance, days: 2 }),
        ..VaultSettings::new("s3://backups/prod")
    };
    let vault = settings.target().unwrap().connect(&Proxies::none()).await.unwrap();
    let file = directory.path().join("sealed");
    fs::write(&file, "archive").unwrap();
    let upload = Upload::of_file("c/a", &file, "2026-11-21T10:00:00Z".parse::<Timestamp>().unwrap()).unwrap();
    let placed = vault.put(&upload.with_metadata("swarmdr-id", "a"), NO_PROGRESS).await.unwrap();
    assert_eq!((placed.at.key.as_str(), placed.at.id.as_str()), ("c/a", "v1"));

    let request = server.request("PUT /backups/prod/c/a");
    assert_eq!(request.body, b"archive");
    for (name, value) in [
        ("if-none-match", "*"),
        ("content-length", "7"),
        ("x-amz-sdk-checksum-algorithm", "SHA256"),
        ("x-amz-checksum-sha256", "DrPja/sk3Nm7HRvs4VMSFrWVOaj94X7oAiSvBlPJKqM="),
        ("x-amz-object-lock-mode", "GOVERNANCE"),
        ("x-amz-object-lock-retain-until-date", "2026-11-23T10:00:00Z"),
        ("x-amz-server-side-encryption", "aws:kms"),
        ("x-amz-server-side-encryption-aws-kms-key-id", "alias/swarm"),
        ("x-amz-meta-swarmdr-id", "a"),
        ("content-encoding", ""),
    ] {
        assert_eq!(request.header(name), value, "{name}");
    }
    let authorization = request.header("authorization");
    assert!(authorization.contains("Credential=AKIDPROFILE/"), "{authorization}");
    for signed in ["x-amz-checksum-sha256", "x-amz-object-lock-retain-until-date", "if-none-match"] {
        assert!(authorization.contains(signed), "{signed} is signed: {authorization}");
    }
}
