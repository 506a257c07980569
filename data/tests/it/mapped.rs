//! The data set file: the same whatever the machine does, and never trusted blindly.

use crate::world::World;
use data::{DataSet, PrepareOptions, Source, Split, TokenizerChoice, Verify};
use engine::container::{Container, Scalar, Writer};
use engine::{Engine, Kind, Packed};

fn small_world() -> World {
    let train: String = (0..40)
        .map(|i| {
            format!(
                "{{\"uid\": \"q{i}\", \"title\": \"red shoe number {i}\", \"target_ind\": [{}]}}\n",
                i % 5
            )
        })
        .collect();
    let labels: String =
        (0..5).map(|i| format!("{{\"uid\": \"l{i}\", \"title\": \"kind {i}\"}}\n")).collect();
    let test = "{\"uid\": \"t\", \"title\": \"boots\", \"target_ind\": [0], \"target_rel\": [2]}\n";
    World::new(&[
        ("trn.jsonl", train.as_bytes()),
        ("tst.jsonl", test.as_bytes()),
        ("lbl.jsonl", labels.as_bytes()),
        ("filter_labels_test.txt", b"0 1\n"),
    ])
}

#[test]
fn threads_and_names_do_not_change_a_byte() {
    let world = small_world();
    let source = Source::Jsonl(world.src());
    let mut files = vec![];
    for (threads, name) in [(1, "one"), (3, "two"), (7, "three")] {
        let engine = Engine::new(threads);
        let options = PrepareOptions { engine, out: world.path(name), ..world.options() };
        data::prepare(&source, &options, &mut |_| {}).unwrap();
        files.push(std::fs::read(world.path(name)).unwrap());
    }
    assert!(files[0] == files[1] && files[0] == files[2]);
}

#[test]
fn the_fingerprint_follows_the_contents_and_not_the_name() {
    let world = small_world();
    let print = |source: &Source, max_len| {
        let options = PrepareOptions { max_len, ..world.options() };
        data::prepare(source, &options, &mut |_| {}).unwrap();
        world.open().fingerprint()
    };
    let first = print(&Source::Jsonl(world.src()), 32);
    std::fs::rename(world.src(), world.path("renamed")).unwrap();
    let renamed = Source::Jsonl(world.path("renamed"));
    assert_eq!(print(&renamed, 32), first);
    assert_ne!(print(&renamed, 4), first);
    std::fs::write(world.path("renamed/filter_labels_test.txt"), "0 2\n").unwrap();
    assert_ne!(print(&renamed, 32), first);
}

#[test]
fn texts_are_packed_as_they_stand() {
    let world = small_world();
    let set = world.data_set(Source::Jsonl);
    let texts = set.queries(Split::Train);
    let mut packed = Packed::default();
    for i in [3, 0, 3] {
        texts.push_to(i, &mut packed);
    }
    assert_eq!(packed.text(0), texts.tokens(3).collect::<Vec<_>>());
    assert_eq!((packed.len(), packed.text(0)), (3, packed.text(2)));
    assert_eq!(texts.tokens(0).len(), texts.token_count(0));
    assert_eq!(texts.tokens_total(), (0..texts.len()).map(|i| texts.token_count(i) as u64).sum::<u64>());
}

#[test]
fn a_vocabulary_beyond_16_bits_is_kept_whole() {
    let world = small_world();
    let mut words: Vec<String> = crate::world::WORDS.iter().map(|w| (*w).to_owned()).collect();
    words.extend((words.len()..70_000).map(|i| format!("w{i}x")));
    words[69_999] = "number".into();
    std::fs::write(world.path("model/vocab.txt"), words.join("\n")).unwrap();
    let set = world.data_set(Source::Jsonl);
    assert_eq!(set.vocab_size(), 70_000);
    assert_eq!(set.queries(Split::Train).tokens(0).nth(3), Some(69_999));
    let mut packed = Packed::default();
    set.queries(Split::Train).push_to(0, &mut packed);
    assert_eq!(packed.tokens[3], 69_999);
}

#[test]
fn a_learnt_vocabulary_covers_training_and_is_stored() {
    let world = small_world();
    let options = PrepareOptions { tokenizer: TokenizerChoice::Train(60), ..world.options() };
    let mut stages = vec![];
    data::prepare(&Source::Jsonl(world.src()), &options, &mut |p| stages.push(p.stage)).unwrap();
    let set = world.open();
    let tokenizer = set.tokenizer().unwrap();
    let ids: Vec<u32> = set.queries(Split::Train).tokens(7).collect();
    assert_eq!(tokenizer.encode("red shoe number 7", 32).unwrap(), ids);
    assert!(!ids.contains(&tokenizer.special().unk.unwrap()));
    assert_eq!(stages.last(), Some(&data::Stage::Write));
}

/// Every byte of a small data set, damaged: opening says so or changes nothing, and never panics.
#[test]
fn no_damage_goes_unnoticed() {
    let world = small_world();
    let set = world.data_set(Source::Jsonl);
    let fingerprint = set.fingerprint();
    let whole = std::fs::read(world.out()).unwrap();
    let path = world.path("damaged");
    let mut noticed = 0;
    for at in (0..whole.len()).step_by(7) {
        let mut bytes = whole.clone();
        bytes[at] ^= 0x10;
        std::fs::write(&path, &bytes).unwrap();
        match DataSet::open(&path, Verify::Full) {
            Ok(same) => assert_eq!(same.fingerprint(), fingerprint),
            Err(e) => {
                assert_eq!(e.kind(), Kind::Damaged, "byte {at}: {e}");
                noticed += 1;
            }
        }
    }
    assert!(noticed > whole.len() / 7 / 2, "{noticed}");
    for len in (0..whole.len()).step_by(61) {
        std::fs::write(&path, &whole[..len]).unwrap();
        assert_eq!(DataSet::open(&path, Verify::Header).unwrap_err().kind(), Kind::Damaged, "{len}");
    }
    std::fs::write(&path, "title,kind\n".repeat(20)).unwrap();
    let e = DataSet::open(&path, Verify::Header).unwrap_err().to_string();
    assert!(e.contains("`lode prepare` makes a data set"), "{e}");
}

#[test]
fn a_data_set_is_shared_between_threads() {
    fn shared<T: Send + Sync>(_: &T) {}
    shared(&small_world().data_set(Source::Jsonl));
}

#[test]
fn of_a_file_that_does_not_say_so_texts_are_not_taken_for_whole() {
    let world = small_world();
    world.prepare(&Source::Jsonl(world.src())).unwrap();
    assert!(world.open().has_whole_texts());
    let file = Container::open(&world.out(), "dataset", Verify::Full).unwrap();
    let mut older = Writer::create(&world.path("older"), "dataset").unwrap();
    for section in file.sections() {
        let name = &section.name;
        match section.scalar {
            Scalar::U8 if name == "meta" => {
                let text = String::from_utf8(file.bytes(name).unwrap().to_vec()).unwrap();
                older.section(name, text.replace("\"whole_texts\":true,", "").as_bytes()).unwrap();
            }
            Scalar::U8 => older.section(name, file.slice::<u8>(name).unwrap()).unwrap(),
            Scalar::U16 => older.section(name, file.slice::<u16>(name).unwrap()).unwrap(),
            Scalar::U32 => older.section(name, file.slice::<u32>(name).unwrap()).unwrap(),
            Scalar::U64 => older.section(name, file.slice::<u64>(name).unwrap()).unwrap(),
            Scalar::F32 => older.section(name, file.slice::<f32>(name).unwrap()).unwrap(),
        }
    }
    older.commit().unwrap();
    let older = DataSet::open(&world.path("older"), Verify::Full).unwrap();
    assert!(!older.has_whole_texts() && older.queries(Split::Test).text(0) == "boots");
}
