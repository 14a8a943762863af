//! Finds what a message holds that this version does not know.
//!
//! A protobuf decoder skips unknown fields, so an object of a newer engine would lose them without a word. Comparing the
//! length of the message with that of the decoded one does not find them: gogo writes both halves of each entry of a
//! map, prost leaves out an empty value.

use std::fmt;

use serde::Serialize;

use crate::wire::{Field as WireField, Fields, Malformed};

/// The fields of a message that this version knows.
#[derive(Debug)]
pub(super) struct Known {
    /// Name as in the engine's definitions.
    pub(super) name: &'static str,
    pub(super) fields: &'static [Field],
    /// Name of each `oneof`, whether one of its arms must be there, and the tags of its arms.
    pub(super) choices: &'static [(&'static str, bool, &'static [u32])],
}

/// One field of a message.
#[derive(Debug)]
pub(super) struct Field {
    pub(super) tag: u32,
    pub(super) name: &'static str,
    /// Whether it may be there more than once.
    pub(super) many: bool,
    pub(super) kind: Kind,
}

/// What a field holds.
#[derive(Debug)]
pub(super) enum Kind {
    Text,
    Bytes,
    Flag,
    Number,
    Float,
    /// One of these values.
    Choice(&'static [i32]),
    Map,
    Message(&'static Known),
    /// Something that the Engine API neither takes nor returns.
    OutsideApi,
}

/// A part of an object that this version does not know, usually because a newer engine wrote it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Unknown {
    /// A field.
    Field {
        /// Name of the message in swarmkit's definitions.
        message: String,
        /// Number of the field.
        field: u32,
    },
    /// A field that the Engine API neither takes nor returns: another client than Docker's set it.
    OutsideApi {
        /// Name of the message in swarmkit's definitions.
        message: String,
        /// Name of the field.
        field: String,
    },
    /// A value of an enumeration.
    Value {
        /// Name of the message in swarmkit's definitions.
        message: String,
        /// Name of the field.
        field: String,
        /// The value.
        value: u64,
    },
    /// A choice without any arm that this version knows.
    Choice {
        /// Name of the message in swarmkit's definitions.
        message: String,
        /// Name of the choice.
        choice: String,
    },
    /// Bytes that are not the message that should be there.
    Unreadable {
        /// Reason, without values.
        why: String,
    },
}

impl fmt::Display for Unknown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Field { message, field } => write!(f, "field {field} of {message}"),
            Self::OutsideApi { message, field } => write!(f, "{message}.{field}, which the Engine API does not have"),
            Self::Value { message, field, value } => write!(f, "value {value} of {message}.{field}"),
            Self::Choice { message, choice } => write!(f, "none of the known kinds of {message}.{choice}"),
            Self::Unreadable { why } => write!(f, "{why}"),
        }
    }
}

/// Returns everything in the message that `known` does not list, sorted, each once.
pub(super) fn unknown(known: &'static Known, message: &[u8]) -> Vec<Unknown> {
    let mut found = Vec::new();
    if let Err(malformed) = look(known, message, &mut found) {
        found.push(Unknown::Unreadable { why: format!("a {} that cannot be read: {}", known.name, malformed.why) });
    }
    found.sort();
    found.dedup();
    found
}

fn look(known: &'static Known, message: &[u8], found: &mut Vec<Unknown>) -> Result<(), Malformed> {
    let mut seen = Vec::new();
    for field in Fields::new(message) {
        let field = field?;
        let Some(listed) = known.fields.iter().find(|listed| listed.tag == field.tag) else {
            found.push(Unknown::Field { message: known.name.to_owned(), field: field.tag });
            continue;
        };
        if seen.contains(&field.tag) && !listed.many {
            return Err(Malformed { at: field.at, why: "a field that is there twice" });
        }
        seen.push(field.tag);
        look_into(known, listed, field, found)?;
    }
    for (choice, needed, arms) in known.choices {
        if *needed && !arms.iter().any(|arm| seen.contains(arm)) {
            found.push(Unknown::Choice { message: known.name.to_owned(), choice: (*choice).to_owned() });
        }
    }
    Ok(())
}

fn look_into(
    known: &'static Known,
    listed: &'static Field,
    field: WireField<'_>,
    found: &mut Vec<Unknown>,
) -> Result<(), Malformed> {
    match &listed.kind {
        Kind::Text => text(&field),
        Kind::Bytes => field.bytes().map(drop),
        Kind::Number => field.number().map(drop),
        Kind::Float => field.float().map(drop),
        Kind::Flag => match field.number()? {
            0 | 1 => Ok(()),
            _ => Err(Malformed { at: field.at, why: "a flag that is neither set nor unset" }),
        },
        Kind::Choice(values) => {
            let value = field.number()?;
            if !values.iter().any(|known| i64::from(*known) as u64 == value) {
                let (message, field) = (known.name.to_owned(), listed.name.to_owned());
                found.push(Unknown::Value { message, field, value });
            }
            Ok(())
        }
        Kind::Map => entry(&field),
        Kind::Message(inner) => look(inner, field.bytes()?, found),
        Kind::OutsideApi => {
            let (message, field) = (known.name.to_owned(), listed.name.to_owned());
            found.push(Unknown::OutsideApi { message, field });
            Ok(())
        }
    }
}

fn text(field: &WireField<'_>) -> Result<(), Malformed> {
    let text = std::str::from_utf8(field.bytes()?);
    text.map(drop).map_err(|_| Malformed { at: field.at, why: "a text that is not UTF-8" })
}

/// An entry of a map, which has a key and a value.
fn entry(field: &WireField<'_>) -> Result<(), Malformed> {
    for half in Fields::new(field.bytes()?) {
        let half = half?;
        if !matches!(half.tag, 1 | 2) {
            return Err(Malformed { at: field.at, why: "an entry of a map with a third part" });
        }
        text(&half)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use prost::Message;

    use super::*;
    use crate::{
        specs::{
            known::{CONFIG_SPEC, CONTAINER_SPEC, NETWORK_SPEC, PLUGIN_SPEC, SECRET_SPEC, SERVICE_SPEC, VOLUME_SPEC},
            messages::{ConfigSpec, NetworkSpec, PluginSpec, SecretSpec, ServiceSpec, VolumeSpec},
        },
        testkit::states::{bytes, number},
    };

    /// Fields that are known and never become part of a message: values, and what no Engine API has.
    fn is_left_out(known: &Known, field: &Field) -> bool {
        matches!(field.kind, Kind::OutsideApi)
            || matches!((known.name, field.name), ("SecretSpec" | "ConfigSpec", "data"))
            || (known.name, field.name) == ("ContainerSpec.PullOptions", "registry_auth")
    }

    /// Returns a message with each field once, all arms of its choices included.
    fn full(known: &'static Known, wanted: fn(&Known, &Field) -> bool) -> Vec<u8> {
        let fields = known.fields.iter().filter(|field| wanted(known, field));
        let fields = fields.map(|field| match &field.kind {
            Kind::Text | Kind::Bytes => bytes(field.tag, b"x"),
            Kind::Flag | Kind::Number => number(field.tag, 1),
            Kind::Float => [vec![(field.tag << 3 | 5) as u8], 0.3_f32.to_le_bytes().to_vec()].concat(),
            Kind::Choice(values) => number(field.tag, *values.last().unwrap() as u64),
            Kind::Map => bytes(field.tag, &[bytes(1, b"k"), bytes(2, b"v")].concat()),
            Kind::Message(inner) => bytes(field.tag, &full(inner, wanted)),
            Kind::OutsideApi => bytes(field.tag, b""),
        });
        fields.collect::<Vec<_>>().concat()
    }

    fn is_decoded_whole<T: Message + Default>(known: &'static Known) {
        let message = full(known, |known, field| !is_left_out(known, field));
        assert_eq!(unknown(known, &message), [], "{}", known.name);
        let decoded = T::decode(message.as_slice()).unwrap();
        assert_eq!(decoded.encoded_len(), message.len(), "{}: the decoder skips a field", known.name);
    }

    #[test]
    fn each_known_field_is_decoded() {
        is_decoded_whole::<ServiceSpec>(&SERVICE_SPEC);
        is_decoded_whole::<NetworkSpec>(&NETWORK_SPEC);
        is_decoded_whole::<SecretSpec>(&SECRET_SPEC);
        is_decoded_whole::<ConfigSpec>(&CONFIG_SPEC);
        is_decoded_whole::<VolumeSpec>(&VOLUME_SPEC);
        is_decoded_whole::<PluginSpec>(&PLUGIN_SPEC);
    }

    fn shown(known: &'static Known, message: &[u8]) -> Vec<String> {
        unknown(known, message).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn what_no_engine_api_has_is_named() {
        let of_service = ["Annotations.indices", "Mount.consistency", "NetworkAttachmentConfig.addresses"];
        let of_service = [&of_service[..], &["TaskSpec.resource_references"]].concat();
        let of_network = vec!["Annotations.indices", "IPAMConfig.family", "IPAMConfig.reserved"];
        for (known, fields) in [(&SERVICE_SPEC, of_service), (&NETWORK_SPEC, of_network)] {
            let expected: Vec<String> =
                fields.iter().map(|field| format!("{field}, which the Engine API does not have")).collect();
            assert_eq!(shown(known, &full(known, |_, _| true)), expected);
        }
    }

    #[test]
    fn what_a_newer_engine_added_is_named_once() {
        // A field in the container of the task, twice; a value of a mount's type; a reference to no known target.
        let mount = bytes(8, &number(1, 9));
        let reference = bytes(12, &[bytes(1, b"id"), bytes(5, b"")].concat());
        let container = [bytes(99, b"?"), number(99, 1), mount, reference].concat();
        let service = bytes(2, &bytes(1, &container));
        let expected = [
            "field 99 of ContainerSpec",
            "field 5 of SecretReference",
            "value 9 of Mount.type",
            "none of the known kinds of SecretReference.target",
        ];
        assert_eq!(shown(&SERVICE_SPEC, &service), expected);
    }

    #[test]
    fn an_empty_value_of_a_map_is_known_and_a_third_part_is_not() {
        let label = |parts: &[Vec<u8>]| bytes(2, &parts.concat());
        assert!(shown(&CONTAINER_SPEC, &label(&[bytes(1, b"traefik.enable"), bytes(2, b"")])).is_empty());
        let odd = label(&[bytes(1, b"k"), bytes(2, b"v"), bytes(3, b"?")]);
        let expected = "a ContainerSpec that cannot be read: an entry of a map with a third part";
        assert_eq!(shown(&CONTAINER_SPEC, &odd), [expected]);
    }

    #[test]
    fn malformed_messages_are_named_and_never_show_their_bytes() {
        for (message, why) in [
            ([bytes(1, b"planted"), bytes(1, b"planted")].concat(), "a field that is there twice"),
            (bytes(1, &[0xff, 0xfe]), "a text that is not UTF-8"),
            (number(13, 2), "a flag that is neither set nor unset"),
            (number(1, 2), "a number where bytes belong"),
            (vec![0x0a, 9, b'x'], "a field is longer than its message"),
        ] {
            assert_eq!(shown(&CONTAINER_SPEC, &message), [format!("a ContainerSpec that cannot be read: {why}")]);
        }
    }
}
