//! Nodes and a second site, on a manager that is alone and on a host in no swarm.

use anyhow::Result;

use super::desk::Desk;

pub fn cases(desk: &mut Desk) -> Result<()> {
    for verb in ["join", "grow", "tidy", "spread", "publish-token", "rotate-tokens"] {
        desk.terminal("node", 0, "help", &["node", verb, "--help"])?;
    }
    for words in [
        &["node"][..],
        &["node", "grow"],
        &["node", "grow", "--managers", "2"],
        &["node", "grow", "--managers", "3", "--spread", "zone"],
        &["node", "tidy", "--dead-for", "soon"],
        &["node", "join", "--wait", "soon"],
    ] {
        desk.terminal("node", 2, "called wrongly", words)?;
    }
    desk.both("node", 6, "a manager that is alone", &["node", "grow", "--managers", "3"])?;
    desk.both("node", 0, "a manager that is alone", &["node", "grow", "--managers", "1"])?;
    desk.both("node", 0, "a manager that is alone", &["node", "tidy"])?;
    desk.both("node", 0, "a manager that is alone", &["node", "spread"])?;
    desk.terminal("node", 2, "no program to hand the token to", &["node", "publish-token"])?;
    desk.terminal("list", 0, "no site has claimed the swarm", &["list", "--claims"])?;
    desk.terminal("step-down", 2, "no key that signs claims", &["step-down"])?;
    Ok(())
}
