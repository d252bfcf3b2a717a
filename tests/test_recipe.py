"""Checks of run.sh's own options."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from imlkd.errors import UserError
from imlkd.kaldi_io import write_table
from imlkd.recipe import (
    check_belongings,
    check_cohort,
    check_folders,
    check_packages,
    check_scoring,
    check_stages,
    model_folders,
)

ROOT = Path(__file__).parents[1]


@pytest.mark.parametrize(
    "arguments", [("minivox", "0", "7", "2"), ("kaldi", "3", "3", "1"), ("minivox", "00", "7", "64")]
)
def test_good_options(arguments: tuple[str, str, str, str]) -> None:
    check_stages(*arguments)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("timit", "0", "7", "2"), "--corpus timit: known are minivox, kaldi"),
        (("kaldi", "8", "8", "2"), "--stage 8: stages go from 0 to 7"),
        (("kaldi", "0", "99", "2"), "--stop-stage 99: stages go from 0 to 7"),
        (("kaldi", "-1", "7", "2"), "--stage -1: stages go from 0 to 7"),
        (("kaldi", "x", "7", "2"), "--stage x: stages go from 0 to 7"),
        (("kaldi", "", "7", "2"), "--stage : stages go from 0 to 7"),
        (("kaldi", "0", "1.5", "2"), "--stop-stage 1.5: stages go from 0 to 7"),
        (("kaldi", "²", "7", "2"), "--stage ²: stages go from 0 to 7"),
        (("kaldi", "5", "4", "2"), "--stage 5 is behind --stop-stage 4: nothing would run"),
        (("kaldi", "0", "7", "0"), "--nj 0: give a whole number of parallel jobs, 1 or more"),
        (("kaldi", "0", "7", "many"), "--nj many: give a whole number"),
        (("kaldi", "0", "7", "-2"), "--nj -2: give a whole number"),
    ],
)
def test_bad_options(arguments: tuple[str, str, str, str], message: str) -> None:
    with pytest.raises(UserError) as caught:
        check_stages(*arguments)
    assert str(caught.value).startswith(message)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("minivox", "data/train", "", "own", ""), "--train, --test, --trials, cuts: given, but --corpus is minivox"),
        (("kaldi", "", "/vox1", "own", ""), "--voxceleb1, --voxceleb-trials, ...: given, but --corpus is kaldi"),
        (("kaldi", "d", "", "own", "w.pt"), "--teacher-weights w.pt: given, but --teacher is own"),
        (("kaldi", "d", "", "resemblyzer", "/gone/w.pt"), "/gone/w.pt: no such file: mend --teacher-weights"),
    ],
)
def test_options_that_would_be_passed_over(arguments: tuple[str, str, str, str, str], message: str) -> None:
    with pytest.raises(UserError) as caught:
        check_belongings(*arguments)
    assert str(caught.value).startswith(message)
    check_belongings("minivox", "", "", "own", "")
    check_belongings("kaldi", "d", "", "resemblyzer", __file__)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("lda", "none", "300", ""), "--backend lda: known are cosine, plda"),
        (("cosine", "asnorm", "300", ""), "--score-norm asnorm: known are none, z, t, s, as"),
        (("cosine", "as", "1", ""), "--top-k 1: give a whole number of speakers, 2 or more"),
        (("cosine", "as", "x", ""), "--top-k x: give a whole number"),
        (("plda", "none", "300", "0"), "--lda-dim 0: give a whole number of dimensions"),
        (("cosine", "none", "300", "9"), "--lda-dim 9: given, but --backend is cosine"),
    ],
)
def test_bad_ways_of_scoring(arguments: tuple[str, str, str, str], message: str) -> None:
    with pytest.raises(UserError) as caught:
        check_scoring(*arguments)
    assert str(caught.value).startswith(message)
    check_scoring("plda", "as", "300", "9")
    check_scoring("cosine", "none", "300", "")


def test_training_set_too_small_for_the_way_of_scoring(tmp_path: Path) -> None:
    write_table(tmp_path / "spk2utt", {f"s{i}": f"s{i}-1 s{i}-2" for i in range(5)})
    check_cohort(tmp_path / "spk2utt", "plda", "as", "5", "4")
    check_cohort(tmp_path / "spk2utt", "cosine", "s", "300", "")
    with pytest.raises(UserError, match="--top-k 6: .*spk2utt has 5 speakers: give 5 at most"):
        check_cohort(tmp_path / "spk2utt", "cosine", "as", "6", "")
    with pytest.raises(UserError, match="--lda-dim 5: .*spk2utt has 5 speakers: give 4 at most"):
        check_cohort(tmp_path / "spk2utt", "plda", "none", "300", "5")


@pytest.mark.parametrize(
    ("teacher", "classes", "teacher_dir", "labelled_dir", "prefix"),
    [
        ("own", "speakers", "kaldi_teacher", "kaldi_teacher", "kaldi"),
        ("own", "clusters:5", "kaldi_teacher_clusters5", "kaldi_teacher", "kaldi_clusters5"),
        ("resemblyzer", "recordings", "resemblyzer_recordings", "resemblyzer", "kaldi_recordings"),
        ("onnx:/a:b/c.onnx,wespeaker:d", "speakers", "onnx+wespeaker", "onnx+wespeaker", "kaldi"),
    ],
)
def test_where_the_models_of_a_run_lie(
    tmp_path: Path, teacher: str, classes: str, teacher_dir: str, labelled_dir: str, prefix: str
) -> None:
    exp = tmp_path / "it's here"
    found = model_folders(exp, "kaldi", teacher, classes, ["kd", "ig-match+kd"])
    assert (found.teacher, found.labelled) == (exp / teacher_dir, exp / labelled_dir)
    assert found.students == [exp / f"{prefix}_kd", exp / f"{prefix}_ig-match+kd"]
    more = model_folders(exp, "kaldi", teacher, classes, ["kd"], large_margin=True)
    assert more.students == [exp / f"{prefix}_kd", exp / f"{prefix}_kd_lm"]
    script = 'eval "$1"; printf "%s\\n" "$teacher_dir" "$labelled_dir" "$student_prefix" "${students[@]}"'
    done = subprocess.run(["bash", "-c", script, "-", more.to_shell()], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == [str(exp / name) for name in (
        teacher_dir, labelled_dir, prefix, f"{prefix}_kd", f"{prefix}_kd_lm")]  # fmt: skip


def test_draws_are_a_number() -> None:
    with pytest.raises(UserError, match="--bootstrap many: give a whole number"):
        check_stages("kaldi", "0", "7", "2", "many")


def test_folders_are_made_and_left_empty(tmp_path: Path) -> None:
    conf, out = tmp_path / "conf", tmp_path / "a/exp"
    conf.mkdir()
    check_folders(conf, [out, tmp_path / "data"])
    assert out.is_dir() and os.listdir(out) == []
    with pytest.raises(UserError, match="gone: no such folder of configurations: see --conf"):
        check_folders(tmp_path / "gone", [out])


def test_white_space_in_a_path(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="my data/exp: white space in a path breaks Kaldi's tables: choose another"):
        check_folders(tmp_path, [tmp_path / "my data/exp"])
    assert not (tmp_path / "my data").exists()


def test_a_plain_file_for_a_result_folder(tmp_path: Path) -> None:
    (tmp_path / "exp").write_text("precious")
    with pytest.raises(UserError, match=f"^{tmp_path / 'exp'}: .*plain file"):
        check_folders(tmp_path, [tmp_path / "exp"])
    assert (tmp_path / "exp").read_text() == "precious"


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_result_folder_that_is_not_writable(tmp_path: Path) -> None:
    (tmp_path / "exp").mkdir(mode=0o500)
    with pytest.raises(UserError, match="permission denied: choose another folder"):
        check_folders(tmp_path, [tmp_path / "exp"])


def test_these_packages_fit() -> None:
    check_packages()


def test_a_package_that_lacks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", [str(ROOT)])
    monkeypatch.delitem(sys.modules, "lhotse", raising=False)  # another test may have loaded it
    with pytest.raises(UserError, match=r"^package \w+ is missing from .*: pip install 'imlkd\[train\]'"):
        check_packages()


@pytest.mark.parametrize(
    ("package", "source", "words"),
    [
        (
            "torchaudio",
            "raise RuntimeError('compiled with different\\nCUDA versions')",
            "(compiled with different CUDA v",
        ),
        ("torchaudio", "raise OSError('undefined symbol')", "(undefined symbol)"),
        ("torch", "raise ImportError('libc10.so: cannot open')", "(libc10.so: cannot open)"),
    ],
)
def test_a_pair_that_does_not_fit(tmp_path: Path, package: str, source: str, words: str) -> None:
    """A package of that name, in front of the installed one, that fails as a wrong pair does."""
    (tmp_path / f"{package}.py").write_text(source)
    options = {"corpus": "minivox", "stage": 0, "stop-stage": 7, "nj": 1, "teacher": "own", "methods": "none"}
    options |= {"conf": ROOT / "egs/minivox/conf", "exp": tmp_path / "exp", "data": tmp_path / "data"}
    arguments = [str(word) for name, value in options.items() for word in (f"--{name}", value)]
    run = subprocess.run(
        [sys.executable, "-m", "imlkd.cli.main", "recipe", "check", *arguments],
        env=os.environ | {"PYTHONPATH": f"{tmp_path}:{ROOT}"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 1 and len(run.stderr.splitlines()) == 1
    assert run.stderr.startswith(f"imlkd: error: package {package} does not load {words}")
    assert "torch 2." in run.stderr and "install torch==2.11.0 torchaudio==2.11.0 together" in run.stderr
