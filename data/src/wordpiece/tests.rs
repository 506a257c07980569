use super::*;
use engine::{Kind, Stream};
use std::io::{BufRead, BufReader};

fn pieces(t: &Tokenizer) -> Vec<String> {
    t.decode_tokens(&(0..t.vocab_size() as u32).collect::<Vec<_>>())
}

/// The corpus of Sennrich et al. 2016, section 3.2, merged by hand.
fn corpus() -> Vec<&'static str> {
    [("low", 5), ("lower", 2), ("newest", 6), ("Widest", 3)].iter().flat_map(|&(w, n)| vec![w; n]).collect()
}

#[test]
fn the_merges_are_those_found_by_hand() {
    let got = pieces(&train(corpus(), Options::new(1000)).unwrap());
    let start = "[PAD] [UNK] [CLS] [SEP] [MASK] d e i l n o r s t w ##d ##e ##i ##o ##r ##s ##t ##w";
    let merges = "##es ##est ##ow low ##ew ##ewest newest ##dest ##idest widest ##er lower";
    assert_eq!(got.join(" "), format!("{start} {merges}"));
    let first = pieces(&train(corpus(), Options::new(25)).unwrap());
    assert_eq!(first[..], got[..25]);
    let often = pieces(&train(corpus(), Options { min_count: 7, ..Options::new(1000) }).unwrap());
    assert_eq!(often[..], got[..27]);
}

/// The specification: all pairs counted anew for each merge.
fn naive_merges(pieces: &mut Vec<String>, words: &[(String, u64)], size: usize, min_count: u64) {
    let spell = |w: &str| -> Vec<String> {
        w.chars().enumerate().map(|(i, c)| if i == 0 { c.to_string() } else { format!("##{c}") }).collect()
    };
    let mut words: Vec<(Vec<String>, u64)> = words.iter().map(|(w, n)| (spell(w), *n)).collect();
    while pieces.len() < size {
        let mut counts: BTreeMap<(String, String), u64> = BTreeMap::new();
        for (word, n) in &words {
            for p in word.windows(2) {
                *counts.entry((p[0].clone(), p[1].clone())).or_insert(0) += n;
            }
        }
        let best = counts.into_iter().min_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
        let Some(((a, b), _)) = best.filter(|(_, n)| *n >= min_count) else { return };
        let whole = format!("{a}{}", &b[2..]);
        for (word, _) in &mut words {
            let mut i = 0;
            while i + 1 < word.len() {
                if word[i] == a && word[i + 1] == b {
                    word.splice(i..i + 2, [whole.clone()]);
                }
                i += 1;
            }
        }
        if !pieces.contains(&whole) {
            pieces.push(whole);
        }
    }
}

#[test]
fn merges_equal_those_of_counting_anew() {
    for seed in 0..60 {
        let s = Stream::new(seed, 5);
        let letters = 1 + s.below(0, 4);
        let mut counts: BTreeMap<String, u64> = BTreeMap::new();
        for w in 0..30 {
            let at = s.at_step(w + 1);
            let len = 1 + at.below(0, 9);
            let word = (0..len).map(|i| char::from(b'a' + at.below(i + 2, letters) as u8)).collect();
            *counts.entry(word).or_insert(0) += 1 + at.below(1, 5);
        }
        let words: Vec<(String, u64)> = counts.into_iter().collect();
        let mut start: Vec<String> = alphabet(&words, 99).iter().map(char::to_string).collect();
        start.extend(inner_characters(&words).iter().map(|c| format!("##{c}")));
        let (mut fast, mut slow) = (start.clone(), start);
        merge::extend(&mut fast, &words, 60, 2);
        naive_merges(&mut slow, &words, 60, 2);
        assert_eq!(fast, slow, "seed {seed}");
    }
}

fn invented_titles(seed: u64, n: u64) -> Vec<String> {
    let s = Stream::new(seed, 6);
    let syllables = ["ka", "lo", "mi", "to", "sä", "re", "nun", "日", "-", "X", "ё", "9"];
    let word = |i: u64| -> String {
        let at = s.at_step(i);
        (0..1 + at.below(0, 4)).map(|k| syllables[at.below(k + 1, 12) as usize]).collect()
    };
    (0..n).map(|i| format!("{} {} {}", word(3 * i), word(3 * i + 1), word(3 * i + 2))).collect()
}

#[test]
fn the_order_of_texts_changes_no_byte() {
    let mut titles = invented_titles(1, 400);
    let json = train(&titles, Options::new(150)).unwrap().to_json().unwrap();
    Stream::new(2, 2).shuffle(&mut titles);
    assert_eq!(train(&titles, Options::new(150)).unwrap().to_json().unwrap(), json);
    let mut halves = titles.chunks(200).map(|half| {
        let mut trainer = Trainer::new(Options::new(150));
        half.iter().for_each(|t| trainer.add(t).unwrap());
        trainer
    });
    let mut whole = halves.next().unwrap();
    halves.for_each(|other| whole.absorb(other));
    assert_eq!(whole.finish().unwrap().to_json().unwrap(), json);
}

#[test]
fn every_word_of_known_characters_is_spelt() {
    let titles = invented_titles(3, 300);
    let t = train(&titles, Options::new(90)).unwrap();
    assert_eq!(t.vocab_size(), 90);
    for title in &titles {
        let ids = t.encode(title, 1000).unwrap();
        assert!(!ids.contains(&1), "{title}: {:?}", t.decode_tokens(&ids));
        let spelt: String = t.decode_tokens(&ids[1..ids.len() - 1]).concat().replace("##", "");
        assert_eq!(spelt, title.to_lowercase().replace('ä', "a").replace('ё', "е").replace(' ', ""));
    }
}

#[test]
fn the_rarest_characters_are_left_out() {
    let texts = ["aab", "ac", "ad", "b"];
    let t = train(texts, Options { alphabet: 3, ..Options::new(100) }).unwrap();
    assert_eq!(pieces(&t)[5..].join(" "), "a b c ##a ##b ##c");
    assert_eq!(t.encode("ad ac", 9).unwrap(), [2, 1, 5, 10, 3]);
}

#[test]
fn what_cannot_be_learnt_is_said() {
    let too_small = train(corpus(), Options::new(20)).unwrap_err();
    assert!(too_small.kind() == Kind::Input && too_small.to_string().contains("more than 23"), "{too_small}");
    let nothing = train(["", " \u{0} "], Options::new(20)).unwrap_err();
    assert!(nothing.kind() == Kind::Input && nothing.message().contains("no words"), "{nothing}");
}

/// On real titles: the wanted size, the same bytes from another order, everything spelt.
#[test]
fn a_vocabulary_of_library_titles_is_complete_and_repeatable() {
    let Some(folder) = std::env::var_os("LODE_SHARED") else {
        println!("skipped: LODE_SHARED names no folder with data/finna-small");
        return;
    };
    let mut titles = Vec::new();
    for name in ["trn", "lbl"] {
        let path = std::path::Path::new(&folder).join(format!("data/finna-small/{name}.jsonl.gz"));
        let lines = BufReader::new(flate2::read::GzDecoder::new(std::fs::File::open(path).unwrap())).lines();
        titles.extend(lines.map(|line| {
            let row: serde_json::Value = serde_json::from_str(&line.unwrap()).unwrap();
            row["title"].as_str().unwrap().to_owned()
        }));
    }
    let clock = std::time::Instant::now();
    let t = train(&titles, Options::new(8000)).unwrap();
    println!("{} titles in {:?}", titles.len(), clock.elapsed());
    assert_eq!(t.vocab_size(), 8000);
    titles.reverse();
    assert_eq!(train(&titles, Options::new(8000)).unwrap().to_json().unwrap(), t.to_json().unwrap());
    let unknown = titles.iter().filter(|title| t.encode(title, 500).unwrap().contains(&1)).count();
    assert_eq!(unknown, 0);
}
