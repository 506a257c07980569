"""Makes relevance.npz and relevance_stored.npz: one matrix as scipy saves it, deflated and stored.

Run: python make_npz.py   (scipy; the test that reads them has the rows below)
Three rows over four labels: the second is empty, the last has its labels in falling order, as scipy allows.
"""
import os

import numpy as np
import scipy.sparse as sp

indptr = np.array([0, 2, 2, 5])
indices = np.array([0, 3, 3, 2, 0])
data = np.array([1.0, 0.5, 1.0, 2.0, 0.25], dtype=np.float32)
matrix = sp.csr_matrix((data, indices, indptr), shape=(3, 4))
here = os.path.dirname(os.path.abspath(__file__))
sp.save_npz(os.path.join(here, "relevance.npz"), matrix, compressed=True)
# What PECOS writes: sums of f64, int64 where the library chose so, nothing deflated.
wide = matrix.astype(np.float64)
wide.indices, wide.indptr = wide.indices.astype(np.int64), wide.indptr.astype(np.int64)
sp.save_npz(os.path.join(here, "relevance_stored.npz"), wide, compressed=False)
for name in ["relevance.npz", "relevance_stored.npz"]:
    read = sp.load_npz(os.path.join(here, name))
    assert (read != matrix).nnz == 0 and read.shape == (3, 4)
    with np.load(os.path.join(here, name)) as arrays:
        print(name, os.path.getsize(os.path.join(here, name)), {k: (v.dtype.str, v.shape) for k, v in arrays.items()})
