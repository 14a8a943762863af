//! The recipes of `recipes.md`, as they stand there: databases in services of a swarm are stored, the site is destroyed, the
//! swarm is restored on a fresh host, and the data is brought back. The databases say whether it is the same.
//!
//! A container sees the programs of its host, which are Debian's: an image of each would be half a gigabyte a host.

use std::{collections::BTreeMap, fs, time::Duration};

use anyhow::{Context, Result, ensure};
use swarmdr_tests::{
    campaign::full,
    lab::{Engine, Host, HostSpec, addr},
    packages::{DATABASES, checkout},
    s3::Release,
    scenario::{IDENTITY, Site, agent, agent_json, agent_with_faults},
};

use super::site::require;

/// Time for a database to make its files and to answer, on a machine that does other things too.
const LIMIT: Duration = Duration::from_secs(180);

/// The secret of the second recipe, with what a shell would take for its own.
const ROOT: &str = "it's $(not) a \"shell\"";

/// An image of links, to be filled with the directories of the host.
const IMAGE: &str = r"
dir=$(mktemp -d); cd $dir
mkdir -p usr etc tmp run/postgresql run/mysqld var/lib/postgresql var/lib/mysql var/lib/redis var/log/postgresql var/log/mysql
chmod 1777 tmp run/postgresql run/mysqld
for name in bin sbin lib lib64; do ln -s usr/$name $name; done
ln -s /run var/run
tar -cf - . | docker import - lab/debian:1 >/dev/null";

const POSTGRES: &str = r#"chown postgres /data; run() { setpriv --reuid=postgres --regid=postgres --init-groups "$@"; }
bin=/usr/lib/postgresql/17/bin
if [ ! -e /data/db ]; then
    run $bin/initdb -A trust -D /data/new >/dev/null
    run $bin/pg_ctl -w -D /data/new start -o "-c listen_addresses=" >/dev/null
    run createdb shop; run $bin/pg_ctl -w -D /data/new stop >/dev/null; mv /data/new /data/db
fi
exec setpriv --reuid=postgres --regid=postgres --init-groups $bin/postgres -D /data/db -c listen_addresses="#;

const MARIADB: &str = r#"chown mysql /data
if [ ! -e /data/db ]; then mariadb-install-db --user=mysql --datadir=/data/db --auth-root-authentication-method=normal >/dev/null; fi
cat >/tmp/init.sql <<SQL
CREATE DATABASE IF NOT EXISTS orders;
SET PASSWORD FOR root@localhost = PASSWORD('$(sed "s/'/''/g" /run/secrets/orders-root)');
SQL
exec mariadbd --user=mysql --datadir=/data/db --skip-networking --init-file=/tmp/init.sql"#;

const REDIS: &str = "exec redis-server --dir /data --save '' --appendonly no --bind 127.0.0.1 --protected-mode no";

const WEB: &str = "exec sleep 1000000";

/// A section of the document: its part of the configuration, and what brings the data back.
struct Recipe {
    stream: String,
    back: String,
}

fn recipes() -> Result<BTreeMap<String, Recipe>> {
    let text = fs::read_to_string(checkout().join("packaging/docs/recipes.md"))?;
    let mut recipes = BTreeMap::new();
    for section in text.split("\n## ").skip(1) {
        let title = section.lines().next().unwrap_or_default().to_owned();
        let fenced = |language: &str| {
            let block = section.split(&format!("```{language}\n")).nth(1)?;
            Some(block.split("```").next()?.to_owned())
        };
        if let (Some(stream), Some(back)) = (fenced("toml"), fenced("sh")) {
            recipes.insert(title, Recipe { stream, back });
        }
    }
    ensure!(recipes.len() == 4, "recipes.md was read badly: {:?}", recipes.keys());
    Ok(recipes)
}

/// A host whose programs the containers see.
fn boot(site: &Site, engine: Engine) -> Result<Host> {
    let host = site.lab.boot(HostSpec::new("m1", engine, addr(11)).with(DATABASES))?;
    // Its own databases are not what is stored.
    host.sh("systemctl disable --quiet --now postgresql mariadb redis-server")?;
    host.sh(IMAGE)?;
    site.configure_manager(&host)?;
    site.write_identity(&host)?;
    host.install(&agent_with_faults()?)?;
    Ok(host)
}

fn serve(host: &Host, name: &str, volume: &str, script: &str, more: &[&str]) -> Result<()> {
    let mount = format!("--mount=type=volume,src={volume},dst=/data");
    let name = format!("--name={name}");
    let words = [
        &["service", "create", "--detach", "--no-resolve-image", "--network=host", "--stop-grace-period=30s"][..],
        &["--mount=type=bind,src=/usr,dst=/usr,readonly", "--mount=type=bind,src=/etc,dst=/etc,readonly"],
        &[&name, &mount],
        more,
        &["lab/debian:1", "sh", "-euc", script],
    ]
    .concat();
    host.docker(&words).map(drop)
}

/// Runs a script in the container of a service.
fn within(host: &Host, service: &str, script: &str) -> Result<String> {
    let script = script.replace('\'', r"'\''");
    host.sh(&format!(
        "docker exec $(docker ps -q --filter label=com.docker.swarm.service.name={service}) sh -euc '{script}'"
    ))
}

fn wait_data(host: &Host, service: &str, probe: &str) -> Result<()> {
    host.wait_containers(service, 1)?;
    host.wait_for(&format!("{service} to answer"), LIMIT, || Ok(within(host, service, probe).ok().map(drop)))
}

const SQL: &str = "psql -qAt -U postgres -d shop -c";
const ORDERS: &str =
    r#"MYSQL_PWD="$(cat /run/secrets/orders-root)" mariadb --user=root --batch --skip-column-names orders -e"#;

fn wait_all(host: &Host) -> Result<()> {
    wait_data(host, "shop_db", &format!("{SQL} 'select 1'"))?;
    wait_data(host, "orders_db", &format!("{ORDERS} 'select 1'"))?;
    wait_data(host, "shop_cache", "redis-cli ping | grep -q PONG")?;
    wait_data(host, "shop_web", "true")
}

/// What the databases say of their data, by which they are compared. The sums of pgbench's tables are equal in each state
/// that was ever committed, and in no other (PostgreSQL, pgbench, "TPC-B like").
fn described(host: &Host) -> Result<Vec<String>> {
    let sums = "select (select sum(abalance) from pgbench_accounts), (select sum(bbalance) from pgbench_branches), \
                (select sum(tbalance) from pgbench_tellers), (select sum(delta) from pgbench_history)";
    let sums = within(host, "shop_db", &format!("{SQL} '{sums}'"))?;
    let equal: Vec<&str> = sums.split('|').collect();
    ensure!(equal.len() == 4 && equal.iter().all(|sum| *sum == equal[0]), "the sums differ: {sums}");
    let volume = "/var/lib/docker/volumes/shop_uploads/_data";
    Ok(vec![
        sums,
        within(
            host,
            "orders_db",
            &format!("{ORDERS} 'checksum table entries; select count(*) from entries; call total()'"),
        )?,
        within(host, "shop_cache", "redis-cli dbsize; redis-cli get visits; redis-cli lrange queue 0 -1")?,
        host.sh(&format!(
            "cd {volume}; find . -printf '%p %m %U:%G %l\\n' | sort; find . -type f | sort | xargs sha256sum"
        ))?,
    ])
}

fn fill(host: &Host) -> Result<()> {
    within(host, "shop_db", "/usr/lib/postgresql/17/bin/pgbench -U postgres -q -i -s 2 shop 2>/dev/null")?;
    let lines = "create table entries (id int primary key auto_increment, what varchar(80)) engine=innodb; \
                 insert into entries (what) select concat(\"line \", seq, \" ü\") from seq_1_to_50000; \
                 create procedure total() select sum(id) from entries";
    within(host, "orders_db", &format!("{ORDERS} '{lines}'"))?;
    within(
        host,
        "shop_cache",
        "redis-cli set visits 4711; for n in $(seq 300); do redis-cli rpush queue $n; done >/dev/null",
    )?;
    host.sh("cd /var/lib/docker/volumes/shop_uploads/_data; mkdir -p a/b; head -c 3000000 /dev/urandom >a/b/picture
         echo text >a/note; ln -s ../note a/b/link; chmod 600 a/note; chown 33:33 a/note")
        .map(drop)
}

#[tokio::test]
async fn the_recipes_bring_the_data_back() -> Result<()> {
    let engines: &[Engine] = if full() { &Engine::ALL[1..] } else { &[Engine::E26_1] };
    for engine in engines {
        bring_back(*engine).await?;
    }
    Ok(())
}

async fn bring_back(engine: Engine) -> Result<()> {
    let recipes = recipes()?;
    let site = Site::new(Release::V20).await?;
    let old = boot(&site, engine)?;
    old.swarm_init()?;
    old.create_secret("orders-root", ROOT.as_bytes())?;
    serve(&old, "shop_db", "shop_db", POSTGRES, &[])?;
    serve(&old, "orders_db", "orders_db", MARIADB, &["--secret=orders-root"])?;
    serve(&old, "shop_cache", "shop_cache", REDIS, &[])?;
    serve(&old, "shop_web", "shop_uploads", WEB, &[])?;
    let streams: Vec<&str> = recipes.values().map(|recipe| recipe.stream.as_str()).collect();
    let config = format!("{}\n{}", site.config("s3://vault/prod"), streams.join("\n"));
    site.configure(&old, &config)?;
    wait_all(&old)?;
    fill(&old)?;

    // The bench goes on while its database is dumped.
    let bench = "/usr/lib/postgresql/17/bin/pgbench -U postgres -n -c 2 -T 600 shop";
    let container = old.sh("docker ps -q --filter label=com.docker.swarm.service.name=shop_db")?;
    old.docker(&["exec", "--detach", &container, "sh", "-c", bench])?;
    let count = || -> Result<u64> {
        Ok(within(&old, "shop_db", &format!("{SQL} 'select count(*) from pgbench_history'"))?.parse()?)
    };
    old.wait_for("the bench to work", LIMIT, || Ok((count()? > 50).then_some(())))?;
    let least = count()?;
    for name in ["shop-db", "orders-db", "shop-cache"] {
        require(&agent(&old, &["put", name])?, 0, &[name])?;
    }
    ensure!(count()? > least, "the bench did not go on");
    // A pipe, with the text that a whole dump ends with.
    let piped = "docker exec $(docker ps -q --filter label=com.docker.swarm.service.name=orders_db) sh -c \
        'MYSQL_PWD=\"$(cat /run/secrets/orders-root)\" exec mariadb-dump --user=root --skip-dump-date orders' |
        swarmdr-agent put orders-pipe --stdin --expect-tail '-- Dump completed'";
    old.sh(piped)?;
    let expected = described(&old)?;
    // By a unit that may read what is others', and by one that may not.
    let unit = |capabilities: &str| {
        let set = format!("CapabilityBoundingSet={capabilities}");
        old.run(&["systemd-run", "--quiet", "--wait", "--pipe", "-p", &set, "swarmdr-agent", "put", "shop-uploads"])
    };
    require(&unit("CAP_KILL")?, 1, &["Permission denied"])?;
    require(&unit("CAP_KILL CAP_DAC_READ_SEARCH")?, 0, &["shop-uploads"])?;
    let drill = ["drill", "--streams", "--identity", IDENTITY];
    require(&agent(&old, &drill)?, 0, &["stream shop-db", "its drill took"])?;
    agent_json(&old, 0, &["backup"])?;
    old.destroy()?;

    let host = boot(&site, engine)?;
    site.configure(&host, &config)?;
    agent_json(&host, 0, &["restore", "--latest", "--identity", IDENTITY])?;
    wait_all(&host)?;
    within(&host, "shop_db", &format!("{SQL} 'select 1 from pgbench_history'")).expect_err("the data is there already");
    for (title, recipe) in &recipes {
        let came = host.sh(&format!("cd /root; {}", recipe.back));
        came.with_context(|| format!("the recipe for {title}"))?;
    }
    wait_all(&host)?;
    let came = described(&host)?;
    ensure!(came[1..] == expected[1..], "another data came back: {came:?}, not {expected:?}");
    let history: u64 = within(&host, "shop_db", &format!("{SQL} 'select count(*) from pgbench_history'"))?.parse()?;
    ensure!(history >= least, "what was committed before the dump is lost: {history} of {least}");
    println!("{engine:?}: {history} transactions of the bench came back, of {least} before the dump");
    Ok(())
}

/// A pipeline in the container is killed as a whole: none of its programs takes a part for all there is.
#[tokio::test]
async fn a_command_in_a_task_is_killed_before_it_sees_an_end() -> Result<()> {
    let site = Site::new(Release::V20).await?;
    let host = boot(&site, Engine::E26_1)?;
    host.swarm_init()?;
    serve(&host, "shop_web", "shop_uploads", WEB, &[])?;
    host.wait_containers("shop_web", 1)?;
    site.configure(&host, &site.directory_config())?;
    host.sh("mkdir -p /srv/vault; head -c 20000000 /dev/urandom >/srv/data")?;
    require(&agent(&host, &["put", "db", "--", "cat", "/srv/data"])?, 0, &[])?;
    let get = |service: &str, script: &str| {
        let words = ["get", "db", "--latest", "--identity", IDENTITY, "--service", service, "--", "sh", "-c", script];
        agent(&host, &words)
    };
    let data = "/var/lib/docker/volumes/shop_uploads/_data";
    require(&get("shop_web", "cat | cat >/data/whole; echo done >&2")?, 0, &[])?;
    host.sh(&format!("cmp /srv/data {data}/whole"))?;
    require(&get("shop_web", "cat >/dev/null; echo no room >&2; exit 3")?, 1, &["ended with 3", "no room"])?;
    require(&get("other", "true")?, 3, &["no task of the service other"])?;
    let early = get("shop_web", "echo cannot >&2; exit 7")?;
    require(&early, 1, &["ended with 7", "cannot"])?;

    let path = host.sh("find /srv/vault -name '*.stream'")?;
    let size: u64 = host.sh(&format!("stat -c %s {path}"))?.parse()?;
    let at = size - (2 << 20);
    host.sh(&format!(
        "byte=$(tail -c +$(({at} + 1)) {path} | head -c1 | od -An -tu1 | tr -d ' ')
         printf \"\\\\$(printf %03o $((255 - byte)))\" | dd of={path} bs=1 seek={at} conv=notrunc status=none"
    ))?;
    let cut = get("shop_web", "trap '' TERM HUP; (cat; touch /data/end) | (cat >/data/part; touch /data/end)")?;
    require(&cut, 1, &["chunk", "killed before it saw the end"])?;
    host.sh(&format!(
        "test ! -e {data}/end; test -s {data}/part; cmp -n $(stat -c %s {data}/part) {data}/part /srv/data"
    ))?;
    host.wait_for("nothing of it to run", LIMIT, || Ok(host.sh("! pgrep -f '[t]ouch /data/end'").ok()))?;
    host.sh(&format!("test ! -e {data}/end")).map(drop)
}
