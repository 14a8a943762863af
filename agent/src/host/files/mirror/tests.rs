//! Tests that two passes make the same copy as one pass of a still directory, whatever happened in between.

use std::{
    collections::BTreeMap,
    fs::{File, FileTimes},
    io::Write,
    os::unix::{
        fs::{FileExt, FileTypeExt},
        net::UnixListener,
    },
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::Duration,
};

use proptest::prelude::*;

use super::*;
use crate::host::shutdown::Shutdown;

struct Site {
    _dir: tempfile::TempDir,
    from: PathBuf,
    to: PathBuf,
    mirror: Mirror,
}

impl Site {
    fn new() -> Self {
        let dir = tempfile::tempdir().expect("a scratch directory");
        let (from, to) = (dir.path().join("from"), dir.path().join("to"));
        fs::create_dir_all(from.join("raft/wal")).expect("creates");
        fs::create_dir(&to).expect("creates");
        Self { mirror: Mirror::new(&from, &to), _dir: dir, from, to }
    }

    fn write(&self, path: &str, bytes: &[u8]) {
        fs::write(self.from.join(path), bytes).expect("writes");
    }

    fn pass(&mut self, writer: Writer) -> Copied {
        self.pass_at(writer, SystemTime::now())
    }

    fn pass_at(&mut self, writer: Writer, now: SystemTime) -> Copied {
        let shutdown = Shutdown::default();
        let limits = CopyLimits { shutdown: &shutdown, deadline: None };
        let before = tree(&self.to);
        let copied = self.mirror.pass(&handling, writer, now, &limits).expect("copies");
        if writer == Writer::Still {
            let much = copied.bytes > changes::HELD_BYTES;
            assert!(much || tree(&self.to) == before, "it wrote while the writer waited");
            self.mirror.apply().expect("applies");
        }
        copied
    }
}

fn handling(path: &Path, metadata: &Metadata) -> Handling {
    match path.extension().and_then(|extension| extension.to_str()) {
        _ if metadata.file_type().is_socket() => Handling::Exclude("not wanted"),
        Some("tmp") => Handling::Exclude("not wanted"),
        Some("wal") => Handling::KeepLog,
        _ => Handling::Keep,
    }
}

fn tree(root: &Path) -> BTreeMap<PathBuf, Option<Vec<u8>>> {
    let mut found = BTreeMap::new();
    let mut pending = vec![PathBuf::new()];
    while let Some(directory) = pending.pop() {
        for path in list(root, &directory).expect("lists") {
            let full = root.join(&path);
            if full.is_dir() {
                pending.push(path.clone());
                found.insert(path, None);
            } else {
                found.insert(path, Some(fs::read(full).expect("reads")));
            }
        }
    }
    found
}

#[test]
fn what_is_unwanted_or_special_is_excluded() {
    let mut site = Site::new();
    site.write("raft/wal/0.tmp", b"junk");
    site.write("raft/wal/0.wal", b"data");
    let _listener = UnixListener::bind(site.from.join("control.sock")).expect("binds");
    let copied = site.pass(Writer::Still);
    let kept: Vec<_> = copied.entries.iter().map(|entry| entry.path.to_str().expect("UTF-8")).collect();
    assert_eq!(kept, ["", "raft", "raft/wal", "raft/wal/0.wal"]);
    let left: Vec<_> = copied.left_out.iter().map(|left| left.path.to_str().expect("UTF-8")).collect();
    assert_eq!(left, ["control.sock", "raft/wal/0.tmp"]);
    assert!(!site.to.join("control.sock").exists());
    assert_eq!(copied.bytes, 4);
}

#[test]
fn what_has_not_changed_for_a_while_is_not_read_again() {
    let mut site = Site::new();
    site.write("raft/wal/0.wal", b"finished");
    site.write("key", b"same");
    site.pass_at(Writer::Running, SystemTime::now() + Duration::from_secs(60));
    site.write("key", b"other");
    assert_eq!(site.pass(Writer::Still).bytes, 5);
    assert_eq!(tree(&site.to), tree(&site.from));
}

#[test]
fn a_file_that_was_just_written_is_read_again_even_if_its_stamp_is_the_same() {
    let mut site = Site::new();
    site.write("state.json", b"one");
    site.pass(Writer::Running);
    // Not even the times differ, as after two writes within one tick of the kernel's clock.
    let stamp = fs::metadata(site.from.join("state.json")).expect("is there");
    File::options()
        .write(true)
        .open(site.from.join("state.json"))
        .expect("opens")
        .write_all_at(b"two", 0)
        .expect("writes");
    let times = FileTimes::new().set_modified(stamp.modified().expect("has a time"));
    File::options().write(true).open(site.from.join("state.json")).expect("opens").set_times(times).expect("sets");
    assert_eq!(site.pass(Writer::Still).bytes, 3);
    assert_eq!(tree(&site.to), tree(&site.from));
}

#[test]
fn only_the_end_of_a_log_is_copied_again() {
    let mut site = Site::new();
    let path = site.from.join("raft/wal/0.wal");
    let log = File::options().write(true).create_new(true).open(&path).expect("creates");
    log.set_len(64_000_000).expect("preallocates");
    log.write_all_at(&vec![7; 30_000_000], 0).expect("writes");
    assert!(site.pass(Writer::Running).bytes >= 30_000_000);
    log.write_all_at(&vec![8; 1_000_000], 30_000_000).expect("appends");
    let copied = site.pass(Writer::Still);
    assert!(copied.bytes < 2_000_000, "{} bytes", copied.bytes);
    assert!(tree(&site.to) == tree(&site.from));
    // The log is cut to its length, as etcd does with a finished segment.
    log.set_len(31_000_000).expect("cuts");
    site.pass(Writer::Still);
    assert!(tree(&site.to) == tree(&site.from));
}

/// Once preallocated space was read, a filesystem reports it as data.
#[test]
fn zeros_ahead_of_a_log_that_count_as_data_are_not_copied() {
    let mut site = Site::new();
    let path = site.from.join("raft/wal/0.wal");
    site.write("raft/wal/0.wal", &vec![0; 32_000_000]);
    let log = File::options().write(true).open(&path).expect("opens");
    let mut end = 0;
    for len in [10_000, 20_000, 200_000] {
        log.write_all_at(&vec![7; len], end).expect("writes");
        end += len as u64;
        assert!(site.pass(Writer::Running).bytes < 600_000);
        log.write_all_at(&vec![8; len], end).expect("appends");
        end += len as u64;
        let copied = site.pass(Writer::Still);
        assert!(copied.bytes < 600_000, "{} bytes", copied.bytes);
        assert!(tree(&site.to) == tree(&site.from));
    }
}

#[test]
fn what_vanishes_or_is_replaced_is_followed() {
    let mut site = Site::new();
    site.write("raft/wal/0.wal", b"old");
    site.write("state.json", b"one");
    site.write("key", b"same");
    fs::create_dir(site.from.join("raft/snap")).expect("creates");
    site.write("raft/snap/1.snap", b"snapshot");
    site.pass(Writer::Running);
    fs::remove_dir_all(site.from.join("raft/snap")).expect("removes");
    site.write("raft/snap", b"a file now");
    fs::remove_file(site.from.join("key")).expect("removes");
    site.write("state.json.new", b"two");
    fs::rename(site.from.join("state.json.new"), site.from.join("state.json")).expect("renames");
    let copied = site.pass(Writer::Still);
    assert_eq!(tree(&site.to), tree(&site.from));
    assert_eq!(copied.entries.len(), 6, "{:?}", copied.entries);
}

#[test]
fn a_change_that_is_too_large_for_memory_is_copied_anyway() {
    let mut site = Site::new();
    site.write("raft/wal/0.wal", b"small");
    site.pass(Writer::Running);
    site.write("raft/1.snap", &vec![9; 20 << 20]);
    site.write("raft/2.snap", &vec![8; 10 << 20]);
    let copied = site.pass(Writer::Still);
    assert!(copied.bytes >= 30 << 20);
    assert!(tree(&site.to) == tree(&site.from));
    // A large file replaces another one, and nothing else changes.
    site.write("raft/1.snap", &vec![7; 21 << 20]);
    site.pass(Writer::Still);
    assert!(tree(&site.to) == tree(&site.from));
}

#[test]
fn a_still_directory_needs_no_pass_before() {
    let mut site = Site::new();
    fs::create_dir_all(site.from.join("raft/deep/er")).expect("creates");
    site.write("raft/deep/er/large.wal", &vec![9; 20 << 20]);
    site.write("raft/deep/small", b"small");
    site.pass(Writer::Still);
    assert!(tree(&site.to) == tree(&site.from));
}

#[test]
fn a_pass_that_was_given_up_leaves_nothing_for_the_next() {
    let mut site = Site::new();
    site.write("raft/gone", b"soon");
    let shutdown = Shutdown::default();
    let limits = CopyLimits { shutdown: &shutdown, deadline: None };
    site.mirror.pass(&handling, Writer::Still, SystemTime::now(), &limits).expect("copies");
    fs::remove_file(site.from.join("raft/gone")).expect("removes");
    site.pass(Writer::Still);
    assert_eq!(tree(&site.to), tree(&site.from));
}

#[test]
fn a_still_directory_in_which_something_vanishes_is_an_error() {
    let mut site = Site::new();
    site.mirror = Mirror::new(&site.from.join("nowhere"), &site.to);
    let shutdown = Shutdown::default();
    let limits = CopyLimits { shutdown: &shutdown, deadline: None };
    site.mirror.pass(&handling, Writer::Still, SystemTime::now(), &limits).expect_err("there is no such directory");
}

#[test]
fn a_pass_while_a_writer_runs_and_one_after_it_make_a_true_copy() {
    let mut site = Site::new();
    let stop = AtomicBool::new(false);
    let from = site.from.clone();
    thread::scope(|scope| {
        scope.spawn(|| append(&from, &stop));
        for _ in 0..20 {
            site.pass(Writer::Running);
        }
        stop.store(true, Ordering::SeqCst);
    });
    site.pass(Writer::Still);
    assert!(tree(&site.to) == tree(&site.from));
}

/// Appends to preallocated segments, cuts and replaces them, and renames a small file over and over.
fn append(from: &Path, stop: &AtomicBool) {
    let (mut n, mut position) = (0_u64, 0);
    let open = |n: u64| {
        let path = from.join(format!("raft/wal/{:02}.wal", n / 200));
        let file = File::options().write(true).create(true).truncate(false).open(path).expect("opens");
        file.set_len(400_000).expect("preallocates");
        file
    };
    let mut segment = open(0);
    while !stop.load(Ordering::SeqCst) {
        let record = vec![u8::try_from(n % 255).expect("fits") + 1; 1 + usize::try_from(n * 37 % 1999).expect("fits")];
        segment.write_all_at(&record, position).expect("appends");
        position += record.len() as u64;
        n += 1;
        if n.is_multiple_of(200) {
            segment.set_len(position).expect("cuts");
            (segment, position) = (open(n), 0);
            if n > 2000 {
                fs::remove_file(from.join(format!("raft/wal/{:02}.wal", n / 200 - 8))).expect("removes");
            }
        }
        let mut new = File::create(from.join("state.json.tmp")).expect("creates");
        new.write_all(n.to_string().as_bytes()).expect("writes");
        fs::rename(from.join("state.json.tmp"), from.join("state.json")).expect("renames");
    }
}

#[derive(Debug, Clone)]
enum Step {
    Write(u8, Vec<u8>),
    Append(u8, Vec<u8>),
    Remove(u8),
    Rename(u8, u8),
}

fn step() -> impl Strategy<Value = Step> {
    let bytes = || prop::collection::vec(1_u8.., 0..5000);
    prop_oneof![
        (0..6_u8, bytes()).prop_map(|(file, bytes)| Step::Write(file, bytes)),
        (0..6_u8, bytes()).prop_map(|(file, bytes)| Step::Append(file, bytes)),
        (0..6_u8).prop_map(Step::Remove),
        (0..6_u8, 0..6_u8).prop_map(|(from, to)| Step::Rename(from, to)),
    ]
}

/// The first three are logs: made, appended to and renamed. The rest is written as it comes.
fn take(site: &Site, step: &Step) {
    let name = |n: u8| if n < 3 { format!("raft/wal/{n}.wal") } else { format!("raft/{n}") };
    let exists = |n: u8| site.from.join(name(n)).exists();
    match step {
        Step::Write(n, bytes) if *n >= 3 || !exists(*n) => site.write(&name(*n), bytes),
        Step::Append(n, bytes) => {
            let file = File::options().append(true).create(true).open(site.from.join(name(*n)));
            file.expect("opens").write_all(bytes).expect("appends");
        }
        Step::Remove(n) if *n >= 3 => drop(fs::remove_file(site.from.join(name(*n)))),
        Step::Rename(a, b) if (*a < 3) == (*b < 3) && exists(*a) => {
            fs::rename(site.from.join(name(*a)), site.from.join(name(*b))).expect("renames");
        }
        Step::Write(..) | Step::Remove(_) | Step::Rename(..) => {}
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn after_any_changes_the_last_pass_makes_a_true_copy(
        before in prop::collection::vec(step(), 0..12),
        between in prop::collection::vec(prop::collection::vec(step(), 0..8), 1..4),
    ) {
        let mut site = Site::new();
        before.iter().for_each(|step| take(&site, step));
        for steps in between {
            site.pass(Writer::Running);
            steps.iter().for_each(|step| take(&site, step));
        }
        let copied = site.pass(Writer::Still);
        prop_assert_eq!(tree(&site.to), tree(&site.from));
        prop_assert_eq!(copied.entries.len(), tree(&site.from).len() + 1);
    }
}
