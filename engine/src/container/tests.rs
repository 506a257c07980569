use super::*;
use std::fs;

fn write_small(path: &Path) {
    let mut w = Writer::create(path, "dataset").unwrap();
    w.section("ids", &[3u32, 1, 2]).unwrap();
    w.begin("text", Scalar::U8).unwrap();
    w.append(b"hello ").unwrap();
    w.append(b"world").unwrap();
    w.end().unwrap();
    w.section::<f32>("empty", &[]).unwrap();
    w.section("starts", &[0u64, u64::MAX]).unwrap();
    w.section("short", &[7u16]).unwrap();
    w.commit().unwrap();
}

type Meaning = (Vec<u32>, Vec<u8>, Vec<f32>, Vec<u64>, Vec<u16>);

/// What a reader of the small file sees, or the kind of error it gets.
fn meaning(path: &Path) -> Result<Meaning, Kind> {
    let c = Container::open(path, "dataset", Verify::Full).map_err(|e| e.kind())?;
    assert_eq!(c.sections().len(), 5);
    Ok((
        c.slice("ids").map_err(|e| e.kind())?.to_vec(),
        c.slice("text").map_err(|e| e.kind())?.to_vec(),
        c.slice("empty").map_err(|e| e.kind())?.to_vec(),
        c.slice("starts").map_err(|e| e.kind())?.to_vec(),
        c.slice("short").map_err(|e| e.kind())?.to_vec(),
    ))
}

fn names_in(dir: &Path) -> Vec<String> {
    let mut names: Vec<_> =
        fs::read_dir(dir).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn what_was_written_is_read_in_place() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("d");
    write_small(&path);
    let want = (vec![3, 1, 2], b"hello world".to_vec(), vec![], vec![0, u64::MAX], vec![7]);
    assert_eq!(meaning(&path).unwrap(), want);
    let c = Container::open(&path, "dataset", Verify::Header).unwrap();
    let view = c.view::<u32>("ids").unwrap();
    assert!(c.has("text") && !c.has("texts"));
    assert_eq!(c.slice::<f32>("ids").unwrap_err().kind(), Kind::Damaged);
    assert_eq!(c.bytes("texts").unwrap_err().kind(), Kind::Damaged);
    for s in c.sections() {
        assert_eq!(s.offset % 64, 0);
    }
    drop(c);
    assert_eq!(&view[..], [3, 1, 2]);
    assert_eq!(names_in(dir.path()), ["d"]);
}

#[test]
fn every_truncation_is_noticed() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("d");
    write_small(&path);
    let whole = fs::read(&path).unwrap();
    for len in 0..whole.len() {
        fs::write(&path, &whole[..len]).unwrap();
        let header_only = Container::open(&path, "dataset", Verify::Header).map(|_| ()).unwrap_err();
        assert_eq!(header_only.kind(), Kind::Damaged, "cut to {len} bytes");
    }
    fs::write(&path, [&whole[..], &[0]].concat()).unwrap();
    assert_eq!(meaning(&path), Err(Kind::Damaged));
}

#[test]
fn every_flipped_bit_is_noticed_or_means_the_same() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("d");
    write_small(&path);
    let whole = fs::read(&path).unwrap();
    let want = meaning(&path).unwrap();
    let mut padding = 0;
    for at in 0..whole.len() {
        for flip in [0x01, 0x80, 0xff] {
            let mut bytes = whole.clone();
            bytes[at] ^= flip;
            fs::write(&path, &bytes).unwrap();
            match meaning(&path) {
                Ok(got) => {
                    assert_eq!(got, want, "byte {at} ^ {flip:#x}");
                    padding += 1;
                }
                Err(kind) => assert_eq!(kind, Kind::Damaged, "byte {at} ^ {flip:#x}"),
            }
        }
    }
    // Sections of 12, 11, 0, 16 and 2 bytes; each but the empty one is followed by zeros up to the next
    // multiple of 64.
    assert_eq!(padding, 3 * (4 * 64 - 12 - 11 - 16 - 2));
}

/// Header and table are sealed again after the change, so only the check of the value itself can stop it.
#[track_caller]
fn check_hostile(change: impl Fn(&mut Vec<u8>, usize), want: &str) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("d");
    write_small(&path);
    let mut bytes = fs::read(&path).unwrap();
    let table = u64_at(&bytes, 40) as usize;
    change(&mut bytes, table);
    let sum = xxh3_64(&bytes[table..]);
    bytes[48..56].copy_from_slice(&sum.to_le_bytes());
    let sum = xxh3_64(&bytes[..56]);
    bytes[56..64].copy_from_slice(&sum.to_le_bytes());
    fs::write(&path, &bytes).unwrap();
    let e = Container::open(&path, "dataset", Verify::Full).map(|_| ()).unwrap_err();
    assert!(e.to_string().contains(want), "{e}");
}

#[test]
fn hostile_headers_and_tables_are_refused() {
    fn put(bytes: &mut [u8], at: usize, v: u64) {
        bytes[at..at + 8].copy_from_slice(&v.to_le_bytes());
    }
    check_hostile(|b, _| put(b, 32, u64::MAX), "bytes were written");
    check_hostile(|b, _| put(b, 40, u64::MAX - 63), "table lies outside");
    check_hostile(|b, _| put(b, 40, 0), "table lies outside");
    check_hostile(|b, _| b[12..16].copy_from_slice(&u32::MAX.to_le_bytes()), "table lies outside");
    check_hostile(|b, _| b[12..16].copy_from_slice(&4u32.to_le_bytes()), "table lies outside");
    check_hostile(|b, _| b[8] = 9, "format version 9");
    check_hostile(|b, _| b[16..20].copy_from_slice(b"bank"), "`bankset`, `dataset` was expected");
    check_hostile(|b, _| b[16] = 0xff, "kind is no text");
    check_hostile(|b, t| put(b, t + 40, u64::MAX - 63), "section `ids`: lies outside");
    check_hostile(|b, t| put(b, t + 48, u64::MAX), "section `ids`: lies outside");
    check_hostile(|b, t| put(b, t + 40, 128), "section `ids`: does not start where");
    check_hostile(|b, t| put(b, t + 64 + 40, 64), "section `text`: does not start where");
    check_hostile(|b, t| put(b, t + 48, 13), "section `ids`: its length is no multiple");
    check_hostile(|b, t| put(b, t + 48, 8), "section `ids`: its checksum");
    check_hostile(|b, t| b[t + 32] = 77, "section `ids`: unknown number type");
    check_hostile(|b, t| b.copy_within(t..t + 32, t + 64), "section `ids`: stands twice");
    check_hostile(|b, t| b[t] = 0, "a name is no text");
    check_hostile(|b, t| put(b, t + 4 * 64 + 48, 0), "does not start where the last section ends");
}

#[test]
fn another_kind_and_a_missing_file_are_the_users_mistakes() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("d");
    let kind = |path: &Path, kind: &str| Container::open(path, kind, Verify::Header).unwrap_err().kind();
    assert_eq!(kind(&path, "dataset"), Kind::Input);
    assert_eq!(kind(dir.path(), "dataset"), Kind::Input);
    write_small(&path);
    assert_eq!(kind(&path, "bank"), Kind::Input);
    assert!(Container::is_container(&path) && !Container::is_container(dir.path()));
}

#[cfg(unix)]
#[test]
fn a_device_is_not_replaced() {
    use std::os::unix::net::UnixListener;
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("socket");
    let _listener = UnixListener::bind(&path).unwrap();
    let error = Writer::create(&path, "small").map(|_| ()).unwrap_err();
    assert!(error.kind() == Kind::Input && error.to_string().contains("a device or a pipe"), "{error}");
    assert_eq!(names_in(dir.path()), ["socket"]);
}

#[test]
fn an_abandoned_writer_leaves_the_old_file_and_nothing_else() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("d");
    write_small(&path);
    let before = fs::read(&path).unwrap();
    let mut w = Writer::create(&path, "dataset").unwrap();
    w.section("ids", &[1u32]).unwrap();
    assert_eq!(names_in(dir.path()).len(), 2);
    drop(w);
    assert_eq!(names_in(dir.path()), ["d"]);
    assert_eq!(fs::read(&path).unwrap(), before);
    assert_eq!(
        Writer::create(&dir.path().join("no/d"), "dataset").map(|_| ()).unwrap_err().kind(),
        Kind::Input
    );
}

/// A rename onto a folder fails after everything was written: the last moment at which something can go
/// wrong.
#[test]
fn a_failing_commit_leaves_nothing_behind() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("d");
    let mut w = Writer::create(&path, "dataset").unwrap();
    w.section("ids", &[1u32]).unwrap();
    fs::create_dir(&path).unwrap();
    assert!(w.commit().is_err());
    assert_eq!(names_in(dir.path()), ["d"]);
}

/// `/dev/full` answers every write with ENOSPC.
#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_is_an_io_error() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("d");
    let mut w = Writer::create(&path, "dataset").unwrap();
    w.replace_file_for_test(fs::OpenOptions::new().write(true).open("/dev/full").unwrap());
    let big = vec![0u8; 3 << 20];
    let e = w.section("big", &big).unwrap_err();
    assert_eq!(e.kind(), Kind::Io);
    assert!(e.to_string().contains("no space left"), "{e}");
    drop(w);
    assert_eq!(names_in(dir.path()), [""; 0]);
}

#[test]
fn a_spool_gives_back_its_numbers_and_has_no_name() {
    let dir = tempfile::tempdir().unwrap();
    let mut spool = Spool::<u32>::beside(&dir.path().join("d")).unwrap();
    let empty = Spool::<u64>::beside(&dir.path().join("d")).unwrap();
    assert_eq!(names_in(dir.path()), [""; 0]);
    for i in 0..50_000 {
        spool.append(&[i, i + 1]).unwrap();
    }
    assert_eq!((spool.len(), empty.is_empty()), (100_000, true));
    let back = spool.finish().unwrap();
    assert!(back.chunks(2).enumerate().all(|(i, c)| c == [i as u32, i as u32 + 1]));
    assert_eq!(empty.finish().unwrap().len(), 0);
}

/// A file of numbers that counts up from `first`, over `spare`.
fn write_numbers(path: &Path, first: u32, count: u32, spare: Option<Spare>) {
    let mut w = Writer::create_on(Arc::new(System), path, "dataset", spare).unwrap();
    w.section("ids", &(first..first + count).collect::<Vec<_>>()).unwrap();
    w.commit().unwrap();
}

fn spare_of(path: &Path) -> Option<Spare> {
    Some(Spare::of(Arc::new(System), path).unwrap())
}

#[cfg(unix)]
#[test]
fn a_spare_file_is_written_over_and_nothing_of_it_stays() {
    use std::os::unix::fs::MetadataExt;
    let dir = tempfile::tempdir().unwrap();
    let [old, new, fresh] = ["old", "new", "fresh"].map(|name| dir.path().join(name));
    for count in [10, 5000, 100_000] {
        write_numbers(&old, 7, 5000, None);
        let file = fs::metadata(&old).unwrap().ino();
        write_numbers(&new, 9, count, spare_of(&old));
        assert_eq!((fs::metadata(&new).unwrap().ino(), old.exists()), (file, false));
        write_numbers(&fresh, 9, count, None);
        assert!(fs::read(&new).unwrap() == fs::read(&fresh).unwrap(), "{count} numbers over 5000");
    }
    drop(spare_of(&new));
    assert_eq!(names_in(dir.path()), ["fresh"]);
}

#[cfg(unix)]
#[test]
fn a_file_with_another_name_is_not_written_over() {
    let dir = tempfile::tempdir().unwrap();
    let [old, kept, new] = ["old", "kept", "new"].map(|name| dir.path().join(name));
    write_numbers(&old, 1, 9, None);
    fs::hard_link(&old, &kept).unwrap();
    write_numbers(&new, 100, 9, spare_of(&old));
    let kept = Container::open(&kept, "dataset", Verify::Full).unwrap();
    assert_eq!(kept.slice::<u32>("ids").unwrap()[0], 1);
    assert_eq!(names_in(dir.path()), ["kept", "new"]);
}

#[cfg(unix)]
#[test]
fn a_file_that_is_still_read_is_not_written_over() {
    let dir = tempfile::tempdir().unwrap();
    let [old, new] = ["old", "new"].map(|name| dir.path().join(name));
    write_numbers(&old, 1, 9, None);
    let container = Container::open(&old, "dataset", Verify::Full).unwrap();
    let view = container.view::<u32>("ids").unwrap();
    drop(container);
    write_numbers(&new, 100, 9, spare_of(&old));
    assert_eq!(view[..], [1, 2, 3, 4, 5, 6, 7, 8, 9]);
    let read = Container::open(&new, "dataset", Verify::Full).unwrap();
    assert_eq!((read.slice::<u32>("ids").unwrap()[0], names_in(dir.path())), (100, vec!["new".to_owned()]));
    // The other way round: who opened it by its old name just before finds it locked.
    let being_written = System.reopen(&new);
    assert!(being_written.unwrap().is_none(), "it is read");
    drop(read);
    let being_written = System.reopen(&new).unwrap();
    assert!(being_written.is_some());
    let error = Container::open(&new, "dataset", Verify::Full).unwrap_err();
    assert!(error.to_string().contains("locked"), "{error}");
    drop(being_written);
    assert!(Container::open(&new, "dataset", Verify::Full).is_ok());
}
