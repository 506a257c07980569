//! What is wrong with an input is said with file, line and what to do, and nothing is left behind.

use crate::world::{World, gzip, names_in};
use data::{CsvSource, FastTextSource, OnBadLine, PrepareOptions, Source, TokenizerChoice};
use engine::{Kind, Stream};

const TRAIN: &[u8] = b"{\"uid\": \"a\", \"title\": \"red\", \"target_ind\": [0]}\n";
const TEST: &[u8] = b"{\"uid\": \"t\", \"title\": \"blue\", \"target_ind\": [1]}\n";
const LABELS: &[u8] = b"{\"uid\": \"l0\", \"title\": \"red\"}\n{\"uid\": \"l1\", \"title\": \"blue\"}\n";

#[track_caller]
fn refuse(world: &World, source: &Source, place: &str, message: &str) {
    let e = world.prepare(source).unwrap_err();
    let text = e.to_string();
    assert_eq!(e.kind(), Kind::Input, "{text}");
    assert!(text.contains(place) && text.contains(message), "want {place} and {message}, got:\n{text}");
    // Nothing under the name, and no temporary file either.
    assert_eq!(names_in(world.out().parent().unwrap()), ["model", "src"], "{text}");
}

/// A good folder in which one file is `bytes` (or missing, when `None`).
#[track_caller]
fn check(name: &str, bytes: Option<&[u8]>, place: &str, message: &str) {
    let mut files: Vec<(&str, &[u8])> =
        vec![("trn.jsonl", TRAIN), ("tst.jsonl", TEST), ("lbl.jsonl", LABELS)];
    let plain = name.strip_suffix(".gz").unwrap_or(name);
    files.retain(|(n, _)| *n != plain);
    files.extend(bytes.map(|bytes| (name, bytes)));
    let world = World::new(&files);
    refuse(&world, &Source::Jsonl(world.src()), place, message);
}

fn after_good_line(line: &str) -> Vec<u8> {
    [TRAIN, line.as_bytes(), b"\n"].concat()
}

#[test]
fn bad_files_are_refused() {
    check("trn.jsonl", Some(b""), "trn.jsonl: ", "the file is empty");
    check("lbl.jsonl", Some(b""), "lbl.jsonl: ", "the file is empty");
    check("trn.jsonl", None, "src: ", "no file `trn.jsonl` or");
    check("tst.jsonl", None, "src: ", "no file `tst.jsonl` or");
    check("lbl.jsonl", None, "src: ", "needs trn, tst and lbl");
    check("trn.jsonl.gz", Some(TRAIN), "trn.jsonl.gz: ", "not gzip");
    let zipped = gzip(TRAIN);
    check("trn.jsonl.gz", Some(&zipped[..zipped.len() - 9]), "trn.jsonl.gz: ", "truncated gzip");
    check("trn.jsonl", Some(&[TRAIN, b"\n", TRAIN].concat()), "trn.jsonl:2: ", "an empty line");
    check("trn.jsonl", Some(b"{\"uid\": \"\xe4\"}\n"), "trn.jsonl:1:10: ", "invalid UTF-8: byte 0xe4");
    check(
        "filter_labels_test.txt",
        Some(b"0 0\n0 2\n"),
        "filter_labels_test.txt:2: ",
        "label 2 is out of range",
    );
    check("filter_labels_test.txt", Some(b"1 0\n"), "filter_labels_test.txt:1: ", "row 1 is out of range");
    check(
        "filter_labels_test.txt",
        Some(b"0 0 0\n"),
        "filter_labels_test.txt:1: ",
        "two numbers were expected",
    );
    check("trn.json", Some(b""), "trn.json", "could both be meant");
}

#[test]
fn bad_lines_are_refused() {
    for (line, column, message) in [
        ("{\"uid\": \"b\", \"title\": \"red\", \"target_ind\": [0]", ":46: ", "invalid JSON: EOF"),
        ("{\"uid\": \"b\" \"title\"}", ":13: ", "invalid JSON: expected `,` or `}`"),
        ("[]", ": ", "a JSON array, an object was expected"),
        ("3", ":1: ", "expected a JSON object"),
        ("{\"uid\": \"b\", \"title\": 3}", ":23: ", "expected a string"),
        ("{\"title\": \"red\"}", ": ", "no `uid`"),
        (
            "{\"uid\": [1], \"title\": \"red\"}",
            ":9: ",
            "unexpected field: invalid type: sequence, expected an id, which is text or a number",
        ),
        ("{\"uid\": \"b\", \"target_ind\": [0]}", ": ", "neither `title` nor `text`"),
        (
            "{\"uid\": \"b\", \"title\": \"\", \"target_ind\": [2]}",
            ": ",
            "label index 2 is out of range: there are 2 labels",
        ),
        ("{\"uid\": \"b\", \"title\": \"\", \"target_ind\": [-1]}", ": ", "label index -1 is out of range"),
        (
            "{\"uid\": \"b\", \"title\": \"\", \"target_ind\": [0], \"target_rel\": [-1]}",
            ": ",
            "relevance is negative (-1) for label 0",
        ),
        (
            "{\"uid\": \"b\", \"title\": \"\", \"target_ind\": [0], \"target_rel\": [NaN]}",
            ":61: ",
            "NaN and Infinity are no JSON numbers",
        ),
        (
            "{\"uid\": \"b\", \"title\": \"\", \"target_ind\": [0], \"target_rel\": [1e39]}",
            ": ",
            "relevance is infinite",
        ),
        (
            "{\"uid\": \"b\", \"title\": \"\", \"target_ind\": [0], \"target_rel\": []}",
            ": ",
            "`target_ind` has 1 entries, `target_rel` 0",
        ),
        ("{\"uid\": \"b\", \"title\": \"\", \"labels\": [\"l9\"]}", ": ", "label `l9` is unknown"),
        ("{\"uid\": \"a\", \"title\": \"x\", \"target_ind\": [0]}", ": ", "duplicate uid `a`"),
    ] {
        check("trn.jsonl", Some(&after_good_line(line)), &format!("trn.jsonl:2{column}"), message);
    }
    check(
        "lbl.jsonl",
        Some(&[LABELS, b"{\"uid\": \"l0\"}\n"].concat()),
        "lbl.jsonl:3: ",
        "it stands on line 1 too",
    );
}

#[track_caller]
fn check_table(bytes: &[u8], place: &str, message: &str) {
    let world = World::new(&[("t.csv", bytes), ("l.csv", b"id,text\nred,a\n")]);
    let mut table = CsvSource::new(world.src().join("t.csv"), "title", "kind");
    table.id = Some("id".into());
    table.labels_file = Some(world.src().join("l.csv"));
    refuse(&world, &Source::Csv(table), place, message);
}

#[test]
fn bad_tables_are_refused() {
    check_table(b"", "t.csv: ", "the file is empty");
    check_table(b"id,title,kind\n", "t.csv: ", "no row that can be used");
    check_table(b"id,title\n1,a\n", "t.csv:1: ", "no column `kind`; there are `id`, `title`");
    check_table(b"id,title,kind\n1,a,red\n2,a,b,red\n", "t.csv:3: ", "4 fields, the first line has 3");
    check_table(b"id,title,kind\n1,\"a\nb\",red\n2,a\n", "t.csv:4: ", "2 fields, the first line has 3");
    check_table(b"id,title,kind\n1,\"a,red\n2,b,red\n", "t.csv:2:3: ", "never closed");
    check_table(b"id,title,kind\n1,a,red\n1,b,red\n", "t.csv:3: ", "duplicate uid `1`");
    check_table(b"id,title,kind\n1,a,blue\n", "t.csv:2: ", "label `blue` is not in the label file");
    check_table(b"id,title,kind\n1,\xff,red\n", "t.csv:2:3: ", "invalid UTF-8");
}

#[track_caller]
fn check_sparse(train: &str, texts: &str, place: &str, message: &str) {
    let world = World::new(&[
        ("trn_X_Y.txt", train.as_bytes()),
        ("trn_X.txt", texts.as_bytes()),
        ("tst_X_Y.txt", b"1 2\n0:1\n"),
        ("tst_X.txt", b"red\n"),
        ("Y.txt", b"red\nblue\n"),
    ]);
    refuse(&world, &Source::Xc(world.src()), place, message);
}

#[test]
fn bad_matrices_are_refused() {
    check_sparse("2\n0:1\n", "a\n", "trn_X_Y.txt:1: ", "the header must be two numbers");
    check_sparse("1 3\n0:1\n", "a\n", "tst_X_Y.txt: ", "2 columns, the training matrix has 3");
    check_sparse("2 2\n0:1\n1:1 2:1\n", "a\nb\n", "trn_X_Y.txt:3:5: ", "label index 2 is out of range");
    check_sparse("1 2\n0:-1\n", "a\n", "trn_X_Y.txt:2:1: ", "relevance is negative");
    check_sparse("1 2\n0:1  1:nan\n", "a\n", "trn_X_Y.txt:2:6: ", "relevance is NaN");
    check_sparse("1 2\n0:1 x\n", "a\n", "trn_X_Y.txt:2:5: ", "`label:value` was expected");
    check_sparse("1 2\n0:1\n1:1\n", "a\nb\n", "trn_X_Y.txt:3: ", "more rows than the header says (1)");
    check_sparse("2 2\n0:1\n1:1\n", "a\n", "trn_X_Y.txt:3: ", "a row without text");
    check_sparse("", "a\n", "trn_X_Y.txt: ", "the file is empty");
}

#[track_caller]
fn check_judgements(bytes: &[u8], place: &str, message: &str) {
    let world = World::new(&[
        ("corpus.jsonl", b"{\"_id\": \"d\", \"text\": \"red\"}\n"),
        ("queries.jsonl", b"{\"_id\": \"q\", \"text\": \"red\"}\n"),
        ("qrels/test.tsv", bytes),
    ]);
    refuse(&world, &Source::Beir(world.src()), place, message);
}

#[test]
fn bad_judgements_are_refused() {
    check_judgements(b"h\th\tscore\nq\te\t1\n", "test.tsv:2:3: ", "document `e` is not in the corpus");
    check_judgements(b"p\td\t1\n", "test.tsv:1:1: ", "query `p` is not in the file of queries");
    check_judgements(b"h\th\tscore\nq\td\t-1\n", "test.tsv:2:5: ", "relevance is negative");
    check_judgements(b"h\th\tscore\nq\td\tNaN\n", "test.tsv:2:5: ", "relevance is NaN");
    check_judgements(b"h\th\tscore\nq\td\tx\n", "test.tsv:2:5: ", "the score `x` is no number");
    check_judgements(b"h\th\tscore\nq d 1\n", "test.tsv:2: ", "1 fields, 3 were expected");
    let world = World::new(&[("corpus.jsonl", b"{}"), ("queries.jsonl", b"{}")]);
    refuse(&world, &Source::Beir(world.src()), "src: ", "no judgements");
    refuse(
        &world,
        &Source::Beir(world.src().join("corpus.jsonl")),
        "corpus.jsonl: ",
        "a folder was expected",
    );
    refuse(&world, &Source::Beir(world.src().join("no")), "no: ", "no such file");
}

#[test]
fn bad_lines_of_ms_marco_and_fasttext_are_refused() {
    let check = |name: &str, bytes: &[u8], place: &str, message: &str| {
        let mut files = vec![
            ("collection.tsv", &b"d\tred\n"[..]),
            ("queries.train.tsv", b"q\tred\n"),
            ("qrels.train.tsv", b"q\t0\td\t1\n"),
        ];
        files.retain(|(own, _)| *own != name);
        files.push((name, bytes));
        let world = World::new(&files);
        refuse(&world, &Source::MsMarco(world.src()), place, message);
    };
    check("collection.tsv", b"d red\n", "collection.tsv:1: ", "with a tab between");
    check("collection.tsv", b"d\tred\nd\tblue\n", "collection.tsv:2: ", "duplicate uid `d`");
    check(
        "queries.train.tsv",
        b"q\tred\n\tblue\n",
        "queries.train.tsv:2: ",
        "an id and a text were expected",
    );
    check("qrels.train.tsv", b"q\t0\td\t1\nq\td\t1\n", "qrels.train.tsv:2: ", "3 fields, 4 were expected");
    check("qrels.train.tsv", b"q\t0\te\t1\n", "qrels.train.tsv:1:5: ", "document `e` is not in the corpus");
    check(
        "qrels.train.tsv",
        b"p 0 d 1\n",
        "qrels.train.tsv:1:1: ",
        "query `p` is not in the file of queries",
    );
    let world = World::new(&[("collection.tsv", b"d\tred\n"), ("queries.train.tsv", b"q\tred\n")]);
    refuse(&world, &Source::MsMarco(world.src()), "src: ", "no judgements in this folder");
    let world = World::new(&[("t.ft", b"no label here\n"), ("labels.csv", b"id,text\na,a\n")]);
    let source = |labels_file| {
        let split = "100/0".parse().unwrap();
        Source::FastText(FastTextSource { path: world.src().join("t.ft"), labels_file, split })
    };
    refuse(&world, &source(None), "t.ft: ", "no line has a label");
    std::fs::write(world.src().join("t.ft"), "__label__a x\n__label__b y\n").unwrap();
    let labels = Some(world.src().join("labels.csv"));
    refuse(&world, &source(labels), "t.ft:2: ", "label `b` is not in the label file");
}

#[test]
fn skipped_lines_are_listed_and_rows_keep_their_filters() {
    let train =
        [TRAIN, b"{broken\n{\"uid\": \"c\", \"title\": \"old\", \"target_ind\": [1]}\n\xff\n"].concat();
    let world = World::new(&[
        ("trn.jsonl", &train),
        ("tst.jsonl", TEST),
        ("lbl.jsonl", LABELS),
        ("filter_labels_train.txt", b"2 0\n1 1\n9 9\n"),
    ]);
    let options = PrepareOptions { on_bad_line: OnBadLine::Skip, ..world.options() };
    let source = Source::Jsonl(world.src());
    let summary = data::prepare(&source, &options, &mut |_| {}).unwrap();
    assert_eq!((summary.train, summary.rejected_lines), (2, 3));
    // Row 2 of the source is row 1 here; row 1 of the source is gone, and its filter with it.
    assert_eq!(world.open().filtered(data::Split::Train, 1), [0]);
    assert!(world.open().filtered(data::Split::Train, 0).is_empty());
    let listed = std::fs::read_to_string(world.path("out.data.rejected.jsonl")).unwrap();
    let lines: Vec<serde_json::Value> = listed.lines().map(|l| serde_json::from_str(l).unwrap()).collect();
    let places: Vec<_> =
        lines.iter().map(|l| (l["file"].as_str().unwrap(), l["line"].as_u64().unwrap())).collect();
    assert_eq!(places, [("trn.jsonl", 2), ("trn.jsonl", 4), ("filter_labels_train.txt", 3)]);
    assert_eq!(lines[0]["text"], "{broken");
    assert_eq!(
        names_in(world.out().parent().unwrap()),
        ["model", "out.data", "out.data.rejected.jsonl", "src"]
    );
    // A clean run takes the old list away; a bad label line stops even a lenient one.
    std::fs::write(world.src().join("trn.jsonl"), TRAIN).unwrap();
    std::fs::remove_file(world.src().join("filter_labels_train.txt")).unwrap();
    data::prepare(&source, &options, &mut |_| {}).unwrap();
    assert_eq!(names_in(world.out().parent().unwrap()), ["model", "out.data", "src"]);
    std::fs::write(world.src().join("lbl.jsonl"), "{broken\n").unwrap();
    let e = data::prepare(&source, &options, &mut |_| {}).unwrap_err();
    assert!(e.to_string().contains("lbl.jsonl:1:2: invalid JSON"), "{e}");
}

#[test]
fn a_failing_run_leaves_the_older_data_set_as_it_was() {
    let world = World::new(&[("trn.jsonl", TRAIN), ("tst.jsonl", TEST), ("lbl.jsonl", LABELS)]);
    let source = Source::Jsonl(world.src());
    world.prepare(&source).unwrap();
    let before = std::fs::read(world.out()).unwrap();
    std::fs::write(world.src().join("tst.jsonl"), "{broken\n").unwrap();
    world.prepare(&source).unwrap_err();
    assert_eq!(std::fs::read(world.out()).unwrap(), before);
    assert_eq!(names_in(world.out().parent().unwrap()), ["model", "out.data", "src"]);
}

#[test]
fn targets_and_tokenizers_are_looked_at_before_anything_is_read() {
    let world = World::new(&[("trn.jsonl", b"{broken")]);
    let source = Source::Jsonl(world.src());
    let fails =
        |options: PrepareOptions| data::prepare(&source, &options, &mut |_| {}).unwrap_err().to_string();
    let good = world.options();
    let table = world.src().join("trn.jsonl");
    let over = fails(PrepareOptions { out: table.clone(), ..good.clone() });
    assert!(over.contains("exists and is no data set"), "{over}");
    assert_eq!(std::fs::read(&table).unwrap(), b"{broken");
    assert!(fails(PrepareOptions { out: world.src(), ..good.clone() }).contains("is a folder"));
    let nowhere = PrepareOptions { out: world.path("no/such/out"), ..good.clone() };
    assert!(fails(nowhere).contains("no such file or directory"));
    let no_model = TokenizerChoice::Directory(world.path("no"));
    assert!(fails(PrepareOptions { tokenizer: no_model, ..good.clone() }).contains("no"));
    assert!(fails(PrepareOptions { max_len: 1, ..good }).contains("too short"));
}

/// Up to three edits: a random byte, a byte that matters, a cut, a doubled end.
fn mangle(bytes: &mut Vec<u8>, stream: Stream) {
    const MATTERS: &[u8] = b"\"{}[]:,.-9\n\t \\e\x1f";
    for edit in 0..1 + stream.below(1, 3) {
        let Some(n) = std::num::NonZero::new(bytes.len() as u64) else { return };
        let at = stream.below(10 + edit, n.get()) as usize;
        match stream.below(20 + edit, 4) {
            0 => bytes[at] = stream.word(200 + edit) as u8,
            1 => bytes[at] = MATTERS[stream.below(30 + edit, MATTERS.len() as u64) as usize],
            2 => bytes.truncate(at),
            _ => bytes.extend_from_within(at..),
        }
    }
}

/// Whatever comes of `cases` mangled copies of `files`, nothing panics, what is accepted can be opened, and a refusal
/// leaves nothing behind.
#[track_caller]
fn check_mangled(files: &[(&str, &[u8])], source: fn(&World) -> Source) {
    let (mut good, mut bad) = (0, 0);
    for case in 0..120 {
        let stream = Stream::new(case, 1);
        let victim = stream.below(0, files.len() as u64) as usize;
        let mut bytes = files[victim].1.to_vec();
        mangle(&mut bytes, stream);
        let mut files = files.to_vec();
        files[victim].1 = &bytes;
        let world = World::new(&files);
        match world.prepare(&source(&world)) {
            Ok(_) => {
                world.open();
                good += 1;
            }
            Err(e) => {
                assert_eq!(e.kind(), Kind::Input, "{e}");
                assert_eq!(names_in(world.out().parent().unwrap()), ["model", "src"], "{e}");
                bad += 1;
            }
        }
    }
    assert!(good > 3 && bad > 20, "{good} accepted, {bad} refused");
}

#[test]
fn mangled_sources_are_read_or_refused() {
    check_mangled(&[("trn.jsonl", TRAIN), ("tst.jsonl", TEST), ("lbl.jsonl", LABELS)], |w| {
        Source::Jsonl(w.src())
    });
    let matrix: [(&str, &[u8]); 6] = [
        ("trn_X_Y.txt", b"2 3\n0:1 2:0.5\n1:1\n"),
        ("tst_X_Y.txt", b"1 3\n2:1\n"),
        ("trn_X.txt", b"red shoe\nblue\n"),
        ("tst_X.txt", b"old\n"),
        ("Y.txt", b"red\nblue\nold\n"),
        ("filter_labels_train.txt", b"0 1\n1 2\n"),
    ];
    check_mangled(&matrix, |w| Source::Xc(w.src()));
    let arrays: [(&str, &[u8]); 5] = [
        ("Y.trn.npz", include_bytes!("../../../tests/golden/relevance_stored.npz")),
        ("Y.tst.npz", include_bytes!("../../../tests/golden/relevance.npz")),
        ("X.trn.txt", b"red shoe\nblue\nold\n"),
        ("X.tst.txt", b"old\nred\nblue\n"),
        ("output-items.txt", b"red\nblue\nold\na\n"),
    ];
    check_mangled(&arrays, |w| Source::Xc(w.src()));
    let judged: [(&str, &[u8]); 3] = [
        ("corpus.jsonl", b"{\"_id\": \"d\", \"text\": \"red\"}\n"),
        ("queries.jsonl", b"{\"_id\": \"q\", \"text\": \"red\"}\n"),
        ("qrels/test.tsv", b"h\th\tscore\nq\td\t1\n"),
    ];
    check_mangled(&judged, |w| Source::Beir(w.src()));
    let table: &[u8] = b"title,kind\n\"red, shoe\",a;b\nblue,a\n\"old \"\"x\"\"\",b\n";
    check_mangled(&[("t.csv", table)], |w| {
        let table = CsvSource::new(w.src().join("t.csv"), "title", "kind");
        Source::Csv(CsvSource { label_separator: Some(";".into()), ..table })
    });
}
