"""adamw.safetensors: ten steps of torch.optim from the parameters, batch and loss of encoder.safetensors."""

import torch
from transformers import get_linear_schedule_with_warmup

from encoders import batch_loss, start

STEPS, WARM_UP, CLIP = 10, 3, 1.0
ADAMW = dict(lr=1e-3, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.01)
HANDFUL = [
    "embeddings.LayerNorm.weight",
    "embeddings.word_embeddings.weight",
    "encoder.layer.0.attention.self.query.weight",
    "encoder.layer.1.output.LayerNorm.bias",
    "encoder.layer.1.output.dense.weight",
]


def no_decay(name):
    return "bias" in name or "LayerNorm.weight" in name


def decay_all(model):
    return torch.optim.AdamW(model.parameters(), **ADAMW)


def no_decay_list(model):
    named = list(model.named_parameters())
    plain = [p for n, p in named if no_decay(n)]
    return torch.optim.AdamW(
        [{"params": [p for n, p in named if not no_decay(n)]}, {"params": plain, "weight_decay": 0.0}],
        **ADAMW,
    )


def momentum(model):
    return torch.optim.SGD(model.parameters(), lr=1e-2, momentum=0.9)


def run(case, dtype, make, keep=None, scheduled=False):
    """Ten steps; `loss` is taken before each step, `norm` is the global gradient norm before clipping."""
    model, ids = start(dtype)
    optimizer = make(model)
    schedule = get_linear_schedule_with_warmup(optimizer, WARM_UP, STEPS) if scheduled else None
    losses, norms, rates = [], [], []
    for _ in range(STEPS):
        optimizer.zero_grad()
        loss = batch_loss(model, ids)
        loss.backward()
        norms.append(torch.nn.utils.clip_grad_norm_(model.parameters(), CLIP if scheduled else float("inf")))
        rates.append(optimizer.param_groups[0]["lr"])
        losses.append(loss.detach())
        optimizer.step()
        if schedule:
            schedule.step()
    out = {
        f"{case}.loss": torch.stack(losses),
        f"{case}.norm": torch.stack(norms),
        f"{case}.rate": torch.tensor(rates, dtype=dtype),
    }
    return out | {f"{case}.param.{n}": p for n, p in model.named_parameters() if keep is None or n in keep}


def build(dtype):
    out = run("decay_all", dtype, decay_all)
    out |= run("no_decay_list", dtype, no_decay_list)
    out |= run("sgd", dtype, momentum, HANDFUL)
    out |= run("schedule", dtype, no_decay_list, HANDFUL, scheduled=True)
    adamw = "AdamW, lr 1e-3, betas 0.9 and 0.999, eps 1e-8, weight decay 0.01"
    return out, {
        "start": "parameters, batch and loss (one direction) of encoder.safetensors",
        "decay_all": adamw + " on all parameters",
        "no_decay_list": adamw + ", 0 for names that contain 'bias' or 'LayerNorm.weight'",
        "sgd": "SGD, lr 1e-2, momentum 0.9 (no dampening, no Nesterov, no decay)",
        "schedule": "no_decay_list with global-norm clipping at 1.0 (scale 1/(norm + 1e-6) where below 1); "
        "rate at step s = 1e-3 · (s/3 if s < 3 else (10 − s)/7)",
        "loss": "before each of the ten steps",
        "norm": "global gradient norm at each step, before clipping",
        "rate": "learning rate of each step",
        "param": "after ten steps",
    }
