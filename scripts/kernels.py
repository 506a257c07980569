"""What each kernel computes and moves in one launch of one named shape, and the time that a roofline gives it.

The shape is that of a step of a MiniLM-L6: 64 texts of 32 tokens each, 384 channels, 12 heads, 1536 inner channels, and
64 x 64 scores. Operations are counted as the kernel is written: a product that is added counts as two, an exponential, a
root and a division as one, and so does an integer operation of Philox. Bytes are the least that must be moved: every
input read once, every output written once.
"""

TEXTS, LENGTH, WIDTH, HEADS, INNER, LAYERS = 64, 32, 384, 12, 1536, 6
TOKENS, CHANNELS = TEXTS * LENGTH, WIDTH // HEADS
VOCABULARY, SCORES, CHOSEN = 30522, 64, 8
# Philox: ten rounds of two wide products, four exclusive ors and two sums; each number makes its own.
PHILOX = 100
ALL = TOKENS * WIDTH
TABLE = VOCABULARY * WIDTH
PAIRS = TEXTS * HEADS * LENGTH * LENGTH
MATRIX = TEXTS * SCORES
CHUNK = 4096 * WIDTH

# Devices: f32 outside tensor cores and bf16 in them (operations a second), memory (bytes a second), as their maker
# states them for the SXM boards.
DEVICES = {"A100": (19.5e12, 312e12, 2.039e12), "H100": (66.9e12, 989e12, 3.35e12)}
# Kernels whose operations are those of tensor cores.
STAGED = [f"staged_{way}_{wide}" for way in ("along", "mixed", "across") for wide in (64, 128)]
TENSOR_CORES = {"gemm_bf16", *STAGED}

# Kernel: the launch in words, operations, bytes.
WORK = {
    "gemm": ("x Wᵀ + b, φ of it; [2048, 384] to 1536", 2 * TOKENS * WIDTH * INNER,
             4 * (ALL + WIDTH * INNER + INNER + TOKENS * INNER)),
    "gemm_large": ("the same in larger tiles", 2 * TOKENS * WIDTH * INNER,
                   4 * (ALL + WIDTH * INNER + INNER + TOKENS * INNER)),
    "gemm_bf16": ("the same in tensor cores", 2 * TOKENS * WIDTH * INNER,
                  4 * (ALL + WIDTH * INNER + INNER + TOKENS * INNER)),
    "to_bf16": ("[2048, 384], before a product by cuBLAS", 8 * ALL, 6 * ALL),
    "after_product": ("b and φ after a product by cuBLAS, [2048, 1536]", 2 * TOKENS * INNER,
                      4 * (2 * TOKENS * INNER + INNER)),
    "attention": ("all heads of a layer", PAIRS * (4 * CHANNELS + 6), 4 * 4 * ALL),
    "attention_back_queries": ("all heads of a layer", PAIRS * (10 * CHANNELS + 12), 4 * (5 * ALL + 3 * TOKENS * HEADS)),
    "attention_back_keys": ("all heads of a layer", PAIRS * (8 * CHANNELS + 6), 4 * (6 * ALL + 3 * TOKENS * HEADS)),
    "attention_back_bias": ("all heads of a layer, 63 distances", PAIRS * (4 * CHANNELS + 7),
                            4 * (4 * ALL + 3 * TOKENS * HEADS + 63 * HEADS * (TEXTS + 1))),
    "layer_norm": ("[2048, 384]", 8 * ALL, 4 * (2 * ALL + 2 * WIDTH + 2 * TOKENS)),
    "residual_norm": ("[2048, 384], dropout", (10 + PHILOX) * ALL, 4 * (4 * ALL + 2 * WIDTH + 4 * TOKENS)),
    "norm_back": ("[2048, 384], dropout", (13 + PHILOX) * ALL, 4 * (4 * ALL + WIDTH + 4 * TOKENS)),
    "norm_weights": ("[2048, 384], 32 parts", 5 * ALL, 4 * (2 * ALL + 2 * TOKENS + 2 * 32 * WIDTH)),
    "map1": ("[2048, 384], tanh", ALL, 8 * ALL),
    "map2": ("[2048, 384], a sum", ALL, 12 * ALL),
    "broadcast": ("[2048, 384] and [384], a sum", ALL, 8 * ALL + 4 * WIDTH),
    "sum_parts": ("[2048, 384] to one number, 48 parts", ALL, 4 * ALL + 4 * 48),
    "sum_columns": ("[2048, 384] to [384], 16 parts", ALL, 4 * ALL + 4 * 16 * WIDTH),
    "sum_total": ("16 parts of [384]", 16 * WIDTH, 4 * 17 * WIDTH),
    "spread": ("[2048] to [2048, 384]", ALL, 4 * (ALL + TOKENS)),
    "gather": ("2048 rows of 384", 0, 8 * ALL + 4 * TOKENS),
    "scatter": ("2048 rows of 384", 0, 8 * ALL + 4 * TOKENS),
    "add_by_row": ("2048 rows of 384, half of them the first of an id", ALL // 2, 4 * (ALL + ALL // 2) + 12 * TOKENS),
    "runs": ("half of the channels of [2048, 384]", 0, 4 * ALL),
    "dropout": ("[2048, 384]", (1 + PHILOX) * ALL, 8 * ALL + 8 * TOKENS),
    "rotary": ("[2048, 384], 12 heads", 3 * ALL, 8 * ALL + 4 * TOKENS + 4 * LENGTH * CHANNELS),
    "pool": ("64 texts, mean", ALL, 4 * (ALL + TEXTS * WIDTH)),
    "pool_back": ("64 texts, mean", ALL, 4 * (ALL + TEXTS * WIDTH)),
    "softmax": ("[64, 64]", 4 * MATRIX, 8 * MATRIX),
    "softmax_back": ("[64, 64]", 4 * MATRIX, 12 * MATRIX),
    "logsumexp": ("[64, 64]", 4 * MATRIX, 5 * MATRIX + 4 * TEXTS),
    "logsumexp_back": ("[64, 64]", 3 * MATRIX, 9 * MATRIX + 8 * TEXTS),
    "nearest": ("[1024, 16384], 100 of a row", 6 * 2**24, 4 * 2**24 + 8 * 1024 * 100),
    "normalise": ("[64, 384]", 3 * TEXTS * WIDTH, 8 * TEXTS * WIDTH),
    "normalise_back": ("[64, 384]", 5 * TEXTS * WIDTH, 12 * TEXTS * WIDTH),
    "softmax_loss": ("[64, 64], a mask", 6 * MATRIX, 5 * MATRIX + 12 * TEXTS),
    "softmax_loss_back": ("[64, 64], a mask", 6 * MATRIX, 9 * MATRIX + 12 * TEXTS),
    "bce": ("[256, 4096], a chunk of labels", 6 * 2**20, 8 * 2**20),
    "table_read": ("4096 rows of 384, bf16", 0, 6 * CHUNK),
    "table_write": ("4096 rows of 384, bf16", (3 + PHILOX) * CHUNK, 6 * CHUNK),
    "table_sgd": ("4096 rows of 384, bf16", (5 + PHILOX) * CHUNK, 8 * CHUNK),
    "table_adamw": ("4096 rows of 384, bf16", (16 + PHILOX) * CHUNK, 24 * CHUNK),
    "table_adagrad": ("4096 rows of 384, bf16", (7 + PHILOX) * CHUNK, 8 * CHUNK + 8 * 4096),
    "decoupled_softmax": ("[64, 64]", 6 * MATRIX, 6 * MATRIX + 8 * TEXTS),
    "decoupled_softmax_back": ("[64, 64]", 8 * MATRIX, 10 * MATRIX + 8 * TEXTS),
    "soft_top_k": ("[64, 64], 8 are the top", (24 + 2) * 6 * MATRIX, 10 * MATRIX),
    "soft_top_k_back": ("[64, 64]", 12 * MATRIX, 12 * MATRIX),
    "top_k": ("[64, 64], 8 of a row", 2 * CHOSEN * MATRIX, 4 * MATRIX + 8 * TEXTS * CHOSEN),
    "top_k_back": ("[64, 64], 8 of a row", 0, 4 * MATRIX + 8 * TEXTS * CHOSEN),
    "triplet": ("[64, 64], 8 of a row", 2 * CHOSEN * MATRIX, 5 * MATRIX + 4 * TEXTS * (CHOSEN + 2)),
    "triplet_back": ("[64, 64], 8 of a row", 20 * TEXTS * CHOSEN, 4 * MATRIX + 4 * TEXTS * (2 * CHOSEN + 3)),
    "multi_triplet": ("[64, 64], 8 and 8 of a row", 4 * CHOSEN * MATRIX, 6 * MATRIX + 4 * TEXTS * (2 * CHOSEN + 1)),
    "multi_triplet_back": ("[64, 64], 8 and 8 of a row", 20 * TEXTS * CHOSEN**2,
                           4 * MATRIX + 4 * TEXTS * (4 * CHOSEN + 1)),
    "adamw": ("the token table, 30522 rows", 13 * TABLE, 28 * TABLE),
    "sgd": ("the token table, 30522 rows", 2 * TABLE, 12 * TABLE),
    "momentum": ("the token table, 30522 rows", 4 * TABLE, 20 * TABLE),
    "lamb_moments": ("the token table, 30522 rows", 7 * TABLE, 20 * TABLE),
    "lamb_squares": ("the token table, 30522 rows", 9 * TABLE, 12 * TABLE),
    "lamb_step": ("the token table, 30522 rows", 9 * TABLE, 16 * TABLE),
    "squares": ("the token table, 30522 rows", 2 * TABLE, 4 * TABLE),
}
# Products of a layer, which read bf16: forward, and back to x and to W.
WHERE = {"along": "x Wᵀ + b, φ of it; [2048, 384] to 1536", "mixed": "dy W; [2048, 1536] to 384",
         "across": "dyᵀ x, [1536, 384], 2048 terms"}
for staged in STAGED:
    way = staged.split("_")[1]
    made = {"along": TOKENS * INNER + INNER, "mixed": ALL, "across": WIDTH * INNER}[way]
    read = ALL + TOKENS * INNER + WIDTH * INNER - (made - INNER if way == "along" else made)
    # What is bent is made in bf16.
    WORK[staged] = (WHERE[way], 2 * TOKENS * WIDTH * INNER, 2 * read + (2 if way == "along" else 4) * made)


def seconds(kernel, operations, size, device):
    """The larger of the time for the arithmetic and the time for the memory."""
    plain, tensor, memory = DEVICES[device]
    return max(operations / (tensor if kernel in TENSOR_CORES else plain), size / memory)


def products():
    """Operations of all matrix products of the encoder in a step: forward, and twice as many backward."""
    return 3 * LAYERS * 2 * TOKENS * (4 * WIDTH * WIDTH + 2 * WIDTH * INNER)
