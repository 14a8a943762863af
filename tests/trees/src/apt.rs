//! Settings with which this machine's own apt reaches a Debian mirror: trees are fetched with the same.

use std::{fs, process::Command};

use anyhow::Result;

use super::command::{capture, require_tool};

/// Returns the mirror that this machine installs from, or `None` if it is not known: mmdebstrap then uses its own.
pub fn mirror() -> Result<Option<String>> {
    let Some(codename) = debian_codename(&fs::read_to_string("/etc/os-release").unwrap_or_default()) else {
        return Ok(None);
    };
    require_tool("apt-get", "apt")?;
    let targets = capture(Command::new("apt-get").args([
        "indextargets",
        "--format",
        "$(RELEASE) $(COMPONENT) $(REPO_URI)",
        "Identifier: Packages",
    ]))?;
    Ok(parse_mirror(&targets, &codename))
}

/// Returns the settings of proxies, of retries, and of whether an old snapshot of a mirror is accepted; one `Name
/// "value";` each.
pub fn transport_settings() -> Result<impl Iterator<Item = String>> {
    require_tool("apt-config", "apt")?;
    let dump = capture(Command::new("apt-config").arg("dump"))?;
    Ok(parse_transport_settings(&dump).into_iter())
}

/// Returns the code name of Debian only: another distribution's mirror has none of the suites.
fn debian_codename(os_release: &str) -> Option<String> {
    let field = |name: &str| {
        let line = os_release.lines().find_map(|line| line.strip_prefix(name));
        line.map(|value| value.trim_matches('"').to_owned())
    };
    (field("ID=")? == "debian").then(|| field("VERSION_CODENAME="))?
}

fn parse_mirror(targets: &str, codename: &str) -> Option<String> {
    let prefix = format!("{codename} main ");
    let uri = targets.lines().find_map(|line| line.strip_prefix(&prefix))?;
    Some(uri.to_owned())
}

fn parse_transport_settings(dump: &str) -> Vec<String> {
    const WANTED: [&str; 6] = [
        "Acquire::Check-Valid-Until ",
        "Acquire::Check-Date ",
        "Acquire::Retries ",
        "Acquire::ForceIPv",
        "Acquire::http::",
        "Acquire::https::",
    ];
    let wanted = |line: &&str| WANTED.iter().any(|name| line.starts_with(name));
    dump.lines().filter(wanted).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mirror_is_the_one_of_the_running_suite() {
        let targets = "bookworm-security main http://security.test/debian-security/\n\
                       bookworm contrib http://other.test/debian/\n\
                       bookworm main http://mirror.test/debian/\n";
        let mirror = parse_mirror(targets, "bookworm");
        assert_eq!(mirror.as_deref(), Some("http://mirror.test/debian/"));
        assert_eq!(parse_mirror(targets, "trixie"), None);
    }

    #[test]
    fn only_debian_has_a_codename_of_interest() {
        let debian = "NAME=\"Debian\"\nVERSION_CODENAME=bookworm\nID=debian\n";
        assert_eq!(debian_codename(debian).as_deref(), Some("bookworm"));
        assert_eq!(debian_codename("ID=ubuntu\nVERSION_CODENAME=noble\n"), None);
    }

    #[test]
    fn transport_settings_leave_the_rest_of_apt_alone() {
        let dump = "Acquire::Check-Date \"false\";\nAcquire::Languages \"none\";\n\
                    Acquire::http::Proxy \"http://proxy.test:3142\";\nDPkg::Path \"/bin\";\n";
        assert_eq!(
            parse_transport_settings(dump),
            ["Acquire::Check-Date \"false\";", "Acquire::http::Proxy \"http://proxy.test:3142\";"]
        );
    }
}
