//! Each layout, written by hand and read back.

use crate::world::{World, gzip};
use data::{CsvSource, DataSet, FastTextSource, Source, Split, Texts};

const LABELS: &str = concat!(
    "{\"uid\": \"l0\", \"title\": \"red\"}\n",
    "{\"uid\": \"l1\", \"title\": \"blue boots\"}\n",
    "{\"uid\": \"l2\"}\n",
);
const TRAIN: &str = concat!(
    "{\"uid\": \"a\", \"title\": \"Red shoes\", \"target_ind\": [1, 0], \"target_rel\": [1.0, 1.0]}\n",
    "{\"uid\": \"b\", \"title\": \"old\", \"target_ind\": []}\n",
    "{\"uid\": \"c\", \"title\": \" blue boot \", \"content\": \"a shoe\", \"target_ind\": [1, 1]}\n",
);
const TEST: &str = concat!(
    "{\"uid\": \"a\", \"title\": \"\", \"target_ind\": []}\n",
    "{\"uid\": \"t\", \"title\": \"boots\", \"target_ind\": [2]}",
);

const TABLE: &str = concat!(
    "\u{feff}sku,title,category\r\n",
    "s1,\"red, old shoe\",shoes; red\r\n",
    "s2,boot,\r\n",
    "s3,boots,red\r\n",
);

fn rows(texts: Texts) -> Vec<(String, String, Vec<u32>)> {
    let row = |i| (texts.uid(i).to_owned(), texts.title(i).to_owned(), texts.tokens(i).collect());
    (0..texts.len()).map(row).collect()
}

fn row(uid: &str, title: &str, tokens: &[u32]) -> (String, String, Vec<u32>) {
    (uid.to_owned(), title.to_owned(), tokens.to_vec())
}

fn positives(set: &DataSet, split: Split) -> Vec<Vec<u32>> {
    (0..set.queries(split).len()).map(|i| set.positives(split, i).to_vec()).collect()
}

#[test]
fn json_lines_of_the_repository_become_a_data_set() {
    let files: [(&str, &[u8]); 5] = [
        ("trn.json.gz", &gzip(TRAIN.as_bytes())),
        ("tst.json.gz", &gzip(TEST.as_bytes())),
        ("lbl.json.gz", &gzip(LABELS.as_bytes())),
        ("filter_labels_train.txt", b"2 0\n1 2\n0 2\n2 0\n"),
        ("filter_labels_text.txt", b"1 1\r\n"),
    ];
    let world = World::new(&files);
    let set = world.data_set(Source::Xc);
    // Row b has no label and is left out of training; the test row without labels stays.
    let want = [row("a", "Red shoes", &[2, 5, 7, 9, 3]), row("c", "blue boot", &[2, 6, 8, 11, 7, 3])];
    assert_eq!(rows(set.queries(Split::Train)), want);
    assert_eq!(rows(set.queries(Split::Test)), [row("a", "", &[2, 3]), row("t", "boots", &[2, 8, 9, 3])]);
    let labels =
        [row("l0", "red", &[2, 5, 3]), row("l1", "blue boots", &[2, 6, 8, 9, 3]), row("l2", "", &[2, 3])];
    assert_eq!(rows(set.labels()), labels);
    assert_eq!(positives(&set, Split::Train), [vec![0, 1], vec![1]]);
    assert_eq!(positives(&set, Split::Test), [vec![], vec![2]]);
    assert_eq!(set.relevance(Split::Train, 0), None);
    assert_eq!([0, 1, 2].map(|l| set.titles_of(l).to_vec()), [vec![0], vec![0, 1], vec![]]);
    assert_eq!(set.label_frequency(), [1, 2, 0]);
    // Filter rows are rows of the source: 2 is row c, 1 was left out.
    assert_eq!((set.filtered(Split::Train, 0), set.filtered(Split::Train, 1)), (&[2][..], &[0][..]));
    assert_eq!((set.filtered(Split::Test, 0), set.filtered(Split::Test, 1)), (&[][..], &[1][..]));
    let s = set.summary();
    assert_eq!((s.dropped_without_labels, s.kept_without_labels, s.repeated_labels), (1, 1, 1));
    assert_eq!((s.empty_texts, s.labels_without_text, s.truncated), (1, 1, 0));
    assert!(s.warnings[0].contains("filter_labels_text.txt is taken for"), "{:?}", s.warnings);
    assert_eq!((set.source(), set.max_len(), set.vocab_size()), ("src", 32, 12));
    assert_eq!(set.tokenizer().unwrap().encode("old boots", 9).unwrap(), [2, 10, 8, 9, 3]);
}

#[test]
fn content_can_be_left_aside() {
    let files = [("trn.jsonl", TRAIN), ("tst.jsonl", TEST), ("lbl.jsonl", LABELS)];
    let world = World::new(&files.map(|(name, text)| (name, text.as_bytes())));
    let options = data::PrepareOptions { content: false, ..world.options() };
    data::prepare(&Source::Jsonl(world.src()), &options, &mut |_| {}).unwrap();
    let set = world.open();
    assert_eq!(set.queries(Split::Train).tokens(1).collect::<Vec<_>>(), [2, 6, 8, 3]);
    // What was left aside is not kept either: the text is what was tokenized.
    assert_eq!((set.queries(Split::Train).text(1), set.has_whole_texts()), ("blue boot".into(), true));
}

#[test]
fn own_json_lines_name_labels_by_id() {
    let world = World::new(&[
        ("train.jsonl", b"{\"id\": 7, \"text\": \"red shoe\", \"labels\": [\"x\", 12]}\n"),
        ("test.jsonl", b"\xef\xbb\xbf{\"id\": \"q\", \"text\": \"boot\", \"labels\": [\"x\"]}\r\n"),
        ("labels.jsonl", b"{\"id\": 12, \"text\": \"red\"}\n{\"id\": \"x\", \"text\": \"shoes\"}\n"),
    ]);
    let set = world.data_set(Source::Jsonl);
    assert_eq!(rows(set.queries(Split::Train)), [row("7", "red shoe", &[2, 5, 7, 3])]);
    assert_eq!(positives(&set, Split::Train), [vec![0, 1]]);
    assert_eq!(positives(&set, Split::Test), [vec![1]]);
    assert_eq!(set.labels().uid(0), "12");
}

#[test]
fn the_sparse_layout_has_as_many_labels_as_columns() {
    let world = World::new(&[
        ("trn_X_Y.txt", b"3 4\n3:1.00000 0:0.5 0:0.25 1:0\n\n2:1\n"),
        ("tst_X_Y.txt", b"2 4\n1:1\n"),
        ("raw/trn_X.txt", "red\nblue\nold sh\u{f6}e\n".as_bytes()),
        ("raw/tst_X.txt", b"boot\n\n"),
        ("raw/Y.txt", b"a\nred\nblue\n"),
        ("tst_filter_labels.txt", b"0 3\n"),
    ]);
    let set = world.data_set(Source::Xc);
    assert_eq!(
        rows(set.queries(Split::Train)),
        [row("0", "red", &[2, 5, 3]), row("2", "old sh\u{f6}e", &[2, 10, 7, 3])]
    );
    assert_eq!(positives(&set, Split::Train), [vec![0, 3], vec![2]]);
    assert_eq!(set.relevance(Split::Train, 0), Some(&[0.5, 1.0][..]));
    assert_eq!(set.relevance(Split::Test, 0), None);
    assert_eq!(positives(&set, Split::Test), [vec![1], vec![]]);
    assert_eq!(rows(set.labels())[3], row("3", "", &[2, 3]));
    assert_eq!((set.filtered(Split::Test, 0), set.filtered(Split::Train, 0)), (&[3][..], &[][..]));
    let s = set.summary();
    assert_eq!((s.zero_relevance, s.repeated_labels, s.dropped_without_labels), (1, 1, 1));
    assert!(s.warnings.iter().any(|w| w == "1 labels have no line in the label file"), "{:?}", s.warnings);
    assert!(s.warnings.iter().any(|w| w.contains("tst_X_Y.txt ends 1 rows before")), "{:?}", s.warnings);
}

#[test]
fn documents_of_a_retrieval_set_are_the_labels() {
    let queries = concat!(
        "{\"_id\": \"q1\", \"text\": \"red\"}\n",
        "{\"_id\": \"q2\", \"text\": \"blue\"}\n",
        "{\"_id\": \"q3\", \"text\": \"old\"}\n",
    );
    let corpus = concat!(
        "{\"_id\": \"d1\", \"title\": \"boot\", \"text\": \"a red boot\", \"metadata\": {}}\n",
        "{\"_id\": \"d2\", \"title\": \"\", \"text\": \"shoes\"}\n",
    );
    let world = World::new(&[
        ("corpus.jsonl", corpus.as_bytes()),
        ("queries.jsonl", queries.as_bytes()),
        ("qrels/test.tsv", b"query-id\tcorpus-id\tscore\nq2\td2\t2\nq1\td1\t1\nq2\td1\t0\nq2\td2\t1\n"),
    ]);
    let set = world.data_set(Source::Beir);
    assert_eq!(set.queries(Split::Train).len(), 0);
    assert_eq!(rows(set.queries(Split::Test)), [row("q1", "red", &[2, 5, 3]), row("q2", "blue", &[2, 6, 3])]);
    assert_eq!(
        rows(set.labels()),
        [row("d1", "boot", &[2, 8, 11, 5, 8, 3]), row("d2", "shoes", &[2, 7, 9, 3])]
    );
    assert_eq!(positives(&set, Split::Test), [vec![0], vec![1]]);
    // A text is given back whole, as it was tokenized; an empty title leaves nothing in front of it.
    let whole = |texts: Texts<'_>| (0..texts.len()).map(|i| texts.text(i).into_owned()).collect::<Vec<_>>();
    assert_eq!(whole(set.labels()), ["boot a red boot", "shoes"]);
    assert_eq!(whole(set.queries(Split::Test)), ["red", "blue"]);
    assert_eq!((set.labels().content(0), set.labels().content(1)), ("a red boot", ""));
    assert!(set.has_whole_texts());
    assert_eq!(set.relevance(Split::Test, 1), Some(&[2.0][..]));
    assert_eq!((set.summary().dropped_without_labels, set.summary().zero_relevance), (1, 1));
}

#[test]
fn passages_of_ms_marco_are_labels() {
    let world = World::new(&[
        ("collection.tsv", b"7\ta red boot\n9\tshoes\n" as &[u8]),
        ("queries.train.tsv", b"1\tred\n2\tnobody judged this\n"),
        ("qrels.train.tsv", b"1\t0\t7\t1\n1 0 9 0\n"),
        ("queries.dev.tsv", b"3\told\n4\tblue\n"),
        ("qrels.dev.tsv", b"3\t0\t7\t1\n4\t0\t9\t1\n"),
        // The small set is what is measured on, and its queries are among all of dev.
        ("qrels.dev.small.tsv", b"4\t0\t9\t1\n"),
    ]);
    let set = world.data_set(Source::MsMarco);
    assert_eq!(
        rows(set.labels()),
        [row("7", "a red boot", &[2, 11, 5, 8, 3]), row("9", "shoes", &[2, 7, 9, 3])]
    );
    assert_eq!(rows(set.queries(Split::Train)), [row("1", "red", &[2, 5, 3])]);
    assert_eq!(rows(set.queries(Split::Test)), [row("4", "blue", &[2, 6, 3])]);
    assert_eq!((positives(&set, Split::Train), positives(&set, Split::Test)), (vec![vec![0]], vec![vec![1]]));
    assert_eq!((set.summary().dropped_without_labels, set.summary().zero_relevance), (2, 1));
}

#[test]
fn labels_of_fasttext_stand_in_the_text() {
    let lines = b"__label__red-shoe old __label__boots shoe\n\nred boot __label__boots\n__label__ blue\n";
    let world =
        World::new(&[("t.ft", &lines[..]), ("labels.csv", b"id,text\nboots,a boot\nred-shoe,shoes\n")]);
    let source = |labels_file| {
        let split = "100/0".parse().unwrap();
        Source::FastText(FastTextSource { path: world.src().join("t.ft"), labels_file, split })
    };
    world.prepare(&source(None)).unwrap();
    let set = world.open();
    let want = [row("1", "old shoe", &[2, 10, 7, 3]), row("3", "red boot", &[2, 5, 8, 3])];
    assert_eq!(rows(set.queries(Split::Train)), want);
    assert_eq!(rows(set.labels())[0], row("red-shoe", "red shoe", &[2, 5, 7, 3]));
    assert_eq!(positives(&set, Split::Train), [vec![0, 1], vec![1]]);
    assert_eq!(set.summary().dropped_without_labels, 1, "a prefix alone names no label");
    world.prepare(&source(Some(world.src().join("labels.csv")))).unwrap();
    let set = world.open();
    assert_eq!(rows(set.labels())[0], row("boots", "a boot", &[2, 11, 8, 3]));
    assert_eq!(positives(&set, Split::Train), [vec![0, 1], vec![0]]);
}

#[test]
fn a_table_gives_labels_in_the_order_in_which_they_appear() {
    let world =
        World::new(&[("shop.csv", TABLE.as_bytes()), ("labels.csv", b"id,text\nred,a red\nshoes,shoes\n")]);
    let mut table = CsvSource::new(world.src().join("shop.csv"), "title", "category");
    table.label_separator = Some(";".into());
    table.id = Some("sku".into());
    table.split = "100/0".parse().unwrap();
    world.prepare(&Source::Csv(table.clone())).unwrap();
    let set = world.open();
    let want = [row("s1", "red, old shoe", &[2, 5, 1, 10, 7, 3]), row("s3", "boots", &[2, 8, 9, 3])];
    assert_eq!(rows(set.queries(Split::Train)), want);
    assert_eq!(rows(set.labels()), [row("shoes", "shoes", &[2, 7, 9, 3]), row("red", "red", &[2, 5, 3])]);
    assert_eq!(positives(&set, Split::Train), [vec![0, 1], vec![1]]);
    assert_eq!((set.summary().dropped_without_labels, set.source()), (1, "shop.csv"));
    table.labels_file = Some(world.src().join("labels.csv"));
    world.prepare(&Source::Csv(table)).unwrap();
    let set = world.open();
    assert_eq!(rows(set.labels())[0], row("red", "a red", &[2, 11, 5, 3]));
    assert_eq!(positives(&set, Split::Train), [vec![0, 1], vec![0]]);
}

#[test]
fn long_text_is_cut_and_counted() {
    let long = "red shoe ".repeat(12_000);
    let line = |text: &str| format!("{{\"uid\": \"a\", \"title\": \"{text}\", \"target_ind\": [0]}}\n");
    let world = World::new(&[
        ("trn.jsonl", line(&long).as_bytes()),
        ("tst.jsonl", line("red shoe red shoe").as_bytes()),
        ("lbl.jsonl", b"{\"uid\": \"l\", \"title\": \"red shoe red shoe a\"}\n"),
    ]);
    let options = data::PrepareOptions { max_len: 6, ..world.options() };
    let summary = data::prepare(&Source::Jsonl(world.src()), &options, &mut |_| {}).unwrap();
    // The test title fits exactly; the label is one token too long.
    assert_eq!(summary.truncated, 2);
    let set = world.open();
    for texts in [set.queries(Split::Train), set.queries(Split::Test), set.labels()] {
        assert_eq!(texts.tokens(0).collect::<Vec<_>>(), [2, 5, 7, 5, 7, 3]);
    }
    assert_eq!(set.queries(Split::Train).title(0).len(), long.trim().len());
}
