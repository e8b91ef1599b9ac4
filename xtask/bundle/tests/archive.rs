//! Bundles: what is packed comes out again, and nothing else ever does.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use optivex_bundle::archive::{self, About, PackError, Source, UnpackError};
use optivex_bundle::digest::Digest;
use optivex_bundle::limits::{LIMITS, Limits};
use optivex_bundle::manifest::{FileEntry, MANIFEST, Manifest, Mode, SCHEMA};
use proptest::prelude::*;
use tar::{EntryType, Header};

fn about() -> About {
    About {
        commit: "0123456789abcdef0123456789abcdef01234567".to_owned(),
        dirty: false,
        toolchain: "rustc 1.95.0".to_owned(),
        contract: Digest::of(b"contract"),
        start: vec!["exchange".to_owned()],
    }
}

type Files = BTreeMap<String, (Mode, Vec<u8>)>;

fn lay_out(files: &Files, home: &Path) -> Vec<Source> {
    let mut sources = Vec::new();
    for (index, (path, (mode, bytes))) in files.iter().enumerate() {
        let file = home.join(format!("source-{index}"));
        fs::write(&file, bytes).expect("written");
        fs::set_permissions(&file, fs::Permissions::from_mode(mode.bits())).expect("set");
        let path = path.parse().expect("a path");
        sources.push(Source { path, file });
    }
    sources
}

fn packed(files: &Files) -> (Manifest, Vec<u8>) {
    let home = tempfile::tempdir().expect("a folder");
    let mut bytes = Vec::new();
    let manifest = archive::pack(about(), lay_out(files, home.path()), &mut bytes, &LIMITS).expect("packed");
    (manifest, bytes)
}

fn one_file() -> Files {
    [("exchange".to_owned(), (Mode::Executable, b"#!program\n".to_vec()))].into()
}

/// All that is below a folder: files with mode and bytes; anything else by what it is.
fn found(folder: &Path) -> BTreeMap<String, (u32, Vec<u8>)> {
    fn collect(top: &Path, folder: &Path, all: &mut BTreeMap<String, (u32, Vec<u8>)>) {
        for entry in fs::read_dir(folder).expect("a folder") {
            let path = entry.expect("an entry").path();
            let metadata = fs::symlink_metadata(&path).expect("there");
            if metadata.is_dir() {
                collect(top, &path, all);
                continue;
            }
            assert!(metadata.is_file(), "{} is no file", path.display());
            let name = path.strip_prefix(top).expect("below").to_str().expect("UTF-8");
            let bytes = fs::read(&path).expect("read");
            all.insert(name.to_owned(), (metadata.permissions().mode() & 0o7777, bytes));
        }
    }
    let mut all = BTreeMap::new();
    collect(folder, folder, &mut all);
    all
}

/// A folder in which nothing but `into` may appear.
struct Room {
    home: tempfile::TempDir,
}

impl Room {
    fn new() -> Self {
        let home = tempfile::tempdir().expect("a folder");
        fs::write(home.path().join("neighbour"), "untouched").expect("written");
        Self { home }
    }

    fn place(&self) -> PathBuf {
        self.home.path().join("into")
    }

    fn unpack(&self, bytes: &[u8], limits: &Limits) -> Result<Manifest, UnpackError> {
        let result = archive::unpack_from(bytes, &self.place(), limits);
        let mut names: Vec<_> = fs::read_dir(self.home.path())
            .expect("a folder")
            .map(|entry| entry.expect("an entry").file_name().into_string().expect("UTF-8"))
            .filter(|name| name != "into")
            .collect();
        names.sort();
        assert_eq!(names, ["neighbour"], "something came out beside the folder");
        assert_eq!(
            fs::read(self.home.path().join("neighbour")).expect("read"),
            b"untouched"
        );
        result
    }
}

/// Why it was refused; anything else is a failure.
fn refused(bytes: &[u8], limits: &Limits) -> String {
    match Room::new().unpack(bytes, limits) {
        Err(UnpackError::Unsound(why)) => why,
        other => panic!("not refused: {other:?}"),
    }
}

#[test]
fn the_same_files_give_the_same_bytes() {
    let mut files = one_file();
    files.insert("data/a.yaml".to_owned(), (Mode::Plain, b"a: 1\n".to_vec()));
    let home = tempfile::tempdir().expect("a folder");
    let mut sources = lay_out(&files, home.path());
    let (_, bytes) = packed(&files);
    sources.reverse();
    let mut again = Vec::new();
    archive::pack(about(), sources, &mut again, &LIMITS).expect("packed");
    assert_eq!(bytes, again);
}

#[test]
fn what_cannot_be_packed() {
    let home = tempfile::tempdir().expect("a folder");
    let source = |path: &str, file: &Path| Source {
        path: path.parse().expect("a path"),
        file: file.to_owned(),
    };
    let missing = home.path().join("missing");
    let cases = [
        (vec![source("exchange", &missing)], "No such file"),
        (vec![source("exchange", home.path())], "not a regular file"),
        (vec![], "not a file of the bundle"),
    ];
    for (sources, told) in cases {
        let start = vec!["./exchange".to_owned()];
        let error = archive::pack(About { start, ..about() }, sources, io::sink(), &LIMITS).expect_err(told);
        assert!(error.to_string().contains(told), "{error}");
    }
    let sources = lay_out(&one_file(), home.path());
    let tight = Limits {
        unpacked_bytes: 5,
        ..LIMITS
    };
    let error = archive::pack(about(), sources, io::sink(), &tight).expect_err("too much");
    assert!(matches!(error, PackError::Unsound(_)), "{error}");
}

/// An entry as somebody else's tar would make it.
struct Entry {
    path: &'static [u8],
    kind: EntryType,
    mode: u32,
    size: u64,
    bytes: Vec<u8>,
    link: &'static str,
}

fn entry(path: &'static str, bytes: &[u8]) -> Entry {
    Entry {
        path: path.as_bytes(),
        kind: EntryType::Regular,
        mode: 0o644,
        size: bytes.len() as u64,
        bytes: bytes.to_vec(),
        link: "",
    }
}

fn tarred(entries: &[Entry]) -> Vec<u8> {
    let mut out = Vec::new();
    for entry in entries {
        let mut header = Header::new_ustar();
        let name = &mut header.as_mut_bytes()[..100];
        name[..entry.path.len()].copy_from_slice(entry.path);
        header.set_entry_type(entry.kind);
        header.set_mode(entry.mode);
        header.set_size(entry.size);
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(0);
        if !entry.link.is_empty() {
            header.set_link_name(entry.link).expect("a link");
        }
        header.set_cksum();
        out.extend_from_slice(header.as_bytes());
        out.extend_from_slice(&entry.bytes);
        out.resize(out.len().next_multiple_of(512), 0);
    }
    out.resize(out.len() + 1024, 0);
    out
}

fn compressed(bytes: &[u8]) -> Vec<u8> {
    zstd::encode_all(bytes, 3).expect("compressed")
}

fn manifest_of(files: &[(&str, Mode, &[u8])]) -> Manifest {
    let about = about();
    Manifest {
        schema: SCHEMA,
        commit: about.commit,
        dirty: false,
        toolchain: about.toolchain,
        contract: about.contract,
        start: about.start,
        files: files
            .iter()
            .map(|(path, mode, bytes)| FileEntry {
                path: path.parse().expect("a path"),
                size: bytes.len() as u64,
                mode: *mode,
                sha256: Digest::of(bytes),
            })
            .collect(),
    }
}

fn exchange(bytes: &[u8]) -> Entry {
    Entry {
        mode: 0o755,
        ..entry("exchange", bytes)
    }
}

#[test]
fn hostile_bundles() {
    const BYTES: &[u8] = b"program";
    let sound = manifest_of(&[("exchange", Mode::Executable, BYTES)]);
    let text = serde_json::to_string(&sound).expect("JSON");
    let manifest = || entry(MANIFEST, text.as_bytes());
    let two = manifest_of(&[("exchange", Mode::Executable, BYTES), ("z", Mode::Plain, BYTES)]);
    let two = serde_json::to_string(&two).expect("JSON");
    // The form of entries is right: this is what comes through.
    let room = Room::new();
    assert_eq!(
        room.unpack(&compressed(&tarred(&[manifest(), exchange(BYTES)])), &LIMITS)
            .expect("sound"),
        sound
    );

    let kinds = [
        EntryType::Symlink,
        EntryType::Link,
        EntryType::Directory,
        EntryType::Fifo,
        EntryType::Char,
        EntryType::Block,
        EntryType::Continuous,
        EntryType::GNUSparse,
        EntryType::GNULongName,
        EntryType::XHeader,
        EntryType::XGlobalHeader,
    ];
    for kind in kinds {
        let special = Entry {
            kind,
            link: "/etc/passwd",
            ..exchange(BYTES)
        };
        let why = refused(&compressed(&tarred(&[manifest(), special])), &LIMITS);
        assert!(why.contains("not a regular file"), "{kind:?}: {why}");
    }

    let changed = |from: &str, to: &str| {
        assert!(text.contains(from), "{from}");
        entry(MANIFEST, text.replace(from, to).as_bytes())
    };
    let cases: Vec<(&str, Vec<Entry>, &str)> = vec![
        ("nothing", vec![], "empty"),
        (
            "no manifest",
            vec![exchange(BYTES)],
            "where \"manifest.json\" must come",
        ),
        (
            "manifest last",
            vec![exchange(BYTES), manifest()],
            "where \"manifest.json\" must come",
        ),
        (
            "manifest twice",
            vec![manifest(), manifest(), exchange(BYTES)],
            "where \"exchange\" must come",
        ),
        (
            "manifest is no JSON",
            vec![entry(MANIFEST, b"{"), exchange(BYTES)],
            "cannot be read",
        ),
        (
            "unknown field",
            vec![changed("\"dirty\"", "\"evil\":1,\"dirty\""), exchange(BYTES)],
            "cannot be read",
        ),
        (
            "traversal",
            vec![manifest(), entry("../../etc/cron.d/x", BYTES)],
            "must come",
        ),
        (
            "traversal in the manifest",
            vec![
                changed("\"exchange\",\"size\"", "\"../exchange\",\"size\""),
                entry("../exchange", BYTES),
            ],
            "relative path",
        ),
        (
            "absolute path in the manifest",
            vec![
                changed("\"exchange\",\"size\"", "\"/tmp/exchange\",\"size\""),
                entry("/tmp/exchange", BYTES),
            ],
            "relative path",
        ),
        (
            "no UTF-8",
            vec![
                manifest(),
                Entry {
                    path: b"\xff\xfe",
                    ..entry("", BYTES)
                },
            ],
            "must come",
        ),
        ("missing", vec![manifest()], "not in the bundle"),
        (
            "more",
            vec![manifest(), exchange(BYTES), entry("more", BYTES)],
            "not in the manifest",
        ),
        (
            "twice",
            vec![manifest(), exchange(BYTES), exchange(BYTES)],
            "not in the manifest",
        ),
        (
            "other order",
            vec![entry(MANIFEST, two.as_bytes()), entry("z", BYTES), exchange(BYTES)],
            "where \"exchange\" must come",
        ),
        ("other bytes", vec![manifest(), exchange(b"PROGRAM")], "another SHA-256"),
        ("longer", vec![manifest(), exchange(b"program and more")], "bytes"),
        ("shorter", vec![manifest(), exchange(b"pro")], "bytes"),
        (
            "setuid",
            vec![
                manifest(),
                Entry {
                    mode: 0o4755,
                    ..exchange(BYTES)
                },
            ],
            "mode 4755",
        ),
        (
            "writable by all",
            vec![
                manifest(),
                Entry {
                    mode: 0o777,
                    ..exchange(BYTES)
                },
            ],
            "mode 0777",
        ),
        (
            "setuid in the manifest",
            vec![changed("0755", "4755"), exchange(BYTES)],
            "mode 0644 or 0755",
        ),
        (
            "breaks off",
            vec![
                manifest(),
                Entry {
                    size: 7,
                    bytes: vec![],
                    ..exchange(b"")
                },
            ],
            "another SHA-256",
        ),
        (
            "size beyond all",
            vec![
                manifest(),
                Entry {
                    size: u64::MAX / 2,
                    ..exchange(BYTES)
                },
            ],
            "bytes",
        ),
        (
            "manifest of any size",
            vec![Entry {
                size: 1 << 40,
                ..manifest()
            }],
            "are allowed",
        ),
    ];
    for (name, entries, told) in cases {
        let why = refused(&compressed(&tarred(&entries)), &LIMITS);
        assert!(why.contains(told), "{name}: {why}");
        assert!(!why.chars().any(char::is_control), "{name}: {why:?}");
    }
}

#[test]
fn broken_bytes() {
    let (_, sound) = packed(&one_file());
    let tar = zstd::decode_all(&sound[..]).expect("a sound one");
    let mut hidden = tar.clone();
    hidden.extend_from_slice(b"more");
    let mut sum = tar.clone();
    sum[0] ^= 1;
    let cases: Vec<(&str, Vec<u8>, &str)> = vec![
        ("nothing", vec![], "broken"),
        ("no zstd", b"PK\x03\x04".to_vec(), "broken"),
        ("a tar, not compressed", tar.clone(), "broken"),
        ("cut off", sound[..sound.len() / 2].to_vec(), "broken"),
        ("without its checksum", sound[..sound.len() - 4].to_vec(), "broken"),
        ("something behind it", [&sound[..], b"more"].concat(), "broken"),
        ("something behind the archive", compressed(&hidden), "behind the end"),
        ("an archive cut off", compressed(&tar[..tar.len() - 1536]), "breaks off"),
        ("a header's checksum", compressed(&sum), "broken"),
    ];
    for (name, bytes, told) in cases {
        let why = refused(&bytes, &LIMITS);
        assert!(why.contains(told), "{name}: {why}");
    }
}

/// Zeros without end, a thousand to one: stopped by what comes out, not by what went in.
#[test]
fn zip_bombs_are_stopped_while_they_expand() {
    let limits = Limits {
        unpacked_bytes: 1 << 20,
        manifest_bytes: 64 << 10,
        ..LIMITS
    };
    let zeros = vec![0; 64 << 20];
    let sound = serde_json::to_vec(&manifest_of(&[("exchange", Mode::Executable, b"x")])).expect("JSON");
    let manifest = || Entry {
        size: sound.len() as u64,
        bytes: sound.clone(),
        ..entry(MANIFEST, b"")
    };
    let behind = {
        let mut tar = tarred(&[manifest(), exchange(b"x")]);
        tar.extend_from_slice(&zeros);
        tar
    };
    let cases = [
        ("a big file", tarred(&[manifest(), exchange(&zeros)]), "bytes"),
        ("a big manifest", tarred(&[entry(MANIFEST, &zeros)]), "are allowed"),
        (
            "a long name that nobody reads",
            tarred(&[Entry {
                kind: EntryType::GNULongName,
                ..entry("././@LongLink", &zeros)
            }]),
            "must come",
        ),
        ("behind the end", behind, "more than is allowed"),
    ];
    for (name, tar, told) in cases {
        let bytes = compressed(&tar);
        assert!(bytes.len() < 100_000, "{name} is no bomb");
        let why = refused(&bytes, &limits);
        assert!(why.contains(told), "{name}: {why}");
    }
    let (_, bytes) = packed(&one_file());
    let small = Limits {
        bundle_bytes: 100,
        ..LIMITS
    };
    let why = refused(&bytes, &small);
    assert!(why.contains("more bytes than a bundle may have"), "{why}");
}

/// A disk that fails is never the participant's fault, nor is a bundle that changed in our hands.
#[test]
fn our_own_trouble_is_ours() {
    struct Failing<R>(R);
    impl<R: Read> Read for Failing<R> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            match self.0.read(buffer)? {
                0 => Err(io::Error::other("I/O error of the disk")),
                count => Ok(count),
            }
        }
    }
    let (_, bytes) = packed(&one_file());
    let room = Room::new();
    let half = Failing(&bytes[..bytes.len() / 2]);
    let error = archive::unpack_from(half, &room.place(), &LIMITS).expect_err("fails");
    assert!(
        matches!(&error, UnpackError::Ours(error) if error.to_string().contains("of the disk")),
        "{error:?}"
    );

    let mut file = tempfile::tempfile().expect("a file");
    file.write_all(&bytes).expect("written");
    let other = Digest::of(b"what was taken in");
    let error = archive::unpack(&mut file, &other, &room.place(), &LIMITS).expect_err("changed");
    assert!(
        matches!(&error, UnpackError::Ours(error) if error.to_string().contains("has changed")),
        "{error:?}"
    );

    let room = Room::new();
    fs::create_dir(room.place()).expect("made");
    let error = archive::unpack(&mut file, &Digest::of(&bytes), &room.place(), &LIMITS).expect_err("is there");
    assert!(matches!(error, UnpackError::Ours(_)), "{error:?}");
}

fn any_files() -> impl Strategy<Value = Files> {
    let name = "[a-zA-Z0-9._ äß-]{1,12}".prop_filter("not dots", |name| name != "." && name != "..");
    let path = prop::collection::vec(name, 1..5).prop_map(|names| names.join("/"));
    let file = (
        any::<bool>().prop_map(Mode::of_executable),
        prop::collection::vec(any::<u8>(), 0..3000),
    );
    prop::collection::btree_map(path, file, 0..12).prop_map(|mut files: Files| {
        // No file where another wants a folder, and the program.
        files.extend(one_file());
        let paths: Vec<String> = files.keys().cloned().collect();
        files.retain(|path, _| {
            let folder = format!("{path}/");
            path != MANIFEST && !paths.iter().any(|other| other.starts_with(&folder))
        });
        files.retain(|path, _| !path.starts_with("exchange/"));
        files.extend(one_file());
        files
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn what_is_packed_comes_out_again(files in any_files()) {
        let (manifest, bytes) = packed(&files);
        let room = Room::new();
        let mut file: File = tempfile::tempfile().expect("a file");
        file.write_all(&bytes).expect("written");
        let out = archive::unpack(&mut file, &Digest::of(&bytes), &room.place(), &LIMITS).expect("sound");
        prop_assert_eq!(&out, &manifest);
        prop_assert_eq!(archive::read_manifest(&bytes[..], &LIMITS).expect("sound"), manifest);
        let expected: BTreeMap<_, _> =
            files.into_iter().map(|(path, (mode, bytes))| (path, (mode.bits(), bytes))).collect();
        prop_assert_eq!(found(&room.place()), expected);
    }

    /// Bytes of the archive changed at random, below the compression so that they get through it.
    #[test]
    fn a_changed_archive_is_refused_or_says_the_same(changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8)) {
        let (manifest, bytes) = packed(&one_file());
        let mut tar = zstd::decode_all(&bytes[..]).expect("sound");
        for (place, byte) in changes {
            let place = place.index(tar.len());
            tar[place] = byte;
        }
        let room = Room::new();
        match room.unpack(&compressed(&tar), &LIMITS) {
            // Of what is there, nothing but what the manifest says came out.
            Ok(out) => {
                let expected: BTreeMap<_, _> = out.files.iter().map(|file| (file.path.to_string(), file.sha256)).collect();
                let came: BTreeMap<_, _> =
                    found(&room.place()).into_iter().map(|(path, (_, bytes))| (path, Digest::of(&bytes))).collect();
                prop_assert_eq!(came, expected);
                prop_assert_eq!(out.files.len(), manifest.files.len());
            }
            Err(UnpackError::Unsound(_)) => {}
            Err(UnpackError::Ours(error)) => prop_assert!(false, "ours: {error}"),
        }
    }

    #[test]
    fn noise_is_refused(bytes in prop::collection::vec(any::<u8>(), 0..600)) {
        let framed = compressed(&bytes);
        for bytes in [bytes, framed] {
            prop_assert!(matches!(Room::new().unpack(&bytes, &LIMITS), Err(UnpackError::Unsound(_))));
        }
    }
}
