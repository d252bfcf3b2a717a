"""`imlkd calibrate` as a user types it."""

import json
from pathlib import Path

import numpy as np
import pytest

from imlkd.kaldi_io import write_table


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """20 speakers, three utterances each: trials, scores of 0.3 + llr / 20, utt2spk, utt2dur."""
    generator = np.random.default_rng(0)
    owner = {f"s{s:02d}-{u}": f"s{s:02d}" for s in range(20) for u in range(3)}
    pairs = [(a, b, owner[a] == owner[b]) for i, a in enumerate(owner) for b in list(owner)[i + 1 :]]
    trials = [f"{a} {b} {'target' if same else 'nontarget'}\n" for a, b, same in pairs]
    llr = [generator.normal(2.0 if same else -2.0, 2.0) for *_, same in pairs]
    (tmp_path / "trials").write_text("".join(trials))
    scores = [f"{a} {b} {x / 20 + 0.3:.7g}\n" for (a, b, _), x in zip(pairs, llr, strict=True)]
    (tmp_path / "scores").write_text("".join(scores))
    write_table(tmp_path / "utt2spk", owner)
    write_table(tmp_path / "utt2dur", {name: f"{generator.uniform(1, 9):.2f}" for name in owner})
    return tmp_path


def test_fit_and_what_is_said(data: Path, imlkd) -> None:  # type: ignore[no-untyped-def]
    arguments = ("calibrate", data / "scores", data / "trials", "--utt2spk", data / "utt2spk", "--out", data / "c.json")
    done = imlkd(*arguments)
    assert (done.returncode, done.stderr) == (0, "")
    content = json.loads((data / "c.json").read_text())
    assert f"llr = {content['scale']:.4g} * score + {content['offset']:.4g}\n" in done.stdout
    assert "fitted on 60 target and 1710 nontarget trials of 20 speakers" in done.stdout
    before, after = (float(word.rstrip(",")) for word in done.stdout.split() if word[:2] == "0.")
    assert after < before
    assert content["speakers"] == [f"s{s:02d}" for s in range(20)] and content["quality"] == {}
    done = imlkd(*arguments, "--utt2dur", data / "utt2dur", "--p-target", 0.5)
    assert done.returncode == 0 and "duration_min" in done.stdout
    assert json.loads((data / "c.json").read_text())["p_target"] == 0.5


def test_what_is_missing_is_named(data: Path, imlkd) -> None:  # type: ignore[no-untyped-def]
    (data / "few").write_text("".join((data / "utt2spk").read_text().splitlines(keepends=True)[:30]))
    done = imlkd("calibrate", data / "scores", data / "trials", "--utt2spk", data / "few", "--out", data / "c.json")
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert f"{data}/few: 30 of 60 ids have no speaker, first: s10-0" in done.stderr
    assert not (data / "c.json").exists()
