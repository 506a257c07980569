"""ops.safetensors: the value and the gradients of every op on small inputs.

Names are `op.case.in0 … out grad_out grad_in0 …`; constants of a case (mask, starts, temperature …) carry
their own names. `inN` are the inputs that take a gradient; `grad_inN` is the vector-Jacobian product with
`grad_out`. A scalar is stored with shape [1].
"""

import numpy as np
import torch

from store import SEED, draw, integers

STARTS = [0, 3, 4, 9]
HEADS, HEAD_DIM = 2, 4
# A worked example: scores, and what value and gradient of each weighting must be, by central differences
# (6 decimals). It was computed apart from this script.
SCORES = [
    [0.80, 0.70, 0.20, -0.10],
    [0.25, 0.60, 0.55, 0.50],
    [0.10, 0.65, 0.90, 0.85],
    [-0.20, 0.40, 0.35, 0.75],
]
ROW2 = [0, -0.011348, -0.125, 0.136348]
TRIPLET_VECTORS = {
    "unweighted": (
        0.09375,
        [[-0.125, 0.125, 0, 0], [0, -0.125, 0.125, 0], [0, 0.125, -0.25, 0.125], [0] * 4],
    ),
    "ngame": (0.08436996, [[-0.124886, 0.125114, 0, 0], [0, -0.124491, 0.125758, 0], ROW2, [0] * 4]),
    "dexa": (0.08451993, [[-0.125, 0.125, 0, 0], [0, -0.125, 0.125, 0], ROW2, [0] * 4]),
}


class Cases:
    """Collects cases; `dtype` is the precision in which the functions run."""

    def __init__(self, dtype):
        self.dtype = dtype
        self.rng = np.random.default_rng(SEED)
        self.tensors = {}
        self.notes = {}

    def add(self, case, note, function, inputs, **constants):
        inputs = [x.to(self.dtype).clone().requires_grad_() for x in inputs]
        constants = {k: c.to(self.dtype) if c.is_floating_point() else c for k, c in constants.items()}
        out = function(*inputs, **constants)
        # A loss takes the gradient 1, as a training step gives it; every other op a random one.
        scalar = out.dim() == 0
        grad_out = torch.ones((), dtype=self.dtype) if scalar else draw(self.rng, out.shape).to(self.dtype)
        grads = torch.autograd.grad(out, inputs, grad_out)
        out = out.detach()
        put = lambda key, x: self.tensors.__setitem__(f"{case}.{key}", x.reshape(1) if x.dim() == 0 else x)
        for i, x in enumerate(inputs):
            put(f"in{i}", x)
            put(f"grad_in{i}", grads[i])
        for key, constant in constants.items():
            put(key, constant)
        put("out", out)
        put("grad_out", grad_out)
        self.notes[f"case.{case}"] = note
        return out, grads


def scalar(value):
    return torch.tensor(np.float32(value)).double()


def away_from_zero(x, least=0.05):
    """Moves points that stand nearer than `least` to a kink at zero."""
    return torch.where(x.abs() < least, torch.where(x < 0, x - least, x + least), x).float().double()


def elementwise(cases):
    grid = torch.from_numpy(np.linspace(-6, 6, 40).astype(np.float32)).double().reshape(5, 8)
    wide = torch.tensor([[-90.0, -30.0, -12.0, -1e-4], [1e-4, 12.0, 30.0, 90.0]]).double()
    x = away_from_zero(draw(cases.rng, (5, 8), 2.0))
    gelu = torch.nn.functional.gelu
    functions = {
        "gelu_erf": ("x Φ(x) = x (1 + erf(x/√2))/2", gelu),
        "gelu_tanh": ("x (1 + tanh(√(2/π) (x + 0.044715 x³)))/2", lambda x: gelu(x, approximate="tanh")),
        "relu": ("max(x, 0)", torch.relu),
        "tanh": ("tanh x", torch.tanh),
        "sigmoid": ("1/(1 + e^−x)", torch.sigmoid),
        "softplus": ("log(1 + e^x)", lambda x: torch.logaddexp(x, torch.zeros_like(x))),
    }
    for name, (note, function) in functions.items():
        cases.add(f"{name}.random", note, function, [x])
        cases.add(f"{name}.grid", note, function, [grid])
        cases.add(f"{name}.wide", note + ", far from zero", function, [wide])
    cases.add("exp.random", "e^x", torch.exp, [x])
    cases.add("log.random", "ln x, x > 0", torch.log, [x.abs()])


def linear_algebra(cases):
    rng = cases.rng
    linear = torch.nn.functional.linear
    cases.add(
        "linear.bias",
        "y = x Wᵀ + b: in0 x [7,5], in1 W [3,5] (out, in), in2 b [3]",
        linear,
        [draw(rng, (7, 5)), draw(rng, (3, 5)), draw(rng, (3,))],
    )
    cases.add("linear.no_bias", "y = x Wᵀ", linear, [draw(rng, (7, 5)), draw(rng, (3, 5))])
    cases.add("matmul.plain", "in0 [4,6] · in1 [6,5]", torch.matmul, [draw(rng, (4, 6)), draw(rng, (6, 5))])
    cases.add(
        "layer_norm.affine",
        "(x − μ)/√(σ² + eps) · w + b by rows, σ² biased: in0 x, in1 w, in2 b",
        lambda x, w, b, eps: torch.nn.functional.layer_norm(x, (8,), w, b, float(eps)),
        [draw(rng, (6, 8), 2.0, 0.5), draw(rng, (8,), 0.3, 1.0), draw(rng, (8,), 0.5)],
        eps=scalar(1e-12),
    )
    cases.add(
        "l2_normalise.rows",
        "y = x/‖x‖ by rows",
        lambda x: x / x.norm(dim=-1, keepdim=True),
        [draw(rng, (5, 6))],
    )


def softmaxes(cases):
    rng = cases.rng
    softmax = lambda x: torch.softmax(x, -1)
    cases.add("softmax.rows", "softmax by rows", softmax, [draw(rng, (5, 7), 2.0)])
    large = draw(rng, (4, 6), 2.0) + torch.tensor([[1000.0], [-1000.0], [90.0], [0.0]]).double()
    cases.add(
        "softmax.large", "rows around ±1000 and 90: needs the row maximum", softmax, [large.float().double()]
    )
    keep = torch.from_numpy((rng.random((5, 7)) < 0.6).astype(np.float64))
    keep[:, 2] = 1
    keep[3] = 0
    keep[3, 5] = 1
    masked = lambda x, mask: x.masked_fill(mask == 0, -torch.inf).logsumexp(-1)
    cases.add(
        "logsumexp.masked",
        "log Σ_j mask e^x by rows; row 3 keeps one column",
        masked,
        [draw(rng, (5, 7), 2.0)],
        mask=keep,
    )
    cases.add(
        "logsumexp.large",
        "the same, rows around ±1000",
        masked,
        [
            (draw(rng, (5, 7)) + 1000 * torch.tensor([[1.0], [-1.0], [0.09], [1.0], [0.0]]).double())
            .float()
            .double()
        ],
        mask=keep,
    )


def softmax_loss(scores, keep, weight, shift, row_weight, target, temperature):
    z = scores / temperature + shift
    kept = keep * weight
    log_z = torch.where(
        kept > 0, z + kept.clamp_min(1e-300 if z.dtype == torch.float64 else 1e-30).log(), -torch.inf
    ).logsumexp(-1)
    return (row_weight * (log_z - (target * z).sum(-1))).sum() / row_weight.sum()


def softmax_losses(cases):
    rng = cases.rng
    note = (
        "z = s/temperature + shift; Z = Σ_j keep·weight·e^z; "
        "L = (1/Σ row_weight) Σ_i row_weight_i [log Z_i − Σ_j target z]; in0 is s"
    )
    b, c = 5, 7
    ones = torch.ones(b, c).double()
    diagonal = torch.eye(b, c).double()
    cosine = torch.from_numpy(rng.uniform(-1, 1, (b, c)).astype(np.float32)).double()
    cases.add(
        "softmax_loss.infonce",
        note + "; nothing masked, target on the diagonal",
        softmax_loss,
        [cosine],
        keep=ones,
        weight=ones,
        shift=0 * ones,
        row_weight=torch.ones(b).double(),
        target=diagonal,
        temperature=scalar(0.05),
    )
    keep = torch.from_numpy((rng.random((b, c)) < 0.6).astype(np.float64))
    keep = torch.maximum(keep, diagonal)
    # Rows 0-2 aim at one column; rows 3 and 4 spread over two and over all kept ones. Quarters, so that
    # the sum is 1 exactly.
    target = diagonal.clone()
    keep[3, 6], target[3, 3], target[3, 6] = 1, 0.25, 0.75
    keep[4] = torch.tensor([1.0, 1, 0, 1, 1, 0, 0])
    target[4] = torch.tensor([0.25, 0.25, 0, 0.25, 0.25, 0, 0])
    weight = torch.from_numpy(rng.uniform(0.2, 3, (b, c)).astype(np.float32)).double()
    row_weight = torch.tensor([1.0, 0.5, 2.0, 0.25, 1.5]).double()
    cases.add(
        "softmax_loss.full",
        note,
        softmax_loss,
        [draw(rng, (b, c))],
        keep=keep,
        weight=weight,
        shift=draw(rng, (b, c), 0.7),
        row_weight=row_weight,
        target=target,
        temperature=scalar(0.25),
    )
    cases.add(
        "softmax_loss.idle_row",
        note + "; row 1 has row_weight 0",
        softmax_loss,
        [draw(rng, (b, c))],
        keep=keep,
        weight=weight,
        shift=draw(rng, (b, c), 0.7),
        row_weight=torch.tensor([1.0, 0, 2, 0.25, 1.5]).double(),
        target=target,
        temperature=scalar(0.25),
    )


def pairs(cases):
    rng = cases.rng
    softplus = lambda p, n: torch.logaddexp(n - p, torch.zeros_like(p))
    p, n, gap = draw(rng, (6,)), draw(rng, (6,)), draw(rng, (6,))
    note = "softplus(−(in0 − in1)): in0 score of the positive, in1 of the negative"
    cases.add("pairwise.each", note, softplus, [p, n])
    cases.add("pairwise.mean", note + ", mean over pairs", lambda p, n: softplus(p, n).mean(), [p, n])
    mse = lambda p, n, teacher_gap: ((p - n) - teacher_gap) ** 2
    note = "((in0 − in1) − teacher_gap)²"
    cases.add("margin_mse.each", note, mse, [p, n], teacher_gap=gap)
    cases.add(
        "margin_mse.mean",
        note + ", mean over pairs",
        lambda p, n, teacher_gap: mse(p, n, teacher_gap).mean(),
        [p, n],
        teacher_gap=gap,
    )


def triplet(form, count):
    def loss(scores, positives, margin, temperature, k):
        own = scores.diagonal()
        hardest = scores.masked_fill(positives > 0, -10.0).topk(count, dim=-1).values
        each = (hardest - own[:, None] + margin).clamp_min(0)
        active = each > 0
        if form == "unweighted":
            return each.mean()
        if form == "dexa":
            logits = torch.where(active, hardest, torch.full_like(hardest, -50.0)) / temperature
        else:
            logits = hardest * active / temperature
        return (torch.softmax(logits, -1) * each).mean()

    return loss


def triplets(cases):
    note = (
        "NGAME triplet, diagonal positives: the k hardest candidates with positives = 0; "
        "ℓ = max(0, s⁻ − s⁺ + margin); L = (1/Bk) Σ w ℓ; "
    )
    weights = {
        "unweighted": "w = 1",
        "ngame": "w = softmax over the k of (s⁻/temperature)·[ℓ > 0]",
        "dexa": "w = softmax over the k of (s⁻ if ℓ > 0 else −50)/temperature",
    }
    positives = torch.eye(4).double()
    positives[1, 3] = 1
    scores = torch.tensor(SCORES).double()
    wide = torch.from_numpy(cases.rng.uniform(-0.2, 0.9, (8, 8)).astype(np.float32)).double()
    wide_positives = torch.eye(8).double()
    wide_positives[0, 5] = wide_positives[3, 1] = wide_positives[3, 6] = 1
    wide = keep_from_kinks(wide, wide_positives, 0.3)
    crowded = wide_positives.clone()
    crowded[2] = torch.tensor([1.0, 1, 1, 1, 0, 1, 0, 1])
    for form, weighting in weights.items():
        constants = dict(margin=scalar(0.3), temperature=scalar(0.1))
        out, (grad,) = cases.add(
            f"triplet.{form}",
            note + weighting,
            triplet(form, 2),
            [scores],
            positives=positives,
            k=integers([2]),
            **constants,
        )
        value, slope = TRIPLET_VECTORS[form]
        assert abs(float(out) - value) < 1e-7 and float((grad - torch.tensor(slope)).abs().max()) < 1e-6, (
            form,
            out,
            grad,
        )
        cases.add(
            f"triplet.{form}_wide",
            note + weighting,
            triplet(form, 3),
            [wide],
            positives=wide_positives,
            k=integers([3]),
            **constants,
        )
    cases.add(
        "triplet.dexa_few",
        note + weights["dexa"] + "; row 2 has two negatives for k = 3: what fills in weighs nothing",
        triplet("dexa", 3),
        [wide],
        positives=crowded,
        k=integers([3]),
        **constants,
    )


def keep_from_kinks(scores, positives, margin, least=0.01):
    """Moves off-diagonal scores until none of a row is within `least` of another one or of its hinge."""
    scores = scores.clone()
    for i in range(len(scores)):
        taken = [float(scores[i, i]) - margin]
        for j in [j for j in range(len(scores)) if j != i]:
            while any(abs(float(scores[i, j]) - t) < least for t in taken):
                scores[i, j] += least
            taken.append(float(scores[i, j]))
    return scores.float().double()


def attend(q, k, v, starts):
    parts = []
    for a, b in zip(starts[:-1].tolist(), starts[1:].tolist()):
        split = lambda x: x[a:b].reshape(b - a, HEADS, HEAD_DIM).transpose(0, 1)
        weights = torch.softmax(split(q) @ split(k).transpose(1, 2) / HEAD_DIM**0.5, -1)
        parts.append((weights @ split(v)).transpose(0, 1).reshape(b - a, HEADS * HEAD_DIM))
    return torch.cat(parts)


def sequences(cases):
    rng = cases.rng
    starts = integers(STARTS)
    each = lambda reduce: (
        lambda x, starts: torch.stack(
            [reduce(x[a:b]) for a, b in zip(starts[:-1].tolist(), starts[1:].tolist())]
        )
    )
    cases.add(
        "attention.packed",
        "per sequence and head softmax(Q Kᵀ/√4) V; 2 heads of width 4: in0 Q, in1 K, in2 V [9,8]",
        lambda q, k, v, starts, heads: attend(q, k, v, starts),
        [draw(rng, (9, 8), 1.5) for _ in range(3)],
        starts=starts,
        heads=integers([HEADS]),
    )
    x = draw(rng, (9, 8))
    cases.add("pool.mean", "mean over each sequence", each(lambda rows: rows.mean(0)), [x], starts=starts)
    cases.add("pool.first", "first row of each sequence", each(lambda rows: rows[0]), [x], starts=starts)
    cases.add(
        "pool.max",
        "maximum over each sequence, by channel",
        each(lambda rows: rows.max(0).values),
        [x],
        starts=starts,
    )
    cases.add(
        "gather.repeats",
        "rows of in0 by ids, with repeats; grad_in0 is dense",
        lambda table, ids: table[ids.long()],
        [draw(rng, (10, 4))],
        ids=integers([2, 7, 2, 0, 9, 2]),
    )


def build(dtype):
    cases = Cases(dtype)
    for group in (elementwise, linear_algebra, softmaxes, softmax_losses, pairs, triplets, sequences):
        group(cases)
    return cases.tensors, cases.notes
