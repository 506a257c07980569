#!/usr/bin/env python3
"""Plants one fault after another in the kernels, and in the calls of cuBLAS, and asks whether the tests see it:

    python3 tests/standin/mutants.py [--only FILE] [--tests PROGRAM] [--write]

Each fault goes into a copy of the kernels; the stand-in driver is built from that copy, and the tests of
autograd/tests/standin run on it: numbers on their way to the device and back, every operation, what is larger than a tile,
products however matrices lie, layers in bf16, and the optimizers, with threads in order and shuffled, by our own products and by
those of the stand-in for cuBLAS. A fault in Rust goes into a copy of the checkout, whose tests are built (in target/mutants) and
run by cuBLAS. A fault that no test sees is named, and the script fails. Nothing of the checkout is changed, but with --write the
table of docs/cuda.md.
"""
import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.join(HERE, "..", "..")
PAGE = os.path.join(ROOT, "docs", "cuda.md")
BEGIN, END = "<!-- written by tests/standin/mutants.py -->\n", "<!-- end of tests/standin/mutants.py -->"
KERNELS = os.path.join(ROOT, "engine", "src", "cuda", "kernels")
# What takes least time first: the first that fails ends the search.
TESTS = ["steps_on_the_device", "staging_on_the_device", "on_the_device", "tables_on_the_device", "beside_on_the_device",
         "larger_on_the_device", "bf16_on_the_device", "products_on_the_device"]
SCHEDULES = [{}, {"CUSHIM_SHUFFLE": "1", "CUSHIM_SEED": "1"},
             {"CUSHIM_SHUFFLE": "1", "CUSHIM_SEED": "2", "CUSHIM_MULTIPROCESSORS": "4"}]
GEMMS = ["own", "cublas"]
# Where files of Rust lie that have faults.
RUST = os.path.join("engine", "src", "cuda")

# File, what is wrong, the text that is replaced (its first place), what replaces it.
FAULTS = [
    ("cublas.rs", "the stream is nobody's", "result::set_stream(handle, driver.stream().cast())", "result::set_stream(handle, std::ptr::null_mut())"),
    ("cublas.rs", "no workspace", "sys::cublasSetWorkspace_v2(handle, at as *mut c_void, size).result().map_err(say)?;",
     "let _ = (at as *mut c_void, size);"),
    ("cublas.rs", "numbers are cut to TF32", "CUBLAS_DEFAULT_MATH", "CUBLAS_TF32_TENSOR_OP_MATH"),
    ("cublas.rs", "atomics may add up", "CUBLAS_ATOMICS_NOT_ALLOWED;", "CUBLAS_ATOMICS_ALLOWED;"),
    ("cublas.rs", "old numbers are added to", "(1f32, 0f32)", "(1f32, 1f32)"),
    ("cublas.rs", "results of a batch lie one too far apart", "(m * n) as i64", "(m * n + 1) as i64"),
    ("cublas.rs", "bf16 is said to be f32", "CUDA_R_16BF } else", "CUDA_R_32F } else"),
    ("gemm.rs", "the factors are swapped", "[left, right], c.address()", "[right, left], c.address()"),
    ("gemm.rs", "what lies across is read as it lies", "(true, right)", "(false, right)"),
    ("gemm.rs", "columns of one term lie in each other", "down.max(self.columns)", "down"),
    ("gemm.rs", "columns lie one too far apart", "down.max(self.columns)", "down.max(self.columns) + 1"),
    ("gemm.rs", "every matrix of a batch is the first", "(self.strides, self.rows * self.columns)", "(self.strides, 0)"),
    ("gemm.rs", "rows and columns of C are swapped", "[b.columns, a.rows, a.columns]", "[a.rows, b.columns, a.columns]"),
    ("gemm.rs", "nothing follows a product", "if code > 0 {", "if code > 9 {"),
    ("staging.rs", "a half is written while the stream reads it", "            driver.wait_for(self.read[self.half]);\n", ""),
    ("staging.rs", "a copy reaches into the other half", "self.taken + bytes > HALF", "self.taken > HALF"),
    ("staging.rs", "both halves are the first", "self.half * HALF + ", ""),
    ("staging.rs", "every piece goes to the place of the first", "at += bytes as u64;", ""),
    ("staging.rs", "what comes back is taken before it has come", "            driver.wait_for(written[half]);\n", ""),
    ("staging.rs", "every piece that comes back is taken from the first", "memory.take(half * PIECE, piece)", "memory.take(0, piece)"),
    ("driver.rs", "an event is recorded in another stream", "record(event.0, self.stream)", "record(event.0, std::ptr::null_mut())"),
    ("staged.cu", "pairs are rounded in the other order",
     "to[i] = bf16_pair(from[2 * i], 2 * i + 1 < n ? from[2 * i + 1] : 0.f)", "to[i] = bf16_pair(2 * i + 1 < n ? from[2 * i + 1] : 0.f, from[2 * i])"),
    ("staged.cu", "an odd last number is not rounded", "if (2 * i < n) to[i]", "if (2 * i + 1 < n) to[i]"),
    ("gemm.cu", "what follows a product takes the bias of the row", "i % columns, c", "i / columns, c"),
    ("nearest.cu", "equal scores come by the larger id", "(uint32_t)~id;", "id;"),
    ("nearest.cu", "-0 is less than 0", "__float_as_uint(v + 0.f)", "__float_as_uint(v)"),
    ("nearest.cu", "negative scores are in the wrong order", "bits >> 31 ? ~bits : bits | 0x80000000u", "bits | 0x80000000u"),
    ("nearest.cu", "a NaN is a hit", "j < to && scores[j] > -INFINITY", "j < to && !(scores[j] <= -INFINITY)"),
    ("nearest.cu", "-infinity is a hit", "scores[j] > -INFINITY", "scores[j] == scores[j]"),
    ("nearest.cu", "the last column of a span is left out", "j < to && scores", "j + 1 < to && scores"),
    ("nearest.cu", "every span is the first", "from = blockIdx.y * span", "from = 0 * span"),
    ("nearest.cu", "ids of columns are their places", "ids ? ids[j] : (uint32_t)(first + j)", "(uint32_t)(first + j)"),
    ("nearest.cu", "nothing is excluded", "excluded + starts[row], starts[row + 1] - starts[row]",
     "excluded + starts[row], starts[row] - starts[row]"),
    ("nearest.cu", "what is above the ceiling enters", "word > floor && word < ceiling &&", "word > floor &&"),
    ("nearest.cu", "the floor is the best", "uint64_t floor = words[k - 1];", "uint64_t floor = words[0];"),
    ("nearest.cu", "no barrier before the list is read", "behind = 0;\n  __syncthreads();\n  uint64_t floor",
     "behind = 0;\n  uint64_t floor"),
    ("nearest.cu", "what came last is not sorted in", "if (is_sorted) return;\n  sort(words, filled);", "if (is_sorted) return;"),
    ("nearest.cu", "the last round writes nothing", "if (is_sorted) return;", "if (filled >= k) return;"),
    ("nearest.cu", "no barrier between stages of the sort", "apart /= 2) {\n      __syncthreads();", "apart /= 2) {"),
    ("nearest.cu", "runs do not fall and rise", "low & run ? a > b : a < b", "a < b"),
    ("nearest.cu", "candidates are counted on from the round before", "if (threadIdx.x == 0) behind = 0;\n    __syncthreads();", ""),
    ("nearest.cu", "the list is full one round too late", "filled + blockDim.x <= ROOM", "filled <= ROOM"),
    ("gemm.cu", "no barrier before large tiles are read", "copied<STAGES - 2>();\n    __syncthreads();", "copied<STAGES - 2>();"),
    ("gemm.cu", "large tiles are not waited for", "copied<STAGES - 2>();", ""),
    ("gemm.cu", "the last row of a large tile is dropped", "row + i < rows && column + x < columns;\n    copy_4", "row + i + 1 < rows && column + x < columns;\n    copy_4"),
    ("gemm.cu", "terms behind the last are added, large", "row + i < rows && column + x < columns;\n    copy_4", "row + i < rows;\n    copy_4"),
    ("gemm.cu", "the next copy overwrites the large tiles of this step", "begin(step + STAGES - 1);", "begin(step + STAGES);"),
    ("gemm.cu", "the lower half of a large tile is the upper", "as[d][down + LARGE / 2]", "as[d][down]"),
    ("gemm.cu", "every slab of a large tile is the first", "if (i != slab) continue;", "if (i != 0) continue;"),
    ("gemm.cu", "no barrier before the room takes the sums, large", "  __syncthreads();\n  ROLLED\n  for (int slab", "  ROLLED\n  for (int slab"),
    ("mma.cuh", "what is outside is copied all the same, one number", "from, 4, inside);", "from, 4, true);"),
    ("staged.cu", "no barrier before tiles are read", "overwrites.\n    __syncthreads();", "overwrites."),
    ("staged.cu", "tiles are not waited for", "copied<stages - 2>();", ""),
    ("staged.cu", "one group too few is waited for", "copied<stages - 2>();", "copied<stages - 1>();"),
    ("staged.cu", "steps without copies have no group", "    }\n    // A group without copies is done at once: so there is one for each step.\n    copies_end();",
     "      copies_end();\n    }"),
    ("staged.cu", "the next copy overwrites the tiles of this step", "begin(step + stages - 1);", "begin(step + stages);"),
    ("staged.cu", "halves of the terms and columns of B change places", "x, second, first", "x, first, second"),
    ("staged.cu", "halves of the rows and terms of A change places", "x, first, second", "x, second, first"),
    ("staged.cu", "what lies across is not transposed", "load_matrices<across>", "load_matrices<false>"),
    ("staged.cu", "terms outside are read, across", "i < (across ? k : rows) && ", ""),
    ("staged.cu", "terms outside are read, along", " && j < (across ? rows : k)", ""),
    ("staged.cu", "columns outside C are written", "if (r >= m || s >= n) continue;", "if (r >= m) continue;"),
    ("staged.cu", "rows outside C are written", "if (r >= m || s >= n) continue;", "if (s >= n) continue;"),
    ("staged.cu", "every slab is the first", "if (i != slab) continue;", "if (i != 0) continue;"),
    ("staged.cu", "every product of a batch reads the first A", "a += blockIdx.z * a_batch;", ""),
    ("staged.cu", "warps lie in another order", "right = 32 * (warp % SLABS)", "right = 32 * (warp / SLABS)"),
    ("staged.cu", "no barrier before the room takes the sums", "  __syncthreads();\n  // The tiles are done with", "  // The tiles are done with"),
    ("staged.cu", "half of a tile is copied", "piece += wide * 2", "piece += wide * 4"),
    ("mma.cuh", "what is outside is copied all the same", "from, 16, inside);", "from, 16, true);"),
    ("numbers.cuh", "bf16 is read as the lower half", "((const uint16_t*)at)[i] << 16)", "((const uint16_t*)at)[i])"),
    ("finish.cuh", "the second output is written as f32", "const Numbers first = {c, narrow}, second = {other, narrow}", "const Numbers first = {c, narrow}, second = {other, 0}"),
    ("finish.cuh", "u is read as f32", "before = {(void*)u, narrow}", "before = {(void*)u, 0}"),
    ("map.cu", "columns of bf16 are added up as f32", "const Numbers numbers = {(void*)x, bf16};", "const Numbers numbers = {(void*)x, 0};"),
    ("table.cu", "rows that are named are those behind the first", "return ids ? ids[i] : first + i;", "return first + i;"),
    ("table.cu", "rows that follow one another begin at 0", "return ids ? ids[i] : first + i;", "return ids ? ids[i] : i;"),
    ("table.cu", "the chance of a row is that of the next", "philox((uint32_t)row,", "philox((uint32_t)row + 1,"),
    ("table.cu", "eight columns share one chance", "(at & 4 ? high : low) >> (16 * (at & 1))", "low"),
    ("table.cu", "the halves of a word change places", "16 * (at & 1)", "16 * (~at & 1)"),
    ("table.cu", "weights are cut and not rounded by chance", "return (bits + ((", "return (bits + 0 * (("),
    ("table.cu", "an infinity is rounded like a number", "if ((bits & 0x7f800000u) == 0x7f800000u)", "if (false)"),
    ("table.cu", "a NaN becomes an infinity", "(bits & 0x007fffffu ? 0x40u : 0u)", "0u"),
    ("table.cu", "the mean of a row moves by the whole gradient", "m[at] + new1 * (x - m[at])", "m[at] + new1 * x"),
    ("table.cu", "the square is that of another row", "beta2 * v[at]", "beta2 * v[i]"),
    ("table.cu", "weights do not decay", "weights.read(row, column) * keep - step", "weights.read(row, column) - step"),
    ("table.cu", "the accumulator is that of the place", "const float before = sums[row]", "const float before = sums[blockIdx.x]"),
    ("table.cu", "the mean square is a sum", "block_sum(square, room) / width", "block_sum(square, room)"),
    ("table.rs", "rows that lie apart are taken for neighbours", "u64::from(pair[0]) + 1 == u64::from(pair[1])", "pair[0] < pair[1]"),
    ("table.rs", "a step is rounded by the chance of another", "stream.at_step(step).key()", "stream.at_step(0).key()"),
    ("table.rs", "runs of a checkpoint begin at the first row", "self.block.at() + (from * size_of::<T>()) as u64", "self.block.at()"),
    ("optim.rs", "a weight that was written stays rounded as it was", "    tensors.iter().for_each(|t| t.forget_rounding());\n", ""),
    ("losses.cu", "labels below a chunk are those at its end", "const size j = ids[k] - first;", "const size j = ids[k] < first ? m - 1 : ids[k] - first;"),
    ("losses.cu", "a label left out is pushed", "out.each(first, m, [&](size j, float) { z[j] = 0.f; });", ""),
    ("losses.cu", "a label left out is in the loss", "out.each(first, m, [&](size j, float) { loss -= softplus(z[j] + shift); });", ""),
    ("losses.cu", "soft targets are 1", "targets ? targets[k] : 1.f", "1.f"),
    ("losses.cu", "soft targets are in the loss alone", "hard.each(first, m, pulled);\n  some.each(first, m, pulled);", "hard.each(first, m, pulled);"),
    ("losses.cu", "no barrier before logits are overwritten", "softplus(z[j] + shift); });\n  __syncthreads();\n  BELOW(m, j) {\n    const",
     "softplus(z[j] + shift); });\n  BELOW(m, j) {\n    const"),
    ("losses.cu", "no barrier after logits are overwritten", "z[j] = per * sigmoid(logit);\n  }\n  __syncthreads();", "z[j] = per * sigmoid(logit);\n  }"),
    ("attention.cu", "no barrier before keys are overwritten",
     "STEP) {\n    __syncthreads();\n    rows_to(ks, STEP, k, key", "STEP) {\n    rows_to(ks, STEP, k, key"),
    ("attention.cu", "no barrier after keys are loaded",
     "rows_to(vs, STEP, v, key, text.end, width, column, d, 1.f);\n    __syncthreads();",
     "rows_to(vs, STEP, v, key, text.end, width, column, d, 1.f);"),
    ("attention.cu", "the mask of keys is off by one", "const bool real = key + lane < text.end;",
     "const bool real = key + lane <= text.end;"),
    ("attention.cu", "rows are read beyond the text", "row + i < end ? from", "true ? from"),
    ("attention.cu", "the scale of the scores is dropped",
     "rows_to(qs, OWN, q, text.first, text.end, width, column, d, scale);",
     "rows_to(qs, OWN, q, text.first, text.end, width, column, d, 1.f);"),
    ("attention.cu", "what was summed does not fade when the maximum grows",
     "for (int j = 0; j < PARTS; j++) o[r][j] *= fade;", ""),
    ("attention.cu", "the dropout of every head is that of the first",
     "text.first + i - text.start, text.slot, 1 + head, k0, k1, below, kept);\n      UNROLL",
     "text.first + i - text.start, text.slot, 1, k0, k1, below, kept);\n      UNROLL"),
    ("attention.cu", "the gradient of queries is not scaled", "= o[r][j] * scale;", "= o[r][j];"),
    ("attention.cu", "key and query change places in the mask, backward for keys",
     "mask_of(text.first + i - text.start, query + lane - text.start, text.slot,",
     "mask_of(query + lane - text.start, text.first + i - text.start, text.slot,"),
    ("attention.cu", "the last channels of a head are not written",
     "if (row < text.end && lane + 32 * j < d) y[", "if (row < text.end && lane + 32 * j < d - d % 32) y["),
    ("attention.cu", "statistics of another head", "stats + 3 * ((size)(query + lane) * gridDim.y + head)",
     "stats + 3 * ((size)(query + lane) * gridDim.y)"),
    ("attention.cu", "the bias is that of the distance turned round", "at = zero + query - key", "at = zero + key - query"),
    ("attention.cu", "the bias of every head is that of the first", "* gridDim.y + blockIdx.y]", "* gridDim.y]"),
    ("attention.cu", "a window that hides all keys of a step", "from == to ? 1.f : expf(from - to)", "expf(from - to)"),
    ("attention.cu", "no bias, backward for keys", " + bias_of(bias, zero, query + lane, text.first + i)", ""),
    ("attention.cu", "scores are not scaled in the gradient of the bias", "scale * dot(q + query", "dot(q + query"),
    ("attention.cu", "the gradient of the bias, without the last key", "i + zero - at < n;", "i + zero - at + 1 < n;"),
    ("gemm.cu", "no barrier after a tile is loaded",
     "load(bs, b, column, x, n, k, b_right, b_down);\n    __syncthreads();",
     "load(bs, b, column, x, n, k, b_right, b_down);"),
    ("gemm.cu", "no barrier before the next tile", "    }\n    __syncthreads();\n  }", "    }\n  }"),
    ("gemm.cu", "the tail of k is not masked", "row + i < rows && column + x < columns", "row + i < rows"),
    ("gemm.cu", "the tail of k is left out", "x < k; x += DEPTH", "x + DEPTH <= k; x += DEPTH"),
    ("gemm.cu", "numbers beyond the last column are written", "if (r >= m || s >= n) continue;", "if (r >= m) continue;"),
    ("gemm.cu", "the strides of B change places", "load(bs, b, column, x, n, k, b_right, b_down);",
     "load(bs, b, column, x, n, k, b_down, b_right);"),
    ("gemm.cu", "every product of a batch reads the first B", "b += blockIdx.z * b_batch;", ""),
    ("gemm.cu", "every product of a batch reads the first B, large",
     "* LARGE;\n  a += blockIdx.z * a_batch;\n  b += blockIdx.z * b_batch;", "* LARGE;\n  a += blockIdx.z * a_batch;"),
    ("gemm.cu", "a thread takes its neighbour's columns", "column + right + 16 * (e % EACH)", "column + right + 16 * (e / EACH)"),
    ("finish.cuh", "the bias of the first column for all", "v + bias[s];", "v + bias[0];"),
    ("finish.cuh", "the second output has not gone through the function", "if (epilogue >= BOTH) second.write(at, bent);",
     "if (epilogue >= BOTH) second.write(at, x);"),
    ("gemm.cu", "bf16: no barrier after a tile is loaded",
     "load_pairs(bs, b, column, x, n, k, b_right, b_down);\n    __syncthreads();",
     "load_pairs(bs, b, column, x, n, k, b_right, b_down);"),
    ("gemm.cu", "bf16: no barrier before the next tile", "        mma(sum[j], left, top);\n      }\n    }\n    __syncthreads();",
     "        mma(sum[j], left, top);\n      }\n    }"),
    ("gemm.cu", "bf16: two words of the left fragment change places",
     "as[down + g + 8][w + t], as[down + g][w + t + 4],", "as[down + g][w + t + 4], as[down + g + 8][w + t],"),
    ("gemm.cu", "bf16: the right fragment is that of the first eight columns", "bs[right + 8 * j + g][w + t]", "bs[right + g][w + t]"),
    ("gemm.cu", "bf16: the second number of a pair is not masked", "x + 1 < columns ? place[right]", "true ? place[right]"),
    ("gemm.cu", "bf16: half of a step is left out", "w < WORDS; w += 8", "w < WORDS; w += 16"),
    ("gemm.cu", "bf16: a row of C eight too low", "g + 8 * (e % 4 / 2)", "g + 8 * (e % 2)"),
    ("numbers.cuh", "the second number of a pair is the first", "bf16_of(second) << 16", "bf16_of(first) << 16"),
    ("numbers.cuh", "numbers are rounded up, all of them", "(bits + 0x7fffu + (bits >> 16 & 1u)) >> 16", "(bits + 0xffffu) >> 16"),
    ("numbers.cuh", "numbers are cut and not rounded", "(bits + 0x7fffu + (bits >> 16 & 1u)) >> 16", "bits >> 16"),
    ("numbers.cuh", "of two equally near numbers always the larger", "(bits + 0x7fffu + (bits >> 16 & 1u))", "(bits + 0x8000u)"),
    ("numbers.cuh", "a NaN is rounded like a number", "x != x ? 0x7fffu : ", ""),
    ("functions.cuh", "the slope of the gelu lacks a term", "b * (normal_cdf(a) + a *", "b * (normal_cdf(a) + 0.f * a *"),
    ("functions.cuh", "relu lets a negative gradient through", "case RELU_BACK: return a > 0.f ? b : 0.f;",
     "case RELU_BACK: return b;"),
    ("map.cu", "one thread too many", "const size i = here();\n  if (i < n) y[i] = function1", "const size i = here();\n  if (i <= n) y[i] = function1"),
    ("map.cu", "broadcasting walks b by the strides of a", "walk(i, dims, dims + 4, dims + 8)", "walk(i, dims, dims + 4, dims + 4)"),
    ("map.cu", "the last part of a sum is lost", "for (size s = 0; s < parts; s++)", "for (size s = 0; s + 1 < parts || s == 0; s++)"),
    ("map.cu", "a part of a sum begins one row late", "for (size r = first; r < last; r++) sum += numbers.read(r * width + c);",
     "for (size r = first + 1; r < last; r++) sum += numbers.read(r * width + c);"),
    ("map.cu", "parts of a sum overlap", "last = first + per < repeats ? first + per : repeats;", "last = repeats;"),
    ("map.cu", "a spread number is that of its neighbour", "factor * x[i / width]", "factor * x[(i + 1) / width]"),
    ("norm.cu", "the variance is taken around 0", "squares += (s[j] - mean) * (s[j] - mean);", "squares += s[j] * s[j];"),
    ("norm.cu", "eps is dropped", "/ d + eps);", "/ d);"),
    ("norm.cu", "the branch's gradient is not masked", "dbranch[at + j] = v * mask_of(j, positions[row], slots[row], 0, k0, k1, below, scale);",
     "dbranch[at + j] = v;"),
    ("norm.cu", "the gradient lacks the mean", "const float v = r * (g[at + j] * w[j]) - a - c", "const float v = r * (g[at + j] * w[j]) - c"),
    ("norm.cu", "the last part of the rows is cut", "(part + 1) * per < rows ? (part + 1) * per : rows",
     "(part + 1) * per < rows ? (part + 1) * per : part * per"),
    ("optim.cu", "the first moment goes the other way", "m[i] += new1 * (x - m[i]);", "m[i] += new1 * x;"),
    ("optim.cu", "the decay is dropped", "p[i] = p[i] * keep - step", "p[i] = p[i] - step"),
    ("optim.cu", "rows without a gradient are moved", "if (place < 0) return {0.f, false};", "if (place < 0) return {g[i % width], true};"),
    ("optim.cu", "no barrier before the sum of squares", "room[threadIdx.x] = own;\n  __syncthreads();", "room[threadIdx.x] = own;"),
    ("optim.cu", "the last thread's squares are lost", "t < blockDim.x; t++", "t + 1 < blockDim.x; t++"),
    ("optim.cu", "LAMB without decay", "+ decay * p;", ";"),
    ("optim.cu", "momentum forgets", "b[i] = mu * b[i] +", "b[i] ="),
    ("rows.cu", "the first row of an id is added twice", "for (uint32_t k = cuts[r] + 1;", "for (uint32_t k = cuts[r];"),
    ("rows.cu", "a part of a row begins at 0", "y[i / part * y_run + y_start + i % part]", "y[i / part * y_run + i % part]"),
    ("rows.cu", "every pair of channels turns as the first", "(positions[row] * half + pair)", "(positions[row] * half)"),
    ("rows.cu", "turned the other way", "- x[at + half] * angle[1]", "+ x[at + half] * angle[1]"),
    ("rows.cu", "the mean is a sum", "v *= 1.f / (end - start);", ""),
    ("rows.cu", "the largest of a text, without its last token", "t < end; t++) {\n        const float next", "t + 1 < end; t++) {\n        const float next"),
    ("rows.cu", "the gradient of the first token goes to all", "float v = t == start ? grad : 0.f;", "float v = grad;"),
    ("rows.cu", "gathered from the place and not from its row", "table[ids[i / width] * width + i % width];", "table[i];"),
    ("rows.cu", "dropout by the number and not by its channel", "mask_of(i % width, positions[row]", "mask_of(i, positions[row]"),
    ("softmax.cu", "the maximum is not taken away", "y[j] = expf(x[j] - m);", "y[j] = expf(x[j]);"),
    ("softmax.cu", "each thread divides by its own sum", "const float scale = 1.f / block_sum(sum, room);", "const float scale = 1.f / sum;"),
    ("softmax.cu", "masked numbers count in the gradient", "(!keep || keep[at])", "true"),
    ("softmax.cu", "the gradient is not divided by the length", "const float scale = length > floor ? 1.f / length : 0.f;",
     "const float scale = length > floor ? 1.f : 0.f;"),
    ("softmax.cu", "no floor under a length", "larger(floor, sqrtf(block_sum(sum, room)))", "sqrtf(block_sum(sum, room))"),
    ("losses.cu", "the scale of the scores is dropped from the gradient", "factor = g[blockIdx.x] * scale;", "factor = g[blockIdx.x];"),
    ("losses.cu", "the mask is that of the first row", "keep ? keep + at : keep", "keep"),
    ("losses.cu", "log weights are added outside the sum", "expf(z - shift) * (omega ? omega[j] : 1.f);\n  }", "expf(z - shift);\n  }"),
    ("losses.cu", "a positive counts as a negative, too", "if (negative[at + j] && !positive[at + j])\n        sum", "if (negative[at + j])\n        sum"),
    ("losses.cu", "the mean over positives is a sum", "? 0.f : loss / count;", "? 0.f : loss;"),
    ("losses.cu", "the interval is halved to the wrong side", "if (sum < k) low = middle; else high = middle;",
     "if (sum < k) high = middle; else low = middle;"),
    ("losses.cu", "no barrier between the places and their values", "  // Thread 0 wrote the places.\n  __syncthreads();\n", ""),
    ("losses.cu", "no barrier between zeros and gradients", "dx[row * width + j] = 0.f;\n  __syncthreads();", "dx[row * width + j] = 0.f;"),
    ("triplets.cu", "the target is a negative of itself", "return j != target && (!keep || keep[j]);", "return !keep || keep[j];"),
    ("triplets.cu", "weights are not divided by their sum", "if (weighting == EQUAL) return 1.f;\n    return sum > 0.f ? part(r) / sum : part(r);",
     "if (weighting == EQUAL) return 1.f;\n    return part(r);"),
    ("triplets.cu", "the positive gets no gradient", "ds[target[i]] -= push;", ""),
    ("triplets.cu", "no barrier between zeros and gradients", "BELOW(m, j) ds[j] = 0.f;\n  __syncthreads();", "BELOW(m, j) ds[j] = 0.f;"),
    ("triplets.cu", "negatives are written over positives", "m, columns + p, k, room);", "m, columns, k, room);"),
    ("triplets.cu", "the slope of the weights is left out", "pairs.weight(r) * (1.f + pairs.hinge(r) - mean)", "pairs.weight(r)"),
    ("choose.cuh", "of equal numbers the higher column", "a.column < b.column", "a.column > b.column"),
    ("choose.cuh", "no barrier between two choices", "  }\n  __syncthreads();\n  return c;", "  }\n  return c;"),
    ("threads.cuh", "no barrier before a block reads its warps' sums", "if (lane == 0) room[warp] = v;\n  __syncthreads();",
     "if (lane == 0) room[warp] = v;"),
    ("threads.cuh", "no barrier before a block's room is used again", "J::none());\n  __syncthreads();", "J::none());"),
    ("threads.cuh", "half of a warp is added", "for (int o = 16; o > 0; o >>= 1) v = J", "for (int o = 8; o > 0; o >>= 1) v = J"),
    ("threads.cuh", "Philox with nine rounds", "i < 10; i++", "i < 9; i++"),
    ("threads.cuh", "a row is looked for one place too low", "low = middle + 1; else", "low = middle + 2; else"),
]


def test_binary(root=ROOT, how=("--release",), **variables):
    """Builds the tests and gives the program that cargo made of them."""
    command = ["cargo", "test", *how, "--locked", "-p", "autograd", "--test", "standin", "--no-run",
               "--message-format=json"]
    out = subprocess.run(command, cwd=root, env={**os.environ, **variables}, capture_output=True, text=True)
    if out.returncode:
        sys.exit(out.stderr)
    made = [json.loads(line) for line in out.stdout.splitlines() if line.startswith("{")]
    return [m["executable"] for m in made if m.get("executable") and m["target"]["name"] == "standin"][0]


def build(kernels, out):
    """The stand-in of these kernels; what the compiler says if it refuses them."""
    command = ["make", "-C", HERE, "-j2", f"KERNELS={kernels}", f"OUT={out}"]
    made = subprocess.run(command, capture_output=True, text=True)
    return made.stderr if made.returncode else None


def seen_by(binary, library, gemms=GEMMS):
    """The first test, and its schedule, that fails on this stand-in."""
    for test, gemm in [(test, gemm) for test in TESTS for gemm in gemms]:
        for schedule in SCHEDULES:
            path = f"{library}:{os.path.join(library, 'cublas')}"
            env = {**os.environ, "LD_LIBRARY_PATH": path, "RUST_BACKTRACE": "0", "GEMM": gemm, **schedule}
            command = [binary, "--ignored", "--exact", test, "--test-threads=1"]
            try:
                done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=300)
            except subprocess.TimeoutExpired:
                return f"{test} (it does not end)"
            if done.returncode:
                return f"{test}, {gemm}, shuffled" if schedule else f"{test}, {gemm}"
    return None


def changed(path, fault):
    """Plants a fault in a file."""
    file, _, old, new = fault
    with open(path, encoding="utf8") as source:
        text = source.read()
    if old not in text:
        sys.exit(f"{file} has changed, the fault has no place any more: {old}")
    with open(path, "w", encoding="utf8") as into:
        into.write(text.replace(old, new, 1))


def plant_in_rust(fault, library, scratch):
    """Whether a fault in Rust is seen, in words; none if not. No fault is none that is seen."""
    tree = os.path.join(scratch, "tree")
    if not os.path.isdir(tree):
        listed = subprocess.run(["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"], cwd=ROOT,
                                capture_output=True, check=True).stdout.decode().split("\0")
        for name in filter(None, listed):
            os.makedirs(os.path.dirname(os.path.join(tree, name)), exist_ok=True)
            shutil.copy2(os.path.join(ROOT, name), os.path.join(tree, name))
    path = os.path.join(tree, RUST, fault[0]) if fault else None
    if fault:
        whole = os.path.join(scratch, fault[0])
        shutil.copy2(path, whole)
        changed(path, fault)
    # Without optimization: it is compiled once for each fault.
    target = os.path.join(ROOT, "target", "mutants")
    binary = test_binary(tree, (), CARGO_TARGET_DIR=target, CARGO_PROFILE_DEV_DEBUG="0", CARGO_PROFILE_TEST_DEBUG="0")
    seen = seen_by(binary, library, ["cublas"])
    if fault:
        # With the time of now, or cargo would not see that it changed back.
        shutil.copy(whole, path)
    return seen


def plant(fault, clean, binary, scratch):
    """Whether a fault is seen, in words; none if not."""
    if fault[0].endswith(".rs"):
        return plant_in_rust(fault, os.path.join(clean, "library"), scratch)
    file = fault[0]
    folder = os.path.join(scratch, "mutant")
    shutil.rmtree(folder, ignore_errors=True)
    # Times of files are kept: make builds only what the fault touches.
    shutil.copytree(clean, folder)
    changed(os.path.join(folder, "kernels", file), fault)
    library = os.path.join(folder, "library")
    refused = build(os.path.join(folder, "kernels"), library)
    if refused:
        sys.exit(f"{file}, {fault[1]}: a fault must compile\n{refused}")
    return seen_by(binary, library)


def write(chosen, missed):
    """Puts the faults of each file, and how many were caught, into docs/cuda.md. Rows of other files stay."""
    with open(PAGE, encoding="utf8") as file:
        head, rest = file.read().split(BEGIN)
    old, tail = rest.split(END)
    rows = {name: (int(n), int(caught)) for name, n, caught in re.findall(r"^\| `(.*)` \| (\d+) \| (\d+) \|", old, re.M)}
    count = lambda faults, name: sum(fault[0] == name for fault in faults)
    for name in {fault[0] for fault in chosen}:
        rows[name] = (count(chosen, name), count(chosen, name) - count(missed, name))
    lines = ["| File | Faults | Caught |", "| --- | --- | --- |"]
    lines += [f"| `{name}` | {n} | {caught} |" for name, (n, caught) in sorted(rows.items())]
    lines.append("| all | " + " | ".join(str(sum(row[i] for row in rows.values())) for i in range(2)) + " |")
    with open(PAGE, "w", encoding="utf8") as file:
        file.write(head + BEGIN + "\n".join(lines) + "\n" + END + tail)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="", help="faults in files whose names contain this")
    parser.add_argument("--tests", metavar="PROGRAM", help="the tests as cargo built them [default: builds them]")
    parser.add_argument("--write", action="store_true", help="put the result into docs/cuda.md")
    args = parser.parse_args()
    binary = os.path.abspath(args.tests) if args.tests else test_binary()
    missed, since = [], time.time()
    with tempfile.TemporaryDirectory() as scratch:
        clean = os.path.join(scratch, "clean")
        shutil.copytree(KERNELS, os.path.join(clean, "kernels"))
        refused = build(os.path.join(clean, "kernels"), os.path.join(clean, "library"))
        if refused:
            sys.exit(refused)
        without = seen_by(binary, os.path.join(clean, "library"))
        if without:
            sys.exit(f"{without} fails without a fault")
        chosen = [fault for fault in FAULTS if args.only in fault[0]]
        if any(fault[0].endswith(".rs") for fault in chosen):
            without = plant_in_rust(None, os.path.join(clean, "library"), scratch)
            if without:
                sys.exit(f"{without} fails without a fault in Rust")
        for fault in chosen:
            caught = plant(fault, clean, binary, scratch)
            missed += [] if caught else [fault]
            print(f"{fault[0]}: {fault[1]}: {caught or 'NOT CAUGHT'}", flush=True)
    files = len({fault[0] for fault in chosen})
    print(f"{len(chosen) - len(missed)} of {len(chosen)} faults caught, in {files} files, {time.time() - since:.0f} s")
    if args.write:
        write(chosen, missed)
    sys.exit(1 if missed else 0)


if __name__ == "__main__":
    main()
