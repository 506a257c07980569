//! From a table to answers, on a table small enough for a test.

use lode::{CsvSource, Engine, How, Predictor, PrepareOptions, Silent, Source, Split, TokenizerChoice};

fn main() -> lode::Result<()> {
    let dir = std::env::temp_dir().join(format!("lode-{}", std::process::id()));
    let (table, data, run) = (dir.join("shop.csv"), dir.join("shop.lode"), dir.join("run"));
    std::fs::create_dir_all(&dir).and_then(|()| std::fs::write(&table, shop())).expect("a table is written");

    let source = Source::Csv(CsvSource::new(&table, "title", "kind"));
    let options = PrepareOptions::new(&data, TokenizerChoice::Train(300));
    println!("{}", lode::prepare(&source, &options, &mut |_| {})?);

    let engine = Engine::new(2);
    let changes =
        ["model.source=bag", "model.width=32", "train.batch=16", "train.epochs=10", "train.lr=0.01"];
    lode::train(&engine, &data, &run, &changes, &mut Silent)?;
    for (metric, value) in lode::evaluate(&engine, &run, (&data, Split::Test), "P@1,MRR@3", &mut Silent)? {
        println!("{metric} {:.1} %", 100.0 * value);
        assert!(value > 0.9, "an untrained model finds about a third");
    }

    let predictor = Predictor::open(&engine, &run, None, How::default(), &mut Silent)?;
    let best = &predictor.predict(&["a white kettle"], 1)?[0][0];
    let kind = predictor.data().labels().title(best.label as usize);
    println!("a white kettle: {kind}, {:.2}", best.score);
    assert_eq!(kind, "kitchen");
    std::fs::remove_dir_all(&dir).expect("the folder is ours");
    Ok(())
}

/// Two hundred articles of four kinds. No title shares a word with its kind: it has to be learned.
fn shop() -> String {
    let colours = ["red", "blue", "green", "black", "white", "yellow", "grey"];
    let things = [
        ("shoe", "footwear"),
        ("boot", "footwear"),
        ("lamp", "light"),
        ("chair", "seat"),
        ("kettle", "kitchen"),
    ];
    let row = |i: usize| format!("{} {} no {i},{}\n", colours[i % 7], things[i % 5].0, things[i % 5].1);
    "title,kind\n".to_owned() + &(0..200).map(row).collect::<String>()
}
