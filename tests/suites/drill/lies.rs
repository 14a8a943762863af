//! Backups with a valid signature and false contents: the drill names the object.

use std::{collections::HashMap, io::Cursor, ops::ControlFlow};

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use swarmdr_archive::{
    Contents, EntryKind, FileEntry, Identities, Limits, Manifest, ManifestDraft, SecretKey,
    reader::{self, Body, Head, Visitor},
    writer::{self, Packing, SourceEntry, SourceFile},
};
use swarmdr_tests::{
    lab::{Engine, Host},
    s3::Release,
    scenario::{IDENTITY, Site, agent_json, journal_entry},
};

use super::{manager, nothing_is_left, text};

/// The entry of a drill that did not prove its backup, as the catalog that is shipped names it.
const DRILL_FAILED: &str = "a043009c609a4f79a79d20d16725ba21";

#[tokio::test]
async fn a_backup_that_lies_fails_with_the_object_named() -> Result<()> {
    let site = Site::new(Release::V20).await?;
    let host = manager(&site, Engine::E26_1)?;
    // The last object in the log.
    host.create_config("written-last", b"x")?;
    let made = agent_json(&host, 0, &["backup"])?;
    let genuine = Opened::fetch(&site, text(&made, "/kept/0/key")?).await?;

    let mut one_more = genuine.clone();
    let secrets = one_more.contents.inventory["secrets"].as_array_mut().context("it lists secrets")?;
    let mut invented = secrets[0].clone();
    invented["id"] = "0inventedinventedinvented".into();
    invented["name"] = "never-there".into();
    secrets.push(invented);
    fails(&host, &one_more.sealed(&site)?, "never-there")?;

    let mut cut = genuine.clone();
    cut.cut_log()?;
    fails(&host, &cut.sealed(&site)?, "written-last")?;

    // An archive that is made in the same way, without anything false.
    host.write_file("/root/honest.swarmdr", genuine.sealed(&site)?)?;
    let report = agent_json(&host, 0, &["drill", "--file", "/root/honest.swarmdr", "--identity", IDENTITY])?;
    ensure!(report["outcome"] == "proven" && report["stored_as"] == Value::Null, "{report:#}");
    Ok(())
}

fn fails(host: &Host, archive: &[u8], named: &str) -> Result<()> {
    host.write_file("/root/lie.swarmdr", archive)?;
    let report = agent_json(host, 1, &["drill", "--file", "/root/lie.swarmdr", "--identity", IDENTITY])?;
    ensure!(report["outcome"] == "failed", "{report:#}");
    ensure!(text(&report, "/problem")?.contains(named), "{named} is not named: {}", report["problem"]);
    println!("{}", text(&report, "/problem")?);
    let entry = journal_entry(host, DRILL_FAILED)?;
    ensure!(entry["BACKUP_ID"] == report["backup"] && entry["RESULT"] == "failed", "{entry:#}");
    nothing_is_left(host)
}

/// An archive and all of its files.
#[derive(Clone)]
struct Opened {
    manifest: Manifest,
    contents: Contents,
    files: HashMap<String, Vec<u8>>,
}

/// Reads every file into memory.
#[derive(Default)]
struct Take(HashMap<String, Vec<u8>>);

impl Visitor for Take {
    fn contents(&mut self, _: &Head, _: &Contents) -> std::io::Result<()> {
        Ok(())
    }

    fn entry(&mut self, entry: &FileEntry, body: &mut Body<'_>) -> std::io::Result<()> {
        if entry.kind == EntryKind::File {
            let mut bytes = Vec::new();
            std::io::Read::read_to_end(body, &mut bytes)?;
            self.0.insert(entry.path.to_string(), bytes);
        }
        Ok(())
    }
}

impl Opened {
    async fn fetch(site: &Site, key: &str) -> Result<Self> {
        let bytes = site.owner.get(&format!("prod/{key}"), None).await?;
        let trusted = site.public_key.parse::<swarmdr_archive::PublicKey>()?.into();
        let identities = Identities::parse_file(site.identity())?;
        let mut take = Take::default();
        let unpacked = reader::unpack(&bytes[..], &trusted, &identities, &Limits::default(), &mut take)?;
        Ok(Self { manifest: unpacked.head.manifest, contents: unpacked.contents, files: take.0 })
    }

    /// Overwrites the end of the log with zeros, which an engine takes for the end of the file.
    fn cut_log(&mut self) -> Result<()> {
        let log = self.files.iter_mut().find(|(path, _)| path.ends_with(".wal")).context("it has a log")?.1;
        let used = log.iter().rposition(|byte| *byte != 0).context("the log is not empty")?;
        // Finds the beginnings of the frames, each of which has its length before it. The first three quarters stay.
        let mut at = 0;
        let mut starts = Vec::new();
        while at < used {
            let field = u64::from_le_bytes(log[at..at + 8].try_into()?);
            let padding = if field >> 63 == 1 { (field >> 56) & 7 } else { 0 };
            starts.push(at);
            at += 8 + usize::try_from((field & 0x00ff_ffff_ffff_ffff) + padding)?;
        }
        let keep = starts.len() * 3 / 4;
        log[starts[keep]..].fill(0);
        Ok(())
    }

    fn draft(&self) -> Result<ManifestDraft> {
        let mut draft = serde_json::to_value(&self.manifest)?;
        draft["payload"] = Value::Null;
        Ok(serde_json::from_value(draft)?)
    }

    fn sealed(&self, site: &Site) -> Result<Vec<u8>> {
        let key = SecretKey::from_minisign_str(site.signing_key())?;
        let entries = self.contents.files.iter().map(|entry| SourceEntry {
            path: entry.path.clone(),
            kind: entry.kind,
            mode: entry.mode,
            uid: entry.uid,
            gid: entry.gid,
            size: entry.size,
            mtime: entry.mtime,
        });
        let recipients = [site.recipient.parse()?];
        let packing = Packing {
            manifest: self.draft()?,
            entries: entries.collect(),
            left_out: self.contents.left_out.clone(),
            inventory: self.contents.inventory.clone(),
            recipients: &recipients,
            level: writer::DEFAULT_LEVEL,
            key: &key,
        };
        let mut out = Cursor::new(Vec::new());
        let open = |entry: &SourceEntry| -> std::io::Result<SourceFile<Cursor<Vec<u8>>>> {
            let bytes = self.files.get(&entry.path.to_string()).cloned().unwrap_or_default();
            let data = std::iter::once(0..bytes.len() as u64).collect();
            Ok(SourceFile { file: Cursor::new(bytes), data })
        };
        writer::seal(packing, open, |_| ControlFlow::Continue(()), &mut out)?;
        Ok(out.into_inner())
    }
}
