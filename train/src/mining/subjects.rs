//! Who is mined: which texts are asked, which are searched, and what is known of them.
//!
//! ```text
//! corpus [C]      the distinct label texts, each by its first label; C ≤ L
//! queries [Q]     the distinct query texts that have a positive, each by its first query
//! positives(q)    the texts of the labels of all queries of q's text          ⊆ 0..C, ascending
//! ```
//! A text that stands under two labels would else come as a negative beside itself.

use crate::text_ids::distinct;
use data::{DataSet, Split};
use samplers::Lists;

/// Texts to mine for, and texts to mine from.
pub(super) struct Subjects {
    /// The label that stands for each text, ascending.
    pub(super) corpus: Vec<u32>,
    /// The query that stands for each text, ascending.
    pub(super) queries: Vec<u32>,
    /// Row `q`: places in the corpus.
    pub(super) positives: Lists,
    /// Row `q`: places in the corpus that are filtered for the query; none where the data set filters nothing.
    pub(super) barred: Option<Lists>,
    /// The most positives of a query, before equal texts among them are taken for one.
    pub(super) positives_max: usize,
    /// Queries whose text an earlier one has.
    pub(super) queries_repeated: usize,
    /// Query texts without a positive.
    pub(super) queries_without: usize,
}

impl Subjects {
    /// Those of a split.
    pub(super) fn of(data: &DataSet, split: Split) -> Subjects {
        let (corpus, text_of) = distinct(data.labels());
        let (first, number) = distinct(data.queries(split));
        let mut rows: Vec<u32> = (0..number.len() as u32).collect();
        rows.sort_unstable_by_key(|&row| (number[row as usize], row));
        let places = |labels: &mut dyn Iterator<Item = u32>| {
            let mut places: Vec<u32> = labels.map(|label| text_of[label as usize]).collect();
            places.sort_unstable();
            places.dedup();
            places
        };
        let (mut queries, mut positives, mut barred) = (vec![], Rows::default(), Rows::default());
        let mut positives_max = 0;
        for same in rows.chunk_by(|&a, &b| number[a as usize] == number[b as usize]) {
            let labels = || same.iter().flat_map(|&q| data.positives(split, q as usize)).copied();
            let total = labels().count();
            if total == 0 {
                continue;
            }
            positives_max = positives_max.max(total);
            let own = places(&mut labels());
            let mut out = places(&mut same.iter().flat_map(|&q| data.filtered(split, q as usize)).copied());
            // What is known to be right is no secret.
            out.retain(|place| own.binary_search(place).is_err());
            queries.push(same[0]);
            positives.push(&own);
            barred.push(&out);
        }
        let (queries_repeated, queries_without) = (number.len() - first.len(), first.len() - queries.len());
        let barred = data.filtered_rows(split).is_some().then(|| barred.lists());
        let positives = positives.lists();
        Subjects { corpus, queries, positives, barred, positives_max, queries_repeated, queries_without }
    }
    /// The bytes that they hold.
    pub(super) fn bytes(&self) -> usize {
        let lists = self.positives.bytes() + self.barred.as_ref().map_or(0, Lists::bytes);
        4 * (self.corpus.len() + self.queries.len()) + lists
    }
}

/// Lists that grow row by row.
#[derive(Default)]
struct Rows {
    ends: Vec<u64>,
    items: Vec<u32>,
}

impl Rows {
    fn push(&mut self, row: &[u32]) {
        self.items.extend_from_slice(row);
        self.ends.push(self.items.len() as u64);
    }
    fn lists(self) -> Lists {
        Lists::new(self.ends, self.items)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture;

    #[test]
    fn equal_texts_are_one_and_what_is_known_of_them_is_known_of_all() {
        // Labels 0 and 2 have one text, queries 0 and 2 as well; query 3 has no label.
        let titles = "a red shoe\na boot\na red shoe\nnothing\n";
        let positives = "4 5\n0:1 2:1\n3:1\n3:1 4:1\n\n";
        let filter = ("filter_labels_test.txt", "0 1\n0 4\n1 2\n");
        let (_dir, data) = fixture::xc("red\nold\nred\nblue\nshoe\n", titles, positives, &[filter]);
        let found = Subjects::of(&data, Split::Test);
        assert_eq!((&found.corpus[..], &found.queries[..]), (&[0, 1, 3, 4][..], &[0, 1][..]));
        assert_eq!((found.positives.row(0), found.positives.row(1)), (&[0, 2, 3][..], &[2][..]));
        // Label 4 is filtered for query 0 and right for query 2, which has the same text.
        let barred = found.barred.expect("filters");
        assert_eq!((barred.row(0), barred.row(1)), (&[1][..], &[0][..]));
        // Four labels, two of which have one text.
        assert_eq!((found.positives_max, found.queries_repeated, found.queries_without), (4, 1, 1));
        assert!(Subjects::of(&data, Split::Train).barred.is_none());
    }
}
