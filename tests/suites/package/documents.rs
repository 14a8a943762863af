//! The documents, followed by a reader who copies and pastes: each command block in its order, in bash, until the first
//! that fails. Only the parts that a reader fills in are replaced.

use std::fs;

use anyhow::{Context, Result, bail, ensure};
use swarmdr_tests::{
    aws::Moto,
    lab::{Engine, Host, HostSpec, addr},
    packages::{self, TOOLS, checkout},
    s3::Release,
    scenario::{CREDENTIALS, Site, agent_json, describe_swarm, populate, wait_populated},
};

/// A fenced block: its language and its text.
pub struct Block {
    pub language: String,
    pub text: String,
}

pub fn blocks(document: &str) -> Result<Vec<Block>> {
    let text = fs::read_to_string(checkout().join("packaging/docs").join(document))?;
    let mut blocks = Vec::new();
    // Fences come in pairs, so every second part is inside one.
    for part in text.split("```").skip(1).step_by(2) {
        let (language, text) = part.split_once('\n').with_context(|| format!("a fence in {document} has no end"))?;
        blocks.push(Block { language: language.to_owned(), text: text.to_owned() });
    }
    ensure!(blocks.len() >= 3, "{document} has {} blocks", blocks.len());
    Ok(blocks)
}

/// A reader at the keyboard of a host, with values that only the reader knows.
struct Person<'a> {
    host: &'a Host,
    /// Examples, and the text that the reader writes in their place.
    fills_in: Vec<(String, String)>,
    /// Profile of the reader's shell.
    profile: String,
    /// Text that the reader pastes when a command asks for it.
    pastes: String,
}

impl<'a> Person<'a> {
    fn at(host: &'a Host, site: &Site) -> Self {
        let server = format!(
            "region = \"us-east-1\"\nendpoint = \"{}\"\ncredentials_file = \"{CREDENTIALS}\"",
            site.rgw.endpoint()
        );
        let fills_in = [("s3://my-bucket/swarm", "s3://vault/swarm"), ("region = \"eu-central-1\"", &server)];
        let fills_in = fills_in.map(|(from, to)| (from.to_owned(), to.to_owned())).to_vec();
        Self { host, fills_in, profile: String::new(), pastes: String::new() }
    }

    fn fills_in(&mut self, example: &str, own: &str) {
        self.fills_in.push((example.to_owned(), own.to_owned()));
    }

    /// Follows the blocks, and returns everything that was printed.
    fn follow(&self, blocks: &[Block]) -> Result<String> {
        let mut printed = String::new();
        for block in blocks {
            let text = self.fills_in.iter().fold(block.text.clone(), |text, (from, to)| text.replace(from, to));
            match block.language.as_str() {
                "sh" => printed += &self.types(&text)?,
                "toml" => self.writes(&text)?,
                other => bail!("nobody knows what to do with a block of `{other}`"),
            }
        }
        Ok(printed)
    }

    fn types(&self, commands: &str) -> Result<String> {
        let script = format!("set -euo pipefail; cd /root\n{}\n{commands}", self.profile);
        let output = self.host.run_with_input(&["bash", "-c", &script], self.pastes.as_bytes())?;
        println!("{commands}{}", output.stdout);
        ensure!(output.status.success(), "{}:\n{commands}\n{}{}", output.status, output.stdout, output.stderr);
        Ok(output.stdout)
    }

    /// Writes settings to the file that their first line names.
    fn writes(&self, settings: &str) -> Result<()> {
        let path = settings.lines().next().and_then(|line| line.strip_prefix("# "));
        ensure!(!settings.contains('…'), "something is not filled in:\n{settings}");
        self.host.write_file(path.context("settings do not say where they belong")?, settings)
    }
}

#[tokio::test]
async fn who_follows_the_documents_gets_there() -> Result<()> {
    let site = Site::new(Release::V20).await?;
    let moto = Moto::start(&site.lab)?;
    let host = |name| HostSpec::new(name, Engine::E20_10, addr(11)).with(TOOLS);
    let manager = site.lab.boot(host("m1"))?;
    manager.swarm_init()?;
    populate(&manager)?;
    let before = describe_swarm(&manager)?;
    let known = operations(&site, &moto, &manager)?;
    assert_eq!(describe_swarm(&manager)?, before);
    let archive = archive(&site).await?;
    let mut is_it_lost = blocks("runbook.md")?;
    let fresh_host = is_it_lost.iter().position(|block| block.text.starts_with("ip -brief")).context("no step 1")?;
    let worst_day = is_it_lost.split_off(fresh_host);
    this_one_is_not_lost(&site, &manager, &is_it_lost)?;
    manager.destroy()?;

    let fresh = site.lab.boot(host("fresh"))?;
    runbook(&site, &fresh, &known, &worst_day)?;
    assert_eq!(describe_swarm(&fresh)?, before);
    wait_populated(&fresh)?;
    fresh.destroy()?;

    let bare = site.lab.boot(host("bare"))?;
    by_hand(&site, &bare, &known, &archive)?;
    assert_eq!(describe_swarm(&bare)?, before);
    Ok(())
}

/// Values that the reader noted down on the way, for the runbook.
struct Known {
    identity: String,
    recipient: String,
    public_key: String,
}

fn operations(site: &Site, moto: &Moto, host: &Host) -> Result<Known> {
    site.write_credentials(host)?;
    put_package(host)?;
    let guide = blocks("operations.md")?;
    let mut person = Person::at(host, site);
    person.profile = format!(
        "export AWS_ACCESS_KEY_ID=tests AWS_SECRET_ACCESS_KEY=tests AWS_DEFAULT_REGION=us-east-1 AWS_PAGER=\n\
         aws() {{ command aws --endpoint-url {} \"$@\"; }}",
        moto.endpoint()
    );
    host.write_file("/root/vault.yaml", fs::read(checkout().join("packaging/aws/vault.yaml"))?)?;
    let settings = guide.iter().position(|block| block.language == "toml").context("no settings")?;
    let printed = person.follow(&guide[..settings])?;
    // The emulator loses the outputs of a stack that was deployed by a change set.
    ensure!(printed.contains("created/updated stack - swarmdr-vault"), "{printed}");
    let public_key = printed.lines().find_map(|line| line.trim().strip_prefix("public  "));
    let known = Known {
        identity: host.read_file("/root/identity.txt")?,
        recipient: host.sh("age-keygen -y /root/identity.txt")?,
        public_key: public_key.with_context(|| format!("keygen shows no key:\n{printed}"))?.to_owned(),
    };
    person.fills_in("age1…", &known.recipient);
    person.fills_in("RW…", &known.public_key);
    let printed = person.follow(&guide[settings..])?;
    for wanted in ["proven", "swarmdr-backup.timer", "swarmdr-verify.timer"] {
        ensure!(printed.contains(wanted), "`{wanted}` was not shown:\n{printed}");
    }
    // No schedule is configured, so the next backup is due at night.
    let look = host.run(&["swarmdr-agent", "backup", "--if-due"])?;
    ensure!(look.status.code() == Some(3), "{:?} {}{}", look.status.code(), look.stdout, look.stderr);
    let listed = agent_json(host, 0, &["list"])?;
    assert_eq!(listed["backups"][0]["lock"]["mode"], "COMPLIANCE", "{listed:#}");
    Ok(known)
}

/// Follows the questions with which the runbook begins: a manager that works answers, gets back what was removed, and is
/// not recovered.
fn this_one_is_not_lost(site: &Site, host: &Host, questions: &[Block]) -> Result<()> {
    for question in questions {
        if question.text.contains("recover-quorum") {
            // The engine has just been restarted for a backup.
            host.wait_manager()?;
            let answer = host.run(&["bash", "-c", &question.text])?;
            assert_eq!(answer.status.code(), Some(0), "{}{}", answer.stdout, answer.stderr);
            ensure!(answer.stdout.contains("has a leader; nothing was changed"), "{}", answer.stdout);
        } else if question.text.contains("undelete") {
            host.wait_manager()?;
            host.docker(&["service", "rm", "cron"])?;
            let mut person = Person::at(host, site);
            // The swarm has no stack.
            person.fills_in("--stack shop", "--service cron");
            let printed = person.follow(std::slice::from_ref(question))?;
            ensure!(printed.contains("+ service cron: to be created"), "{printed}");
            ensure!(printed.contains("+ service cron: created"), "{printed}");
        } else {
            Person::at(host, site).follow(std::slice::from_ref(question))?;
        }
    }
    Ok(())
}

async fn archive(site: &Site) -> Result<Vec<u8>> {
    let versions = site.owner.versions("swarm/").await.map_err(|it| anyhow::anyhow!("{it:?}"))?;
    let newest = versions.iter().map(|it| &it.key).filter(|key| key.ends_with(".swarmdr")).max();
    let newest = newest.context("there is no archive")?;
    site.owner.get(newest, None).await.map_err(|it| anyhow::anyhow!("{it:?}"))
}

fn runbook(site: &Site, host: &Host, known: &Known, rest: &[Block]) -> Result<()> {
    site.write_credentials(host)?;
    host.load_image()?;
    put_package(host)?;
    let mut person = Person::at(host, site);
    person.fills_in("age1…", &known.recipient);
    person.fills_in("RW…", &known.public_key);
    person.pastes.clone_from(&known.identity);
    let printed = person.follow(rest)?;
    ensure!(printed.contains("is back from backup"), "{printed}");
    ensure!(host.run(&["test", "-e", "/run/identity.txt"])?.status.code() == Some(1), "the identity is still there");
    Ok(())
}

fn by_hand(site: &Site, host: &Host, known: &Known, archive: &[u8]) -> Result<()> {
    host.load_image()?;
    host.write_file("/root/by-hand/backup.swarmdr", archive)?;
    host.write_file("/root/by-hand/identity.txt", &known.identity)?;
    let mut person = Person::at(host, site);
    person.profile = format!("PUBLIC_KEY={}", known.public_key);
    let printed = person.follow(&blocks("by-hand.md")?)?;
    ensure!(printed.contains("Signature and comment signature verified"), "{printed}");
    Ok(())
}

fn put_package(host: &Host) -> Result<()> {
    let package = packages::deb()?;
    let name = package.file_name().context("a package has a name")?.to_string_lossy().into_owned();
    host.write_file(&format!("/root/{name}"), fs::read(package)?)
}
