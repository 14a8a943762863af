//! Layers: tar archives with the same bytes in every run.

use std::{
    fs::File,
    io::{self, BufWriter, Read, Write},
    path::Path,
    process::Command,
};

use anyhow::{Context, Result, ensure};
use data_encoding::HEXLOWER;
use sha2::{Digest, Sha256};

use crate::tree::capture;

/// Digests and size of a layer, which is in a file.
#[derive(Debug, Clone)]
pub(super) struct Layer {
    pub digest: String,
    /// Digest of what is compressed.
    pub diff_id: String,
    pub size: u64,
    pub compressed: bool,
}

/// Writes the layer of a text to `out`.
pub(super) fn of_text(text: &str, out: &Path) -> Result<Layer> {
    let mut tar = tar::Builder::new(Vec::new());
    tar.append_data(&mut header(text.len() as u64), "etc/image", text.as_bytes())?;
    let tar = tar.into_inner()?;
    let plain = out.with_extension("tar");
    std::fs::write(&plain, tar)?;
    let layer = compressed(&plain, out);
    std::fs::remove_file(plain)?;
    layer
}

/// Compresses a tar archive to `out`.
pub(super) fn compressed(tar: &Path, out: &Path) -> Result<Layer> {
    let input = File::open(tar).with_context(|| format!("failed to open {}", tar.display()))?;
    // Without a name and a time the bytes are the same in every run.
    let status = Command::new("gzip").args(["-n", "-1"]).stdin(input).stdout(File::create(out)?).status()?;
    ensure!(status.success(), "gzip ended with {status}");
    let ((diff_id, _), (digest, size)) = (digest_of_file(tar)?, digest_of_file(out)?);
    Ok(Layer { digest, diff_id, size, compressed: true })
}

/// Links or copies an archive that is compressed already to `out`.
pub(super) fn ready(archive: &Path, out: &Path) -> Result<Layer> {
    if std::fs::hard_link(archive, out).is_err() {
        std::fs::copy(archive, out).with_context(|| format!("failed to copy {}", archive.display()))?;
    }
    let plain = "gzip -dc <\"$0\" | sha256sum | cut -d' ' -f1";
    let diff_id = capture(Command::new("sh").args(["-euc", plain]).arg(archive))?;
    let (digest, size) = digest_of_file(out)?;
    Ok(Layer { digest, diff_id: format!("sha256:{}", diff_id.trim()), size, compressed: true })
}

/// Writes a layer with the files of a directory in `/app` to `out`.
pub(super) fn of_app(directory: &Path, out: &Path) -> Result<Layer> {
    let mut tar = tar::Builder::new(Vec::new());
    let mut files: Vec<_> = std::fs::read_dir(directory)?.collect::<io::Result<_>>()?;
    files.sort_by_key(std::fs::DirEntry::file_name);
    for file in files {
        let content = std::fs::read(file.path())?;
        let name = Path::new("app").join(file.file_name());
        tar.append_data(&mut header(content.len() as u64), name, content.as_slice())?;
    }
    let plain = out.with_extension("tar");
    std::fs::write(&plain, tar.into_inner()?)?;
    let layer = compressed(&plain, out);
    std::fs::remove_file(plain)?;
    layer
}

/// Writes a layer with one large file to `out`. The bytes are written once, and never are in memory.
pub(super) fn large(text: &str, bytes: u64, out: &Path) -> Result<Layer> {
    let sink = Hashing { to: BufWriter::new(File::create(out)?), hash: Sha256::new(), size: 0 };
    let mut tar = tar::Builder::new(sink);
    tar.append_data(&mut header(bytes), "large", Noise::new(text).take(bytes)).context("failed to write a layer")?;
    let mut sink = tar.into_inner()?;
    sink.flush()?;
    let digest = format!("sha256:{}", HEXLOWER.encode(&sink.hash.finalize()));
    Ok(Layer { diff_id: digest.clone(), digest, size: sink.size, compressed: false })
}

fn header(size: u64) -> tar::Header {
    let mut header = tar::Header::new_gnu();
    header.set_size(size);
    header.set_mode(0o644);
    header
}

fn digest_of_file(path: &Path) -> Result<(String, u64)> {
    let mut hash = Hashing { to: io::sink(), hash: Sha256::new(), size: 0 };
    io::copy(&mut File::open(path)?, &mut hash)?;
    Ok((format!("sha256:{}", HEXLOWER.encode(&hash.hash.finalize())), hash.size))
}

/// Counts and digests what is written through it.
struct Hashing<W> {
    to: W,
    hash: Sha256,
    size: u64,
}

impl<W: Write> Write for Hashing<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.to.write(bytes)?;
        self.hash.update(&bytes[..written]);
        self.size += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.to.flush()
    }
}

/// Bytes without end that no compressor shrinks: a block of digests, numbered anew each time. Compressors look back
/// less far than a block is long.
struct Noise {
    block: Vec<u8>,
    at: usize,
    number: u64,
}

impl Noise {
    const BLOCK: u32 = 1 << 20;

    fn new(seed: &str) -> Self {
        let digest = |number: u32| Sha256::new().chain_update(seed).chain_update(number.to_le_bytes()).finalize();
        let block = (0..Self::BLOCK / 32).flat_map(digest).collect();
        Self { block, at: 0, number: 0 }
    }
}

impl Read for Noise {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        if self.at == self.block.len() {
            (self.at, self.number) = (0, self.number + 1);
            self.block[..8].copy_from_slice(&self.number.to_le_bytes());
        }
        let taken = (&self.block[self.at..]).read(into)?;
        self.at += taken;
        Ok(taken)
    }
}
