"""Prints what the test of `samplers/src/fusion/tree.rs` compares with.

    pip install scikit-learn && python tests/golden/tree.py
"""
import numpy as np
import sklearn
from sklearn.tree import DecisionTreeClassifier

i = np.arange(3000, dtype=np.int64)
x = np.stack([(i * 7919 + 13) * (f * 2 + 3) * 104729 % 1000003 for f in range(4)], 1).astype(np.float32) / np.float32(1000003)
y = (x[:, 0] + x[:, 1] * x[:, 2] > np.float32(0.9)) != (i % 11 == 0)
tree = DecisionTreeClassifier(max_depth=7, min_samples_leaf=32, random_state=0).fit(x, y)
print("scikit-learn", sklearn.__version__, "positive", int(y.sum()), "leaves", tree.get_n_leaves())
print([round(float(p), 7) for p in tree.predict_proba(x[::97])[:, 1]])
