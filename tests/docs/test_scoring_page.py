"""docs/scoring.md: every command on embeddings that are drawn, under the names of the page."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from imlkd.kaldi_io import ArkWriter, write_table
from tests.docs.conftest import Follow
from tests.docs.pages import run_by

DIM, TAKES = 200, 6


def make_set(folder: Path, name: str, speakers: int, seed: int) -> None:
    """Tables of ``data/NAME`` and embeddings in ``exp/m/xvectors_NAME``."""
    random = np.random.default_rng(seed)
    data, xvectors = folder / "data" / name, folder / "exp/m" / f"xvectors_{name}"
    data.mkdir(parents=True)
    xvectors.mkdir(parents=True)
    voices = {f"{name}{number:03d}": random.normal(size=DIM) for number in range(speakers)}
    ids = {f"{speaker}-r{take % 2}-{take}": speaker for speaker in voices for take in range(TAKES)}
    write_table(data / "utt2spk", ids)
    write_table(data / "spk2utt", {one: " ".join(key for key in ids if ids[key] == one) for one in voices})
    write_table(data / "spk2gender", {one: "fm"[place % 2] for place, one in enumerate(voices)})
    write_table(data / "utt2dur", {key: f"{random.uniform(1, 9):.2f}" for key in ids})
    write_table(data / "utt2rec", {key: key[:-2] for key in ids})
    write_table(data / "wav.scp", {key: f"/audio/{key}.wav" for key in ids})
    with ArkWriter(xvectors / "xvector.ark", xvectors / "xvector.scp") as writer:
        for key, speaker in ids.items():
            writer.write(key, voices[speaker] + 1.5 * random.normal(size=DIM))


def write_lists(folder: Path) -> None:
    """Lists in the layouts that the page names."""
    ids = [f"id1000{speaker}/abcdefghijk/0000{take}.wav" for speaker in range(3) for take in range(3)]
    pairs = [(a, b) for a in ids for b in ids if a < b]
    text = "".join(f"{int(a[:7] == b[:7])} {a} {b}\n" for a, b in pairs)
    (folder / "veri_test2.txt").write_text(text)
    (folder / "enrollment.tsv").write_text("modelid\tsegmentid\nm1\ta\nm1\tb\nm2\tc\n")


def write_scores(folder: Path) -> None:
    """Three systems, two of them trained with three seeds, as the page compares them."""
    scores = (folder / "exp/m/scores").read_text().splitlines()
    random = np.random.default_rng(5)
    for place, name in enumerate(["a/scores", "b/scores", "c/scores", *(f"{s}.{n}/llr" for s in "ab" for n in "123")]):
        (folder / "exp" / name).parent.mkdir(parents=True, exist_ok=True)
        lines = [line.split() for line in scores]
        noise = 0.02 * (1 + place % 3) * random.normal(size=len(lines))
        text = "".join(f"{a} {b} {10 * float(s) + 10 * n:.6f}\n" for (a, b, s), n in zip(lines, noise, strict=True))
        (folder / "exp" / name).write_text(text)


@pytest.mark.slow
def test_the_page_works(tmp_path: Path, follow: Follow) -> None:
    for seed, (name, speakers) in enumerate([("train", 220), ("dev", 24), ("test", 24), ("new", 40)]):
        make_set(tmp_path, name, speakers, seed)
    write_lists(tmp_path)
    lists, plda, calibration, evaluation, conditions, comparison = run_by(__file__, "docs/scoring.md")
    follow(tmp_path, [lists, "imlkd trials make data/dev data/dev/trials --targets 20 --nontargets 40 --seed 2\n"])
    said = follow(tmp_path, [plda, calibration])
    assert (tmp_path / "exp/m/plda_new/plda").is_file() and (tmp_path / "exp/m/calibration.json").is_file()
    shutil.copy2(tmp_path / "exp/m/scores_plda", tmp_path / "exp/m/scores")
    write_scores(tmp_path)
    said = follow(tmp_path, [evaluation, conditions, comparison])
    assert "EER" in said and "Cllr" in said and (tmp_path / "det.png").is_file() and (tmp_path / "roc.tsv").is_file()
