//! How much a reader takes before it has reason to trust what it reads.

/// Largest `manifest.json`, in bytes. Part of the format.
pub const MANIFEST_MAX: u64 = 64 * 1024;

/// Largest `manifest.json.minisig`, in bytes. Part of the format.
pub const SIGNATURE_MAX: u64 = 2 * 1024;

/// Largest payload and largest file in it, in bytes: what the octal size field of a tar header holds. Part of the format.
pub const SIZE_MAX: u64 = 0o777_7777_7777;

/// Most age recipients of one archive. Part of the format.
pub const RECIPIENTS_MAX: usize = 64;

/// Bytes from the start of an archive that always hold its whole head: manifest, signature and the header of the payload.
///
/// A ranged read of this many bytes (or of the whole archive, if that is shorter) is enough for
/// [`read_head`](crate::reader::read_head).
pub const HEAD_LIMIT: u64 = 3 * 512 + MANIFEST_MAX + SIGNATURE_MAX;

/// Bounds for unpacking; each is checked before memory or disk is spent.
///
/// The defaults fit every state that the writer can make. Lower [`Limits::total_bytes`] to the free space of the disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Largest `contents.json`, in bytes. 16 MiB: about 80 000 files, while parsing stays within the agent's memory.
    pub contents_bytes: u64,
    /// Most entries of the state. 100 000.
    pub entries: u64,
    /// Largest file, counting its holes, in bytes. Default: the most that the format can say.
    pub file_bytes: u64,
    /// Sum of all file sizes, counting holes, in bytes. 64 GiB.
    pub total_bytes: u64,
    /// Most data extents of one file. 131 072: the most that a file of 8 GiB can have.
    pub extents: u64,
    /// The tar may be this many times as large as the stored payload. 1024; states are mostly ciphertext, which does not shrink.
    pub expansion: u64,
    /// The tar may be this large whatever the payload is, in bytes. 256 MiB.
    pub free_expansion: u64,
    /// Largest window of the zstd stream, as a power of two. 23: 8 MiB of memory.
    pub window_log: u32,
    /// Largest header of the age encryption, in bytes. 12 KiB: 64 recipients take 7, and parsing takes quadratic time.
    pub age_header_bytes: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            contents_bytes: 16 << 20,
            entries: 100_000,
            file_bytes: SIZE_MAX,
            total_bytes: 64 << 30,
            extents: 131_072,
            expansion: 1024,
            free_expansion: 256 << 20,
            window_log: 23,
            age_header_bytes: 12 << 10,
        }
    }
}
