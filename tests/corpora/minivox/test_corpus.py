"""The built-in corpus by its files: the same bytes whatever the circumstances, and right Kaldi directories."""

import json
import os
import re
import resource
import shutil
import signal
import subprocess
import sys
import time
import wave
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from imlkd.config import load_config
from imlkd.corpora.minivox.corpus import SETS, MinivoxConfig, MinivoxSummary, corpus_checksum, make_minivox
from imlkd.corpora.minivox.espeak import TESTED_VERSION
from imlkd.corpora.minivox.text import TEST_SENTENCES, TRAIN_SENTENCES
from imlkd.errors import UserError
from imlkd.kaldi_io import read_table

pytest.importorskip("espeakng_loader")

RECIPE = Path(__file__).parents[3] / "egs" / "minivox"
CONF, REDUCED = RECIPE / "conf", RECIPE / "conf_reduced"
TINY = MinivoxConfig(teacher_voices=5, student_voices=2, test_voices=4, recordings=2, utterances=2)


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, MinivoxSummary]:
    out = tmp_path_factory.mktemp("tiny")
    return out, make_minivox(TINY, out, nj=2)


@pytest.fixture(scope="module")
def reduced(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, MinivoxSummary]:
    out = tmp_path_factory.mktemp("reduced")
    return out, make_minivox(load_config(MinivoxConfig, REDUCED / "corpus.yaml"), out, nj=2)


def checksums() -> dict[str, str]:
    return dict(yaml.safe_load((RECIPE / "checksums.yaml").read_text()))


def tiny_command(out: Path, *more: str) -> list[str]:
    values = ("teacher_voices=5", "student_voices=2", "test_voices=4", "recordings=2", "utterances=2")
    sets = [word for value in (*values, *more) for word in ("--set", value)]
    return [sys.executable, "-m", "imlkd.cli.main", "minivox", "--out", str(out), "--nj", "2", *sets]


def run(command: list[str], **environment: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(command, env={**os.environ, **environment}, capture_output=True, text=True, timeout=120)


def test_reduced_corpus_is_the_published_one(reduced: tuple[Path, MinivoxSummary]) -> None:
    out, made = reduced
    assert checksums()["espeakng_loader"] == TESTED_VERSION
    assert made.checksum == corpus_checksum(out) == checksums()["conf_reduced/corpus.yaml"]
    assert (made.voices, made.utterances, made.trials) == (44, 704, 3840)


@pytest.mark.slow
def test_full_corpus_is_the_published_one(tmp_path: Path) -> None:
    config = load_config(MinivoxConfig, CONF / "corpus.yaml")
    made = make_minivox(config, tmp_path, nj=2)
    assert made.checksum == checksums()["conf/corpus.yaml"]
    assert config.teacher_voices >= 180 and config.student_voices >= 60 and config.test_voices >= 40
    assert made.megabytes < 300 and 6000 <= made.trials <= 10000


def test_usual_values_are_the_full_configs() -> None:
    assert load_config(MinivoxConfig, CONF / "corpus.yaml") == MinivoxConfig()


def test_number_of_processes_and_place_change_nothing(tiny: tuple[Path, MinivoxSummary], tmp_path: Path) -> None:
    assert make_minivox(TINY, tmp_path / "a longer name" / "b", nj=1).checksum == tiny[1].checksum
    assert make_minivox(TINY, tmp_path / "c", nj=7).checksum == tiny[1].checksum


def test_processor_and_locale_change_nothing(tiny: tuple[Path, MinivoxSummary], tmp_path: Path) -> None:
    """As on a processor without AVX and FMA: numpy's and the C library's faster routines are switched off."""
    features = __import__("numpy")._core._multiarray_umath
    off = " ".join(name for name in features.__cpu_dispatch__ if features.__cpu_features__.get(name))
    plain = {
        "GLIBC_TUNABLES": "glibc.cpu.hwcaps=-AVX2,-FMA,-FMA4,-AVX512F,-AVX2_Usable,-FMA_Usable,-AVX512F_Usable",
        "NPY_DISABLE_CPU_FEATURES": off,
    }
    done = run(tiny_command(tmp_path), **plain, LC_ALL="C", PYTHONHASHSEED="7", TZ="Asia/Tokyo")
    assert done.returncode == 0, done.stderr
    assert f"sha256 {tiny[1].checksum}\n" in done.stdout


WRONG_LIBM = """
#define _GNU_SOURCE
#include <dlfcn.h>
#include <string.h>
#define WRONG(name) double name(double x) { \\
    static double (*real)(double); Dl_info info; \\
    if (!real) real = dlsym(RTLD_NEXT, #name); \\
    int guilty = dladdr(__builtin_return_address(0), &info) && strstr(info.dli_fname, "espeak"); \\
    return real(x) * (guilty ? 1.001 : 1); }
WRONG(exp) WRONG(cos) WRONG(sin)
int rand(void) { static int count; return count += 7919; }
"""


@pytest.mark.skipif(shutil.which("cc") is None, reason="needs a C compiler (cc)")
def test_rounding_of_the_c_library_reaches_no_sample(tiny: tuple[Path, MinivoxSummary], tmp_path: Path) -> None:
    """espeak-ng gets exp, cos and sin that are wrong by a thousandth, and a rand of another kind."""
    (tmp_path / "wrong.c").write_text(WRONG_LIBM)
    build = ["cc", "-shared", "-fPIC", "-O1", "-o", str(tmp_path / "wrong.so"), str(tmp_path / "wrong.c"), "-ldl"]
    subprocess.run(build, check=True)
    done = run(tiny_command(tmp_path / "out"), LD_PRELOAD=str(tmp_path / "wrong.so"))
    assert f"sha256 {tiny[1].checksum}\n" in done.stdout, done.stderr


def test_voices_do_not_depend_on_how_many_there_are(
    tiny: tuple[Path, MinivoxSummary], reduced: tuple[Path, MinivoxSummary], tmp_path: Path
) -> None:
    make_minivox(replace(TINY, teacher_voices=3, test_voices=5), tmp_path, nj=2)
    for path in [*tiny[0].glob("wav/mv00[1-3]/*.wav"), *tiny[0].glob("wav/mv60*/*.wav")]:
        assert (tmp_path / path.relative_to(tiny[0])).read_bytes() == path.read_bytes()
    for path in (tiny[0] / "wav/mv002").glob("*-r1-*.wav"):  # an utterance does not depend on the others, either
        same = reduced[0] / path.relative_to(tiny[0])
        if same.exists():
            assert same.read_bytes() == path.read_bytes()


@pytest.mark.parametrize("name", SETS)
def test_tables_are_kaldis(reduced: tuple[Path, MinivoxSummary], name: str) -> None:
    folder = reduced[0] / name
    scp, utt2spk, spk2utt = (read_table(folder / table) for table in ("wav.scp", "utt2spk", "spk2utt"))
    durations, gender = read_table(folder / "utt2dur", fields=2), read_table(folder / "spk2gender", fields=2)
    assert list(scp) == list(utt2spk) == list(durations)
    assert list(spk2utt) == list(gender) and set(gender.values()) == {"m", "f"}
    assert {utt: spk for spk, utts in spk2utt.items() for utt in utts.split()} == utt2spk
    assert list(utt2spk.values()) == sorted(utt2spk.values())
    for utterance, path in scp.items():
        assert re.fullmatch(rf"{utt2spk[utterance]}-r[1-4]-\d\d", utterance)
        assert Path(path).is_absolute()
        with wave.open(path) as file:
            assert (file.getnchannels(), file.getsampwidth(), file.getframerate()) == (1, 2, 16000)
            assert float(durations[utterance]) * 16000 == file.getnframes()
        assert 2.2 <= float(durations[utterance]) <= 4.0


def test_audio_is_neither_clipped_nor_silent(reduced: tuple[Path, MinivoxSummary]) -> None:
    import numpy as np

    for path in (reduced[0] / "wav").glob("mv*/*.wav"):
        signal = np.frombuffer(path.read_bytes()[44:], dtype="<i2").astype(float)
        assert 300 < np.sqrt(np.mean(signal**2)) < 4000
        assert np.abs(signal).max() <= 32000
        assert abs(signal.mean()) < 0.2 * np.sqrt(np.mean(signal**2))


def test_sets_share_and_do_not_share(reduced: tuple[Path, MinivoxSummary]) -> None:
    teacher, student, test = (read_table(reduced[0] / name / "wav.scp") for name in SETS)
    assert student.items() <= teacher.items()
    speakers = read_table(reduced[0] / SETS[1] / "spk2utt")
    assert len(speakers) == 12
    assert {utt for utt in teacher if utt[:5] in speakers} == set(student)
    assert not {utt[:5] for utt in test} & {utt[:5] for utt in teacher}
    assert not {utt[-2:] for utt in test} & {utt[-2:] for utt in teacher}
    assert max(int(utt[-2:]) for utt in teacher) <= len(TRAIN_SENTENCES) < min(int(utt[-2:]) for utt in test)
    for voice in {utt[:5] for utt in teacher}:
        said = [utt[-2:] for utt in teacher if utt.startswith(voice)]
        assert len(set(said)) == len(said) == 16


def test_sentences_are_plain_and_all_different() -> None:
    sentences = [*TRAIN_SENTENCES, *TEST_SENTENCES]
    assert len(TRAIN_SENTENCES) >= 60 and len({text.lower() for text in sentences}) == len(sentences) <= 99
    assert all(text.isascii() and 35 <= len(text) <= 60 for text in sentences)


def test_resumed_runs_redo_only_what_is_missing_or_damaged(tmp_path: Path) -> None:
    first = make_minivox(TINY, tmp_path, nj=2)
    kept = tmp_path / "wav/mv001"
    before = kept.stat().st_ino
    cut = next((tmp_path / "wav/mv002").glob("*.wav"))
    cut.write_bytes(cut.read_bytes()[:-2])
    next((tmp_path / "wav/mv003").glob("*.wav")).unlink()
    (tmp_path / "wav/mv004/made.json").write_text('{"made_from": ')
    (tmp_path / "wav/mv005/made.json").write_text('{"made_from": "x", "wavs": 3}')
    (tmp_path / "wav/.mv601.tmp1").mkdir()
    (tmp_path / ".espeak").mkdir()
    (tmp_path / "minivox_test/trials").unlink()
    assert make_minivox(TINY, tmp_path, nj=2).checksum == first.checksum
    assert kept.stat().st_ino == before
    assert not (tmp_path / ".espeak").exists()
    assert sorted(path.name for path in (tmp_path / "wav").iterdir()) == [
        *(f"mv{number:03d}" for number in range(1, 6)),
        *(f"mv{number}" for number in range(601, 605)),
    ]


def test_another_hardness_or_seed_is_another_corpus(tmp_path: Path) -> None:
    config = replace(TINY, teacher_voices=2)
    first = make_minivox(config, tmp_path, nj=2).checksum
    inode = (tmp_path / "wav/mv001").stat().st_ino
    harder = make_minivox(replace(config, snr_min=2, snr_max=5), tmp_path, nj=2).checksum
    assert (tmp_path / "wav/mv001").stat().st_ino != inode
    other = make_minivox(replace(config, seed=1), tmp_path, nj=2).checksum
    assert len({first, harder, other}) == 3
    assert load_config(MinivoxConfig, tmp_path / "minivox.yaml").seed == 1


def test_checksum_sees_every_file(tmp_path: Path, tiny: tuple[Path, MinivoxSummary]) -> None:
    make_minivox(TINY, tmp_path, nj=2)
    for victim in ["minivox_test/trials", "minivox_train/utt2dur", "wav/mv601/*.wav", "wav/mv001/*.wav"]:
        path = next(tmp_path.glob(victim))
        content = path.read_bytes()
        path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
        assert corpus_checksum(tmp_path) != tiny[1].checksum
        path.write_bytes(content)
    assert corpus_checksum(tmp_path) == tiny[1].checksum


def children_of(pid: int) -> list[int]:
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[1]) == pid:
            found.append(int(stat.parent.name))
    return found


@pytest.mark.parametrize("kill", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_killed_runs_leave_no_process_and_end_the_same(
    tiny: tuple[Path, MinivoxSummary], tmp_path: Path, kill: signal.Signals
) -> None:
    command = tiny_command(tmp_path, "teacher_voices=60")  # enough to be in the middle when the signal comes
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, start_new_session=True)
    deadline = time.monotonic() + 60
    while not list(tmp_path.glob("wav/mv*")) and time.monotonic() < deadline:
        time.sleep(0.005)
    children = children_of(process.pid)
    assert children
    process.send_signal(kill)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == (-kill if kill == signal.SIGKILL else 130)
    assert "Traceback" not in errors
    while any(Path(f"/proc/{child}").exists() for child in children) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not any(Path(f"/proc/{child}").exists() for child in children)
    assert 1 <= len(list(tmp_path.glob("wav/mv*"))) < 64
    assert make_minivox(TINY, tmp_path, nj=2).checksum == tiny[1].checksum


def test_progress_is_a_few_plain_lines_without_a_terminal(tiny: tuple[Path, MinivoxSummary], tmp_path: Path) -> None:
    done = run(tiny_command(tmp_path))
    lines = done.stderr.splitlines()
    assert all(re.fullmatch(r"minivox: \d of 9 voices", line) for line in lines)
    assert 5 <= len(lines) <= 10 and lines[-1] == "minivox: 9 of 9 voices"
    assert "9 voices, 36 utterances" in done.stdout


def test_missing_package_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "espeakng_loader", None)
    with pytest.raises(UserError, match="pip install espeakng-loader"):
        make_minivox(TINY, tmp_path / "out", nj=1)


def one_line_error(done: "subprocess.CompletedProcess[str]") -> str:
    assert done.returncode == 1, done.stderr
    errors = [line for line in done.stderr.splitlines() if not re.fullmatch(r"minivox: \d+ of \d+ voices", line)]
    assert len(errors) == 1 and errors[0].startswith("imlkd: error: "), done.stderr
    return errors[0]


def test_plain_file_in_the_way(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("mine\n")
    error = one_line_error(run(tiny_command(tmp_path / "out")))
    assert f"{tmp_path}/out" in error and "plain file" in error
    assert (tmp_path / "out").read_text() == "mine\n"


def test_full_disk_is_one_line_and_mended_by_running_again(tiny: tuple[Path, MinivoxSummary], tmp_path: Path) -> None:
    def small_files() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000))

    done = subprocess.run(tiny_command(tmp_path), capture_output=True, text=True, preexec_fn=small_files, timeout=120)
    assert "ulimit -f" in one_line_error(done)
    assert not list((tmp_path / "wav").iterdir())
    assert make_minivox(TINY, tmp_path, nj=2).checksum == tiny[1].checksum


def test_long_paths_are_no_obstacle(tiny: tuple[Path, MinivoxSummary], tmp_path: Path) -> None:
    out = tmp_path / ("a long and spaced name " * 5) / ("x" * 100)
    assert make_minivox(TINY, out, nj=2).checksum == tiny[1].checksum


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("student_voices: 500", "student_voices: 500 is above teacher_voices, 180"),
        ("snr_min: 30", "snr_min: 30 is above snr_max, 20"),
        ("decay_max: 50", "decay_min: 60 is above decay_max, 50"),
        ("recordings: 9", "9 recordings of 4 need more than the 33 sentences"),
        ("test_voices: 2", "smallest allowed value 4"),
        ("voices: 2", "unknown key voices"),
    ],
)
def test_impossible_configs_are_one_line(tmp_path: Path, line: str, message: str) -> None:
    file = tmp_path / "corpus.yaml"
    file.write_text(f"{line}\n")
    with pytest.raises(UserError, match=re.escape(message)):
        make_minivox(load_config(MinivoxConfig, file), tmp_path / "out", nj=1)
    assert not (tmp_path / "out").exists()


def test_no_process_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="nj: 0"):
        make_minivox(TINY, tmp_path, nj=0)


def test_record_beside_the_audio_names_every_file(tiny: tuple[Path, MinivoxSummary]) -> None:
    for folder in (tiny[0] / "wav").iterdir():
        record = json.loads((folder / "made.json").read_text())
        assert {f"{name}.wav" for name in record["wavs"]} == {path.name for path in folder.glob("*.wav")}
