//! Contents of the packages, without installing them.

use std::{collections::BTreeMap, env, fs, path::Path, process::Command};

use anyhow::{Context, Result, ensure};
use swarmdr_tests::{campaign, packages, tree::capture};

/// The oldest glibc that the binary runs with, as in `packaging/versions`.
const GLIBC_FLOOR: (u32, u32) = (2, 17);
/// Libraries that are part of glibc; the binary may need no other.
const LIBRARIES: [&str; 7] =
    ["libc.so.6", "libm.so.6", "libdl.so.2", "libpthread.so.0", "librt.so.1", "libutil.so.1", "ld-linux-x86-64.so.2"];

#[test]
fn the_binary_runs_where_the_package_says() -> Result<()> {
    let binary = packages::binary();
    let symbols = capture(Command::new("objdump").arg("-T").arg(&binary))?;
    let versions: Vec<(u32, u32)> = symbols
        .split(|c: char| !(c.is_alphanumeric() || c == '_' || c == '.'))
        .filter_map(|word| {
            let (major, minor) = word.strip_prefix("GLIBC_")?.split_once('.')?;
            Some((major.parse().ok()?, minor.split('.').next()?.parse().ok()?))
        })
        .collect();
    let newest = versions.iter().max().context("the binary names no version of glibc: is it static?")?;
    println!("{} symbols of glibc, the newest of {}.{}", versions.len(), newest.0, newest.1);
    assert!(*newest <= GLIBC_FLOOR, "a symbol is of glibc {newest:?}");
    assert!(fs::read_to_string(packages::checkout().join("packaging/versions"))?.contains("glibc_floor=2.17"));

    let headers = capture(Command::new("objdump").arg("-p").arg(&binary))?;
    let needed: Vec<&str> =
        headers.lines().filter_map(|line| line.trim().strip_prefix("NEEDED")).map(str::trim).collect();
    ensure!(needed.contains(&"libc.so.6"), "{needed:?}");
    for library in needed {
        assert!(LIBRARIES.contains(&library), "the binary needs {library}, which no package is asked for");
    }
    for path in [packages::checkout().display().to_string(), env::var("HOME")? + "/.cargo"] {
        assert!(!contains(&fs::read(&binary)?, path.as_bytes()), "the binary holds the path {path}");
    }
    Ok(())
}

fn contains(bytes: &[u8], part: &[u8]) -> bool {
    bytes.windows(part.len()).any(|window| window == part)
}

/// Reduced: the packages are built again from the same binary, in another directory and with another umask, time zone
/// and locale. In full: the binary too, from a fresh clone, which takes as long as a release build.
#[test]
fn the_same_commit_makes_the_same_packages() -> Result<()> {
    let scratch = tempfile::tempdir()?;
    let other = scratch.path().join("elsewhere with another name");
    let checkout = packages::checkout();
    let script = "set -eu; umask 077; git clone -q --no-hardlinks \"$1\" \"$2\"; cd \"$1\"; \
                  git ls-files -z --deduplicate | xargs -0 cp --parents -t \"$2\"; \
                  cd \"$2\"; shift 2; exec packaging/build \"$@\"";
    let mut build = Command::new("bash");
    build.args(["-c", script, "build"]).args([&checkout, &other]);
    if !campaign::full() {
        println!("NOTE: made again from the same binary; the binary itself with SWARMDR_TEST_FULL=1 only");
        build.arg("--binary").arg(packages::binary());
    }
    capture(build.envs([("TZ", "Asia/Kathmandu"), ("LC_ALL", "de_DE.UTF-8")]))?;
    assert_eq!(digests_in(&other.join("target/packages/x86_64-unknown-linux-gnu"))?, digests()?);
    Ok(())
}

fn digests() -> Result<BTreeMap<String, String>> {
    digests_in(&packages::directory())
}

fn digests_in(directory: &Path) -> Result<BTreeMap<String, String>> {
    let list =
        capture(Command::new("sh").args(["-euc", "sha256sum *.deb *.rpm swarmdr-agent"]).current_dir(directory))?;
    let lines = list.lines().filter_map(|line| line.split_once("  "));
    let digests: BTreeMap<_, _> = lines.map(|(digest, name)| (name.to_owned(), digest.to_owned())).collect();
    ensure!(digests.len() == 3, "{list}");
    Ok(digests)
}

/// Files that both packages hold, with their modes. The .rpm has other paths for three further files.
const FILES: &[(&str, &str)] = &[
    ("-rw-r--r--", "/etc/swarmdr/agent.toml"),
    ("-rwxr-xr-x", "/usr/bin/swarmdr-agent"),
    ("-rw-r--r--", "/usr/lib/systemd/catalog/swarmdr.catalog"),
    ("-rw-r--r--", "/usr/lib/systemd/system/swarmdr-backup.service"),
    ("-rw-r--r--", "/usr/lib/systemd/system/swarmdr-backup.timer"),
    ("-rw-r--r--", "/usr/lib/systemd/system/swarmdr-drill.service"),
    ("-rw-r--r--", "/usr/lib/systemd/system/swarmdr-drill.timer"),
    ("-rw-r--r--", "/usr/lib/systemd/system/swarmdr-images.service"),
    ("-rw-r--r--", "/usr/lib/systemd/system/swarmdr-images.timer"),
    ("-rw-r--r--", "/usr/lib/systemd/system/swarmdr-images-auth.service"),
    ("-rw-r--r--", "/usr/lib/systemd/system/swarmdr-images-auth.timer"),
    ("-rw-r--r--", "/usr/lib/systemd/system/swarmdr-life.service"),
    ("-rw-r--r--", "/usr/lib/systemd/system/swarmdr-life.timer"),
    ("-rw-r--r--", "/usr/lib/systemd/system/swarmdr-join.service"),
    ("-rw-r--r--", "/usr/lib/systemd/system/swarmdr-on-change.service"),
    ("-rw-r--r--", "/usr/lib/systemd/system/swarmdr-standby.service"),
    ("-rw-r--r--", "/usr/lib/systemd/system/swarmdr-standby.timer"),
    ("-rw-r--r--", "/usr/lib/systemd/system/swarmdr-streams.service"),
    ("-rw-r--r--", "/usr/lib/systemd/system/swarmdr-streams.timer"),
    ("-rw-r--r--", "/usr/lib/tmpfiles.d/swarmdr-agent.conf"),
    ("-rw-r--r--", "/usr/lib/systemd/system/swarmdr-verify.service"),
    ("-rw-r--r--", "/usr/lib/systemd/system/swarmdr-verify.timer"),
    ("-rw-r--r--", "/usr/share/bash-completion/completions/swarmdr-agent"),
    ("-rw-r--r--", "/usr/share/doc/swarmdr-agent/README.md"),
    ("-rw-r--r--", "/usr/share/doc/swarmdr-agent/FORMAT.md"),
    ("-rw-r--r--", "/usr/share/doc/swarmdr-agent/operations.md"),
    ("-rw-r--r--", "/usr/share/doc/swarmdr-agent/runbook.md"),
    ("-rw-r--r--", "/usr/share/doc/swarmdr-agent/by-hand.md"),
    ("-rw-r--r--", "/usr/share/doc/swarmdr-agent/items.md"),
    ("-rw-r--r--", "/usr/share/doc/swarmdr-agent/images.md"),
    ("-rw-r--r--", "/usr/share/doc/swarmdr-agent/nodes.md"),
    ("-rw-r--r--", "/usr/share/doc/swarmdr-agent/second-site.md"),
    ("-rw-r--r--", "/usr/share/doc/swarmdr-agent/streams.md"),
    ("-rw-r--r--", "/usr/share/doc/swarmdr-agent/failover-aws.md"),
    ("-rw-r--r--", "/usr/share/doc/swarmdr-agent/reference.md"),
    ("-rw-r--r--", "/usr/share/doc/swarmdr-agent/glossary.md"),
    ("-rw-r--r--", "/usr/share/doc/swarmdr-agent/architecture.md"),
    ("-rw-r--r--", "/usr/share/doc/swarmdr-agent/flow.svg"),
    ("-rw-r--r--", "/usr/share/doc/swarmdr-agent/restore-phases.svg"),
    ("-rw-r--r--", "/usr/share/doc/swarmdr-agent/aws/vault.yaml"),
    ("-rw-r--r--", "/usr/share/doc/swarmdr-agent/aws/recovery.yaml"),
    ("-rw-r--r--", "/usr/share/doc/swarmdr-agent/aws/failover.yaml"),
    ("-rw-r--r--", "/usr/share/doc/swarmdr-agent/aws/images.yaml"),
    ("-rw-r--r--", "/usr/share/doc/swarmdr-agent/aws/sign-of-life"),
    ("-rw-r--r--", "/usr/share/doc/swarmdr-agent/monitoring/swarmdr-alerts.yml"),
    ("-rw-r--r--", "/usr/share/doc/swarmdr-agent/monitoring/swarmdr-dashboard.json"),
    ("-rw-r--r--", "/usr/share/fish/vendor_completions.d/swarmdr-agent.fish"),
    ("-rw-r--r--", "/usr/share/man/man1/swarmdr-agent.1.gz"),
    ("-rw-r--r--", "/usr/share/man/man1/swarmdr-agent-backup.1.gz"),
    ("-rw-r--r--", "/usr/share/man/man1/swarmdr-agent-restore.1.gz"),
    ("-rw-r--r--", "/usr/share/man/man1/swarmdr-agent-drill.1.gz"),
    ("-rw-r--r--", "/usr/share/man/man1/swarmdr-agent-images.1.gz"),
    ("-rw-r--r--", "/usr/share/man/man1/swarmdr-agent-node.1.gz"),
    ("-rw-r--r--", "/usr/share/man/man1/swarmdr-agent-standby.1.gz"),
    ("-rw-r--r--", "/usr/share/man/man1/swarmdr-agent-put.1.gz"),
    ("-rw-r--r--", "/usr/share/man/man1/swarmdr-agent-get.1.gz"),
    ("-rw-r--r--", "/usr/share/man/man1/swarmdr-agent-promote.1.gz"),
    ("-rw-r--r--", "/usr/share/man/man1/swarmdr-agent-step-down.1.gz"),
    ("-rw-r--r--", "/usr/share/man/man5/swarmdr-agent.toml.5.gz"),
];
const ONLY_DEB: [&str; 4] = [
    "/usr/share/zsh/vendor-completions/_swarmdr-agent",
    "/usr/share/doc/swarmdr-agent/copyright",
    "/usr/share/doc/swarmdr-agent/changelog.Debian.gz",
    "/usr/share/doc/swarmdr-agent/third-party-licences.txt.gz",
];

#[test]
fn the_deb_holds_what_it_should() -> Result<()> {
    let listed = capture(Command::new("dpkg-deb").arg("-c").arg(packages::deb()?))?;
    let mut modes = BTreeMap::new();
    for line in listed.lines() {
        let words: Vec<&str> = line.split_whitespace().collect();
        assert!(["0/0", "root/root"].contains(&words[1]), "{line}");
        modes.insert(words[5].trim_start_matches('.').to_owned(), words[0].to_owned());
    }
    for (mode, path) in FILES {
        assert_eq!(modes.get(*path).map(String::as_str), Some(*mode), "{path}");
    }
    for path in ONLY_DEB {
        assert!(modes.contains_key(path), "{path} is not in:\n{listed}");
    }
    let control = capture(Command::new("dpkg-deb").arg("-I").arg(packages::deb()?))?;
    for wanted in ["libc6 (>= 2.17)", "ca-certificates", "Architecture: amd64", "Section: admin"] {
        assert!(control.contains(wanted), "`{wanted}` is not in:\n{control}");
    }
    let conffiles = capture(Command::new("dpkg-deb").arg("-I").arg(packages::deb()?).arg("conffiles"))?;
    assert_eq!(conffiles.trim(), "/etc/swarmdr/agent.toml");
    Ok(())
}

#[test]
fn the_rpm_holds_the_same() -> Result<()> {
    let query = "[%{FILEMODES:perms} %{FILEUSERNAME}/%{FILEGROUPNAME} %{FILEFLAGS:fflags} %{FILENAMES}\n]";
    let listed = capture(Command::new("rpm").args(["-qp", "--qf", query]).arg(packages::rpm()?))?;
    for (mode, path) in FILES {
        let line = listed.lines().find(|line| line.ends_with(&format!(" {path}")));
        let line = line.with_context(|| format!("{path} is not in:\n{listed}"))?;
        assert!(line.starts_with(&format!("{mode} root/root")), "{line}");
    }
    let flags_of_the_configuration = listed.lines().find(|line| line.ends_with("/agent.toml")).unwrap_or_default();
    assert!(
        flags_of_the_configuration.contains(" cn "),
        "not a file that stays as it is: {flags_of_the_configuration}"
    );
    for path in ["/usr/share/licenses/swarmdr-agent/LICENSE", "/usr/share/zsh/site-functions/_swarmdr-agent"] {
        assert!(listed.contains(path), "{path}");
    }
    Ok(())
}

/// Checks that the man pages fit into eighty columns, and that the formatter has no complaint.
#[test]
fn the_man_pages_fit_a_terminal() -> Result<()> {
    let scratch = tempfile::tempdir()?;
    capture(Command::new("dpkg-deb").arg("-x").arg(packages::deb()?).arg(scratch.path()))?;
    let list = "find usr/share/man -name '*.gz' | sort";
    let pages = capture(Command::new("sh").args(["-euc", list]).current_dir(scratch.path()))?;
    ensure!(pages.lines().count() > 10, "{pages}");
    for page in pages.lines() {
        let mut man = Command::new("man");
        man.args(["--warnings", "--local-file", page]).current_dir(scratch.path());
        let output = man.envs([("MANWIDTH", "80"), ("LC_ALL", "C.UTF-8"), ("MANPAGER", "cat")]).output()?;
        let (text, complaints) = (String::from_utf8(output.stdout)?, String::from_utf8_lossy(&output.stderr));
        ensure!(output.status.success() && complaints.is_empty(), "{page}: {complaints}");
        ensure!(text.contains("SEE ALSO") && text.lines().count() > 15, "{page}: {text}");
        let wide = text.lines().find(|line| line.chars().count() > 80);
        ensure!(wide.is_none(), "{page} has a line that is wider than a terminal: {wide:?}");
    }
    Ok(())
}

/// Every crate that is linked is named, and the texts of the licences are there.
#[test]
fn the_licences_of_what_is_linked_are_there() -> Result<()> {
    let script =
        "dpkg-deb --fsys-tarfile \"$0\" | tar -xO ./usr/share/doc/swarmdr-agent/third-party-licences.txt.gz | gzip -dc";
    let text = capture(Command::new("sh").args(["-euc", script]).arg(packages::deb()?))?;
    let tree = capture(
        Command::new("cargo")
            .args(["tree", "--locked", "-p", "swarmdr-agent", "-e", "normal", "--prefix", "none", "-f", "{p}|{l}"])
            .args(["--target", "x86_64-unknown-linux-gnu"])
            .current_dir(packages::checkout()),
    )?;
    let mut linked = 0;
    // Crates of this workspace have a path.
    for line in tree.lines().filter(|line| !line.contains(" (/")) {
        let (package, licence) = line.split_once('|').context("cargo tree answers in its own way")?;
        let mut words = package.split(' ');
        let (name, version) =
            (words.next().unwrap_or_default(), words.next().unwrap_or_default().trim_start_matches('v'));
        linked += 1;
        assert!(text.contains(&format!("\n{name} {version} (")), "{name} {version} ({licence}) is not named");
    }
    ensure!(linked > 100, "{linked} crates were looked for");
    for words in ["Permission is hereby granted, free of charge", "Apache License", "ISC"] {
        assert!(text.contains(words), "no text says `{words}`");
    }
    Ok(())
}
