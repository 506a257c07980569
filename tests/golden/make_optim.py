"""Makes optim.safetensors: ten steps of torch.optim and of LAMB from fixed gradients, and the rates of transformers' schedules.

usage: python tests/golden/make_optim.py

Everything is computed in float64 from inputs that float32 holds exactly, and rounded once. Each tensor holds the
parameter after every step, [10, …]. One thread; the same versions write the same bytes.
"""

import numpy as np
import torch
from transformers import (
    get_constant_schedule_with_warmup,
    get_cosine_schedule_with_warmup,
    get_linear_schedule_with_warmup,
)

import store

SEED, STEPS, WARM_UP, CLIP = 31, 10, 3, 2.0
SHAPES = {"first": (4, 3), "second": (2, 5), "bias": (5,), "table": (8, 3)}
NO_DECAY = ["bias"]
# The bias has no gradient in these steps; torch skips it then.
ABSENT = [3, 4]
# Powers of two, so that float32 holds the rates of the cases without a schedule.
RATE = 2.0**-6
# A large epsilon shows where it is added.
EPS = 2.0**-7


def inputs():
    rng = np.random.default_rng(SEED)
    start = {name: store.draw(rng, shape) for name, shape in SHAPES.items()}
    grads = {name: store.draw(rng, (STEPS, *shape)) for name, shape in SHAPES.items()}
    for step in range(STEPS):
        # Five of eight rows have no gradient; row 7 never has one.
        rows = rng.permutation(7)[:3]
        keep = torch.zeros(8, 1, dtype=torch.float64)
        keep[torch.from_numpy(rows)] = 1
        grads["table"][step] *= keep
    for step in ABSENT:
        grads["bias"][step] = 0
    return start, grads


class Lamb(torch.optim.Optimizer):
    """Algorithm 2 of You et al., 2020 (arXiv 1904.00962), line by line; phi is the identity, a layer is a tensor."""

    def __init__(self, params, lr, betas=(0.9, 0.999), eps=1e-6, weight_decay=0.01):
        super().__init__(params, dict(lr=lr, betas=betas, eps=eps, weight_decay=weight_decay))

    @torch.no_grad()
    def step(self):
        for group in self.param_groups:
            beta1, beta2 = group["betas"]
            for x in (x for x in group["params"] if x.grad is not None):
                state, g = self.state[x], x.grad
                t = state["t"] = state.get("t", 0) + 1
                m = state["m"] = beta1 * state.get("m", torch.zeros_like(x)) + (1 - beta1) * g
                v = state["v"] = beta2 * state.get("v", torch.zeros_like(x)) + (1 - beta2) * g * g
                m_hat, v_hat = m / (1 - beta1**t), v / (1 - beta2**t)
                r = m_hat / (v_hat.sqrt() + group["eps"])
                u = r + group["weight_decay"] * x
                over, under = torch.linalg.vector_norm(x), torch.linalg.vector_norm(u)
                ratio = over / under if over > 0 and under > 0 else 1.0
                x -= group["lr"] * ratio * u


def dense(start, grads, make, schedule=None, clip=None):
    """The parameters after each step, and the global norm before clipping."""
    params = {name: torch.nn.Parameter(value.clone()) for name, value in start.items()}
    optimizer = make(params)
    schedule = schedule and schedule(optimizer, WARM_UP, STEPS)
    after, norms = {name: [] for name in params}, []
    for step in range(STEPS):
        for name, param in params.items():
            absent = name == "bias" and step in ABSENT
            param.grad = None if absent else grads[name][step].clone()
        if clip:
            norms.append(torch.nn.utils.clip_grad_norm_(params.values(), clip))
        optimizer.step()
        if schedule:
            schedule.step()
        for name, param in params.items():
            after[name].append(param.detach().clone())
    out = {name: torch.stack(values) for name, values in after.items()}
    return out | ({"norm": torch.stack(norms)} if norms else {})


def groups(params, decay):
    return [
        {"params": [p for name, p in params.items() if name not in NO_DECAY], "weight_decay": decay},
        {"params": [params[name] for name in NO_DECAY], "weight_decay": 0.0},
    ]


def sparse(start, grads, make):
    """A table whose gradient holds only the rows that are not zero."""
    param = torch.nn.Parameter(start.clone())
    optimizer = make([param])
    after = []
    for grad in grads:
        rows = grad.ne(0).any(dim=1).nonzero()[:, 0]
        param.grad = torch.sparse_coo_tensor(rows[None], grad[rows], grad.shape, check_invariants=True)
        optimizer.step()
        after.append(param.detach().clone())
    return torch.stack(after)


def rates(schedule, *arguments):
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    schedule = schedule(optimizer, *arguments)
    out = []
    for _ in range(STEPS):
        out.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    return torch.tensor(out, dtype=torch.float64)


def build():
    start, grads = inputs()
    adamw, sgd = torch.optim.AdamW, torch.optim.SGD
    cases = {
        "decay_all": dense(start, grads, lambda p: adamw(p.values(), lr=RATE, weight_decay=0.125)),
        "no_decay_list": dense(
            start, grads, lambda p: adamw(groups(p, 0.125), lr=RATE, betas=(0.75, 0.875), eps=EPS)
        ),
        "sgd": dense(start, grads, lambda p: sgd(p.values(), lr=RATE, momentum=0.75)),
        "schedule": dense(
            start,
            grads,
            lambda p: adamw(groups(p, 0.125), lr=RATE),
            get_linear_schedule_with_warmup,
            CLIP,
        ),
        "lamb": dense(start, grads, lambda p: Lamb(groups(p, 0.125), lr=RATE, betas=(0.75, 0.875), eps=EPS)),
        "lamb_decay_all": dense(start, grads, lambda p: Lamb(p.values(), lr=RATE, weight_decay=0.125)),
    }
    out = {f"start.{name}": value for name, value in start.items()}
    out |= {f"grad.{name}": value for name, value in grads.items()}
    for case, values in cases.items():
        out |= {f"{case}.{name}": value for name, value in values.items()}
    out["sparse_adam.table"] = sparse(
        start["table"], grads["table"], lambda p: torch.optim.SparseAdam(p, lr=RATE, eps=EPS)
    )
    # Row-wise Adagrad on rows of one number is Adagrad.
    out["adagrad.table"] = sparse(
        start["table"][:, :1], grads["table"][:, :, :1], lambda p: torch.optim.Adagrad(p, lr=RATE, eps=EPS)
    )
    out["rate.linear"] = rates(get_linear_schedule_with_warmup, WARM_UP, STEPS)
    out["rate.cosine"] = rates(get_cosine_schedule_with_warmup, WARM_UP, STEPS)
    out["rate.constant"] = rates(get_constant_schedule_with_warmup, WARM_UP)
    return out, {
        "made_by": "tests/golden/make_optim.py",
        "seed": str(SEED),
        "start": "parameters before the first step",
        "grad": "gradient of each step; the bias has none (and zeros here) in steps 3 and 4, counted from 0",
        "decay_all": "AdamW, lr 2^-6, betas 0.9 and 0.999, eps 1e-8, weight decay 1/8 on all",
        "no_decay_list": "AdamW, lr 2^-6, betas 3/4 and 7/8, eps 2^-7, weight decay 1/8, none on the bias",
        "sgd": "SGD, lr 2^-6, momentum 3/4",
        "schedule": "AdamW, lr 2^-6 with linear warm-up of 3 steps of 10, weight decay 1/8, none on the bias, "
        "gradients clipped at a global norm of 2; norm is before clipping",
        "lamb": "LAMB (algorithm 2, written out in the script), lr 2^-6, betas 3/4 and 7/8, eps 2^-7, weight decay 1/8, "
        "none on the bias",
        "lamb_decay_all": "LAMB, lr 2^-6, betas 0.9 and 0.999, eps 1e-6, weight decay 1/8 on all",
        "sparse_adam": "SparseAdam, lr 2^-6, betas 0.9 and 0.999, eps 2^-7, on the rows that are not zero",
        "adagrad": "Adagrad, lr 2^-6, eps 2^-7, on the first column of the table",
        "rate": "factors of transformers' schedules, warm-up 3, 10 steps",
    }


if __name__ == "__main__":
    torch.set_num_threads(1)
    store.save("optim.safetensors", *build())
