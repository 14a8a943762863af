//! Protobuf wire format for the few messages that frame other data, read field by field and without copying.
//!
//! This parser is stricter than protobuf: the engine writes these messages in one canonical form, so any
//! deviation is damage.

/// Reason why bytes are not a message. Offsets count from the start of the message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Malformed {
    pub(crate) at: usize,
    pub(crate) why: &'static str,
}

/// Value of one field.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Value<'a> {
    Number(u64),
    Bytes(&'a [u8]),
    /// A `float`, which only the update policies of services have.
    Float(f32),
}

/// One field of a message.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Field<'a> {
    pub(crate) tag: u32,
    pub(crate) value: Value<'a>,
    /// Offset of the value: after the tag, and for bytes after their length.
    pub(crate) at: usize,
}

/// Iterates over the fields of a message; ends after the first error.
#[derive(Clone, Debug)]
pub(crate) struct Fields<'a> {
    message: &'a [u8],
    at: usize,
}

impl<'a> Fields<'a> {
    pub(crate) fn new(message: &'a [u8]) -> Self {
        Self { message, at: 0 }
    }

    fn read(&mut self) -> Result<Field<'a>, Malformed> {
        let start = self.at;
        let (tag, kind) = split_key(self.varint()?);
        match kind {
            0 => {
                let at = self.at;
                Ok(Field { tag, value: Value::Number(self.varint()?), at })
            }
            2 => {
                let len = self.varint()?;
                let rest = &self.message[self.at..];
                let len = usize::try_from(len).ok().filter(|len| *len <= rest.len());
                let Some(len) = len else {
                    return Err(Malformed { at: start, why: "a field is longer than its message" });
                };
                let at = self.at;
                self.at += len;
                Ok(Field { tag, value: Value::Bytes(&rest[..len]), at })
            }
            5 => {
                let at = self.at;
                let Some(bytes) = self.message[at..].first_chunk() else {
                    return Err(Malformed { at: start, why: "a field is longer than its message" });
                };
                self.at += bytes.len();
                Ok(Field { tag, value: Value::Float(f32::from_le_bytes(*bytes)), at })
            }
            _ => Err(Malformed { at: start, why: "a field of a type that the engine never writes" }),
        }
    }

    fn varint(&mut self) -> Result<u64, Malformed> {
        let (value, len) = varint(&self.message[self.at..]).map_err(|why| Malformed { at: self.at, why })?;
        self.at += len;
        Ok(value)
    }
}

impl<'a> Iterator for Fields<'a> {
    type Item = Result<Field<'a>, Malformed>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.at >= self.message.len() {
            return None;
        }
        let field = self.read();
        if field.is_err() {
            self.at = self.message.len();
        }
        Some(field)
    }
}

/// Splits the number before a field into tag and wire type.
pub(crate) fn split_key(key: u64) -> (u32, u8) {
    (u32::try_from(key >> 3).unwrap_or(u32::MAX), (key & 7) as u8)
}

/// Reads one number from the start of `bytes`. Returns it with its encoded length.
pub(crate) fn varint(bytes: &[u8]) -> Result<(u64, usize), &'static str> {
    let mut value = 0_u64;
    for (n, byte) in bytes.iter().enumerate().take(10) {
        let bits = u64::from(byte & 0x7f);
        if n == 9 && bits > 1 {
            return Err("a number beyond 64 bits");
        }
        value |= bits << (7 * n);
        if byte & 0x80 == 0 {
            let padded = n > 0 && *byte == 0;
            return if padded { Err("a number with needless bytes") } else { Ok((value, n + 1)) };
        }
    }
    Err(if bytes.len() < 10 { "ends within a number" } else { "a number beyond 64 bits" })
}

/// Returns the bytes of the field at `path`, which has one tag for each level of nested messages. Returns `None` if the
/// field is missing, or if a message contains anything that [`Fields`] does not read.
pub(crate) fn find<'a>(message: &'a [u8], path: &[u32]) -> Option<&'a [u8]> {
    let Some((tag, path)) = path.split_first() else {
        return Some(message);
    };
    let mut found = None;
    for field in Fields::new(message) {
        let field = field.ok()?;
        if field.tag == *tag {
            found = Some(field.bytes().ok()?);
        }
    }
    find(found?, path)
}

impl<'a> Field<'a> {
    /// Returns the number; an error if the field contains something else.
    pub(crate) fn number(&self) -> Result<u64, Malformed> {
        match self.value {
            Value::Number(number) => Ok(number),
            _ => Err(Malformed { at: self.at, why: "bytes where a number belongs" }),
        }
    }

    /// Returns the bytes; an error if the field contains something else.
    pub(crate) fn bytes(&self) -> Result<&'a [u8], Malformed> {
        match self.value {
            Value::Bytes(bytes) => Ok(bytes),
            _ => Err(Malformed { at: self.at, why: "a number where bytes belong" }),
        }
    }

    /// Returns the float; an error if the field contains something else.
    pub(crate) fn float(&self) -> Result<f32, Malformed> {
        match self.value {
            Value::Float(float) => Ok(float),
            _ => Err(Malformed { at: self.at, why: "something else where a float belongs" }),
        }
    }

    /// Returns the error for a tag that the message does not have.
    pub(crate) fn unknown<T>(&self) -> Result<T, Malformed> {
        Err(Malformed { at: self.at, why: "a field that the engine never writes" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_read_in_their_shortest_form_only() {
        type Case = (&'static [u8], Result<(u64, usize), &'static str>);
        let cases: [Case; 7] = [
            (&[0], Ok((0, 1))),
            (&[0xac, 0x02, 9], Ok((300, 2))),
            (&[0x80, 0], Err("a number with needless bytes")),
            (&[0x80], Err("ends within a number")),
            (&[0xff; 10], Err("a number beyond 64 bits")),
            (&[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1], Ok((u64::MAX, 10))),
            (&[], Err("ends within a number")),
        ];
        for (bytes, expected) in cases {
            assert_eq!(varint(bytes), expected, "{bytes:02x?}");
        }
    }

    #[test]
    fn a_length_beyond_the_message_is_refused() {
        let fields: Vec<_> = Fields::new(&[0x08, 0x05, 0x12, 0x03, 1, 2]).collect();
        assert_eq!(fields[0], Ok(Field { tag: 1, value: Value::Number(5), at: 1 }));
        assert_eq!(fields[1], Err(Malformed { at: 2, why: "a field is longer than its message" }));
        assert_eq!(fields.len(), 2);
    }
}
