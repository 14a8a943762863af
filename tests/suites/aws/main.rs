//! Everything that is shipped for AWS: templates that an emulator creates, policies that a gateway enforces, and
//! user-data that brings a swarm back.

mod branches;
mod failover;
mod machine;
mod script;

use std::{collections::BTreeMap, fs, path::PathBuf, process::Command, time::Duration};

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use sha2::{Digest, Sha256};
use swarmdr_tests::{
    aws::{Moto, put_user_policy, tool},
    lab::{Engine, Host, HostSpec, Lab, addr},
    packages::{self, checkout},
    s3::{Bucket, Identity, Lock, Mode, Refusal, Release, Retention, Rgw, RgwOptions},
    scenario::{Site, agent_json, describe_swarm, populate, text, wait_populated},
};

const TEMPLATES: [&str; 4] = ["vault.yaml", "recovery.yaml", "failover.yaml", "images.yaml"];
/// Where the images of the restored swarm are; it has none of these.
const IMAGE_MAP: &str = "registry.old:5000=registry.new/mirror/registry.old_5000,docker.io/acme=registry.new/acme";

fn shipped(name: &str) -> PathBuf {
    checkout().join("packaging/aws").join(name)
}

fn policy(name: &str, bucket: &str) -> Result<String> {
    let text = fs::read_to_string(shipped(name))?;
    Ok(text.replace("BUCKET", bucket).replace("MAXDAYS", "120"))
}

/// One policy with the statements of several.
fn policies(names: &[&str], bucket: &str) -> Result<String> {
    let mut all = Vec::new();
    for name in names {
        let document: Value = serde_json::from_str(&policy(name, bucket)?)?;
        all.extend(document["Statement"].as_array().context("no statements")?.iter().cloned());
    }
    Ok(serde_json::json!({ "Version": "2012-10-17", "Statement": all }).to_string())
}

/// A user of a site's gateway who may do in its bucket what these policies say.
fn user_with(site: &Site, name: &str, files: &[&str]) -> Result<Identity> {
    let identity = site.rgw.user(name)?;
    let endpoint = format!("http://{}", site.rgw.reach());
    // There is no TLS to check.
    let authority = tempfile::NamedTempFile::new()?;
    put_user_policy(&endpoint, authority.path(), site.rgw.owner(), name, &policies(files, "vault")?)?;
    Ok(identity)
}

/// A reader that stops at its first match ends what writes to it by SIGPIPE, which `pipefail` takes for a failure, now
/// and then: user-data went on to attach an address that the host had.
#[test]
fn no_pipe_of_the_user_data_ends_at_a_first_match() -> Result<()> {
    let template = fs::read_to_string(shipped("recovery.yaml"))?;
    ensure!(template.contains("set -euo pipefail"), "the user-data does not stop at failures");
    for line in template.lines() {
        let readers = line.split('|').skip(1).map(str::trim_start);
        let early = readers.filter(|it| it.starts_with("grep -q") || it.starts_with("head"));
        ensure!(early.count() == 0, "the pipe fails now and then: {line}");
    }
    Ok(())
}

/// User-data writes scripts by here-documents, in which backquotes run what is between them, also in a comment.
#[test]
fn no_script_that_the_user_data_writes_runs_a_comment() -> Result<()> {
    let template = fs::read_to_string(shipped("recovery.yaml"))?;
    let (mut until, mut scripts) = (None, 0);
    for line in template.lines().map(str::trim) {
        match until {
            None => {
                until = line.split_once("<<").map(|(_, word)| word).filter(|word| !word.starts_with('\''));
                scripts += usize::from(until.is_some());
            }
            Some(word) if line == word => until = None,
            Some(word) => ensure!(!line.contains('`'), "in {word}: {line}"),
        }
    }
    ensure!(scripts == 3 && until.is_none(), "{scripts} scripts are written");
    Ok(())
}

#[test]
fn the_templates_are_clean_and_say_what_the_policies_say() -> Result<()> {
    let output = Command::new(tool("cfn-lint")?).args(TEMPLATES.map(shipped)).output()?;
    ensure!(output.status.success(), "cfn-lint: {}", String::from_utf8_lossy(&output.stdout));
    // Every action of the plain policies is in the template, so that neither lags behind.
    let mut actions = 0;
    for (name, template) in [
        ("policy-backup.json", "vault.yaml"),
        ("policy-restore.json", "vault.yaml"),
        ("policy-store.json", "vault.yaml"),
        ("policy-watch.json", "vault.yaml"),
        ("policy-streams.json", "vault.yaml"),
        ("policy-bucket.json", "vault.yaml"),
        ("policy-mirror.json", "images.yaml"),
        ("policy-pull.json", "images.yaml"),
    ] {
        let template = fs::read_to_string(shipped(template))?;
        let document: Value = serde_json::from_str(&policy(name, "vault")?)?;
        for statement in document["Statement"].as_array().context("no statements")? {
            let sid = statement["Sid"].as_str().context("a statement has no Sid")?;
            assert!(template.contains(&format!("Sid: {sid}\n")), "{name}: {sid} is not in the template");
            for action in statement["Action"].as_array().into_iter().flatten().filter_map(Value::as_str) {
                actions += 1;
                assert!(template.contains(&format!("- {action}\n")), "{name}: {action} is not in the template");
            }
        }
    }
    ensure!(actions > 40, "{actions} actions were looked for");
    Ok(())
}

/// Statements of a policy by their Sid, with what they allow or deny, and on what.
fn statements(document: &Value) -> Result<BTreeMap<String, Value>> {
    let statements = document["Statement"].as_array().context("no statements")?;
    statements.iter().map(|it| Ok((text(it, "/Sid")?.to_owned(), it.clone()))).collect()
}

/// The emulator knows neither templates of repositories nor replication; of these, cfn-lint checks the form.
#[test]
fn the_policies_of_the_images_stack_are_the_plain_ones_and_delete_nothing() -> Result<()> {
    const ACCOUNT: &str = "123456789012";
    let lab = Lab::new()?;
    let moto = Moto::start(&lab)?;
    let alone = create_stack(&moto, "images", "images.yaml", &[])?;
    let parameters = [("Prefix", "shop/images"), ("TagMutability", "IMMUTABLE"), ("ReplicaRegion", "eu-west-1")];
    let replicated = create_stack(&moto, "replicated", "images.yaml", &parameters)?;
    for (stack, prefix) in [(&alone, "swarm"), (&replicated, "shop/images")] {
        assert_eq!(stack["status"], "CREATE_COMPLETE", "{stack:#}");
        let mirror = format!("{ACCOUNT}.dkr.ecr.us-east-1.amazonaws.com/{prefix}");
        assert_eq!(text(stack, "/outputs/Mirror")?, mirror);
        for (output, file) in [("MirrorPolicyArn", "policy-mirror.json"), ("PullPolicyArn", "policy-pull.json")] {
            let made = moto.ask(&["policy", text(stack, &format!("/outputs/{output}"))?])?;
            let plain = fs::read_to_string(shipped(file))?.replace("ACCOUNT", ACCOUNT).replace("PREFIX", prefix);
            let (made, plain): (Value, Value) = (serde_json::from_str(&made)?, serde_json::from_str(&plain)?);
            assert_eq!(statements(&made)?, statements(&plain)?, "{file}");
        }
    }
    assert!(alone["outputs"].get("ReplicaMirror").is_none(), "{alone:#}");
    assert_eq!(
        text(&replicated, "/outputs/ReplicaMirror")?,
        format!("{ACCOUNT}.dkr.ecr.eu-west-1.amazonaws.com/shop/images")
    );
    // Nothing but the owner of the account removes a copy, by itself or through a rule.
    let template = fs::read_to_string(shipped("images.yaml"))?;
    assert!(!template.contains("LifecyclePolicy:") && !template.contains("DeleteReplication:"), "{template}");
    let mirror: Value = serde_json::from_str(&fs::read_to_string(shipped("policy-mirror.json"))?)?;
    let denied = statements(&mirror)?;
    for action in ["ecr:BatchDeleteImage", "ecr:DeleteRepository", "ecr:PutLifecyclePolicy"] {
        for (sid, statement) in &denied {
            let named = statement["Action"].as_array().is_some_and(|all| all.contains(&action.into()));
            assert_eq!(named, statement["Effect"] == "Deny", "{sid}: {action}");
        }
    }
    Ok(())
}

/// Attempts of one user, and whether the server allowed each.
type Matrix = BTreeMap<&'static str, &'static str>;

fn verdict<T>(result: Result<T, Refusal>) -> &'static str {
    match result {
        Ok(_) => "done",
        Err(refusal) if refusal.status == 403 => "denied",
        Err(refusal) => {
            eprintln!("neither done nor denied: {refusal:?}");
            "failed"
        }
    }
}

#[tokio::test]
async fn what_the_policies_deny_is_denied() -> Result<()> {
    const DAY: Duration = Duration::from_secs(24 * 3600);
    let rgw = Rgw::start(RgwOptions { tls: true, ..RgwOptions::default() })?;
    let owner = rgw.create_bucket("vault", Lock::On).await?;
    // From here on the bucket's policy allows no user by name: the user's own policy says what that user may do.
    owner.client.put_bucket_policy().bucket("vault").policy(policy("policy-bucket.json", "vault")?).send().await?;
    let endpoint = format!("https://{}", rgw.reach());
    let authority = tempfile::NamedTempFile::new()?;
    fs::write(authority.path(), rgw.authority().context("the gateway has no authority")?)?;
    let mut users: BTreeMap<&str, Bucket> = BTreeMap::new();
    for (user, files) in [
        ("backup", &["policy-backup.json"][..]),
        ("restore", &["policy-restore.json"]),
        // A restored manager has both.
        ("both", &["policy-restore.json", "policy-store.json"]),
        ("watch", &["policy-watch.json"]),
        ("streams", &["policy-streams.json"]),
    ] {
        let identity = rgw.user(user)?;
        put_user_policy(&endpoint, authority.path(), rgw.owner(), user, &policies(files, "vault")?)?;
        users.insert(user, owner.by(&identity)?);
    }
    let month = Retention::new(Mode::Governance, 30 * DAY);
    let stored = owner.put_locked("c/stored", b"an archive", month).await.map_err(|it| anyhow::anyhow!("{it:?}"))?;

    let mut seen: BTreeMap<&str, Matrix> = BTreeMap::new();
    for (user, bucket) in &users {
        let matrix = seen.entry(user).or_default();
        let key = "c/stored";
        matrix.insert("store and lock", verdict(bucket.put_locked("c/new", b"x", month).await));
        matrix.insert("list versions", verdict(bucket.versions("c/").await));
        matrix.insert("read a version", verdict(bucket.get(key, Some(&stored)).await));
        matrix.insert("read the lock", verdict(bucket.retention(key, &stored).await));
        let shorter = Retention::new(Mode::Governance, DAY);
        matrix.insert("shorten the lock", verdict(bucket.set_retention(key, &stored, shorter, false).await));
        matrix.insert("shorten it by bypass", verdict(bucket.set_retention(key, &stored, shorter, true).await));
        let century = Retention::new(Mode::Compliance, 36_500 * DAY);
        matrix.insert("lock for a century", verdict(bucket.put_locked("c/century", b"x", century).await));
        matrix.insert("hide by a delete marker", verdict(bucket.hide(key).await));
        matrix.insert("delete the version", verdict(bucket.delete_version(key, &stored).await));
        matrix.insert("delete it by bypass", verdict(bucket.delete_version_bypassing(key, &stored).await));
        // Each on top of the last one, with the lock that the agent asks for.
        let brief = Retention::new(Mode::Governance, Duration::from_secs(3600));
        let first = bucket.put_locked("prod/life/c/n", b"x", brief).await;
        let second = bucket.put_locked("prod/life/c/n", b"y", brief).await;
        matrix.insert("leave signs of life", verdict(first.and(second)));
        let below = bucket.put_locked("prod/streams/c/db/n.stream", b"x", month).await;
        matrix
            .insert("store streams", verdict(bucket.put_locked("streams/c/db/n.stream", b"x", month).await.and(below)));
        matrix.insert("store a point", verdict(bucket.put_locked("points/c/n.point", b"x", month).await));
        for (what, key) in
            [("claim a swarm", "claims/c/00000001.claim"), ("claim one below a prefix", "prod/claims/c/00000001.claim")]
        {
            matrix.insert(what, verdict(bucket.put_locked(key, b"x", month).await));
        }
    }
    for (user, matrix) in &seen {
        println!("{user}: {matrix:#?}");
    }
    let expected = |done: &[&str]| -> Matrix {
        let all = seen["backup"].keys();
        all.map(|what| (*what, if done.contains(what) { "done" } else { "denied" })).collect()
    };
    let reads = ["list versions", "read a version", "read the lock"];
    // A promoter claims, leaves signs of life, and stores nothing else; a manager stores, and claims nothing.
    let claims = ["claim a swarm", "claim one below a prefix", "leave signs of life"];
    assert_eq!(seen["restore"], expected(&[&reads[..], &claims].concat()));
    // Ceph 20 does not know s3:object-lock-remaining-retention-days, so nothing limits a lock there; on AWS the policy
    // does.
    let writes = ["store and lock", "lock for a century", "leave signs of life", "store streams", "store a point"];
    assert_eq!(seen["backup"], expected(&[&reads[..], &writes].concat()));
    assert_eq!(seen["both"], expected(&[&reads[..], &writes, &claims].concat()));
    assert_eq!(seen["watch"], expected(&reads));
    // A worker stores streams and nothing else.
    assert_eq!(seen["streams"], expected(&[&reads[..], &["store streams"]].concat()));
    // Not even the owner of the account may delete the version, as long as the bucket has its policy.
    assert_eq!(verdict(owner.delete_version_bypassing("c/stored", &stored).await), "denied");
    Ok(())
}

#[tokio::test]
async fn the_user_data_of_the_recovery_stack_brings_the_swarm_back() -> Result<()> {
    let site = Site::new(Release::V20).await?;
    let old = site.lab.boot(HostSpec::new("m1", Engine::E20_10, addr(11)))?;
    old.swarm_init()?;
    populate(&old)?;
    site.set_up_manager(&old)?;
    let before = describe_swarm(&old)?;
    agent_json(&old, 0, &["backup"])?;
    old.destroy()?;

    let moto = Moto::start(&site.lab)?;
    let secret = site.lab.dir().join("identity.txt");
    fs::write(&secret, site.identity())?;
    let secret = moto.ask(&["create-secret", "swarmdr-identity", &secret.to_string_lossy()])?;
    let vault = create_stack(&moto, "vault", "vault.yaml", &[("BucketName", "swarmdr-vault")])?;
    let images = create_stack(&moto, "images", "images.yaml", &[])?;
    let policies = ["RestorePolicyArn", "PullPolicyArn"]
        .map(|name| [&vault, &images].into_iter().find_map(|stack| stack["outputs"][name].as_str()));
    let [Some(restores), Some(pulls)] = policies else { anyhow::bail!("a policy is missing: {policies:?}") };
    let recovery = create_recovery(&moto, &site, &secret, [restores, pulls], &[("GrowTo", "1")])?;
    for (stack, resources) in [(&vault, 8), (&recovery, 10), (&images, 2)] {
        assert_eq!(stack["status"], "CREATE_COMPLETE");
        let made = stack["resources"].as_object().map_or(0, serde_json::Map::len);
        println!("{made} resources: {}", stack["resources"]);
        assert!(made >= resources, "{stack:#}");
    }

    // Stands in for the instance of the group, whose image has an engine and the command line of AWS.
    let image = |name: &str, last| HostSpec::new(name, Engine::E20_10, addr(last)).with(packages::TOOLS);
    let manager = site.lab.boot(image("recovered", 11))?;
    manager.load_image()?;
    let rights = user_with(&site, "recovery", &["policy-restore.json"])?;
    rights_of(&manager, &rights)?;
    manager.write_file("/root/package.deb", fs::read(packages::deb()?)?)?;
    // Stands in for the package of Debian: no image of this swarm is in ECR, so it is never asked.
    manager.write_file("/usr/local/bin/docker-credential-ecr-login", "#!/bin/sh\nexit 1\n")?;
    manager.sh("chmod 755 /usr/local/bin/docker-credential-ecr-login")?;
    let script = moto.ask(&["user-data", text(&recovery, "/resources/ManagerTemplate")?])?;
    let said = run_user_data(&manager, &script)?;
    assert!(said.contains("is back from backup"), "{said}");
    assert_eq!(describe_swarm(&manager)?, before);
    let map = manager.sh("swarmdr-agent config | grep 'images.map'")?;
    for rule in IMAGE_MAP.split(',') {
        assert!(map.contains(&format!("\"{rule}\"")), "{rule} is not in force: {map}");
    }
    wait_populated(&manager)?;
    let left = manager.sh("ls /run/swarmdr-identity.* 2>/dev/null | wc -l; grep -rl AGE-SECRET-KEY /etc /root /var/lib/swarmdr /run 2>/dev/null | wc -l")?;
    assert_eq!(left, "0\n0", "the identity is still there");

    sign_of_life(&moto, &manager)?;

    // Run again, as after a reboot, it does not undo a day of work.
    manager.create_secret("made-after-the-restore", b"x")?;
    let today = describe_swarm(&manager)?;
    run_user_data(&manager, &script)?;
    assert_eq!(describe_swarm(&manager)?, today);

    // A worker of the group, whose size is raised from zero.
    let worker = site.lab.boot(image("worker", 12))?;
    rights_of(&worker, &rights)?;
    worker.write_file("/root/package.deb", fs::read(packages::deb()?)?)?;
    run_user_data(&worker, &moto.ask(&["user-data", text(&recovery, "/resources/WorkerTemplate")?])?)?;
    manager.wait_for("the worker to be ready", Duration::from_secs(60), || {
        let nodes = manager.docker(&["node", "ls", "--format", "{{.Hostname}} {{.Status}}"])?;
        Ok(nodes.lines().any(|line| line == "worker Ready").then_some(()))
    })
}

/// Checks that the metric of the alarm counts backups whose signature was verified, and nothing else.
fn sign_of_life(moto: &Moto, host: &Host) -> Result<()> {
    // The emulator does not create the alarm of the template.
    let template = fs::read_to_string(shipped("vault.yaml"))?;
    let alarm = template.split("Type: AWS::CloudWatch::Alarm").nth(1).context("no alarm")?;
    for listens in
        ["Namespace: swarmdr\n", "MetricName: SignedBackup\n", "- Name: Bucket\n", "TreatMissingData: breaching\n"]
    {
        ensure!(alarm.contains(listens), "the alarm does not hear: {listens}");
    }
    let heard = || moto.ask(&["metric-sum", "swarmdr", "SignedBackup", "Bucket=swarmdr-vault"]);
    host.write_file("/root/sign-of-life", fs::read(shipped("sign-of-life"))?)?;
    // These credentials are for the emulator alone: the agent has those of the host.
    let environment = "AWS_ACCESS_KEY_ID=tests AWS_SECRET_ACCESS_KEY=tests AWS_DEFAULT_REGION=us-east-1";
    let wrapper = format!("#!/bin/sh\nexec env {environment} /usr/bin/aws --endpoint-url {} \"$@\"\n", moto.endpoint());
    host.write_file("/usr/local/bin/aws", wrapper)?;
    host.sh("chmod 755 /usr/local/bin/aws")?;
    let run = |age: &str| host.run(&["sh", "/root/sign-of-life", "swarmdr-vault", age]);
    let none = run("1s")?;
    ensure!(!none.status.success() && heard()?.trim() == "0", "{none:?}: {}", heard()?);
    let said = run("26h")?;
    ensure!(said.status.success() && heard()?.trim() == "1.0", "{said:?}: {}", heard()?);
    host.sh("rm /usr/local/bin/aws").map(drop)
}

fn create_recovery(
    moto: &Moto,
    site: &Site,
    secret: &str,
    [restores, pulls]: [&str; 2],
    others: &[(&str, &str)],
) -> Result<Value> {
    let network: Value = serde_json::from_str(&moto.ask(&["network"])?)?;
    let digest = Sha256::digest(fs::read(packages::deb()?)?);
    let digest: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
    let address = addr(11).to_string();
    let (endpoint, aws) = (site.rgw.endpoint(), moto.endpoint());
    let mut parameters = vec![
        ("VpcId", text(&network, "/vpc")?),
        ("SubnetId", text(&network, "/subnet")?),
        ("ManagerAddress", &address),
        ("WaitForSilence", "2s"),
        ("VaultUrl", swarmdr_tests::scenario::VAULT),
        ("VaultRegion", "us-east-1"),
        ("VaultEndpoint", &endpoint),
        ("AwsEndpoint", &aws),
        ("RestorePolicyArn", restores),
        ("ImagesPolicyArn", pulls),
        ("ImageMap", IMAGE_MAP),
        ("TrustedKey", &site.public_key),
        ("Recipient", &site.recipient),
        ("IdentitySecret", secret),
        ("PackageUrl", "file:///root/package.deb"),
        ("PackageSha256", &digest),
    ];
    parameters.extend(others);
    create_stack(moto, "recovery", "recovery.yaml", &parameters)
}

fn create_stack(moto: &Moto, name: &str, template: &str, parameters: &[(&str, &str)]) -> Result<Value> {
    let pairs: Vec<String> = parameters.iter().map(|(key, value)| format!("{key}={value}")).collect();
    let template = shipped(template).display().to_string();
    let mut words = vec!["create-stack", name, &template];
    words.extend(pairs.iter().map(String::as_str));
    Ok(serde_json::from_str(&moto.ask(&words)?)?)
}

/// Stands in for the instance metadata: gives every program on this host, and the units of the agent, these credentials.
fn rights_of(host: &Host, identity: &Identity) -> Result<()> {
    let (access, secret) = (&identity.access_key, &identity.secret_key);
    host.write_file(
        "/root/.aws/credentials",
        format!("[default]\naws_access_key_id = {access}\naws_secret_access_key = {secret}\n"),
    )?;
    host.write_file(
        "/etc/systemd/system/swarmdr-.service.d/role.conf",
        format!("[Service]\nEnvironment=AWS_ACCESS_KEY_ID={access} AWS_SECRET_ACCESS_KEY={secret}\n"),
    )
}

fn run_user_data(host: &Host, script: &str) -> Result<String> {
    ensure!(script.len() < 16 * 1024, "EC2 takes no user-data of {} bytes", script.len());
    host.write_file("/root/user-data", script)?;
    host.sh("chmod 700 /root/user-data")?;
    let output = host.run(&["/root/user-data"])?;
    // 6: the swarm is back, and something needs attention, as images that nobody can ask for from here.
    let is_back = matches!(output.status.code(), Some(0 | 6));
    ensure!(is_back, "user-data ended with {}: {}{}", output.status, output.stdout, output.stderr);
    Ok(output.stdout + &output.stderr)
}
