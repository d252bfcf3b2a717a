"""What SpeechBrain's PLDA makes of embeddings; run by the interpreter of .venv-oracle, never by ours.

    .venv-oracle/bin/python tests/scoring/speechbrain_oracle.py IN.npz OUT.npz

IN: ``vectors`` (N, D), ``speakers`` (N,), ``iterations``, ``enroll`` (E, D), ``test`` (T, D). OUT: what EM found,
``mean``, ``between``, ``within``, and ``scores`` (E, T) under it. The module is loaded by its path, since the package
around it imports more than it needs.
"""

import importlib.util
import sys
from pathlib import Path

import numpy as np


def load_module():
    spec = importlib.util.find_spec("speechbrain")
    path = Path(spec.submodule_search_locations[0]) / "processing/PLDA_LDA.py"
    spec = importlib.util.spec_from_file_location("speechbrain_plda", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def statistics(module, models, vectors):
    segments = np.array([f"{i:05d}" for i in range(len(vectors))], dtype="|O")
    none = np.array([None] * len(vectors))
    return module.StatObject_SB(
        np.asarray(models, dtype="|O"), segments, none, none, np.ones((len(vectors), 1)), np.array(vectors, float)
    )


def main():
    module = load_module()
    with np.load(sys.argv[1]) as given:
        data = dict(given)
    plda = module.PLDA(rank_f=data["vectors"].shape[1], nb_iter=int(data["iterations"]))
    plda.plda(statistics(module, data["speakers"].astype(str), data["vectors"]))
    enroll = statistics(module, [f"{i:05d}" for i in range(len(data["enroll"]))], data["enroll"])
    test = statistics(module, [f"{i:05d}" for i in range(len(data["test"]))], data["test"])
    trials = module.Ndx(models=enroll.modelset, testsegs=test.segset)
    scores = module.fast_PLDA_scoring(enroll, test, trials, plda.mean, plda.F, plda.Sigma).scoremat
    np.savez(sys.argv[2], mean=plda.mean, between=plda.F @ plda.F.T, within=plda.Sigma, scores=scores)


if __name__ == "__main__":
    main()
