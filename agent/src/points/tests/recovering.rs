//! The lines that bring the data back.

use super::*;
use crate::{
    outcome::exit::Exit,
    points::{Flags, Recovery, recovery::Step},
};

async fn plan(host: &Host, vault: &Arc<MemoryVault>, point: &Point, flags: &Flags) -> Recovery {
    let vaults: Vec<Arc<dyn Vault>> = vec![Arc::clone(vault) as Arc<dyn Vault>];
    Recovery::plan_in(&vaults, &host.run(30), point, &host.keys(), flags).await
}

#[tokio::test]
async fn the_lines_come_in_the_order_of_the_configuration_and_can_be_pasted() {
    let host = Host::with(SHOP);
    let (vault, vaults) = one();
    let orders = put_stream(vault.as_ref(), "orders", -40, &host.key).await;
    let db = put_stream(vault.as_ref(), "shop-db", -45, &host.key).await;
    backup(vault.as_ref(), 0, &host.key).await;
    host.snapshot(&vaults, "uploads", "3f9a1c07", 5).await;
    let point = host.latest(&vaults, 6).await;
    let flags =
        Flags { trust: vec!["RWQx".to_owned()], identities: vec!["/root/my id.txt".into()], ..Flags::default() };
    let plan = plan(&host, &vault, &point, &flags).await;
    let lines: Vec<&str> = plan.steps.iter().map(line).collect();
    let cluster = archives::CLUSTER;
    let given = format!("--cluster {cluster} --trust RWQx --identity '/root/my id.txt'");
    assert_eq!(
        lines,
        [
            format!("swarmdr-agent get shop-db {db} {given} -- pg_restore -d 'my shop'").as_str(),
            format!("swarmdr-agent get orders {orders} {given} -- COMMAND").as_str(),
            "3f9a1c07",
        ]
    );
    assert_eq!((plan.exit(), plan.seconds_apart), (Exit::Done, Some(50 * 60)));
    let told = plan.to_string();
    for part in ["50 min apart; only the application knows", "written by: pg_dump 'my shop'", "snapshot 3f9a1c07"] {
        assert!(told.contains(part), "{part}: {told}");
    }
}

fn line(step: &Step) -> &str {
    match step {
        Step::Stream { run, .. } => run,
        Step::External { id, .. } => id,
    }
}

#[tokio::test]
async fn the_lines_name_the_configuration_and_the_task() {
    let exec = SHOP.replacen("command = [\"true\"]", "exec = [\"true\"]\nservice = \"shop_db\"", 1);
    let exec = exec.replacen("name = \"orders\"", "name = \"orders\"\nservice = \"orders_db\"", 1);
    let on_host = exec.replacen("service = \"shop_db\"", "service = \"shop_db\"\nrestore_in = \"host\"", 1);
    for (text, service) in [(&exec, "--service shop_db "), (&on_host, "")] {
        let host = Host::with(text);
        let (vault, vaults) = one();
        put_stream(vault.as_ref(), "shop-db", -45, &host.key).await;
        put_stream(vault.as_ref(), "orders", -40, &host.key).await;
        backup(vault.as_ref(), 0, &host.key).await;
        let point = {
            host.make(&vaults, 5).await;
            host.latest(&vaults, 6).await
        };
        let flags = Flags { config: Some("/etc/other site.toml".into()), ..Flags::default() };
        let plan = plan(&host, &vault, &point, &flags).await;
        let (db, orders) = (line(&plan.steps[0]), line(&plan.steps[1]));
        let cluster = archives::CLUSTER;
        let expected =
            format!("--config '/etc/other site.toml' --cluster {cluster} {service}-- pg_restore -d 'my shop'");
        assert!(db.ends_with(&expected), "{db}");
        assert!(orders.ends_with(&format!("--cluster {cluster} -- COMMAND")), "read on the host: {orders}");
    }
}

#[tokio::test]
async fn a_stream_that_is_gone_or_another_one_is_told_before_it_is_needed() {
    let host = Host::with(SHOP);
    let (vault, vaults) = one();
    let db = put_stream(vault.as_ref(), "shop-db", -45, &host.key).await;
    put_stream(vault.as_ref(), "orders", -40, &host.key).await;
    backup(vault.as_ref(), 0, &host.key).await;
    host.snapshot(&vaults, "uploads", "a", 5).await;
    let mut point = host.latest(&vaults, 6).await;
    vault.remove(&format!("streams/{}/shop-db/{db}.stream", archives::CLUSTER));
    point.streams[0].manifest_digest = swarmdr_archive::Digest::of(b"another");
    let plan = plan(&host, &vault, &point, &Flags::default()).await;
    assert_eq!((plan.exit(), plan.attention.len()), (Exit::Attention, 2), "{:?}", plan.attention);
    assert!(plan.attention[0].contains("shop-db") && plan.attention[0].contains("in no vault any more"));
    assert!(plan.attention[1].contains("orders") && plan.attention[1].contains("not the one"));
}

#[test]
fn texts_of_others_do_not_steer_the_terminal() {
    use crate::outcome::terminal::tests::assert_tame;
    assert_tame(|text| {
        let own = || text.to_owned();
        let stream = Step::Stream {
            name: "n".to_owned(),
            id: "i".to_owned(),
            as_of: "t".to_owned(),
            run: own(),
            written_by: vec![own()],
            found: true,
        };
        let external = Step::External { name: "n".to_owned(), id: own(), as_of: "t".to_owned(), host: own() };
        Recovery {
            id: "i".to_owned(),
            made_at: "t".to_owned(),
            hostname: own(),
            complete: false,
            missing: vec![own()],
            from: None,
            to: None,
            seconds_apart: None,
            images: None,
            steps: vec![stream, external],
            attention: vec![own()],
            span: None,
        }
    });
}
