//! Limits of what a reader accepts before it has reason to trust the data.

/// Maximum size of `manifest.json` in bytes. Part of the format.
pub const MANIFEST_MAX: u64 = 64 * 1024;

/// Maximum size of `manifest.json.minisig` in bytes. Part of the format.
pub const SIGNATURE_MAX: u64 = 2 * 1024;

/// Maximum size of the payload and of a file in it in bytes: the most that the octal size field of a tar header can
/// hold. Part of the format.
pub const SIZE_MAX: u64 = 0o777_7777_7777;

/// Size of a chunk of a stream in bytes, as writers make it: 4 MiB. A reader takes this much memory. Part of the format.
pub const CHUNK_SIZE: u32 = 4 << 20;

/// Minimum size of a chunk of a stream in bytes. Sizes are powers of two up to [`CHUNK_SIZE`]. Part of the format.
pub const CHUNK_SIZE_MIN: u32 = 4 << 10;

/// Maximum size of the list of a stream's chunks in bytes: 32 for each of 262 144, which make 1 TiB. Part of the format.
pub const LIST_MAX: u64 = 8 << 20;

/// Maximum size of what a stream holds, in bytes: the largest integer that every JSON reader keeps exactly. Part of the
/// format.
pub const PLAIN_MAX: u64 = (1 << 53) - 1;

/// Maximum number of age recipients of one archive. Part of the format.
pub const RECIPIENTS_MAX: usize = 64;

/// Number of bytes at the start of an archive that always contain its whole head: manifest, signature and the header
/// of the third member, which is the payload of a backup and the list of chunks of a stream.
///
/// A ranged read of this many bytes (or of the whole archive, if that is shorter) is enough for
/// [`read_head`](crate::reader::read_head), and for [the one of streams](crate::stream_archive::read_head).
pub const HEAD_LIMIT: u64 = 3 * 512 + MANIFEST_MAX + SIGNATURE_MAX;

/// Limits for unpacking. Each is checked before memory or disk space is used.
///
/// The defaults fit every state that the writer can pack. Lower [`Limits::total_bytes`] to the free space of the disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Maximum size of `contents.json` in bytes. Default: 16 MiB, which is about 80 000 files and can still be parsed
    /// within the agent's memory.
    pub contents_bytes: u64,
    /// Maximum number of entries of the state. Default: 100 000.
    pub entries: u64,
    /// Maximum size of a file in bytes, holes included. Default: the most that the format allows.
    pub file_bytes: u64,
    /// Maximum sum of all file sizes in bytes, holes included. Default: 64 GiB.
    pub total_bytes: u64,
    /// Maximum number of data extents of one file. Default: 131 072, the most that a file of 8 GiB can have.
    pub extents: u64,
    /// Maximum ratio of the size of the tar to the size of the stored payload. Default: 1024. States are mostly
    /// ciphertext, which does not compress.
    pub expansion: u64,
    /// Size in bytes up to which the tar is allowed whatever the ratio is. Default: 256 MiB.
    pub free_expansion: u64,
    /// Maximum window of the zstd stream, as a power of two. Default: 23, which takes 8 MiB of memory.
    pub window_log: u32,
    /// Maximum size of the header of the age encryption in bytes. Default: 12 KiB. 64 recipients take 7 KiB; the time
    /// to parse the header is quadratic in its size.
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
