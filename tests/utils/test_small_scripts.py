"""The two converters, the usage of every script, cmd.sh, and what an independent reader makes of the results."""

import os
import subprocess
import wave
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess

import kaldi_native_io
import pytest
from lhotse.kaldi import load_kaldi_data_dir

Call = Callable[..., CompletedProcess[str]]
Write = Callable[[Path, dict[str, list[str]]], Path]
Read = Callable[[Path], dict[str, list[str]]]
ROOT = Path(__file__).resolve().parents[2]


# ---------------------------------------------------------------------------------------------- converters


def test_converters_are_inverse(call: Call, data: Path) -> None:
    assert call("utt2spk_to_spk2utt.pl", data / "utt2spk").stdout == (data / "spk2utt").read_text()
    assert call("spk2utt_to_utt2spk.pl", data / "spk2utt").stdout == (data / "utt2spk").read_text()


@pytest.mark.parametrize(
    ("script", "text", "expected"),
    [
        ("utt2spk_to_spk2utt.pl", "c y\na x\nb y\n", "y c b\nx a\n"),
        ("utt2spk_to_spk2utt.pl", "a\tx  \n b x", "x a b\n"),
        ("spk2utt_to_utt2spk.pl", "y c b\nx a\n", "c y\nb y\na x\n"),
        ("spk2utt_to_utt2spk.pl", "y  c\tb ", "c y\nb y\n"),
    ],
)
def test_converters_read_standard_input(script: str, text: str, expected: str) -> None:
    result = subprocess.run([str(ROOT / "utils" / script)], input=text, text=True, capture_output=True)
    assert (result.returncode, result.stdout, result.stderr) == (0, expected, "")


@pytest.mark.parametrize(
    ("script", "text", "message"),
    [
        ("utt2spk_to_spk2utt.pl", "a x\nb\n", "standard input:2: 1 columns, write: utterance speaker"),
        ("utt2spk_to_spk2utt.pl", "a x\nb c d\n", "standard input:2: 3 columns"),
        ("utt2spk_to_spk2utt.pl", "a x\n\n", "standard input:2: 0 columns"),
        ("utt2spk_to_spk2utt.pl", "a x\na y\n", "standard input:2: utterance 'a' stands in line 1 already"),
        ("spk2utt_to_utt2spk.pl", "x a\ny\n", "standard input:2: speaker 'y' has no utterance"),
        ("spk2utt_to_utt2spk.pl", "x a\n\n", "standard input:2: empty line"),
        ("spk2utt_to_utt2spk.pl", "x a\ny b a\n", "standard input:2: utterance 'a' stands in line 1 already"),
    ],
)
def test_converters_refuse(script: str, text: str, message: str) -> None:
    result = subprocess.run([str(ROOT / "utils" / script)], input=text, text=True, capture_output=True)
    assert result.returncode == 1
    assert result.stderr.startswith(f"{script}: {message}") and len(result.stderr.splitlines()) == 1


def test_converters_name_a_missing_file(call: Call) -> None:
    for script in ("utt2spk_to_spk2utt.pl", "spk2utt_to_utt2spk.pl"):
        result = call(script, "/none")
        assert result.returncode == 1 and result.stderr.startswith(f"{script}: /none: cannot be read")


# ---------------------------------------------------------------------------------------------- usage

SCRIPTS = {
    "validate_data_dir.sh": ["a", "b"],
    "fix_data_dir.sh": ["a", "b"],
    "split_data.sh": ["a"],
    "subset_data_dir.sh": ["a", "1"],
    "combine_data.sh": ["a"],
    "copy_data_dir.sh": ["a"],
    "utt2spk_to_spk2utt.pl": ["a", "b"],
    "spk2utt_to_utt2spk.pl": ["a", "b"],
    "run.pl": ["a"],
}
READS_STANDARD_INPUT = {"utt2spk_to_spk2utt.pl", "spk2utt_to_utt2spk.pl"}


@pytest.mark.parametrize("script", SCRIPTS)
def test_usage(call: Call, tmp_path: Path, script: str) -> None:
    helped = call(script, "--help", cwd=tmp_path)
    assert (helped.returncode, helped.stderr) == (0, "")
    assert helped.stdout.startswith("usage: ") and script in helped.stdout.splitlines()[0]
    for arguments in [SCRIPTS[script]] + ([] if script in READS_STANDARD_INPUT else [[]]):
        wrong = call(script, *arguments, cwd=tmp_path)
        assert (wrong.returncode, wrong.stdout) == (1, "")
        assert wrong.stderr.startswith(helped.stdout)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("script", [s for s in SCRIPTS if s.endswith(".sh")])
def test_unknown_option(call: Call, data: Path, script: str) -> None:
    result = call(script, "--no-such-option", data, "1")
    assert result.returncode == 1 and "--no-such-option" in result.stderr.splitlines()[-1]


@pytest.mark.parametrize("script", ["validate_data_dir.sh", "fix_data_dir.sh", "split_data.sh", "copy_data_dir.sh"])
def test_from_another_directory_and_through_a_link(data: Path, tmp_path: Path, script: str) -> None:
    (tmp_path / "recipe").mkdir()
    (tmp_path / "recipe" / "utils").symlink_to(ROOT / "utils")
    more = {"split_data.sh": ["2"], "copy_data_dir.sh": ["../copy"]}.get(script, [])
    command = ["bash", f"utils/{script}", os.path.relpath(data, tmp_path / "recipe"), *more]
    result = subprocess.run(command, cwd=tmp_path / "recipe", capture_output=True, text=True)
    assert result.returncode == 0, result.stderr


# ---------------------------------------------------------------------------------------------- cmd.sh


@pytest.mark.parametrize(
    ("before", "expected"),
    [("", ["run.pl"] * 3), ("cmd=", ["run.pl"] * 3), ("cmd='slurm.pl --mem 4G'", ["slurm.pl --mem 4G"] * 3)],
)
def test_cmd(before: str, expected: list[str]) -> None:
    script = f"set -euo pipefail\n{before}\n. {ROOT}/cmd.sh\nbash -c 'echo \"$train_cmd|$extract_cmd|$score_cmd\"'"
    env = {k: v for k, v in os.environ.items() if k not in ("cmd", "train_cmd", "extract_cmd", "score_cmd")}
    result = subprocess.run(["bash", "-c", script], env=env, text=True, capture_output=True)
    assert result.stdout.rstrip("\n").split("|") == expected


# ---------------------------------------------------------------------------------------------- independent readers


@pytest.fixture
def spoken(write: Write, tmp_path: Path) -> Path:
    """A directory with audio behind it, the names relative to its parent."""
    corpus = tmp_path / "corpus"
    (corpus / "audio").mkdir(parents=True)
    utts = [f"s{s}-{u}" for s in range(4) for u in range(3)]
    for number, recording in enumerate(f"s{s}-r" for s in range(4)):
        with wave.open(str(corpus / "audio" / f"{recording}.wav"), "wb") as out:
            out.setnchannels(1)
            out.setsampwidth(2)
            out.setframerate(16000)
            out.writeframes(bytes(2 * (48000 + 160 * number)))
    return write(
        corpus / "train",
        {
            "utt2spk": [f"{u} {u[:2]}" for u in utts],
            "spk2utt": [" ".join([f"s{s}", *(u for u in utts if u[1] == str(s))]) for s in range(4)],
            "wav.scp": [f"s{s}-r audio/s{s}-r.wav" for s in range(4)],
            "segments": [f"{u} {u[:2]}-r {u[-1]}.25 {u[-1]}.75" for u in utts],
            "spk2gender": [f"s{s} {'mf'[s % 2]}" for s in range(4)],
            "text": [f"{u} words" for u in utts],
        },
    )


MADE = {
    "split": (["split_data.sh", "{src}", "2"], "{src}/split2/2", 6, ""),
    "subset": (["subset_data_dir.sh", "--per-spk", "{src}", "2", "{out}"], "{out}", 8, ""),
    "copy": (["copy_data_dir.sh", "--utt-prefix", "x-", "--spk-prefix", "x-", "{src}", "{out}"], "{out}", 12, "x-"),
}


def through_lhotse(folder: Path) -> dict[str, tuple[str, str | None, float, float, int]]:
    """utterance: (speaker, gender, start, end, samples of its recording)"""
    recordings, supervisions, _ = load_kaldi_data_dir(folder, sampling_rate=16000)
    return {
        s.id: (s.speaker, s.gender, s.start, s.end, recordings[s.recording_id].num_samples)
        for s in supervisions
        if recordings[s.recording_id].load_audio().shape[0] == 1
    }


@pytest.mark.parametrize("way", MADE)
def test_lhotse_reads_the_same(
    call: Call, spoken: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    command, folder, count, prefix = MADE[way]
    result = call(*[word.format(src=spoken, out=tmp_path / "out") for word in command], cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    made = through_lhotse(Path(folder.format(src=spoken, out=tmp_path / "out")))
    monkeypatch.chdir(spoken.parent)  # where the relative names of the source hold
    source = through_lhotse(spoken)
    assert len(source) == 12 and len(made) == count
    for utt, (speaker, *rest) in made.items():
        assert [speaker.removeprefix(prefix), *rest] == list(source[utt.removeprefix(prefix)])


def test_kaldi_readers_take_what_combine_makes(call: Call, data: Path, read: Read, tmp_path: Path) -> None:
    """Kaldi's strict table readers: sorted, called in order."""
    assert call("copy_data_dir.sh", "--utt-prefix", "B", "--spk-prefix", "B", data, tmp_path / "b").returncode == 0
    assert call("combine_data.sh", tmp_path / "out", data, tmp_path / "b").returncode == 0
    tables = read(tmp_path / "out")
    for name in ("utt2spk", "wav.scp", "utt2dur", "spk2gender", "utt2uniq"):
        expected = dict(row.split() for row in tables[name])
        with kaldi_native_io.RandomAccessTokenReader(f"ark,t,s,cs:{tmp_path}/out/{name}") as reader:
            assert {key: reader[key] for key in expected} == expected
    with kaldi_native_io.SequentialTokenVectorReader(f"ark,t:{tmp_path}/out/spk2utt") as reader:
        assert [[key, *values] for key, values in reader] == [row.split() for row in tables["spk2utt"]]
