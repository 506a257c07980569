//! Looks into a batch: which labels a query meets there as negatives, and how hard they are.

use crate::batch::Batch;
use crate::trainer::Trainer;
use autograd::Tape;
use engine::Stream;

/// A query of a batch and the negatives that it meets.
#[derive(Clone, Debug, PartialEq)]
pub struct Mined {
    /// The training query.
    pub query: u32,
    /// The label drawn for it in this batch, and its score.
    pub positive: (u32, f32),
    /// Its negatives in this batch, hardest first, with their scores.
    pub negatives: Vec<(u32, f32)>,
}

impl Trainer {
    /// The negatives of every query of batch `batch` of the epoch at hand, under the model as it is, without dropout.
    ///
    /// # Panics
    /// If the epoch has no such batch.
    pub fn mined(&self, batch: usize) -> Vec<Mined> {
        let seed = Stream::new(self.config.train.seed, 0);
        let plan = self.parts.composer.plan(self.progress.epoch, seed);
        let batch = Batch::compose(self.source(), plan.batch(batch), self.stream(0));
        let [encoder, tape] = [(); 2].map(|()| Tape::inference(&self.engine));
        let embeddings = tape.constant(self.network.encode(&encoder, &batch.texts, 0, None).value());
        let keys = self.memory.embed_keys(&self.engine, &batch);
        let columns = batch.columns(embeddings, keys.as_ref(), self.network.auxiliary.as_ref());
        let scores = batch.scores(embeddings, columns, self.parts.similarity).value().to_cpu();
        let guide = self.guide.as_ref().map(|guide| guide.scores(&self.engine, &batch));
        let terms = self.parts.shape(&scores, guide, &batch);
        let (width, columns) = (scores.shape().last(), batch.label_columns());
        let one = |(i, &query): (usize, &u32)| {
            let (scores, keep) =
                (&scores.data::<f32>()[i * width..][..width], &terms.keep[i * width..][..width]);
            let target = batch.targets[i] as usize;
            let counts = |&&(j, _): &&(usize, u32)| j != target && keep[j];
            let mut negatives: Vec<(u32, f32)> =
                columns.iter().filter(counts).map(|&(j, label)| (label, scores[j])).collect();
            negatives.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
            Mined { query, positive: (batch.labels[target], scores[target]), negatives }
        };
        batch.rows.iter().enumerate().map(one).collect()
    }
}
