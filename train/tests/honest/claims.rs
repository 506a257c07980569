//! What is claimed of which strategies, and in which world.

/// What is said of two ways to train.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Says {
    /// The first is better, by so much that three seeds show it.
    Plainly,
    /// The first is better.
    Better,
    /// A control: the first is not better.
    NoBetter,
    /// A control: the first is not worse.
    NoWorse,
    /// Nothing: both are shown.
    Shown,
}
use Says::{Better, NoBetter, NoWorse, Plainly, Shown};

/// A way to train, settings with spaces between, against another; and the steps of both, which begin afresh or, where a
/// settings says so, from a model that saw 600 batches.
pub(crate) struct Claim(pub(crate) Says, pub(crate) &'static str, pub(crate) &'static str, pub(crate) u64);

/// Eight answers to a query, one of them known. P@8 decides.
pub(crate) const HIDDEN: &[Claim] = &[
    // A guide takes the hidden answers out; one that knows nothing takes out whatever it likes.
    Claim(Better, "gist T guide.model=GUIDE", "gist T guide.model=GUIDE guide.mask=false", 1200),
    Claim(Plainly, "gist T guide.model=GUIDE guide.mask=false", "gist T guide.model=start", 1200),
    Claim(Plainly, "SHARED guide.model=GUIDE guide.margin=0.05", "SHARED", 1200),
    Claim(Plainly, "CLUSTERS guide.model=GUIDE guide.margin=0.05", "CLUSTERS", 1200),
    // The nearest labels are answers; a distance from the positive leaves them out.
    Claim(Plainly, "in-batch T", "SHARED negatives.pick=top", 1200),
    Claim(
        Plainly,
        "nv-retriever T negatives.model=GUIDE",
        "nv-retriever T negatives.model=GUIDE NOMARGIN",
        1200,
    ),
    Claim(Plainly, "simans T", "simans T negatives.pick=top", 1200),
    // A teacher knows more than one label; one that knows nothing teaches nothing.
    Claim(Plainly, "margin-mse guide.model=GUIDE", "in-batch T", 1200),
    Claim(Plainly, "distil T guide.model=GUIDE loss.teacher_temperature=0.1", "in-batch T", 1200),
    Claim(Plainly, "in-batch T", "margin-mse guide.model=start", 1200),
    Claim(Better, "TAS", "in-batch T", 1200),
    Claim(Shown, "TAS", "margin-mse guide.model=GUIDE", 1200),
    Claim(Shown, "TAS WARM", "margin-mse guide.model=GUIDE WARM", 300),
    Claim(Shown, "TAS negatives.pick=uniform", "TAS", 1200),
    Claim(Better, "gte T", "in-batch T", 1200),
    Claim(Better, "uniform T", "in-batch T", 1200),
    Claim(Better, "log-uniform T", "log-uniform T negatives.correct=false", 1200),
    Claim(Shown, "star I negatives.count=4 WARM", "in-batch T WARM", 300),
    Claim(Shown, "SHARED WARM", "in-batch T WARM", 300),
    Claim(Shown, "TREE WARM", "in-batch T WARM", 300),
    Claim(Better, "TREE WARM", "SHARED WARM", 300),
    // Labels rest, and queries come nearer to them. What is nearest are answers, and nothing takes them out.
    Claim(Better, "LIVE", "LIVE train.lr=1e-9", 300),
    Claim(Shown, "LIVE", "REST head.mined=0 head.uniform=100", 300),
    Claim(Shown, "LIVE", "in-batch T WARM", 300),
    Claim(Shown, "LIVE head.shortlist=20", "LIVE", 300),
    Claim(Shown, "CLUSTERS", "in-batch T", 1200),
    Claim(Shown, "CLUSTERS WARM", "in-batch T WARM", 300),
    Claim(Shown, "ngame-labels I", "in-batch T", 1200),
    Claim(Shown, "popularity T", "popularity T negatives.correct=false", 1200),
    Claim(Shown, "debiased", "in-batch loss.temperature=0.5", 1200),
    Claim(Shown, "CLUSTERS DCL", "CLUSTERS DCL loss.false_negatives=0.0", 1200),
    Claim(Shown, "hard-weighted loss.false_negatives=0.0", "in-batch loss.temperature=0.5", 300),
    Claim(Shown, "hard-weighted loss.false_negatives=0.0", "in-batch loss.temperature=0.5", 1200),
    Claim(Shown, "hardness T", "in-batch T", 1200),
    Claim(Shown, "dexml-hard T", "in-batch T", 1200),
    Claim(Better, "dexml T", "in-batch T", 1200),
    Claim(Shown, "cosent", "in-batch loss.temperature=0.05", 1200),
    Claim(Shown, "cosent loss.similarity=angle", "cosent", 1200),
];

/// One answer to a query, so that no negative is false. MRR@10 decides.
pub(crate) const PLAIN: &[Claim] = &[
    // Hard negatives help where none is false, once the model has begun to know what is near.
    Claim(Better, "star I negatives.count=4 WARM", "in-batch T WARM", 300),
    Claim(Plainly, "SHARED WARM", "in-batch T WARM", 300),
    Claim(Better, "TREE WARM", "in-batch T WARM", 300),
    Claim(Shown, "TREE WARM", "SHARED WARM", 300),
    // Where labels rest: what is found at the moment against nothing, labels by chance, and lists made once.
    Claim(Better, "LIVE", "LIVE train.lr=1e-9", 300),
    Claim(Shown, "LIVE", "REST head.mined=0 head.uniform=100", 300),
    Claim(Shown, "LIVE", "REST head.mined=4 head.uniform=0", 300),
    Claim(Better, "LIVE", "in-batch T WARM", 300),
    Claim(Shown, "LIVE head.shortlist=20", "LIVE", 300),
    Claim(Shown, "LIVE head.loss=decoupled", "LIVE", 300),
    // There is nothing to take out.
    Claim(NoBetter, "gist T guide.model=GUIDE", "gist T guide.model=GUIDE guide.mask=false", 1200),
    Claim(NoBetter, "SHARED guide.model=GUIDE guide.margin=0.05", "SHARED", 1200),
    Claim(
        NoWorse,
        "nv-retriever T negatives.model=GUIDE",
        "nv-retriever T negatives.model=GUIDE NOMARGIN",
        1200,
    ),
    Claim(Better, "simans T", "simans T negatives.pick=top", 1200),
    Claim(Better, "margin-mse guide.model=GUIDE", "in-batch T", 1200),
    Claim(Plainly, "in-batch T", "margin-mse guide.model=start", 1200),
    Claim(Better, "gte T", "in-batch T", 1200),
    Claim(Better, "uniform T", "in-batch T", 1200),
    Claim(Shown, "log-uniform T", "log-uniform T negatives.correct=false", 1200),
    // Labels share no word with queries: of a copy that is never trained on labels, their words stay as they were.
    Claim(Plainly, "in-batch T", "moco T memory.queue=512 memory.momentum=0.99", 1200),
    Claim(Shown, "memory-queue T memory.queue=512", "in-batch T", 1200),
    Claim(Better, "memory-queue T memory.queue=64", "in-batch T", 1200),
    Claim(NoBetter, "dbpm T memory.easy=0 memory.hard=1.5", "in-batch T", 1200),
    Claim(Shown, "dbpm T", "in-batch T", 1200),
    Claim(Shown, "ps-kd T", "in-batch T", 1200),
    Claim(Shown, "top-loss T", "in-batch T", 1200),
    Claim(Shown, "CLUSTERS", "in-batch T", 1200),
    Claim(Shown, "CLUSTERS WARM", "in-batch T WARM", 300),
    Claim(Shown, "ngame-labels I", "in-batch T", 1200),
    Claim(Shown, "popularity T", "popularity T negatives.correct=false", 1200),
    Claim(Shown, "debiased", "in-batch loss.temperature=0.5", 1200),
    Claim(Shown, "hard-weighted loss.false_negatives=0.0", "in-batch loss.temperature=0.5", 300),
    Claim(Shown, "hard-weighted loss.false_negatives=0.0", "in-batch loss.temperature=0.5", 1200),
    Claim(Shown, "hardness T", "in-batch T", 1200),
    Claim(Shown, "dexml-hard T", "in-batch T", 1200),
    Claim(Better, "dexml T", "in-batch T", 1200),
    Claim(Shown, "cosent", "in-batch loss.temperature=0.05", 1200),
    Claim(Shown, "cosent loss.similarity=angle", "cosent", 1200),
];

/// As [`PLAIN`], and of a fifth of the training queries the known answer is wrong.
pub(crate) const WRONG: &[Claim] = &[
    Claim(Better, "dbpm T memory.easy=0 memory.hard=1.5", "in-batch T", 1200),
    Claim(Shown, "dbpm T", "in-batch T", 1200),
    Claim(Better, "in-batch T", "top-loss T", 1200),
    Claim(Shown, "ps-kd T", "in-batch T", 1200),
    Claim(Shown, "ps-kd T memory.past=0.4", "in-batch T", 1200),
];

/// As [`PLAIN`], in words that queries and documents share.
pub(crate) const ONE_LANGUAGE: &[Claim] = &[
    Claim(Better, "memory-queue T memory.queue=512", "in-batch T", 1200),
    Claim(Better, "memory-queue T memory.queue=64", "in-batch T", 1200),
    Claim(Plainly, "MOCO memory.momentum=0.99", "MOCO memory.momentum=0.9999", 1200),
    Claim(Shown, "MOCO memory.momentum=0.99", "MOCO memory.momentum=0.01", 1200),
    Claim(Shown, "MOCO memory.momentum=0.99", "in-batch T", 1200),
    Claim(
        Better,
        "mochi T memory.queue=512 memory.momentum=0.99 WARM",
        "MOCO memory.momentum=0.99 WARM",
        300,
    ),
];

/// As [`PLAIN`], with two words of five the same in queries and documents: BM25 knows something.
pub(crate) const SOME_WORDS: &[Claim] =
    &[Claim(Better, "bm25 T", "in-batch T", 1200), Claim(Shown, "bm25 T", "uniform T", 1200)];

/// As [`HIDDEN`], small enough for a cross-encoder to learn something: READER learned from all answers for 3000 steps.
pub(crate) const READ: &[Claim] = &[
    Claim(Shown, "rocketqa I ONCE negatives.rescore=READER negatives.max_score=0.3", "star I ONCE", 300),
    Claim(Shown, "RANKED cross.model=READER", "ance I LISTS", 600),
    Claim(Shown, "RANKED cross.model=READER", "in-batch T", 600),
    // One that has not learned teaches nothing.
    Claim(Plainly, "ance I LISTS", "RANKED cross.model=tiny model.dropout=0", 600),
    Claim(Shown, "RANKED cross.model=READER cross.share=0.25", "RANKED cross.model=READER", 600),
    Claim(Shown, "RANKED cross.model=READER loss.adversarial=0.5", "RANKED cross.model=READER", 600),
    Claim(
        Shown,
        "RANKED cross.model=READER cross.share=0.25 loss.adversarial=0.5",
        "RANKED cross.model=READER cross.share=0.25",
        600,
    ),
];

/// As [`HIDDEN`], of sixteen classes: most batches hold several rows of each, and each has its own answer.
pub(crate) const CLASSES: &[Claim] = &[
    Claim(Better, "STAGE WARM negatives.own=true", "STAGE WARM", 300),
    Claim(Shown, "STAGE negatives.own=true", "STAGE", 600),
    Claim(Shown, "STAGE WARM", "in-batch T WARM", 300),
];

/// As [`HIDDEN`], and all answers are known that one of two weak searches has among its first ten: [`pooled`].
pub(crate) const POOLED: &[Claim] = &[
    // The better the search that negatives come from, the more of them are answers that nobody looked at.
    Claim(Better, "NAIVE negatives.model=WEAK", "NAIVE negatives.model=GUIDE", 1200),
    Claim(Better, "NAIVE negatives.model=GUIDE ORACLE", "NAIVE negatives.model=GUIDE", 1200),
    Claim(Better, "LOOKED negatives.model=GUIDE", "NAIVE negatives.model=GUIDE", 1200),
    Claim(Shown, "LOOKED negatives.model=GUIDE guide.model=GUIDE", "NAIVE negatives.model=GUIDE", 1200),
    Claim(Shown, "NAIVE negatives.model=GUIDE ORACLE", "LOOKED negatives.model=GUIDE", 1200),
];

/// The same, where somebody looked at all pairs.
pub(crate) const JUDGED: &[Claim] =
    &[Claim(NoBetter, "LOOKED negatives.model=GUIDE", "NAIVE negatives.model=GUIDE", 1200)];

/// Short for settings that many have in common.
pub(crate) const SHORT: &[(&str, &str)] = &[
    ("SHARED", "ance I negatives.refresh_steps=100 negatives.own=false negatives.count=4 negatives.depth=20"),
    ("LIVE", "adore head.temperature=0.1 WARM"),
    (
        "REST",
        "in-batch head.name=classifier head.optimizer=none head.labels=sampled head.loss=decoupled HEADS",
    ),
    ("HEADS", "head.dropout=0.0 head.refresh_epochs=1000 head.shortlist=200 head.temperature=0.1 WARM"),
    ("TREE", "label-tree T negatives.refresh_steps=100 negatives.leaf=16"),
    ("CLUSTERS", "ngame I composer.sizes=['0:8']"),
    ("RANKED", "ar2 T LISTS cross.share=0.0 loss.adversarial=0.0 cross.lr=1e-3"),
    ("ONCE", "LISTS negatives.refresh_steps=0 WARM"),
    ("LISTS", "negatives.count=7 negatives.depth=40 negatives.refresh_steps=100 negatives.own=true"),
    ("LOOKED", "cet T negatives.depth=20 negatives.refresh_steps=0 guide.model=WEAK"),
    ("NAIVE", "ance I negatives.own=false negatives.count=4 negatives.depth=20 negatives.refresh_steps=0"),
    ("ORACLE", "data.exclude=TRUTH"),
    ("STAGE", "nv-embed T model.pooling= negatives.model=GUIDE"),
    ("MOCO", "moco T memory.queue=512"),
    ("TAS", "tas-balanced guide.model=GUIDE negatives.model=GUIDE composer.sizes=['0:8']"),
    ("DCL", "loss.name=debiased loss.temperature=0.5 loss.false_negatives=0.1"),
    ("NOMARGIN", "negatives.relative_margin=-1.0"),
    ("WARM", "model.source=BEGUN model.width=0"),
    ("I", "loss.name=infonce T"),
    ("T", "loss.temperature=0.1"),
];
