//! The .rpm, in a root of its own: its scriptlets run there, in a chroot.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Result, ensure};
use swarmdr_tests::{lab::Engine, packages, tree::capture};

/// Runs a script with a copy-on-write root at `$root`, which is gone afterwards.
fn in_a_root(script: &str) -> Result<String> {
    let scratch = tempfile::tempdir()?;
    let tree: PathBuf = Engine::E26_1.tree()?;
    let prepared = format!(
        "mount -t tmpfs tmpfs \"$scratch\"; mkdir \"$scratch/upper\" \"$scratch/work\" \"$scratch/root\"; \
         mount -t overlay overlay -o \"lowerdir=$tree,upperdir=$scratch/upper,workdir=$scratch/work\" \"$scratch/root\"; \
         root=$scratch/root; {script}"
    );
    let mut command = Command::new("unshare");
    command.args(["--mount", "--propagation", "private", "sh", "-euc", &prepared]);
    command.env("scratch", scratch.path()).env("tree", tree).env("rpm", packages::rpm()?);
    capture(&mut command)
}

#[test]
fn it_installs_upgrades_and_goes_and_keeps_what_is_the_users() -> Result<()> {
    // A Debian tree has no database of rpm, so the dependencies are read from the package and not resolved.
    let said = in_a_root(
        r#"
        install() { rpm --root "$root" --nodeps "$@" "$rpm" 2>&1; }
        there() { find "$root/etc/swarmdr" "$root/var/lib/swarmdr" -type f -exec sha256sum {} + | sort -k2; }
        install -i
        echo "installed: $(rpm --root "$root" -q swarmdr-agent)"
        echo "verified: $(rpm --root "$root" -V --nodeps swarmdr-agent && echo as packaged)"
        echo "enabled: $(chroot "$root" systemctl is-enabled swarmdr-backup.timer || true)"
        chroot "$root" /usr/bin/swarmdr-agent --version

        echo 'recipients = []' >"$root/etc/swarmdr/agent.toml"
        mkdir -p "$root/var/lib/swarmdr/spool" "$root/etc/swarmdr/agent.d"
        echo waits >"$root/var/lib/swarmdr/spool/20261121T031500Z-00000001.swarmdr"
        echo '# mine' >"$root/etc/swarmdr/agent.d/10-mine.toml"
        chroot "$root" systemctl --quiet enable swarmdr-backup.timer 2>/dev/null
        before=$(there)
        install -U --replacepkgs --replacefiles
        [ "$(there)" = "$before" ] && echo "upgraded: nothing changed"
        echo "enabled: $(chroot "$root" systemctl is-enabled swarmdr-backup.timer)"

        rpm --root "$root" -e swarmdr-agent 2>&1
        echo "kept: $(cat "$root/var/lib/swarmdr/spool/20261121T031500Z-00000001.swarmdr")"
        ls "$root/etc/swarmdr" "$root/etc/swarmdr/agent.d"
        find "$root/usr" "$root/etc/systemd" -name '*swarmdr*' | grep -v '/usr/share/\(doc\|licenses\)/' || echo "nothing is left"
        "#,
    )?;
    println!("{said}");
    for wanted in [
        concat!("installed: swarmdr-agent-", env!("CARGO_PKG_VERSION"), "-1.x86_64"),
        "verified: as packaged",
        "enabled: disabled",
        concat!("swarmdr-agent ", env!("CARGO_PKG_VERSION")),
        "upgraded: nothing changed",
        "enabled: enabled",
        "/var/lib/swarmdr and /etc/swarmdr are kept",
        "kept: waits",
        "agent.toml.rpmsave",
        "10-mine.toml",
        "nothing is left",
    ] {
        ensure!(said.contains(wanted), "`{wanted}` is not in:\n{said}");
    }
    Ok(())
}

#[test]
fn what_it_requires_and_runs_is_what_was_written() -> Result<()> {
    let query = |what: &[&str]| capture(Command::new("rpm").arg("-qp").args(what).arg(packages::rpm()?));
    let requires = query(&["--requires"])?;
    for wanted in ["glibc >= 2.17", "systemd", "iproute", "ca-certificates", "/bin/sh"] {
        assert!(requires.lines().any(|line| line == wanted), "`{wanted}` is not in:\n{requires}");
    }
    let scripts = query(&["--scripts"])?;
    for file in ["post", "preun", "postun"] {
        let written = std::fs::read_to_string(packages::checkout().join("packaging/rpm").join(file))?;
        assert!(scripts.contains(written.trim()), "packaging/rpm/{file} is not in:\n{scripts}");
        let shell = Command::new("sh")
            .arg("-n")
            .arg(Path::new("packaging/rpm").join(file))
            .current_dir(packages::checkout())
            .status()?;
        assert!(shell.success());
    }
    Ok(())
}

#[test]
fn rpmlint_finds_nothing_that_was_not_weighed() -> Result<()> {
    let config = packages::checkout().join("packaging/rpm/rpmlint.toml");
    let output = Command::new("rpmlint").arg("--config").arg(config).arg(packages::rpm()?).output()?;
    let said = String::from_utf8_lossy(&output.stdout);
    println!("{said}");
    ensure!(output.status.success() && said.contains(" 0 errors, 0 warnings"), "rpmlint: {said}");
    Ok(())
}
