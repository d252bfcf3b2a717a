"""What lir makes of log-likelihood ratios; run by the interpreter of .venv-oracle, never by ours.

    .venv-oracle/bin/python tests/scoring/lir_oracle.py IN.npz OUT.npz

IN: target and nontarget, natural logarithms, by number of the case (``target_0``, ``nontarget_0``, ...). OUT: cllr and
min_cllr, one for each case.
"""

import sys

import numpy as np
from lir.data.models import LLRData
from lir.metrics import cllr, cllr_min


def main() -> None:
    with np.load(sys.argv[1]) as given:
        cases = [(given[f"target_{i}"], given[f"nontarget_{i}"]) for i in range(len(given) // 2)]
    found = {"cllr": [], "min_cllr": []}
    for target, nontarget in cases:
        ratios = np.concatenate([target, nontarget])[:, None] / np.log(10.0)  # its own are decimal
        data = LLRData(features=ratios, labels=np.repeat([1, 0], [len(target), len(nontarget)]))
        found["cllr"].append(cllr(data))
        found["min_cllr"].append(cllr_min(data))
    np.savez(sys.argv[2], **found)


main()
