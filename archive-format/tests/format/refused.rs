//! Every vector of the testkit, of backups and of streams, is refused, and for its own reason.

use std::{collections::BTreeMap, fs, path::PathBuf};

use swarmdr_archive::{Error, Identities, Limits, Result, TrustedKeys, reader};

use super::{
    state::{test_identity, test_key},
    stream, stream_vectors,
    vectors::{self, Vector},
};

fn testkit() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/testkit")
}

/// The name of the variant.
fn kind(error: &Error) -> String {
    let debug = format!("{error:?}");
    debug.chars().take_while(char::is_ascii_alphanumeric).collect()
}

/// Vectors of one format: where they are stored, and how an archive is opened.
struct Vectors {
    /// Directory in the testkit.
    directory: &'static str,
    extension: &'static str,
    made: fn() -> Vec<Vector>,
    open: fn(&[u8]) -> Result<()>,
}

const FORMATS: [Vectors; 2] = [
    Vectors { directory: "", extension: "swarmdr", made: vectors::all, open: open_backup },
    Vectors { directory: "streams", extension: "stream", made: stream_vectors::all, open: open_stream },
];

fn open_backup(archive: &[u8]) -> Result<()> {
    let trusted = TrustedKeys::from(test_key().public());
    reader::unpack(archive, &trusted, &test_identity(), &Limits::default(), &mut ()).map(drop)
}

fn open_stream(archive: &[u8]) -> Result<()> {
    stream::open(archive, &mut Vec::new()).map(drop)
}

impl Vectors {
    fn path(&self, name: &str) -> PathBuf {
        testkit().join(self.directory).join(name)
    }

    fn refusal(&self, archive: &[u8]) -> String {
        (self.open)(archive).map_or_else(|error| kind(&error), |()| "accepted".to_owned())
    }

    /// Lines of `name kind`.
    fn expected(&self) -> BTreeMap<String, String> {
        let text = fs::read_to_string(self.path("refused.txt")).unwrap();
        let lines = text.lines().filter(|line| !line.starts_with('#'));
        lines.filter_map(|line| line.split_once(' ')).map(|(name, kind)| (name.to_owned(), kind.to_owned())).collect()
    }
}

#[test]
fn every_stored_vector_is_refused_for_its_own_reason() {
    for format in FORMATS {
        let mut expected = format.expected();
        for file in fs::read_dir(format.path("refused")).unwrap() {
            let path = file.unwrap().path();
            let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
            let kind = expected.remove(&name).unwrap_or_else(|| panic!("{name} is not in refused.txt"));
            assert_eq!(format.refusal(&fs::read(&path).unwrap()), kind, "{name}");
        }
        assert!(expected.is_empty(), "no file for {expected:?}");
    }
}

#[test]
fn every_vector_as_made_now_is_refused_for_its_own_reason() {
    for format in FORMATS {
        let vectors = (format.made)();
        let wrong: Vec<_> = vectors
            .iter()
            .map(|vector| (vector.name, vector.error, format.refusal(&vector.bytes)))
            .filter(|(_, error, found)| error != found)
            .collect();
        assert!(wrong.is_empty(), "{wrong:#?}");
        assert_eq!(vectors.len(), format.expected().len(), "refused.txt is stale: run write_vectors");
    }
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
    for format in FORMATS {
        let mut list = String::from("# What each file of refused/ is refused with: the variant of `Error`.\n");
        fs::create_dir_all(format.path("refused")).unwrap();
        for vector in (format.made)() {
            let path = format.path("refused").join(format!("{}.{}", vector.name, format.extension));
            if !path.exists() {
                fs::write(path, &vector.bytes).unwrap();
            }
            list += &format!("{} {}\n", vector.name, vector.error);
        }
        fs::write(format.path("refused.txt"), list).unwrap();
    }
}
