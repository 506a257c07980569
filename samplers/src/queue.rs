//! What labels of batches before looked like: their embeddings in a ring, the newest in the place of the oldest.
//!
//! ```text
//! labels [K]     values [K, d]     K ≤ capacity
//! ```
//! A column of a queue costs no encoding. It is as stale as it is old: Wang, Zhang, Huang, Scott, "Cross-batch memory
//! for embedding learning", CVPR 2020, found that embeddings drift slowly once training has settled; He et al.,
//! "Momentum contrast for unsupervised visual representation learning", CVPR 2020, have them made by a slow copy of
//! the encoder. There is nothing in a queue but what was put into it: a young one is short, and no noise stands in for
//! what is missing.

use engine::{Error, Kind, Result};
use std::collections::HashSet;

/// Embeddings of labels of batches before.
#[derive(Clone, Debug, PartialEq)]
pub struct Queue {
    capacity: usize,
    width: usize,
    labels: Vec<u32>,
    values: Vec<f32>,
    /// Where the oldest stands, once it is full.
    next: usize,
}

impl Queue {
    /// An empty queue for so many embeddings of `width` numbers.
    ///
    /// # Panics
    /// If either is 0.
    pub fn new(capacity: usize, width: usize) -> Queue {
        assert!(capacity > 0 && width > 0, "Queue::new: {capacity} embeddings of {width} numbers");
        Queue { capacity, width, labels: vec![], values: vec![], next: 0 }
    }
    /// The queue that a checkpoint holds.
    ///
    /// # Errors
    /// If the parts do not belong together.
    pub fn from_parts(
        (capacity, width): (usize, usize),
        labels: Vec<u32>,
        values: Vec<f32>,
        next: usize,
    ) -> Result<Queue> {
        let fits = labels.len() <= capacity && labels.len().checked_mul(width) == Some(values.len());
        if !fits || next >= labels.len().max(1) {
            let sizes = format!("{} labels, {} numbers, width {width}", labels.len(), values.len());
            return Err(Error::new(Kind::Damaged, format!("the queue does not fit together: {sizes}")));
        }
        Ok(Queue { capacity, width, labels, values, next })
    }
    /// The labels in it, the place of the oldest, and their embeddings, for a checkpoint.
    pub fn parts(&self) -> (&[u32], &[f32], usize) {
        (&self.labels, &self.values, self.next)
    }
    /// The most embeddings that it holds.
    pub fn capacity(&self) -> usize {
        self.capacity
    }
    /// The length of an embedding.
    pub fn width(&self) -> usize {
        self.width
    }
    /// Puts labels and their embeddings in, in this order.
    ///
    /// # Panics
    /// If the sizes do not fit.
    #[track_caller]
    pub fn push(&mut self, labels: &[u32], values: &[f32]) {
        assert_eq!(values.len(), labels.len() * self.width, "Queue::push: {} labels", labels.len());
        for (&label, value) in labels.iter().zip(values.chunks_exact(self.width)) {
            if self.labels.len() < self.capacity {
                self.labels.push(label);
                self.values.extend_from_slice(value);
                continue;
            }
            self.labels[self.next] = label;
            self.values[self.next * self.width..][..self.width].copy_from_slice(value);
            self.next = (self.next + 1) % self.capacity;
        }
    }
    /// The places that may be columns beside `columns`, the newest first: of labels with one text (`group`) the newest,
    /// and none whose text is a column already, since that is fresh.
    pub fn beside(&self, columns: &[u32], group: impl Fn(u32) -> u32) -> Vec<usize> {
        let mut seen: HashSet<u32> = columns.iter().map(|&label| group(label)).collect();
        let count = self.labels.len();
        let newest_first = (1..=count).map(|age| (self.next + count - age) % count);
        newest_first.filter(|&place| seen.insert(group(self.labels[place]))).collect()
    }
    /// The label at a place.
    pub fn label(&self, place: usize) -> u32 {
        self.labels[place]
    }
    /// The embedding at a place.
    pub fn value(&self, place: usize) -> &[f32] {
        &self.values[place * self.width..][..self.width]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_take_the_places_of_the_oldest() {
        let mut queue = Queue::new(3, 2);
        queue.push(&[7, 8], &[7.0, 0.7, 8.0, 0.8]);
        assert_eq!(queue.beside(&[], |l| l), [1, 0]);
        queue.push(&[9, 10], &[9.0, 0.9, 10.0, 1.0]);
        let places = queue.beside(&[], |l| l);
        let labels: Vec<u32> = places.iter().map(|&p| queue.label(p)).collect();
        assert_eq!(labels, [10, 9, 8], "label 7 is gone");
        assert_eq!(queue.value(places[0]), [10.0, 1.0]);
        let (labels, values, next) = queue.parts();
        let again = Queue::from_parts((3, 2), labels.to_vec(), values.to_vec(), next).expect("fits");
        assert_eq!(again, queue);
        assert!(Queue::from_parts((3, 2), vec![1], vec![0.0; 3], 0).is_err());
        assert!(Queue::from_parts((3, 2), vec![1], vec![0.0; 2], 1).is_err());
    }

    #[test]
    fn of_one_text_the_newest_counts_and_a_fresh_column_before_it() {
        let mut queue = Queue::new(8, 1);
        queue.push(&[1, 2, 11, 3, 2], &[0.1, 0.2, 1.1, 0.3, 0.4]);
        let labels = |places: Vec<usize>| places.iter().map(|&p| queue.value(p)[0]).collect::<Vec<f32>>();
        assert_eq!(labels(queue.beside(&[], |l| l)), [0.4, 0.3, 1.1, 0.1]);
        // Labels 1 and 11 have one text.
        assert_eq!(labels(queue.beside(&[], |l| l % 10)), [0.4, 0.3, 1.1]);
        assert_eq!(labels(queue.beside(&[3, 21], |l| l % 10)), [0.4]);
    }
}
