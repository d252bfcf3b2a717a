"""`imlkd trials`, and lists in other spellings and layouts through score, evaluate, compare and calibrate."""

import json
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess

import numpy as np
import pytest

from imlkd.corpora.trials.lists import read_trials
from imlkd.kaldi_io import ArkWriter

Command = Callable[..., CompletedProcess[str]]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data directory of 24 speakers, six utterances each of three recordings, with embeddings."""
    folder, generator = tmp_path_factory.mktemp("data"), np.random.default_rng(0)
    names = [f"s{i:02d}-{j}" for i in range(24) for j in range(6)]
    tables = {
        "utt2spk": {name: name[:3] for name in names},
        "spk2gender": {name[:3]: "fm"[int(name[1:3]) % 2] for name in names},
        "utt2rec": {name: f"{name[:3]}-r{int(name[4]) // 2}" for name in names},
        "utt2dur": {name: f"{1 + int(name[4])}.5" for name in names},
    }
    for table, content in tables.items():
        (folder / table).write_text("".join(f"{key} {value}\n" for key, value in content.items()))
    with ArkWriter(folder / "x.ark", folder / "x.scp") as writer:
        for i in range(24):
            centre = generator.normal(size=12)
            for j in range(6):
                writer.write(f"s{i:02d}-{j}", centre + generator.normal(size=12))
    return folder


@pytest.fixture(scope="module")
def made(imlkd: Command, data: Path) -> Path:
    done = imlkd("trials", "make", data, data / "trials", "--targets", 15, "--nontargets", 20, "--seed", 3)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [
        f"{data}/trials: 360 target and 480 nontarget trials of 24 speakers, seed 3",
        "targets: 15 wanted a speaker, 15 to 15 found; 288 across recordings, 72 within one",
        "nontargets: 20 wanted a speaker, 20 to 20 found; same gender (corpus unknown: not looked at)",
    ]
    return data / "trials"


def score(imlkd: Command, data: Path, trials: Path, out: Path, *more: object) -> CompletedProcess[str]:
    sides = ("--enroll-scp", data / "x.scp", "--test-scp", data / "x.scp")
    return imlkd("score", "--trials", trials, *sides, "--out", out, *more)


def test_same_seed_same_bytes(imlkd: Command, data: Path, made: Path, tmp_path: Path) -> None:
    options = ("--targets", 15, "--nontargets", 20)
    assert imlkd("trials", "make", data, tmp_path / "again", *options, "--seed", 3).returncode == 0
    assert (tmp_path / "again").read_bytes() == made.read_bytes()
    assert imlkd("trials", "make", data, tmp_path / "other", *options, "--seed", 4).returncode == 0
    assert (tmp_path / "other").read_bytes() != made.read_bytes()


@pytest.mark.parametrize("layout", ["voxceleb", "speechbrain", "nist", "csv"])
def test_there_and_back_in_every_layout(imlkd: Command, made: Path, layout: str, tmp_path: Path) -> None:
    done = imlkd("trials", "convert", made, tmp_path / "list", "--layout", layout)
    assert done.stdout == f"{tmp_path}/list: 840 trials, {layout} layout (from kaldi)\n"
    shown = imlkd("trials", "show", tmp_path / "list").stdout
    assert shown.startswith(f"{tmp_path}/list: {layout} layout, 360 target and 480 nontarget trials, ")
    assert imlkd("trials", "convert", tmp_path / "list", tmp_path / "back").returncode == 0
    assert (tmp_path / "back").read_bytes() == made.read_bytes()


def test_models_in_both_layouts(imlkd: Command, tmp_path: Path) -> None:
    (tmp_path / "lst").write_text("m1 a b\nm2 c\n")
    done = imlkd("trials", "models", tmp_path / "lst", tmp_path / "nist", "--layout", "nist")
    assert done.stdout == f"{tmp_path}/nist: 2 models, nist layout (from lst)\n"
    assert imlkd("trials", "models", tmp_path / "nist", tmp_path / "back").returncode == 0
    assert (tmp_path / "back").read_bytes() == (tmp_path / "lst").read_bytes()


def test_a_list_in_another_spelling(imlkd: Command, data: Path, made: Path, tmp_path: Path) -> None:
    """VoxCeleb's spelling against Kaldi's ids: refused with the hint, taken with auto and with a file."""
    rows = [line.split() for line in made.read_text().splitlines()]
    respelt = {name: name.replace("-", "/") + ".wav" for row in rows for name in row[:2]}
    vox = tmp_path / "veri"
    vox.write_text("".join(f"{int(label == 'target')} {respelt[a]} {respelt[b]}\n" for a, b, label in rows))
    done = score(imlkd, data, vox, tmp_path / "scores")
    assert done.returncode == 1 and done.stderr.count("\n") == 1
    assert "144 of 144 enrolment ids and 144 of 144 test ids are not in" in done.stderr
    assert done.stderr.endswith(f"{respelt[rows[0][0]]} -> {rows[0][0]}: --id-map auto takes it\n")
    (tmp_path / "map").write_text("".join(f"{other} {one}\n" for one, other in respelt.items()))
    assert score(imlkd, data, made, tmp_path / "plain").returncode == 0
    for choice in ("auto", tmp_path / "map"):
        done = score(imlkd, data, vox, tmp_path / "scores", "--id-map", choice)
        assert done.returncode == 0 and "144 ids mapped (" in done.stderr
        lines = zip(*((tmp_path / name).read_text().splitlines() for name in ("plain", "scores")), strict=True)
        assert all(b == " ".join([*(respelt[one] for one in a.split()[:2]), a.split()[2]]) for a, b in lines)
    speakers = ("--utt2spk", data / "utt2spk", "--bootstrap", 20)
    plain = imlkd("evaluate", tmp_path / "plain", made, *speakers)
    mapped = imlkd("evaluate", tmp_path / "scores", vox, *speakers, "--id-map", "auto")
    assert plain.stdout == mapped.stdout and "utt2spk: 144 ids mapped" in mapped.stderr
    assert imlkd("evaluate", tmp_path / "scores", vox, *speakers).returncode == 1
    both = (tmp_path / "scores", tmp_path / "scores", vox, *speakers, "--id-map", "auto")
    assert "= +0.00 %" in imlkd("compare", *both).stdout
    fitted = imlkd("calibrate", tmp_path / "scores", vox, *speakers[:2], "--id-map", "auto", "--out", tmp_path / "c")
    assert fitted.returncode == 0 and "of 24 speakers" in fitted.stdout


@pytest.mark.parametrize("layout", ["lst", "nist"])
def test_models_from_list_to_intervals(imlkd: Command, data: Path, layout: str, tmp_path: Path) -> None:
    """Enrolment by three utterances: the score is the cosine with the average of their unit vectors."""
    from imlkd.kaldi_io import read_scp_arrays
    from imlkd.scoring.backend import Cosine

    models = {f"m{i:02d}": [f"s{i:02d}-{j}" for j in range(3)] for i in range(24)}
    (tmp_path / "lst").write_text("".join(f"{name} {' '.join(own)}\n" for name, own in models.items()))
    imlkd("trials", "models", tmp_path / "lst", tmp_path / "models", "--layout", layout)
    rows = [(f"m{i:02d}", f"s{j:02d}-4", i == j) for i in range(24) for j in range(24)]
    (tmp_path / "key").write_text(
        "modelid\tsegmentid\tside\ttargettype\n"
        + "".join(f"{a}\t{b}\ta\t{'target' if same else 'nontarget'}\n" for a, b, same in rows)
    )
    done = score(imlkd, data, tmp_path / "key", tmp_path / "scores", "--models", tmp_path / "models")
    assert done.returncode == 0, done.stderr
    vectors = read_scp_arrays(data / "x.scp")
    model = Cosine().enroll(np.stack([vectors[name] for name in models["m05"]]))
    expected = Cosine().score(model[None], Cosine().test(vectors["s07-4"][None])).item()
    line = (tmp_path / "scores").read_text().splitlines()[5 * 24 + 7].split()
    assert line[:2] == ["m05", "s07-4"] and float(line[2]) == pytest.approx(expected, abs=1e-6)
    given = ("--utt2spk", data / "utt2spk", "--models", tmp_path / "models", "--bootstrap", 20)
    done = imlkd("evaluate", tmp_path / "scores", tmp_path / "key", *given, "--by", f"gender={data}/spk2gender")
    assert "20 draws of 24 speakers" in done.stdout and "gender f/m" in done.stdout
    (tmp_path / "lst").write_text((tmp_path / "lst").read_text().replace("s03-1", "s03-9"))
    done = score(imlkd, data, tmp_path / "key", tmp_path / "scores", "--models", tmp_path / "lst")
    assert done.returncode == 1 and "1 of 72 enrolment utterances not in" in done.stderr and "s03-9" in done.stderr


def test_conditions_curves_and_points(imlkd: Command, data: Path, made: Path, tmp_path: Path) -> None:
    score(imlkd, data, made, tmp_path / "a")
    tables = {"gender": "spk2gender", "duration": "utt2dur", "recording": "utt2rec"}
    options = [part for name, table in tables.items() for part in ("--by", f"{name}={data}/{table}")]
    options += ["--bins", 4, "--bins", 2]
    files = ("--json", tmp_path / "e.json", "--det", tmp_path / "det.png", "--points", tmp_path / "points.tsv")
    speakers = ("--utt2spk", data / "utt2spk", "--bootstrap", 20)
    done = imlkd("evaluate", tmp_path / "a", made, *speakers, *options, *files)
    assert done.returncode == 0, done.stderr
    found = json.loads((tmp_path / "e.json").read_text())["conditions"]
    assert [list(found[name]) for name in ("gender", "duration", "recording")] == [
        ["f", "m"], ["< 2 s", "2-4 s", ">= 4 s"], ["same", "cross"]
    ]  # fmt: skip
    assert (found["recording"]["same"]["targets"], found["recording"]["cross"]["targets"]) == (72, 288)
    row = next(line for line in done.stdout.splitlines() if line.startswith("gender f"))
    assert f"EER {100 * found['gender']['f']['eer']['value']:.2f} %  [" in row
    assert row.endswith("180 target, 240 nontarget  (fewer than 20 speakers)")
    assert (tmp_path / "det.png").read_bytes().startswith(b"\x89PNG")
    assert len((tmp_path / "points.tsv").read_text().splitlines()) > 20
    files = ("--det", tmp_path / "overlay.png")
    assert imlkd("compare", tmp_path / "a", tmp_path / "a", made, *speakers, *files).returncode == 0
    assert (tmp_path / "overlay.png").stat().st_size > (tmp_path / "det.png").stat().st_size / 2
    assert len(read_trials(made)) == 840


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (("evaluate", "a", "trials", "--by", "gender"), 2, "'gender': expected NAME=FILE"),
        (("evaluate", "a", "trials", "--id-map", "nowhere"), 1, "nowhere: no such file"),
        (("trials", "make", "nowhere", "list"), 1, "nowhere/utt2spk: no such file"),
        (("trials", "show", "nowhere"), 1, "nowhere: no such file"),
        (("trials", "convert", "nowhere", "list"), 1, "nowhere: no such file"),
    ],
)
def test_bad_choices(imlkd: Command, made: Path, arguments: tuple[str, ...], status: int, message: str) -> None:
    done = imlkd(*arguments, cwd=made.parent)
    assert done.returncode == status and message in done.stderr
    assert status == 2 or done.stderr.count("\n") == 1
