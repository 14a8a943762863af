//! Members of the outer tar: their headers, their bodies, and the two signed ones at the start of every archive.

use std::io::Read;

use tar::Header;

use crate::{
    digest::Digest,
    error::{Error, Result},
    limits::{MANIFEST_MAX, SIGNATURE_MAX},
    signature::Signature,
    stream::read_full,
    tar_header::{self, BLOCK},
};

/// Name of the first member of an archive.
pub(crate) const MANIFEST_NAME: &str = "manifest.json";
/// Name of the second member of an archive.
pub(crate) const SIGNATURE_NAME: &str = "manifest.json.minisig";

/// What may stand in the place of a member.
pub(crate) struct Expected {
    /// Admitted names; the first is the one in errors.
    pub(crate) names: &'static [&'static str],
    /// Name of its size in errors.
    pub(crate) size: &'static str,
    /// Maximum size in bytes. Beyond what octal digits hold, the header is that of GNU tar.
    pub(crate) limit: u64,
}

/// A member by its header.
pub(crate) struct Member {
    /// Name, escaped.
    pub(crate) name: String,
    /// Size of the body in bytes.
    pub(crate) size: u64,
}

/// The first two members of an archive. Nothing is verified.
#[derive(Clone, Debug)]
pub(crate) struct SignedManifest {
    pub(crate) bytes: Vec<u8>,
    pub(crate) signature: Signature,
    /// Offset of what follows, in bytes.
    pub(crate) end: u64,
}

impl SignedManifest {
    /// Reads the manifest and its signature, and not one byte more.
    pub(crate) fn read(input: &mut dyn Read) -> Result<Self> {
        let first = read_first(input)?;
        let bytes = read_body(input, first.size, MANIFEST_NAME)?;
        let expected = Expected { names: &[SIGNATURE_NAME], size: "the size of the signature", limit: SIGNATURE_MAX };
        let second = read_member(input, &expected)?;
        let signature = Signature::parse(&read_body(input, second.size, SIGNATURE_NAME)?)?;
        Ok(Self { bytes, signature, end: 2 * BLOCK as u64 + blocks(first.size) + blocks(second.size) })
    }

    /// Returns the digest of the manifest.
    pub(crate) fn digest(&self) -> Digest {
        Digest::of(&self.bytes)
    }
}

/// Returns the space that a body takes in a tar, in bytes. The size was checked against a limit.
pub(crate) fn blocks(size: u64) -> u64 {
    size.next_multiple_of(BLOCK as u64)
}

/// Reads the header of the first member. What does not begin with it is no archive at all.
fn read_first(input: &mut dyn Read) -> Result<Member> {
    let mut block = [0; BLOCK];
    let read = read_full(input, &mut block).map_err(Error::read)?;
    let header = Header::from_byte_slice(&block);
    if read < BLOCK || !tar_header::has_checksum(header) {
        let reason = if read == 0 { "it is empty" } else { "it is no tar file" };
        return Err(Error::NotAnArchive { reason: reason.to_owned() });
    }
    if !has_name(header, MANIFEST_NAME) {
        let name = tar_header::shown_name(header);
        return Err(Error::NotAnArchive { reason: format!("its first member is `{name}`, not {MANIFEST_NAME}") });
    }
    check(header, &Expected { names: &[MANIFEST_NAME], size: "the size of the manifest", limit: MANIFEST_MAX })
}

/// Reads the header of a later member.
pub(crate) fn read_member(input: &mut dyn Read, expected: &Expected) -> Result<Member> {
    let mut block = [0; BLOCK];
    if read_full(input, &mut block).map_err(Error::read)? < BLOCK {
        return Err(Error::Truncated { within: "its head" });
    }
    check(Header::from_byte_slice(&block), expected)
}

fn check(header: &Header, expected: &Expected) -> Result<Member> {
    let name = tar_header::shown_name(header);
    let named = expected.names.iter().any(|wanted| has_name(header, wanted));
    if !named || !tar_header::has_checksum(header) || !tar_header::is_plain_file(header, expected.limit) {
        return Err(Error::UnexpectedMember { found: name, expected: expected.names[0] });
    }
    let size = header.entry_size().unwrap_or(u64::MAX);
    if size > expected.limit {
        return Err(Error::limit(expected.size, expected.limit));
    }
    Ok(Member { name, size })
}

fn has_name(header: &Header, wanted: &str) -> bool {
    let field = &header.as_old().name;
    field.starts_with(wanted.as_bytes()) && field[wanted.len()..].iter().all(|&byte| byte == 0)
}

/// Reads a body whose size was checked, and its padding.
pub(crate) fn read_body(input: &mut dyn Read, size: u64, name: &'static str) -> Result<Vec<u8>> {
    let mut body = vec![0; size as usize + tar_header::padding(size)];
    if read_full(input, &mut body).map_err(Error::read)? < body.len() {
        return Err(Error::Truncated { within: "its head" });
    }
    if body[size as usize..].iter().any(|&byte| byte != 0) {
        return Err(Error::TrailingBytes { after: name });
    }
    body.truncate(size as usize);
    Ok(body)
}

/// Reads the padding of a payload of this size, the two zero blocks that end a tar, and the end of the input.
pub(crate) fn read_end(input: &mut dyn Read, payload_size: u64) -> Result<()> {
    let mut block = [0; BLOCK];
    let padding = &mut block[..tar_header::padding(payload_size)];
    if read_full(input, padding).map_err(Error::read)? < padding.len() {
        return Err(Error::Truncated { within: "the payload" });
    }
    if padding.iter().any(|&byte| byte != 0) {
        return Err(Error::TrailingBytes { after: "the payload" });
    }
    for _ in 0..2 {
        if read_full(input, &mut block).map_err(Error::read)? < BLOCK {
            return Err(Error::Truncated { within: "its end" });
        }
        let header = Header::from_byte_slice(&block);
        if tar_header::has_checksum(header) {
            let found = tar_header::shown_name(header);
            return Err(Error::UnexpectedMember { found, expected: "the end" });
        }
        if block != [0; BLOCK] {
            return Err(Error::TrailingBytes { after: "the payload" });
        }
    }
    if read_full(input, &mut block[..1]).map_err(Error::read)? != 0 {
        return Err(Error::TrailingBytes { after: "its end" });
    }
    Ok(())
}

/// Returns the error for a member that is not the third one of the archive's kind, naming the kind that it belongs to.
pub(crate) fn name_other_kind(
    error: Error,
    its_members: &[&str],
    found_kind: &'static str,
    wanted: &'static str,
) -> Error {
    match error {
        Error::UnexpectedMember { found, .. } if its_members.contains(&found.as_str()) => {
            Error::OtherKind { found: found_kind, wanted }
        }
        other => other,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test that fails may panic")]
mod tests {
    use super::*;
    use crate::limits::SIZE_MAX;

    const LARGE: Expected = Expected { names: &["p"], size: "the size", limit: 1 << 40 };

    fn read(header: &Header) -> Result<u64> {
        read_member(&mut &header.as_bytes()[..], &LARGE).map(|member| member.size)
    }

    #[test]
    fn sizes_on_both_sides_of_the_octal_limit_round_trip() {
        for size in [0, 1, SIZE_MAX, SIZE_MAX + 1, 1 << 40] {
            assert_eq!(read(&tar_header::member("p", size, 0)).unwrap(), size);
        }
        assert!(matches!(read(&tar_header::member("p", (1 << 40) + 1, 0)), Err(Error::LimitExceeded { .. })));
        assert!(matches!(read(&tar_header::member("p", u64::MAX, 0)), Err(Error::LimitExceeded { .. })));
    }

    #[test]
    fn a_size_has_one_form() {
        let refused = |change: fn(&mut Header)| {
            let mut header = tar_header::member("p", SIZE_MAX + 1, 0);
            change(&mut header);
            header.set_cksum();
            matches!(read(&header), Err(Error::UnexpectedMember { .. }))
        };
        assert!(!refused(|_| ()));
        assert!(refused(|header| header.as_old_mut().size[0] = 0xff), "negative");
        assert!(refused(|header| header.as_old_mut().size[1] = 1), "more than 64 bits");
        assert!(refused(|header| header.as_old_mut().size = *b"\x80\0\0\0\0\0\0\0\0\0\0\x01"), "small, and not octal");
        assert!(refused(|header| header.as_old_mut().size = *b"00000000001\0"), "octal in a GNU header");
        assert!(refused(|header| header.as_gnu_mut().unwrap().sparse[0].offset[0] = b'1'), "a sparse map");
        assert!(refused(|header| header.as_gnu_mut().unwrap().isextended = [1]), "more of a sparse map");
        assert!(refused(|header| header.as_old_mut().linkname[0] = b'x'), "a link name");
        let mut ustar = tar_header::member("p", 1, 0);
        ustar.as_old_mut().size = *b"\x80\0\0\0\0\0\0\x02\0\0\0\0";
        ustar.set_cksum();
        assert!(matches!(read(&ustar), Err(Error::UnexpectedMember { .. })), "binary in a ustar header");
    }
}
