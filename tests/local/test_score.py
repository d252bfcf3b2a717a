"""local/score.sh: which way of scoring runs what, and what its markers know."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from imlkd.done import DoneMarker
from imlkd.kaldi_io import ArkWriter, read_scp_arrays, write_table
from imlkd.scoring.speaker_means import write_speaker_means

ROOT = Path(__file__).parents[2]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """data/{train,dev,test} and a model with finished embeddings of all: 12, 6 and 4 speakers, 5 dimensions."""
    generator = np.random.default_rng(0)
    for name, speakers in (("train", 12), ("dev", 6), ("test", 4)):
        data, xvectors = tmp_path / "data" / name, tmp_path / "model" / f"xvectors_{name}"
        owner = {f"{name}{s:02d}-{u}": f"{name}{s:02d}" for s in range(speakers) for u in range(4)}
        centres = {speaker: generator.normal(size=5) for speaker in owner.values()}
        xvectors.mkdir(parents=True)
        with ArkWriter(xvectors / "xvector.1.ark", xvectors / "xvector.scp") as writer:
            for utterance, speaker in owner.items():
                writer.write(utterance, centres[speaker] + 0.8 * generator.normal(size=5))
        data.mkdir(parents=True)
        write_table(data / "utt2spk", owner)
        write_table(data / "spk2utt", {s: " ".join(u for u in owner if owner[u] == s) for s in centres})
        write_speaker_means(data / "spk2utt", xvectors / "xvector.scp", xvectors)
        DoneMarker(xvectors / ".done").begin({})
        DoneMarker(xvectors / ".done").finish()
        names = list(owner)
        pairs = [(a, b) for i, a in enumerate(names) for b in names[i + 1 :]]
        lines = [f"{a} {b} {'target' if owner[a] == owner[b] else 'nontarget'}\n" for a, b in pairs]
        (data / "trials").write_text("".join(lines))
    return tmp_path


def score(folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"IMLKD_PYTHON": sys.executable, "OMP_NUM_THREADS": "1"}
    command = ["local/score.sh", "--bootstrap", "10", *options, folder / "model", folder / "data", "test/trials"]
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)


def scores_of(folder: Path) -> list[float]:
    return [float(line.split()[2]) for line in (folder / "model/scores/test/trials").read_text().splitlines()]


def test_ways_of_scoring_and_their_markers(folder: Path) -> None:
    done = score(folder)
    assert done.returncode == 0, done.stderr
    plain = scores_of(folder)
    assert (folder / "model/metrics/test/trials.json").is_file() and not (folder / "model/norm").exists()
    by_plda = ("--backend", "plda", "--lda-dim", "3", "--score-norm", "as", "--cohort", "train", "--top-k", "8")
    done = score(folder, *by_plda)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "stage 6 (model, PLDA): not done yet" in done.stdout and "--backend is new" in done.stdout
    assert not np.allclose(scores_of(folder), plain)
    assert len(read_scp_arrays(folder / "model/norm/test/trials/both.scp")) == 16
    assert (folder / "model/plda_train/transform.mat").is_file()
    done = score(folder, *by_plda)
    assert done.stdout.splitlines() == [
        "stage 6 (model, PLDA): up to date", "stage 6 (model, test/trials): up to date",
    ]  # fmt: skip
    done = score(folder, *by_plda[:-1], "9")
    assert "stage 6 (model, PLDA): up to date" in done.stdout and "--top-k" not in done.stderr
    assert "stage 6 (model, test/trials): --top_k changed" in done.stdout
    means = folder / "model/xvectors_train/num_utts.ark"
    means.write_text(means.read_text().replace("train00 4", "train00 5"))
    done = score(folder, *by_plda[:-1], "9")
    assert done.stdout.count("xvectors_train/num_utts.ark changed") == 2
    assert score(folder).returncode == 0 and scores_of(folder) == plain


def test_calibration_lies_with_the_model_and_makes_log_likelihood_ratios(folder: Path) -> None:
    assert score(folder).returncode == 0
    plain = scores_of(folder)
    done = score(folder, "--calibrate", "dev/trials")
    assert done.returncode == 0, done.stdout + done.stderr
    fitted = json.loads((folder / "model/calibration.json").read_text())
    assert len(fitted["speakers"]) == 6
    np.testing.assert_allclose(scores_of(folder), fitted["scale"] * np.array(plain) + fitted["offset"], atol=1e-5)
    dev = [float(line.split()[2]) for line in (folder / "model/scores/dev/trials").read_text().splitlines()]
    assert (min(dev), max(dev)) == pytest.approx(fitted["score_range"], abs=1e-6)  # not calibrated itself
    measured = {
        name: json.loads((folder / f"model/metrics/{name}/trials.json").read_text()) for name in ("dev", "test")
    }
    assert measured["dev"]["cllr"] is None and not measured["dev"]["act_dcf"]
    assert 0.0 < measured["test"]["min_cllr"] <= measured["test"]["cllr"]["value"] and measured["test"]["act_dcf"]
    done = score(folder, "--calibrate", "dev/trials")
    assert [line.rpartition(": ")[2] for line in done.stdout.splitlines()] == 3 * ["up to date"]
    done = score(folder, "--calibrate", "test/trials")
    assert done.returncode == 0 and scores_of(folder) == plain  # the only list, and it is the development one


def test_cohort_without_embeddings(folder: Path) -> None:
    (folder / "model/xvectors_train/.done").unlink()
    done = score(folder, "--score-norm", "s", "--cohort", "train")
    assert done.returncode == 1
    assert done.stderr == f"local/score.sh: {folder}/model/xvectors_train: no finished embeddings: run stage 5 first\n"
    assert not (folder / "model/scores").exists()
    assert score(folder).returncode == 0
