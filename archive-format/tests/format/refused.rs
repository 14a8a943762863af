//! Every vector of the testkit is refused, and for its own reason.

use std::{collections::BTreeMap, fs, path::PathBuf};

use swarmdr_archive::{Error, Identities, Limits, TrustedKeys, reader};

use super::{
    state::{test_identity, test_key},
    vectors,
};

fn testkit() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/testkit")
}

/// The name of the variant.
fn kind(error: &Error) -> String {
    let debug = format!("{error:?}");
    debug.chars().take_while(char::is_ascii_alphanumeric).collect()
}

fn refusal(archive: &[u8]) -> String {
    let trusted = TrustedKeys::from(test_key().public());
    match reader::unpack(archive, &trusted, &test_identity(), &Limits::default(), &mut ()) {
        Ok(_) => "accepted".to_owned(),
        Err(error) => kind(&error),
    }
}

/// Lines of `name kind`.
fn expected() -> BTreeMap<String, String> {
    let text = fs::read_to_string(testkit().join("refused.txt")).unwrap();
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    lines.filter_map(|line| line.split_once(' ')).map(|(name, kind)| (name.to_owned(), kind.to_owned())).collect()
}

#[test]
fn every_stored_vector_is_refused_for_its_own_reason() {
    let mut expected = expected();
    for file in fs::read_dir(testkit().join("refused")).unwrap() {
        let path = file.unwrap().path();
        let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
        let kind = expected.remove(&name).unwrap_or_else(|| panic!("{name} is not in refused.txt"));
        assert_eq!(refusal(&fs::read(&path).unwrap()), kind, "{name}");
    }
    assert!(expected.is_empty(), "no file for {expected:?}");
}

#[test]
fn every_vector_as_made_now_is_refused_for_its_own_reason() {
    let expected = expected();
    let vectors = vectors::all();
    let wrong: Vec<_> = vectors
        .iter()
        .map(|vector| (vector.name, vector.error, refusal(&vector.bytes)))
        .filter(|(_, error, found)| error != found)
        .collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert_eq!(vectors.len(), expected.len(), "refused.txt is stale: run write_vectors");
}

#[test]
fn encrypted_archive_without_identity_asks_for_one() {
    let identity = test_identity();
    let (archive, _) = super::state::State::small().seal(&identity.recipients());
    let trusted = TrustedKeys::from(test_key().public());
    let error = reader::unpack(&archive[..], &trusted, &Identities::none(), &Limits::default(), &mut ()).unwrap_err();
    assert!(matches!(&error, Error::NeedsIdentity { .. }));
    assert!(error.to_string().contains(&identity.recipients()[0].to_string()));
}

/// Damage that needs no identity to be seen is seen without one.
#[test]
fn stored_damage_is_seen_without_identity() {
    let trusted = TrustedKeys::from(test_key().public());
    let (archive, sealed) = super::state::State::small().seal(&test_identity().recipients());
    let head = reader::verify_stored(&archive[..], &trusted).unwrap();
    assert_eq!(head.manifest, sealed.manifest);
    let mut damaged = archive.clone();
    damaged[head.payload_offset as usize + 300] ^= 1;
    let error = reader::verify_stored(&damaged[..], &trusted).unwrap_err();
    assert_eq!(kind(&error), "DigestMismatch");
    let error = reader::verify_stored(&archive[..archive.len() - 1], &trusted).unwrap_err();
    assert_eq!(kind(&error), "Truncated");
    let error = reader::verify_stored(&[&archive[..], b"x"].concat()[..], &trusted).unwrap_err();
    assert_eq!(kind(&error), "TrailingBytes");
    let error = reader::verify_stored(&archive[..], &TrustedKeys::new()).unwrap_err();
    assert_eq!(kind(&error), "UnknownKey");
}

/// Lower limits than the default are kept to.
#[test]
fn limits_are_the_callers() {
    let (archive, _) = super::state::State::small().seal(&[]);
    let trusted = TrustedKeys::from(test_key().public());
    let open = |limits: Limits| reader::unpack(&archive[..], &trusted, &Identities::none(), &limits, &mut ());
    let default = Limits::default;
    for limits in [
        Limits { contents_bytes: 100, ..default() },
        Limits { entries: 6, ..default() },
        Limits { file_bytes: 1 << 18, ..default() },
        Limits { total_bytes: 1 << 19, ..default() },
        Limits { extents: 1, ..default() },
        Limits { expansion: 1, free_expansion: 1, ..default() },
    ] {
        let error = open(limits.clone()).map(drop).unwrap_err();
        assert_eq!(kind(&error), "LimitExceeded", "{limits:?}");
    }
    open(Limits { entries: 7, total_bytes: (1 << 19) + 100, ..default() }).unwrap();
}

/// Writes the vectors anew; those that exist stay, for what was refused once must be refused forever.
#[test]
#[ignore = "writes the testkit"]
fn write_vectors() {
    let mut list = String::from("# What each file of refused/ is refused with: the variant of `Error`.\n");
    fs::create_dir_all(testkit().join("refused")).unwrap();
    for vector in vectors::all() {
        let path = testkit().join("refused").join(format!("{}.swarmdr", vector.name));
        if !path.exists() {
            fs::write(path, &vector.bytes).unwrap();
        }
        list += &format!("{} {}\n", vector.name, vector.error);
    }
    fs::write(testkit().join("refused.txt"), list).unwrap();
}
