//! Names that are taken: each row of the table of conflicts, on one living swarm.

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use swarmdr_tests::{
    campaign::generations,
    lab::{Engine, Host, HostSpec, addr},
    s3::Release,
    scenario::{IDENTITY, Site, agent, agent_json},
};

use crate::shop::raw_specs;

/// A swarm with one service that uses one secret, one config and one network. Its tasks wait for a label.
struct Small {
    host: Host,
    /// All specs at the time of the backup.
    before: Value,
    /// The date of the backup, as new names have it.
    date: String,
    _site: Site,
}

const NETWORK: &str = "docker network create --driver overlay --subnet 10.78.0.0/24 --label a=b back";
const SECRET: &str = "printf planted-one | docker secret create --label a=b key -";
const CONFIG: &str = "printf one | docker config create conf -";
const SERVICE: &str = "docker service create --detach --no-resolve-image --name web --network back \
    --secret source=key,target=/k --config source=conf,target=/c --env A=1 --publish 8080:80 --replicas 2 \
    --constraint node.labels.never==true lab/busybox:1";
const OTHER: &str = "docker service create --detach --no-resolve-image --constraint node.labels.never==true";

impl Small {
    async fn new(engine: Engine) -> Result<Self> {
        let site = Site::new(Release::V20).await?;
        let host = site.lab.boot(HostSpec::new("m1", engine, addr(11)))?;
        host.swarm_init()?;
        for command in [NETWORK, SECRET, CONFIG, SERVICE] {
            host.sh(command)?;
        }
        site.set_up_manager(&host)?;
        site.write_identity(&host)?;
        let backup = agent_json(&host, 0, &["backup"])?;
        let date = backup["id"].as_str().and_then(|id| id.get(..8)).context("an id with a date")?.to_owned();
        host.wait_manager()?;
        let before = raw_specs(&host)?;
        Ok(Self { host, before, date, _site: site })
    }

    /// Runs `undelete` on the newest backup.
    fn undelete(&self, exit: i32, words: &[&str]) -> Result<Value> {
        agent_json(&self.host, exit, &[&["undelete", "--latest", "--identity", IDENTITY], words].concat())
    }

    /// Checks that `undelete` refuses, says this, and changes nothing.
    fn is_refused(&self, words: &[&str], says: &str) -> Result<()> {
        let before = raw_specs(&self.host)?;
        let refused = self.undelete(4, words)?;
        ensure!(refused.to_string().contains(says), "{words:?} does not say `{says}`: {refused:#}");
        ensure!(raw_specs(&self.host)? == before, "{words:?} was refused and changed something");
        Ok(())
    }

    /// Checks that everything is as it was at the time of the backup.
    fn is_whole(&self) -> Result<()> {
        let now = raw_specs(&self.host)?;
        ensure!(now == self.before, "before {:#}\nnow {now:#}", self.before);
        Ok(())
    }

    /// Removes everything that is there, and makes it again.
    fn make_again(&self) -> Result<()> {
        self.host.sh("docker service ls -q | xargs -r docker service rm; \
             for n in 1 2 3 4 5 6 7 8 9; do docker network ls -q --filter driver=overlay --filter label=a=b | \
               xargs -r docker network rm && break; sleep 1; done; \
             docker secret ls -q | xargs -r docker secret rm; docker config ls -q | xargs -r docker config rm")?;
        for command in [NETWORK, SECRET, CONFIG, SERVICE] {
            self.host.sh(command)?;
        }
        self.is_whole()
    }
}

#[tokio::test]
async fn a_name_that_is_taken_is_never_taken_silently() -> Result<()> {
    for engine in generations() {
        on(*engine).await.with_context(|| format!("{engine:?}"))?;
    }
    Ok(())
}

async fn on(engine: Engine) -> Result<()> {
    let small = Small::new(engine).await?;
    the_same_is_used(&small)?;
    a_secret_with_another_value(&small)?;
    a_config_with_other_content(&small)?;
    another_network(&small)?;
    a_service_that_was_changed(&small)?;
    names_that_differ_in_case_only(&small)?;
    a_port_that_is_taken(&small)?;
    names_that_are_not_there(&small)
}

/// Objects that somebody made again are used as they are.
fn the_same_is_used(small: &Small) -> Result<()> {
    small.make_again()?;
    let done = small.undelete(0, &["--secret", "key", "--config", "conf", "--network", "back", "--service", "web"])?;
    ensure!(done["result"] == "nothing-to-do", "{done:#}");
    small.host.docker(&["service", "rm", "web"])?;
    small.undelete(0, &["--service", "web"])?;
    small.is_whole()
}

fn a_secret_with_another_value(small: &Small) -> Result<()> {
    let host = &small.host;
    host.sh(
        "docker service rm web && docker secret rm key && printf planted-two | docker secret create --label a=b key -",
    )?;
    small.is_refused(&["--service", "web"], "key")?;
    small.is_refused(&["--secret", "key"], "key")?;
    let done = small.undelete(6, &["--service", "web", "--conflict", "rename"])?;
    let name = format!("key.{}", small.date);
    let uses = "docker service inspect web --format '{{(index .Spec.TaskTemplate.ContainerSpec.Secrets 0).SecretName}} \
        {{(index .Spec.TaskTemplate.ContainerSpec.Secrets 0).File.Name}}'";
    ensure!(host.sh(uses)? == format!("{name} /k"), "{done:#}");
    // The one that lives is in use now by nobody, and can be replaced.
    host.sh(&format!("docker service rm web && docker secret rm {name}"))?;
    small.undelete(6, &["--service", "web", "--conflict", "replace"])?;
    small.is_whole()?;
    // One that a service uses is not replaced.
    host.sh(
        "docker service rm web && docker secret rm key && printf planted-two | docker secret create --label a=b key -",
    )?;
    host.sh(&format!("{OTHER} --name user --secret key lab/busybox:1"))?;
    small.is_refused(&["--secret", "key", "--conflict", "replace"], "user")?;
    small.make_again()
}

fn a_config_with_other_content(small: &Small) -> Result<()> {
    let host = &small.host;
    host.sh("docker service rm web && docker config rm conf && printf two | docker config create conf -")?;
    small.is_refused(&["--service", "web"], "conf")?;
    small.undelete(6, &["--service", "web", "--conflict", "rename"])?;
    let content = format!("docker config inspect conf.{} --format '{{{{printf \"%s\" .Spec.Data}}}}'", small.date);
    ensure!(host.sh(&content)?.contains("one"), "the renamed config has the content of the backup");
    host.sh(&format!("docker service rm web && docker config rm conf.{}", small.date))?;
    small.undelete(0, &["--service", "web", "--conflict", "replace"])?;
    small.is_whole()
}

fn another_network(small: &Small) -> Result<()> {
    let host = &small.host;
    let other = "docker network create --driver overlay --subnet 10.79.0.0/24 --label a=b back";
    host.sh(&format!("docker service rm web; {}; {other}", removed("back")))?;
    small.is_refused(&["--service", "web"], "IPAM.Config")?;
    small.is_refused(&["--service", "web", "--conflict", "replace"], "back")?;
    small.undelete(6, &["--service", "web", "--conflict", "rename"])?;
    let name = format!("back-{}", small.date);
    let subnet = host.sh(&format!("docker network inspect {name} --format '{{{{(index .IPAM.Config 0).Subnet}}}}'"))?;
    ensure!(subnet == "10.78.0.0/24", "{subnet}");
    host.sh(&format!("docker service rm web; {}", removed(&name)))?;
    small.make_again()
}

/// Removes a network, which its last task may use for a moment longer.
fn removed(network: &str) -> String {
    format!("for n in 1 2 3 4 5 6 7 8 9; do docker network rm {network} && break; sleep 1; done")
}

fn a_service_that_was_changed(small: &Small) -> Result<()> {
    let host = &small.host;
    let change = "docker service update --detach --no-resolve-image --env-add A=2 --limit-memory 64M web";
    host.sh(change)?;
    small.is_refused(&["--service", "web"], "Env")?;
    small.is_refused(&["--service", "web", "--conflict", "rename"], "web")?;
    let planned = small.undelete(0, &["--service", "web", "--conflict", "replace", "--dry-run"])?.to_string();
    for shown in ["ContainerSpec.Env", "A=1", "A=2", "MemoryBytes"] {
        ensure!(planned.contains(shown), "{shown}: {planned}");
    }
    let done = small.undelete(0, &["--service", "web", "--conflict", "replace"])?;
    small.is_whole()?;
    let saved = done["saved"][0].as_str().context("the file with what was replaced")?;
    let (kept, mode) = (host.read_file(saved)?, host.sh(&format!("stat -c %a {saved}"))?);
    ensure!(kept.contains("A=2") && mode == "600", "{mode} {kept}");
    // A mode cannot be changed.
    host.sh(&format!("docker service rm web && {}", SERVICE.replace("--replicas 2", "--mode global")))?;
    small.is_refused(&["--service", "web", "--conflict", "replace"], "no update changes")?;
    small.make_again()
}

fn names_that_differ_in_case_only(small: &Small) -> Result<()> {
    let host = &small.host;
    host.sh("docker service rm web && docker secret rm key && printf planted-one | docker secret create KEY -")?;
    small.is_refused(&["--secret", "key"], "KEY")?;
    host.sh("docker secret rm KEY")?;
    small.undelete(0, &["--service", "WEB"])?;
    small.is_whole()
}

/// Also by a service without replicas, and at once.
fn a_port_that_is_taken(small: &Small) -> Result<()> {
    let host = &small.host;
    host.sh(&format!("docker service rm web; {OTHER} --name squatter --replicas 0 --publish 8080:81 lab/busybox:1"))?;
    small.is_refused(&["--service", "web"], "8080")?;
    host.docker(&["service", "rm", "squatter"])?;
    small.undelete(0, &["--service", "web"])?;
    small.is_whole()
}

fn names_that_are_not_there(small: &Small) -> Result<()> {
    for words in [["--service", "wbe"], ["--stack", "shop"], ["--secret", "kye"]] {
        let output = agent(&small.host, &[&["undelete", "--latest", "--identity", IDENTITY], &words[..]].concat())?;
        ensure!(output.status.code() == Some(5), "{words:?}: {output:?}");
        ensure!(
            words[1] == "shop" || output.stderr.contains(if words[1] == "wbe" { "`web`" } else { "`key`" }),
            "{output:?}"
        );
    }
    Ok(())
}
