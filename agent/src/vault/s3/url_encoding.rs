//! Keys as S3 writes them under `encoding-type=url`: percent signs, and a plus for a blank.

/// Bytes that are not UTF-8 become replacement characters: such a key is none of ours.
pub fn decode(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, tail)) = rest.split_first() {
        let escaped = (byte == b'%').then(|| tail.get(..2).and_then(hex)).flatten();
        rest = if escaped.is_some() { &tail[2..] } else { tail };
        bytes.push(escaped.unwrap_or(if byte == b'+' { b' ' } else { byte }));
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

fn hex(digits: &[u8]) -> Option<u8> {
    let digit = |byte: u8| char::from(byte).to_digit(16);
    u8::try_from(digit(digits[0])? * 16 + digit(digits[1])?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decodes_what_s3_writes() {
        for (encoded, decoded) in [
            ("abc/20261121T101500Z-0a1b2c3d.swarmdr", "abc/20261121T101500Z-0a1b2c3d.swarmdr"),
            ("a+b%20c%2Bd", "a b c+d"),
            ("%C3%BC%e2%82%ac", "ü€"),
            ("100%", "100%"),
            ("%zz%4", "%zz%4"),
            ("%ff", "\u{fffd}"),
        ] {
            assert_eq!(decode(encoded), decoded);
        }
    }
}
