use super::*;
use engine::Kind;
use std::fs;

const VOCAB: &str = "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\ncat\n##s\nsit\nthe\n!\nuber\n日\n";

fn pieces() -> Vec<String> {
    VOCAB.lines().map(str::to_owned).collect()
}

fn small() -> Tokenizer {
    Tokenizer::from_pieces(&pieces(), BertText::default()).unwrap()
}

#[test]
fn bert_text_gives_the_ids_counted_by_hand() {
    let t = small();
    for (text, want) in [
        ("", vec![2, 3]),
        ("The Cats sit!", vec![2, 8, 5, 6, 7, 9, 3]),
        ("  Über\tcat\u{0}s ", vec![2, 10, 5, 6, 3]),
        ("日cat", vec![2, 11, 5, 3]),
        ("dog cat", vec![2, 1, 5, 3]),
        ("[MASK] the", vec![2, 4, 8, 3]),
    ] {
        assert_eq!(t.encode(text, 100).unwrap(), want, "{text:?}");
    }
    assert_eq!(t.decode_tokens(&[2, 5, 6, 99]), ["[CLS]", "cat", "##s", "<99?>"]);
    let special = SpecialIds { cls: Some(2), sep: Some(3), pad: Some(0), unk: Some(1) };
    assert_eq!((t.special(), t.vocab_size(), t.frame_len(), t.id("sit")), (special, 12, 2, Some(7)));
}

#[test]
fn a_long_text_loses_its_end_but_not_its_closing_token() {
    let t = small();
    assert_eq!(t.encode("the cats sit", 4).unwrap(), [2, 8, 5, 3]);
    assert_eq!(t.encode("the cats sit", 2).unwrap(), [2, 3]);
    let e = t.encode("the cats sit", 1).unwrap_err();
    assert!(e.kind() == Kind::Input && e.to_string().contains("at least 2"), "{e}");
}

#[test]
fn a_batch_is_its_texts_one_by_one() {
    let t = small();
    let (batch, cut) = t.encode_batch(&Engine::new(1), &["cats", "", "the cats"], 4).unwrap();
    assert_eq!((&batch.tokens[..], cut), (&[2, 5, 6, 3, 2, 3, 2, 8, 5, 3][..], 1));
    assert_eq!(batch.starts, [0, 4, 6, 10]);
}

#[test]
fn a_batch_keeps_its_order_on_any_number_of_threads() {
    let t = small();
    let texts: Vec<String> =
        (0..1000).map(|i| strange_text(engine::Stream::new(i, 3), i as usize % 40)).collect();
    let mut one_by_one = Packed::default();
    texts.iter().for_each(|text| one_by_one.push(t.encode(text, 16).unwrap()));
    for threads in [1, 2, 5] {
        assert_eq!(t.encode_batch(&Engine::new(threads), &texts, 16).unwrap().0, one_by_one);
    }
    assert!(t.encode_batch(&Engine::new(2), &texts, 1).is_err());
}

/// Spaces, marks that combine, control characters, special tokens: whatever stands at a cut.
fn strange_text(stream: engine::Stream, words: usize) -> String {
    const PARTS: [&str; 16] = [
        "cat",
        "s",
        " ",
        " ",
        " ",
        "\u{301}",
        "\u{0}",
        "\n",
        "[MASK]",
        "日",
        "!",
        "Über",
        "\u{a0}",
        "dog",
        "\u{fffd}",
        "I\u{307}\u{323}",
    ];
    (0..words).map(|i| PARTS[stream.below(i as u64, 16) as usize]).collect()
}

#[test]
fn reading_only_a_prefix_changes_no_token() {
    let t = small();
    assert!(t.local);
    let whole = Tokenizer { local: false, ..t.clone() };
    for seed in 0..200 {
        let text = strange_text(engine::Stream::new(seed, 1), 1500);
        for max_len in [2, 3, 8, 17, 64] {
            let (cut, uncut) = (t.encode(&text, max_len).unwrap(), whole.encode(&text, max_len).unwrap());
            assert_eq!(cut, uncut, "seed {seed}, max_len {max_len}");
        }
    }
}

#[test]
fn an_added_token_with_a_space_forbids_reading_a_prefix() {
    let mut json: serde_json::Value = serde_json::from_slice(&small().to_json().unwrap()).unwrap();
    let spaced = serde_json::json!({"id": 12, "content": "the cat", "single_word": false, "lstrip": false,
        "rstrip": false, "normalized": false, "special": false});
    json["added_tokens"].as_array_mut().unwrap().push(spaced);
    let t = Tokenizer::from_bytes(json.to_string().as_bytes()).unwrap();
    assert_eq!((t.local, t.encode("the cat", 9).unwrap()), (false, vec![2, 12, 3]));
}

#[test]
fn the_files_padding_and_truncation_are_ignored() {
    let mut json: serde_json::Value = serde_json::from_slice(&small().to_json().unwrap()).unwrap();
    json["padding"] = serde_json::json!({"strategy": {"Fixed": 20}, "direction": "Right",
        "pad_to_multiple_of": null, "pad_id": 0, "pad_type_id": 0, "pad_token": "[PAD]"});
    json["truncation"] = serde_json::json!({"max_length": 3, "strategy": "LongestFirst", "stride": 0,
        "direction": "Left"});
    let t = Tokenizer::from_bytes(json.to_string().as_bytes()).unwrap();
    assert_eq!(t.encode("the cats sit", 100).unwrap(), [2, 8, 5, 6, 7, 3]);
    assert_eq!(t.to_json().unwrap(), small().to_json().unwrap());
}

#[test]
fn a_tokenizer_comes_back_from_its_json() {
    let json = small().to_json().unwrap();
    let again = Tokenizer::from_bytes(&json).unwrap();
    assert_eq!(again.to_json().unwrap(), json);
    assert_eq!(again.encode("The cats!", 9).unwrap(), small().encode("The cats!", 9).unwrap());
}

#[test]
fn a_directory_with_vocab_txt_follows_its_config() {
    let dir = tempfile::tempdir().unwrap();
    let missing = Tokenizer::from_dir(dir.path()).unwrap_err();
    assert!(missing.kind() == Kind::Input && missing.to_string().contains("--train-vocab"), "{missing}");
    fs::write(dir.path().join("vocab.txt"), VOCAB).unwrap();
    assert_eq!(Tokenizer::from_dir(dir.path()).unwrap().encode("Cat", 9).unwrap(), [2, 5, 3]);
    fs::write(dir.path().join("tokenizer_config.json"), "{\"do_lower_case\": false}").unwrap();
    assert_eq!(Tokenizer::from_dir(dir.path()).unwrap().encode("Cat cat", 9).unwrap(), [2, 1, 5, 3]);
    fs::write(dir.path().join("tokenizer_config.json"), "{\"do_lower_case\":\n 3}").unwrap();
    let e = Tokenizer::from_dir(dir.path()).unwrap_err().to_string();
    assert!(e.contains("tokenizer_config.json:2:"), "{e}");
    fs::write(dir.path().join("tokenizer.json"), small().to_json().unwrap()).unwrap();
    assert_eq!(Tokenizer::from_dir(dir.path()).unwrap().encode("Cat", 9).unwrap(), [2, 5, 3]);
}

#[track_caller]
fn vocab_error(bytes: &[u8], want: &str) {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("vocab.txt"), bytes).unwrap();
    let e = Tokenizer::from_dir(dir.path()).unwrap_err();
    assert!(e.kind() == Kind::Input && e.to_string().contains(want), "{e}");
}

#[test]
fn a_bad_vocab_txt_says_which_line() {
    vocab_error(b"[UNK]\n[CLS]\n[SEP]\ncat\ncat\n", "vocab.txt:5: `cat` stands already in line 4");
    vocab_error(b"[UNK]\n[CLS]\n[SEP]\n\ncat\n", "vocab.txt:4: an empty line");
    vocab_error(b"[UNK]\n[CLS]\n\xff\n", "vocab.txt:3: invalid UTF-8");
    vocab_error(b"[UNK]\n[CLS]\ncat\n", "`[SEP]` is missing");
}

#[track_caller]
fn json_error(change: impl Fn(&mut serde_json::Value), want: &str) {
    let mut json: serde_json::Value = serde_json::from_slice(&small().to_json().unwrap()).unwrap();
    change(&mut json);
    let e = Tokenizer::from_bytes(json.to_string().as_bytes()).unwrap_err();
    assert!(e.kind() == Kind::Input && e.to_string().contains(want), "{e}");
}

#[test]
fn a_bad_tokenizer_json_is_refused_with_a_reason() {
    json_error(|j| j["model"]["vocab"]["dog"] = 6.into(), "belongs to");
    json_error(|j| j["model"]["vocab"]["cat"] = 99.into(), "no token has id 5");
    json_error(|j| j["added_tokens"][0]["id"] = 7.into(), "added token `[PAD]` has id 7");
    json_error(|j| j["model"]["unk_token"] = "<oov>".into(), "`<oov>` is not in the vocabulary");
    json_error(
        |j| j["post_processor"]["special_tokens"] = serde_json::json!({}),
        "`[CLS]` without defining it",
    );
    json_error(|j| j["post_processor"]["single"][1]["Sequence"]["id"] = "B".into(), "asks for a second");
    json_error(
        |j| j["post_processor"]["special_tokens"]["[CLS]"]["ids"] = serde_json::json!([77]),
        "uses token 77, but the vocabulary ends at 12",
    );
    json_error(
        |j| _ = j["post_processor"]["single"].as_array_mut().map(|s| s.remove(1)),
        "holds the text 0 times",
    );
    json_error(|j| j["model"] = serde_json::json!({"type": "Oracle"}), "not a tokenizer that can be used");
    let e = Tokenizer::from_bytes(b"{\n \"model\": ").unwrap_err().to_string();
    assert!(e.starts_with("tokenizer.json:2:"), "{e}");
    let huge = vec![b' '; BYTES_MAX as usize + 1];
    assert!(Tokenizer::from_bytes(&huge).unwrap_err().to_string().contains("larger than 64 MiB"));
}

/// What the library makes of a text, with none of our short cuts.
fn by_library(t: &Tokenizer, text: &str) -> Vec<u32> {
    t.inner.encode_fast(text, true).unwrap().get_ids().to_vec()
}

/// Pieces of few letters, so that random words meet long and short ones, dead ends and none at all.
fn few_letters() -> Vec<String> {
    let words = [
        "a", "b", "ab", "abba", "A", "BA", "don", "'", "-", "[", "]", "7", "##a", "##b", "##bab", "##A",
        "##7",
    ];
    SPECIAL.iter().chain(&words).map(|piece| piece.to_string()).collect()
}

/// Words of those letters, every ASCII character, and now and then what the library must see.
fn ascii_text(stream: engine::Stream, parts: usize) -> String {
    const LIBRARY: [&str; 4] = ["[MASK]", "[SEP]", "[sep]", "\u{e4}"];
    let part = |i: usize| {
        let at = 3 * i as u64;
        let below = |draw: u64, limit: u64| stream.below(at + draw, limit) as usize;
        match below(0, 100) {
            0 => LIBRARY[below(1, 4)].to_owned(),
            1 => "ab".repeat(below(1, 60)),
            2..40 => ["a", "b", "ab", "A", "B", "don't", "7"][below(1, 7)].to_owned(),
            40..60 => " ".to_owned(),
            60..70 => char::from(below(1, 128) as u8).to_string(),
            _ => char::from(b"abAB\t\n\r\0\x0b\x0c\x1c\x7f-'."[below(1, 15)]).to_string(),
        }
    };
    (0..parts).map(part).collect()
}

#[test]
fn ascii_has_the_ids_that_the_library_gives_it() {
    for text in [
        BertText::default(),
        BertText { lowercase: false, ..BertText::default() },
        BertText { strip_accents: Some(false), split_chinese: false, ..BertText::default() },
    ] {
        let t = Tokenizer::from_pieces(&few_letters(), text).unwrap();
        let ascii = t.ascii.as_ref().expect("it is BERT's");
        let mut taken = 0;
        for seed in 0..5000 {
            let line = ascii_text(engine::Stream::new(seed, 2), seed as usize % 40);
            taken += usize::from(ascii.encode(&line).is_some());
            assert_eq!(t.encode(&line, 9999).unwrap(), by_library(&t, &line), "{line:?}");
        }
        assert!((2000..4900).contains(&taken), "{taken} texts of 5000 took the shorter way");
        for n in [99, 100, 101] {
            let line = "a".repeat(n) + " b";
            assert_eq!(t.encode(&line, 9999).unwrap(), by_library(&t, &line), "{n} letters");
        }
    }
}

#[track_caller]
fn check_changed(change: impl Fn(&mut serde_json::Value), shorter_way: bool, line: &str) {
    let mut json: serde_json::Value = serde_json::from_slice(
        &Tokenizer::from_pieces(&few_letters(), BertText::default()).unwrap().to_json().unwrap(),
    )
    .unwrap();
    change(&mut json);
    let t = Tokenizer::from_bytes(json.to_string().as_bytes()).unwrap();
    let taken = t.ascii.as_ref().is_some_and(|ascii| ascii.encode(line).is_some());
    assert_eq!(taken, shorter_way, "{line:?}");
    assert_eq!(t.encode(line, 9999).unwrap(), by_library(&t, line), "{line:?}");
}

#[test]
fn only_berts_own_tokenizers_take_the_shorter_way() {
    use serde_json::json;
    let added = |content: &'static str, normalized: bool| {
        move |j: &mut serde_json::Value| {
            let token = json!({"id": 22, "content": content, "single_word": false, "lstrip": false, "rstrip": false,
                "normalized": normalized, "special": false});
            j["added_tokens"].as_array_mut().unwrap().push(token);
        }
    };
    check_changed(|_| {}, true, "ab\x0bBA ab");
    check_changed(|j| j["normalizer"]["clean_text"] = false.into(), false, "a\x07b");
    check_changed(|j| j["normalizer"] = json!({"type": "Lowercase"}), false, "a\x07b");
    check_changed(|j| j["normalizer"] = json!(null), false, "AB ab");
    check_changed(|j| j["pre_tokenizer"] = json!({"type": "Whitespace"}), false, "a-_b");
    check_changed(|j| j["pre_tokenizer"] = json!(null), false, "a b");
    check_changed(|j| j["model"]["continuing_subword_prefix"] = "".into(), true, "abba7");
    check_changed(|j| j["model"]["continuing_subword_prefix"] = "\u{2581}".into(), true, "abba a");
    check_changed(|j| j["model"]["max_input_chars_per_word"] = 3.into(), true, "abb abba");
    // As an added token it is cut out of a word, and looked for in either case if it is to be normalised.
    check_changed(added("on", false), false, "don don");
    check_changed(added("ON", true), false, "don't");
    check_changed(added("ON", true), true, "abba");
    check_changed(added("\u{e9}n", true), false, "dEN");
    check_changed(added(" a", true), false, "b\ta");
}

/// Ids from the reference implementation's own run over 18 texts: accents, CJK, emoji, URLs, long words, long
/// texts.
#[test]
fn ids_equal_the_reference_on_all_its_texts() {
    let Some(folder) = std::env::var_os("LODE_SHARED") else {
        println!("skipped: LODE_SHARED names no folder with models/reference/tokens.json");
        return;
    };
    let models = Path::new(&folder).join("models");
    let rows = fs::read(models.join("reference/tokens.json")).unwrap();
    let rows: Vec<serde_json::Value> = serde_json::from_slice(&rows).unwrap();
    let dir = models.join("all-MiniLM-L6-v2");
    let from_json = Tokenizer::from_dir(&dir).unwrap();
    let vocab = fs::read(dir.join("vocab.txt")).unwrap();
    let from_vocab = vocabulary::read(&vocab, BertText::default(), &dir.join("vocab.txt")).unwrap();
    assert_eq!((rows.len(), from_json.vocab_size()), (18, 30522));
    for row in rows {
        let (text, want) = (row["text"].as_str().unwrap(), &row["ids"]);
        let ids = from_json.encode(text, 128).unwrap();
        assert_eq!(serde_json::json!(ids), *want, "{text}");
        assert_eq!(serde_json::json!(from_json.decode_tokens(&ids)), row["tokens"], "{text}");
        assert_eq!(from_vocab.encode(text, 128).unwrap(), ids, "{text}");
    }
}

#[test]
fn what_the_library_panics_at_is_refused_when_the_file_is_read() {
    let json: serde_json::Value = serde_json::from_slice(&small().to_json().unwrap()).unwrap();
    let told = |key: &str, value: serde_json::Value| {
        let mut json = json.clone();
        json[key] = value;
        Tokenizer::from_bytes(json.to_string().as_bytes()).unwrap_err().to_string()
    };
    let characters = |table: &str| serde_json::json!({"type": "Precompiled", "precompiled_charsmap": table});
    assert!(told("normalizer", characters("no table")).contains("the tokenizer library cannot work"));
    // This one it takes, and panics at the first text.
    let nothing = serde_json::json!({"type": "FixedLength", "length": 0});
    assert!(told("pre_tokenizer", nothing).contains("the tokenizer library cannot work"));
    let text = json.to_string().replace("\"decoder\":", "\"decoder\":\"?\",\"_\":");
    let bytes: Vec<u8> = text.bytes().map(|b| if b == b'?' { 0xff } else { b }).collect();
    let told = Tokenizer::from_bytes(&bytes).unwrap_err().to_string();
    assert!(told.contains("tokenizer.json: invalid UTF-8 at byte"), "{told}");
}
