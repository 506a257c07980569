//! Titles that are nearly the same: editions and volumes of one work share a key, and stay on one side of a
//! split.
//!
//! ```text
//! key(title) = words of the main title, lower case, without numbers and words of volume and edition
//! side(key)  = train if xxh3(key)/2⁶⁴ < share, else test
//! ```
//! A split by hash needs no seed and no state, and does not move a title when rows are added.

use engine::container::checksum;

/// What is said of a volume or an edition, and articles: no two works differ by these alone.
const NOISE: &[&str] = &[
    "a", "an", "the", "vol", "vols", "volume", "volumes", "v", "bd", "band", "part", "parts", "pt", "pts",
    "book", "no", "nr", "num", "number", "numbers", "issue", "ed", "eds", "edn", "edition", "editions",
    "rev", "revised", "pack", "set", "size",
];

/// The key under which near-duplicates of `title` meet.
///
/// The main title is what stands before ` : `, ` / `, ` = ` or ` ; ` (the marks of library catalogues), if
/// that has two words or more. Where nothing but noise is left, all words stay; where there are no words,
/// the text itself.
pub fn main_title(title: &str) -> String {
    let lower = title.to_lowercase();
    let cut = [" : ", " / ", " = ", " ; "].iter().filter_map(|mark| lower.find(mark)).min();
    let main = cut.map(|at| &lower[..at]).filter(|main| words(main).count() >= 2).unwrap_or(&lower);
    let kept: Vec<&str> = words(main).filter(|w| !is_noise(w)).collect();
    if !kept.is_empty() {
        return kept.join(" ");
    }
    let all: Vec<&str> = words(&lower).collect();
    if all.is_empty() { lower.trim().to_owned() } else { all.join(" ") }
}

/// Runs of letters and digits.
pub(crate) fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c: char| !c.is_alphanumeric()).filter(|w| !w.is_empty())
}

/// A number, an ordinal (`2nd`), or one of the words of [`NOISE`].
fn is_noise(word: &str) -> bool {
    let digits = word.trim_start_matches(|c: char| c.is_numeric());
    let number = digits.len() < word.len() && matches!(digits, "" | "st" | "nd" | "rd" | "th");
    number || NOISE.contains(&word)
}

/// A text as it is compared when duplicates are counted: lower case, single spaces.
pub(crate) fn folded(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for word in text.split_whitespace() {
        if !out.is_empty() {
            out.push(' ');
        }
        out.extend(word.chars().flat_map(char::to_lowercase));
    }
    out
}

/// Shares of a whole that are divided between training and test, for example 90/10.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Ratio {
    /// The part that goes to training, 0 to 1.
    pub train: f64,
}

impl std::str::FromStr for Ratio {
    type Err = engine::Error;
    /// Reads `90/10`, `9:1` or `0.9/0.1`: any two numbers that are not negative, of which one is not zero.
    fn from_str(text: &str) -> engine::Result<Ratio> {
        let bad = || {
            engine::Error::input(format!("`{text}` is no split"))
                .help("write it as TRAIN/TEST, for example 90/10")
        };
        let (a, b) = text.split_once(['/', ':']).ok_or_else(bad)?;
        let number = |s: &str| s.trim().parse::<f64>().ok().filter(|x| x.is_finite() && *x >= 0.0);
        let (a, b) = (number(a).ok_or_else(bad)?, number(b).ok_or_else(bad)?);
        if a + b <= 0.0 { Err(bad()) } else { Ok(Ratio { train: a / (a + b) }) }
    }
}

impl Ratio {
    /// True when a row with this title belongs to training.
    pub fn is_train(self, title: &str) -> bool {
        let unit = (checksum(main_title(title).as_bytes()) >> 11) as f64 / (1u64 << 53) as f64;
        unit < self.train
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn near_duplicates_share_a_key() {
        for (a, b) in [
            ("The art of war", "Art of War, 2nd edition"),
            ("Organic chemistry. Vol. 1", "Organic Chemistry, volume 12"),
            ("World history : from stone to steel", "World history : reader / ed. by X"),
            ("Gasket set 40 mm", "Gasket 55 mm"),
            ("Åland in summer", "åland in summer"),
        ] {
            assert_eq!(main_title(a), main_title(b), "{a} | {b}");
        }
        for (a, b) in [
            ("1984", "2001"),
            ("Poems : early", "Poems : late"),
            ("Red shoes", "Blue shoes"),
            ("???", "!!!"),
            ("Vol. 1", "Vol. 2"),
            ("Windows 10x drivers", "Windows drivers"),
        ] {
            assert_ne!(main_title(a), main_title(b), "{a} | {b}");
        }
        assert_eq!(folded("  The\tCAT "), "the cat");
    }

    #[test]
    fn a_split_has_the_shares_asked_for() {
        let ratio: Ratio = "90/10".parse().unwrap();
        let word = |i: usize| "abcdefghij".as_bytes()[i] as char;
        let title = |i: usize| {
            format!("{}{}{}{}", word(i / 1000), word(i / 100 % 10), word(i / 10 % 10), word(i % 10))
        };
        let train = (0..10_000).filter(|&i| ratio.is_train(&title(i))).count();
        // Standard error 30; five of them.
        assert!((8850..9150).contains(&train), "{train}");
        assert!((0..99).all(|i| "100/0".parse::<Ratio>().unwrap().is_train(&title(i))));
        assert!(!(0..99).any(|i| "0:1".parse::<Ratio>().unwrap().is_train(&title(i))));
        for bad in ["90", "a/b", "0/0", "-1/2", "nan/1", "inf/1"] {
            assert!(bad.parse::<Ratio>().is_err(), "{bad}");
        }
    }
}
