"""The three commands as a user types them."""

import json
import subprocess
import sys
from pathlib import Path

import kaldi_native_io
import numpy as np
import pytest

from imlkd.kaldi_io import ArkWriter


def imlkd(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "imlkd.cli.main", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """24 speakers, four utterances each: utt2spk, spk2utt, trials, xvector.scp."""
    folder = tmp_path_factory.mktemp("data")
    generator = np.random.default_rng(0)
    speakers = {f"s{i:02d}": [f"s{i:02d}-{j}" for j in range(4)] for i in range(24)}
    owner = {name: speaker for speaker, names in speakers.items() for name in names}
    with ArkWriter(folder / "xvector.ark", folder / "xvector.scp") as writer:
        for names in speakers.values():
            centre = generator.normal(0.0, 1.0, 12)
            for name in names:
                writer.write(name, centre + generator.normal(0.0, 1.2, 12))
    pairs = [(a, b) for i, a in enumerate(owner) for b in list(owner)[i + 1 :: 3]]
    lines = [f"{a} {b} {'target' if owner[a] == owner[b] else 'nontarget'}\n" for a, b in pairs]
    (folder / "trials").write_text("".join(lines))
    (folder / "utt2spk").write_text("".join(f"{name} {speaker}\n" for name, speaker in owner.items()))
    (folder / "spk2utt").write_text("".join(f"{speaker} {' '.join(names)}\n" for speaker, names in speakers.items()))
    return folder


def score(data: Path, out: Path, trials: Path | None = None) -> subprocess.CompletedProcess[str]:
    sides = ("--enroll-scp", data / "xvector.scp", "--test-scp", data / "xvector.scp")
    return imlkd("score", "--trials", trials or data / "trials", *sides, "--out", out)


def test_from_embeddings_to_error_rates(data: Path, tmp_path: Path) -> None:
    scores = tmp_path / "exp/scores/test/trials"
    done = score(data, scores)
    assert (done.returncode, done.stderr) == (0, "")
    pairs = [line.split()[:2] for line in (data / "trials").read_text().splitlines()]
    assert [line.split()[:2] for line in scores.read_text().splitlines()] == pairs
    outputs = ("--json", tmp_path / "e.json", "--eer-input", tmp_path / "eer")
    done = imlkd("evaluate", scores, data / "trials", "--utt2spk", data / "utt2spk", *outputs, "--bootstrap", 100)
    assert (done.returncode, done.stderr) == (0, "")
    result = json.loads((tmp_path / "e.json").read_text())
    low, high = result["eer"]["interval"].values()
    assert f"EER           {100 * result['eer']['value']:.2f} %  [{100 * low:.2f}, {100 * high:.2f}]" in done.stdout
    assert "100 draws of 24 speakers\n" in done.stdout
    assert len((tmp_path / "eer").read_text().splitlines()) == len(pairs)


def test_voxceleb_layout_is_announced(data: Path, tmp_path: Path) -> None:
    rows = [line.split() for line in (data / "trials").read_text().splitlines()]
    veri = tmp_path / "veri_test.txt"
    veri.write_text("".join(f"{int(label == 'target')} {a} {b}\n" for a, b, label in rows))
    done = score(data, tmp_path / "scores", veri)
    assert done.returncode == 0
    assert done.stdout.startswith(f"{veri}: voxceleb layout, {sum(row[2] == 'target' for row in rows)} target and ")
    assert " nontarget trials, 95 enrolment and 95 test ids\n" in done.stdout and done.stderr == ""
    evaluated = imlkd("evaluate", tmp_path / "scores", veri)
    assert evaluated.stderr == f"{veri}: read in the voxceleb layout: 1|0 <enroll> <test>\n"


def test_speaker_means_and_enrolment_by_speaker(data: Path, tmp_path: Path) -> None:
    done = imlkd("speaker-means", data / "spk2utt", data / "xvector.scp", tmp_path)
    assert (done.returncode, done.stdout) == (0, f"{tmp_path}: 24 speakers, 96 utterances\n")
    with kaldi_native_io.SequentialFloatVectorReader(f"scp,s,cs:{tmp_path}/spk_xvector.scp") as reader:
        assert len(list(reader)) == 24
    (tmp_path / "trials").write_text("s00 s00-1 target\ns00 s01-1 nontarget\n")
    sides = ("--enroll-scp", tmp_path / "spk_xvector.scp", "--test-scp", data / "xvector.scp")
    assert imlkd("score", "--trials", tmp_path / "trials", *sides, "--out", tmp_path / "scores").returncode == 0
    assert len((tmp_path / "scores").read_text().splitlines()) == 2


def test_unknown_ids_end_in_one_line_and_no_file(data: Path, tmp_path: Path) -> None:
    trials = tmp_path / "trials"
    trials.write_text((data / "trials").read_text().replace("-", "/"))
    done = score(data, tmp_path / "scores", trials)
    assert done.returncode == 1
    assert done.stderr.startswith(f"imlkd: error: {trials}: 95 of 95 enrolment ids and 95 of 95 test ids are not in ")
    assert "likely mapping (separators, extension; joins 95 of 95 looked at): s00/0 -> s00-0" in done.stderr
    assert done.stderr.count("\n") == 1
    assert list(tmp_path.iterdir()) == [trials]


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda text: text.replace("nontarget", "imposter", 1), "label 'imposter' is none of target, nontarget"),
        (lambda text: text.replace("nontarget", "target"), "a list with only targets"),
    ],
)
def test_bad_lists_end_in_one_line(data: Path, tmp_path: Path, edit, message: str) -> None:  # type: ignore[no-untyped-def]
    trials = tmp_path / "trials"
    trials.write_text(edit((data / "trials").read_text()))
    done = imlkd("evaluate", tmp_path / "scores", trials)
    assert (done.returncode, done.stdout) == (1, "")
    assert message in done.stderr and done.stderr.count("\n") == 1


def test_out_below_a_plain_file(data: Path, tmp_path: Path) -> None:
    (tmp_path / "exp").write_text("a file\n")
    done = score(data, tmp_path / "exp/scores")
    assert done.returncode == 1
    assert done.stderr.startswith("imlkd: error: ") and done.stderr.count("\n") == 1
    assert (tmp_path / "exp").read_text() == "a file\n"


def test_scoring_needs_no_torch() -> None:
    code = (
        "import sys, imlkd.scoring.cosine, imlkd.scoring.evaluate, imlkd.scoring.speaker_means\n"
        "print(sorted({'torch', 'lhotse', 'captum', 'scipy', 'sklearn'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout == "[]\n"


@pytest.fixture(scope="module")
def cohort(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """15 other speakers, two utterances each: xvector.scp, utt2spk, trials."""
    folder = tmp_path_factory.mktemp("cohort")
    generator = np.random.default_rng(7)
    centres = generator.normal(size=(15, 12))
    names = [f"c{i:02d}-{j}" for i in range(15) for j in range(2)]
    with ArkWriter(folder / "xvector.ark", folder / "xvector.scp") as writer:
        for name in names:
            writer.write(name, centres[int(name[1:3])] + generator.normal(0.0, 1.2, 12))
    (folder / "utt2spk").write_text("".join(f"{name} {name[:3]}\n" for name in names))
    pairs = [(a, b) for i, a in enumerate(names) for b in names[i + 1 :]]
    (folder / "trials").write_text(
        "".join(f"{a} {b} {'target' if a[:3] == b[:3] else 'nontarget'}\n" for a, b in pairs)
    )
    return folder


def normalised(data: Path, cohort: Path, out: Path, *more: object) -> subprocess.CompletedProcess[str]:
    sides = ("--enroll-scp", data / "xvector.scp", "--test-scp", data / "xvector.scp", "--utt2spk", data / "utt2spk")
    members = ("--cohort-scp", cohort / "xvector.scp", "--cohort-utt2spk", cohort / "utt2spk", "--top-k", 20)
    return imlkd("score", "--trials", data / "trials", *sides, *members, "--out", out, *more)


def test_back_end_norm_and_calibration(data: Path, cohort: Path, tmp_path: Path) -> None:
    """PLDA of the cohort's speakers, AS-norm, calibrated on the cohort's own trials, as a user would chain them."""
    fitted = ("--lda-dim", 8)
    assert imlkd("plda", "fit", cohort / "xvector.scp", cohort / "utt2spk", tmp_path / "plda", *fitted).returncode == 0
    backend = ("--backend", "plda", "--plda", tmp_path / "plda")
    done = normalised(data, cohort, tmp_path / "scores", *backend, "--norm", "as", "--norm-stats", tmp_path / "stats")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "stats/both.scp").is_file()
    plain = normalised(data, cohort, tmp_path / "cosine")
    assert plain.returncode == 0 and score(data, tmp_path / "again").returncode == 0
    assert (tmp_path / "cosine").read_bytes() == (tmp_path / "again").read_bytes()
    sides = ("--enroll-scp", cohort / "xvector.scp", "--test-scp", cohort / "xvector.scp")
    assert imlkd("score", "--trials", cohort / "trials", *sides, "--out", tmp_path / "dev").returncode == 0
    dev = (tmp_path / "dev", cohort / "trials", "--utt2spk", cohort / "utt2spk")
    assert imlkd("calibrate", *dev, "--out", tmp_path / "c.json").returncode == 0
    done = normalised(data, cohort, tmp_path / "llr", "--calibration", tmp_path / "c.json")
    assert done.returncode == 0, done.stderr
    content = json.loads((tmp_path / "c.json").read_text())
    rows = zip(*((tmp_path / name).read_text().splitlines() for name in ("cosine", "llr")), strict=True)
    for before, after in rows:
        llr = content["scale"] * float(before.split()[2]) + content["offset"]
        assert float(after.split()[2]) == pytest.approx(llr, rel=1e-5, abs=1e-5)


@pytest.mark.parametrize(
    ("more", "status", "message"),
    [
        (("--norm", "as", "--top-k", 31), 1, "xvector.scp: has 30 members, fewer than the 31 of --top-k"),
        (("--norm", "as", "--top-k", 1), 2, "1 is not in the range x>=2"),
        (("--backend", "plda"), 2, "--backend plda and --plda belong together"),
        (("--backend", "plda", "--plda", "none"), 1, "none: no such file"),
        (("--norm", "t", "--cohort-utt2spk", "none"), 1, "none: no such file"),
        (("--calibration", "none"), 1, "none: no such file: fit a calibration first"),
    ],
)
def test_bad_choices_end_in_one_line_and_no_file(
    more: tuple[object, ...], status: int, message: str, data: Path, cohort: Path, tmp_path: Path
) -> None:
    done = normalised(data, cohort, tmp_path / "scores", *more)
    assert done.returncode == status and message in done.stderr
    assert status == 2 or done.stderr.count("\n") == 1
    assert not (tmp_path / "scores").exists()
