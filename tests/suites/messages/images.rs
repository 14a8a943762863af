//! Images: what there is, and registries that cannot be asked.

use anyhow::Result;

use super::desk::Desk;

const NOWHERE: &str = "127.0.0.1:9";

pub fn cases(desk: &mut Desk) -> Result<()> {
    for verb in ["list", "check", "mirror", "push", "auth"] {
        desk.terminal("images", 0, "help", &["images", verb, "--help"])?;
    }
    for words in [
        &["images"][..],
        &["images", "mirror", "--to", "mirror"],
        &["images", "check", "--platform", "amd64"],
        &["images", "check", "--image-map", "old:5000"],
        &["images", "push", "--from", "oci:/srv/images", "--to", "oci:/srv/other"],
    ] {
        desk.terminal("images", 2, "called wrongly", words)?;
    }
    desk.both("images", 0, "a swarm without services", &["images", "list"])?;
    let image = format!("{NOWHERE}/shop/web:1");
    desk.host.docker(&["service", "create", "--detach", "--no-resolve-image", "--replicas=0", "--name=web", &image])?;
    desk.both("images", 0, "what services need", &["images", "list"])?;
    desk.both("images", 1, "a registry that does not answer", &["images", "check"])?;
    desk.terminal("images", 2, "no place to copy to", &["images", "mirror"])?;
    desk.both("images", 1, "a registry that does not answer", &["images", "mirror", "--to", "oci:/root/images"])?;
    desk.terminal("images", 1, "a directory with other files", &["images", "mirror", "--to", "oci:/etc"])?;
    desk.terminal(
        "images",
        1,
        "a directory without images",
        &["images", "push", "--from", "oci:/etc", "--to", NOWHERE],
    )?;
    desk.both("images", 2, "no login is configured", &["images", "auth"])?;
    let registry = format!("[[images.registry]]\nhost = \"{NOWHERE}\"\nauth_command = [\"false\"]\n");
    desk.configure(&(desk.config() + &registry))?;
    desk.both("images", 1, "a helper that fails", &["images", "auth"])?;
    desk.terminal("images", 5, "no such registry", &["images", "auth", "--for", "other.example"])?;
    desk.terminal("images", 1, "a helper that fails", &["images", "check"])?;
    desk.configure(&desk.config())?;
    desk.host.docker(&["service", "rm", "web"])?;
    desk.host.sh("rm -rf /root/images /var/lib/swarmdr/images.json").map(drop)
}
