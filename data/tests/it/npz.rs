//! Matrices of scipy beside raw texts, as DEXML and PECOS lay them out.

use crate::world::{World, names_in};
use data::{DataSet, Source, Split};
use engine::Kind;
use std::io::{Cursor, Write};
use zip::write::SimpleFileOptions;

/// One matrix as scipy wrote it: `{0: 1, 3: 0.5}`, nothing, `{0: 0.25, 2: 2, 3: 1}` over four labels.
const DEFLATED: &[u8] = include_bytes!("../../../tests/golden/relevance.npz");
const STORED: &[u8] = include_bytes!("../../../tests/golden/relevance_stored.npz");

fn npy(kind: &str, shape: &str, numbers: &[u8]) -> Vec<u8> {
    let dict = format!("{{'descr': '{kind}', 'fortran_order': False, 'shape': {shape}, }}\n");
    [b"\x93NUMPY\x01\x00", &(dict.len() as u16).to_le_bytes()[..], dict.as_bytes(), numbers].concat()
}

fn longs(numbers: &[i64]) -> Vec<u8> {
    let bytes: Vec<u8> = numbers.iter().flat_map(|n| n.to_le_bytes()).collect();
    npy("<i8", &format!("({},)", numbers.len()), &bytes)
}

fn floats(numbers: &[f32]) -> Vec<u8> {
    let bytes: Vec<u8> = numbers.iter().flat_map(|n| n.to_le_bytes()).collect();
    npy("<f4", &format!("({},)", numbers.len()), &bytes)
}

/// `{1: 1}` over two labels, with some members exchanged for others; an empty one is left out.
fn archive(changed: &[(&str, Vec<u8>)]) -> Vec<u8> {
    let mut members = [
        ("format", npy("|S3", "()", b"csr")),
        ("shape", longs(&[1, 2])),
        ("indptr", longs(&[0, 1])),
        ("indices", longs(&[1])),
        ("data", floats(&[1.0])),
    ];
    for (name, bytes) in changed {
        members.iter_mut().filter(|m| m.0 == *name).for_each(|m| m.1.clone_from(bytes));
    }
    let mut zip = zip::ZipWriter::new(Cursor::new(vec![]));
    let options = SimpleFileOptions::default().compression_method(zip::CompressionMethod::Stored);
    for (name, bytes) in members.iter().filter(|m| !m.1.is_empty()) {
        zip.start_file(format!("{name}.npy"), options).unwrap();
        zip.write_all(bytes).unwrap();
    }
    zip.finish().unwrap().into_inner()
}

fn positives(set: &DataSet, split: Split) -> Vec<Vec<u32>> {
    (0..set.queries(split).len()).map(|i| set.positives(split, i).to_vec()).collect()
}

/// `train` beside three training texts and four labels, as DEXML lays them out.
fn dexml(train: &[u8]) -> World {
    World::new(&[
        ("Y.trn.npz", train),
        ("Y.tst.npz", &archive(&[])),
        ("raw/trn_X.txt", b"red\nblue\nold shoe\n"),
        ("raw/tst_X.txt", b"boot\n"),
        ("raw/Y.txt", b"a\nred\nblue\nboots\n"),
        ("filter_labels_test.txt", b"0 3\n"),
    ])
}

#[test]
fn matrices_of_scipy_are_read_beside_raw_texts() {
    for bytes in [DEFLATED, STORED] {
        let set = dexml(bytes).data_set(Source::Xc);
        // The second row is empty and is left out of training.
        assert_eq!(positives(&set, Split::Train), [vec![0, 3], vec![0, 2, 3]]);
        assert_eq!(set.relevance(Split::Train, 0), Some(&[1.0, 0.5][..]));
        assert_eq!(set.relevance(Split::Train, 1), Some(&[0.25, 2.0, 1.0][..]));
        assert_eq!([0, 1].map(|i| set.queries(Split::Train).title(i).to_owned()), ["red", "old shoe"]);
        assert_eq!((positives(&set, Split::Test), set.filtered(Split::Test, 0)), (vec![vec![1]], &[3][..]));
        // The test matrix was cut at its largest label; labels are the lines of their file.
        assert_eq!(set.labels().len(), 4);
        assert_eq!(set.summary().warnings, ["Y.tst.npz has 2 columns, there are 4 labels"]);
    }
}

#[test]
fn a_folder_of_pecos_is_read_by_its_names() {
    let world = World::new(&[
        ("Y.trn.npz", &archive(&[("data", npy("|b1", "(1,)", &[1]))])),
        ("Y.tst.npz", &archive(&[])),
        // Names of labels beside the matrix: another form of the same, which is not needed.
        ("Y.trn.txt", b"shoes\n"),
        ("X.trn.txt", b"red shoe\n"),
        ("X.tst.txt", b"boot\n"),
        ("output-items.txt", b"boots\nshoes\n"),
    ]);
    let set = world.data_set(Source::Xc);
    assert_eq!((positives(&set, Split::Train), positives(&set, Split::Test)), (vec![vec![1]], vec![vec![1]]));
    assert_eq!((set.labels().title(0), set.queries(Split::Train).title(0)), ("boots", "red shoe"));
    assert_eq!((set.relevance(Split::Train, 0), set.summary().warnings.len()), (None, 0));
}

#[test]
fn the_layout_of_renee_has_its_filters_by_their_names() {
    let world = World::new(&[
        ("trn_X_Y.txt", b"1 2\n1:1.0 1:1.0\n"),
        ("tst_X_Y.txt", b"1 2\n0:1.0\n"),
        ("trn_X.txt", b"red\n"),
        ("tst_X.txt", b"blue\n"),
        ("Y.txt", b"blue\nred\n"),
        ("trn_filter_labels.txt", b"0\t1\n"),
        ("tst_filter_labels.txt", b"0 0\n"),
    ]);
    let set = world.data_set(Source::Xc);
    assert_eq!((set.filtered(Split::Train, 0), set.filtered(Split::Test, 0)), (&[1][..], &[0][..]));
    assert_eq!((positives(&set, Split::Train), set.summary().repeated_labels), (vec![vec![1]], 1));
}

#[track_caller]
fn refuse(world: &World, place: &str, message: &str) {
    let e = world.prepare(&Source::Xc(world.src())).unwrap_err();
    let text = e.to_string();
    assert_eq!(e.kind(), Kind::Input, "{text}");
    assert!(text.contains(place) && text.contains(message), "want {place} and {message}, got:\n{text}");
    assert_eq!(names_in(world.out().parent().unwrap()), ["model", "src"], "{text}");
}

#[track_caller]
fn check(train: &[u8], message: &str) {
    let world = World::new(&[
        ("Y.trn.npz", train),
        ("Y.tst.npz", &archive(&[])),
        ("X.trn.txt", b"red\n"),
        ("X.tst.txt", b"blue\n"),
        ("output-items.txt", b"a\nb\n"),
    ]);
    refuse(&world, "Y.trn.npz: ", message);
}

#[test]
fn bad_archives_are_refused() {
    let change = |name, bytes| archive(&[(name, bytes)]);
    check(b"", "not a zip archive");
    check(b"0:1\n", "not a zip archive");
    check(&DEFLATED[..DEFLATED.len() - 30], "not a zip archive");
    check(&change("indptr", vec![]), "no member `indptr.npy`");
    check(&change("format", npy("|S3", "()", b"csc")), "the format is `csc`, `csr` is needed");
    check(&change("shape", longs(&[1])), "`shape.npy` has 1 numbers, 2 were expected");
    check(&change("shape", longs(&[1, i64::MAX])), "`shape.npy` has 9223372036854775807, at most 4294967294");
    check(&change("shape", longs(&[-1, 2])), "`shape.npy` has -1, numbers from 0 were expected");
    check(&change("shape", longs(&[4_294_967_290, 2])), "4294967290 rows are more than a file of");
    check(&change("shape", longs(&[3, 2])), "`indptr.npy` has 2 numbers, 4 were expected");
    check(&change("indptr", longs(&[1, 1])), "`indptr.npy` has to begin with 0");
    let falling = [("shape", longs(&[2, 2])), ("indptr", longs(&[0, 2, 1]))];
    check(&archive(&falling), "and may never fall");
    check(&change("indptr", longs(&[0, 1 << 40])), "1099511627776 entries are more than a file of");
    check(&change("indptr", longs(&[0, 2])), "`indices.npy` has 1 numbers, 2 were expected");
    check(&change("indptr", npy("<f8", "(2,)", &[0; 16])), "`indptr.npy` has numbers of kind `<f8`");
    check(&change("indptr", npy("<i8", "(2,)", &[0; 8])), "truncated: indptr.npy ends in the middle");
    check(&change("indptr", npy("<i8", "(2,)", &[0; 17])), "`indptr.npy` is longer than its header says");
    check(&change("indptr", b"0 1".to_vec()), "truncated: indptr.npy");
    check(&change("indptr", b"0 1 and more".to_vec()), "`indptr.npy` is no array of NumPy");
    check(&change("indptr", npy("<i8", "(2, 1)", &[0; 16])), "`indptr.npy` has a header that cannot be read");
    check(&change("indptr", b"\x93NUMPY\x02\x00\xff\xff\xff\xff".to_vec()), "a header of 4294967295 bytes");
    check(&change("indices", longs(&[2])), "label index 2 in row 0 is out of range: there are 2 labels");
    check(&change("data", longs(&[1, 1])), "`data.npy` has 2 numbers, 1 were expected");
    check(&change("data", floats(&[f32::NAN])), "relevance is NaN (NaN) for label 1 in row 0");
    check(&change("data", npy("<c8", "(1,)", &[0; 8])), "`data.npy` has numbers of kind `<c8`, not <f4");
    let mut flipped = archive(&[]);
    let at = flipped.windows(4).position(|w| w == 1.0f32.to_le_bytes()).unwrap();
    flipped[at + 2] ^= 0x40;
    check(&flipped, "damaged: data.npy");
}

#[test]
fn matrices_and_texts_that_do_not_belong_together_are_refused() {
    let sizes = |rows: i64, columns: i64| {
        let ends: Vec<i64> = (0..=rows).map(|i| i.min(1)).collect();
        archive(&[("shape", longs(&[rows, columns])), ("indptr", longs(&ends))])
    };
    check(&sizes(2, 2), "a row without text");
    refuse(&dexml(&archive(&[])), "Y.trn.npz: ", "more texts than the matrix has rows (1)");
    refuse(&dexml(&sizes(3, 5)), "Y.tst.npz", "2 columns, the training matrix has 5");
    let many = World::new(&[
        ("Y.trn.npz", &sizes(1, 5)),
        ("Y.tst.npz", &sizes(1, 5)),
        ("X.trn.txt", b"red\n"),
        ("X.tst.txt", b"blue\n"),
        ("output-items.txt", b"a\nb\n"),
    ]);
    refuse(&many, "output-items.txt: ", "2 labels, the matrices have 5 columns");
    let none = World::new(&[("Y.trn.npz", &sizes(1, 2)), ("X.trn.txt", b"red\n")]);
    refuse(&none, "src: ", "Y.tst.npz, X.trn.txt");
}

#[test]
fn bags_of_words_are_told_from_texts() {
    let world =
        World::new(&[("train.txt", b"2 5000 3993\n1,2 0:0.5 7:1\n 3:1\n"), ("test.txt", b"1 5000 3993\n")]);
    refuse(&world, "train.txt:1: ", "2 vectors of 5000 features with 3993 labels, and no text");
}
