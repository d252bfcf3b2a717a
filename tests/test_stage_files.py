"""Every stage boundary by its files, read by readers that are not ours, after one run of the recipe."""

import gzip
import json
import re
from pathlib import Path
from typing import Any

import kaldi_native_io
import kaldiio
import numpy as np
import pytest
import soundfile
import torch
import yaml
from sklearn.metrics import roc_curve

SETS = ("minivox_teacher_train", "minivox_train", "minivox_test")
MODELS = ("minivox_teacher", "minivox_imlkd")


def table(path: Path) -> dict[str, str]:
    """Kaldi's contract of a table: C order, unique ids, single spaces, a line feed at each end."""
    content = path.read_bytes()
    assert content.endswith(b"\n") and b"\r" not in content and b"\t" not in content
    lines = content.decode().split("\n")[:-1]
    pairs = dict(line.split(" ", 1) for line in lines)
    assert len(pairs) == len(lines) and [k.encode() for k in pairs] == sorted(k.encode() for k in pairs)
    return pairs


def strict(kind: str, scp: Path) -> dict[str, np.ndarray]:
    """By kaldi_native_io's random access with `s,cs`, which refuses what is not sorted, and one after the other."""
    ids = list(table(scp))
    with getattr(kaldi_native_io, f"RandomAccessFloat{kind}Reader")(f"scp,s,cs:{scp}") as reader:
        found = {key: np.array(reader[key], copy=True) for key in ids}
    with getattr(kaldi_native_io, f"SequentialFloat{kind}Reader")(f"scp:{scp}") as reader:
        for key, value in reader:
            np.testing.assert_array_equal(found[key], np.array(value))
    assert all(value.startswith("/") and re.fullmatch(r"/\S+\.ark:\d+", value) for value in table(scp).values())
    return found


@pytest.fixture(scope="module")
def recipe(finished_recipe: Path) -> Path:
    return finished_recipe


@pytest.fixture(scope="module")
def targets(recipe: Path) -> Path:
    return recipe / "exp/minivox_teacher/targets_minivox_train"


@pytest.mark.parametrize("name", SETS)
def test_stage_0_data_directories(recipe: Path, name: str) -> None:
    data = recipe / "data" / name
    wav, utt2spk, spk2utt = table(data / "wav.scp"), table(data / "utt2spk"), table(data / "spk2utt")
    assert list(wav) == list(utt2spk)
    assert {u: s for s, us in spk2utt.items() for u in us.split(" ")} == utt2spk
    assert all(utterance.startswith(speaker) for utterance, speaker in utt2spk.items())
    durations = table(data / "utt2dur")
    for utterance, path in list(wav.items())[:5]:
        info = soundfile.info(path)
        assert (info.samplerate, info.channels) == (16000, 1)
        assert float(durations[utterance]) == pytest.approx(info.duration, abs=1e-6)
    with gzip.open(recipe / f"data/manifests/{name}.jsonl.gz", "rt") as lines:
        cuts = [json.loads(line) for line in lines]
    assert [cut["id"] for cut in cuts] == list(wav)
    assert [cut["supervisions"][0]["speaker"] for cut in cuts] == list(utt2spk.values())


def test_stage_0_trials_and_sets(recipe: Path) -> None:
    test = recipe / "data/minivox_test"
    known = table(test / "utt2spk")
    labels = {"target": 0, "nontarget": 0}
    for line in (test / "trials").read_text().splitlines():
        enroll, other, label = line.split(" ")
        assert (known[enroll] == known[other]) is (label == "target")
        labels[label] += 1
    assert min(labels.values()) > 0
    assert yaml.safe_load((recipe / "data/minivox.sets.yaml").read_text()) == {
        "train": "minivox_train", "teacher": "minivox_teacher_train", "tests": ["minivox_test"],
        "lists": ["minivox_test/trials"],
    }  # fmt: skip


@pytest.mark.parametrize("name", SETS[:2])
def test_stage_1_features_and_speech_activity(recipe: Path, name: str) -> None:
    data = recipe / "data" / name
    feats, vad = strict("Matrix", data / "feats.scp"), strict("Vector", data / "vad.scp")
    counts, wav = table(data / "utt2num_frames"), table(data / "wav.scp")
    assert list(feats) == list(vad) == list(counts) == list(wav)
    for utterance, matrix in feats.items():
        frames = round(soundfile.info(wav[utterance]).frames / 160)
        assert matrix.shape == (frames, 80) and matrix.dtype == np.float32 and np.isfinite(matrix).all()
        assert vad[utterance].shape == (frames,) and set(np.unique(vad[utterance])) <= {0.0, 1.0}
        assert int(counts[utterance]) == frames
    assert yaml.safe_load((data / "features.yaml").read_text())["fbank"]["num_mel_bins"] == 80


def test_stage_3_utterances(recipe: Path, targets: Path) -> None:
    """A curve for each duration, the full utterance and all of them fused, as arks and on the cuts."""
    from lhotse import CutSet

    counts = table(recipe / "data/minivox_train/utt2num_frames")
    names = ("100", "150", "full", "fused")
    curves = {name: strict("Vector", targets / f"curves/{name}/relevance.scp") for name in names}
    cuts = {cut.id: cut for cut in CutSet.from_file(targets / "utterances.jsonl.gz")}
    assert list(cuts) == list(counts) == list(curves["full"]) == list(curves["fused"])
    for name, curve in curves.items():
        for utterance, values in curve.items():
            assert values.shape == (int(counts[utterance]),) and values.min() >= 0 and values.max() <= 1
            cut = cuts[utterance]
            mapped = cut.custom[f"relevance_{name}_scale"] * cut.load_custom(f"relevance_{name}")
            np.testing.assert_allclose(mapped, values, atol=0.5 / 127 + 1e-6)
    embedding = strict("Vector", targets / "curves/full/embedding.scp")
    for utterance, cut in cuts.items():
        np.testing.assert_array_equal(cut.load_embedding(), embedding[utterance])
        own = [curves[name][utterance] for name in ("100", "150", "full") if utterance in curves[name]]
        low, high = np.min(own, axis=0), np.max(own, axis=0)
        fused = curves["fused"][utterance]
        assert (fused >= low - 1e-6).all() and (fused <= high + 1e-6).all()
    for name in ("100", "150", "full"):
        lines = [line.split(" ") for line in (targets / f"curves/{name}/convergence.txt").read_text().splitlines()]
        assert [line[0] for line in lines] == list(curves[name]) and all(float(line[2]) >= 0 for line in lines)


@pytest.mark.parametrize("name", MODELS)
def test_stages_2_and_4_models(recipe: Path, name: str) -> None:
    folder = recipe / "exp" / name
    state = torch.load(folder / "final.pt", weights_only=True)
    described = yaml.safe_load((folder / "model.yaml").read_text())
    speakers = (folder / "speakers").read_text().split()
    width, dim = described["network"]["width"], described["network"]["embedding_dim"]
    assert state["first.0.weight"].shape == (width, 80, 5) and state["head.weight"].shape == (len(speakers), dim)
    data = recipe / "data" / ("minivox_teacher_train" if name == "minivox_teacher" else "minivox_train")
    assert speakers == sorted(set(table(data / "utt2spk").values()))
    entries = [json.loads(line) for line in (folder / "log/train.jsonl").read_text().splitlines()]
    resolved = yaml.safe_load((folder / "config.yaml").read_text())
    assert [entry["epoch"] for entry in entries] == list(range(1, resolved["training"]["epochs"] + 1))
    assert all(np.isfinite(list(entry.values())).all() for entry in entries)
    terms = {"aam"} | (
        {f"{t}{s}" for t in ("instance", "batch", "class") for s in ("", "_ii")} if "imlkd" in name else set()
    )
    said = {"agreement", "teacher_posterior"} if "imlkd" in name else set()
    pace = {"learning_rate", "samples_per_second", "loader_wait", "spread"}
    pace |= {"epoch", "seconds", "loss"}
    assert set(entries[0]) == pace | terms | {f"gradient_{term}" for term in terms} | said


def test_stage_3_segments(recipe: Path, targets: Path) -> None:
    counts = table(recipe / "data/minivox_train/utt2num_frames")
    durations = set()
    for name, value in table(targets / "segments").items():
        utterance, start, end = value.split(" ")
        first, last = round(100 * float(start)), round(100 * float(end))
        assert name == f"{utterance}-{last - first:04d}-{first:05d}" and 0 <= first < last <= int(counts[utterance])
        durations.add(last - first)
    assert durations == {100, 150}


def test_stage_3_targets(recipe: Path, targets: Path) -> None:
    ids = list(table(targets / "segments"))
    speakers = sorted(set(table(recipe / "data/minivox_train/utt2spk").values()))
    relevance, embedding = strict("Vector", targets / "relevance.scp"), strict("Vector", targets / "embedding.scp")
    cosines, gated = strict("Vector", targets / "cosines.scp"), strict("Vector", targets / "cosines_gated.scp")
    for found in (relevance, embedding, cosines, gated):
        assert list(found) == ids and all(np.isfinite(value).all() for value in found.values())
    for name in ids:
        assert relevance[name].shape == (int(name.split("-")[-2]),)
        assert 0 == relevance[name].min() and 0.9 < relevance[name].max() <= 1
        assert embedding[name].shape == (192,)
        assert cosines[name].shape == gated[name].shape == (len(speakers),)
        assert np.abs(cosines[name]).max() <= 1 and not np.array_equal(cosines[name], gated[name])
    own = [cosines[name][speakers.index(name.split("-")[0])] - cosines[name].mean() for name in ids]
    assert np.mean(own) > 0  # columns are the students' speakers in C order: the own one stands out


def test_stage_3_cosines_follow_from_the_teachers_files(recipe: Path, targets: Path) -> None:
    """cosines = embedding against the rows of the head, in the order of the student's speakers."""
    teacher = recipe / "exp/minivox_teacher"
    head = torch.load(teacher / "final.pt", weights_only=True)["head.weight"].numpy()
    rows = (teacher / "speakers").read_text().split()
    speakers = sorted(set(table(recipe / "data/minivox_train/utt2spk").values()))
    weights = head[[rows.index(name) for name in speakers]]
    weights /= np.linalg.norm(weights, axis=1, keepdims=True)
    cosines = strict("Vector", targets / "cosines.scp")
    for name, vector in strict("Vector", targets / "embedding.scp").items():
        np.testing.assert_allclose(cosines[name], weights @ (vector / np.linalg.norm(vector)), atol=1e-5)


def test_stage_3_convergence(targets: Path) -> None:
    lines = [line.split(" ") for line in (targets / "convergence.txt").read_text().splitlines()]
    assert [line[0] for line in lines] == list(table(targets / "segments"))
    config = yaml.safe_load((targets / "config.yaml").read_text())
    most = max(int(line[1]) for line in lines)
    assert all(len(line) == 3 and config["nodes"] <= int(line[1]) <= config["max_nodes"] + 1 for line in lines)
    errors = [float(line[2]) for line in lines]
    assert sum(error > config["tolerance"] for error in errors) <= config["max_failing"] * len(errors)
    assert any(int(line[1]) < most for line in lines)  # more nodes only where an utterance needs them


def test_stage_3_cuts(targets: Path) -> None:
    from lhotse import CutSet

    relevance, embedding = strict("Vector", targets / "relevance.scp"), strict("Vector", targets / "embedding.scp")
    cuts = list(CutSet.from_file(targets / "cuts.jsonl.gz"))
    assert [cut.id for cut in cuts] == list(relevance)
    for cut in cuts[::7]:
        mapped = cut.relevance_scale * cut.load_relevance()
        np.testing.assert_allclose(mapped, relevance[cut.id], atol=0.5 / 127 + 1e-6)
        np.testing.assert_array_equal(cut.load_embedding(), embedding[cut.id])
        samples = cut.load_audio()
        assert samples.shape[0] == 1 and abs(samples.shape[1] / 160 - len(relevance[cut.id])) <= 0.5
        part = cut.truncate(offset=0.2, duration=0.3)
        np.testing.assert_array_equal(part.load_relevance(), cut.load_relevance()[20:50])


@pytest.mark.parametrize("name", MODELS)
def test_stage_5_embeddings(recipe: Path, name: str) -> None:
    folder, data = recipe / f"exp/{name}/xvectors_minivox_test", recipe / "data/minivox_test"
    joined = strict("Vector", folder / "xvector.scp")
    assert list(joined) == list(table(data / "utt2spk"))
    by_job: dict[str, np.ndarray] = {}
    for job in (1, 2):
        part = strict("Vector", folder / f"xvector.{job}.scp")
        with kaldi_native_io.SequentialFloatVectorReader(f"ark:{folder}/xvector.{job}.ark") as reader:
            assert [key for key, _ in reader] == list(part)
        by_job |= part
    assert by_job.keys() == joined.keys() and not (folder / "xvector.3.scp").exists()
    loaded = kaldiio.load_scp(str(folder / "xvector.scp"))
    for utterance, vector in joined.items():
        assert vector.shape == (192,) and np.linalg.norm(vector) == pytest.approx(1, abs=1e-5)
        np.testing.assert_array_equal(vector, by_job[utterance])
        np.testing.assert_array_equal(vector, loaded[utterance])


@pytest.mark.parametrize("name", MODELS)
def test_stage_5_speaker_means(recipe: Path, name: str) -> None:
    folder, data = recipe / f"exp/{name}/xvectors_minivox_test", recipe / "data/minivox_test"
    vectors, means = strict("Vector", folder / "xvector.scp"), strict("Vector", folder / "spk_xvector.scp")
    spk2utt = {speaker: names.split(" ") for speaker, names in table(data / "spk2utt").items()}
    assert list(means) == list(spk2utt)
    for speaker, names in spk2utt.items():
        np.testing.assert_allclose(means[speaker], np.mean([vectors[n] for n in names], axis=0), atol=1e-6)
    assert (folder / "num_utts.ark").read_text() == "".join(f"{s} {len(names)}\n" for s, names in spk2utt.items())
    with kaldi_native_io.SequentialInt32Reader(f"ark,t:{folder}/num_utts.ark") as reader:
        assert dict(reader) == {speaker: len(names) for speaker, names in spk2utt.items()}


@pytest.mark.parametrize("name", MODELS)
def test_stage_6_scores(recipe: Path, name: str) -> None:
    """Three columns in the order of the trials; values recomputed from the embeddings as Kaldi's reader sees them."""
    trials = [line.split(" ") for line in (recipe / "data/minivox_test/trials").read_text().splitlines()]
    lines = [line.split(" ") for line in (recipe / f"exp/{name}/scores/minivox_test/trials").read_text().splitlines()]
    assert [line[:2] for line in lines] == [trial[:2] for trial in trials] and {len(line) for line in lines} == {3}
    vectors = strict("Vector", recipe / f"exp/{name}/xvectors_minivox_test/xvector.scp")
    for enroll, test, score in lines:
        a, b = vectors[enroll].astype(np.float64), vectors[test].astype(np.float64)
        assert float(score) == pytest.approx(a @ b / (np.linalg.norm(a) * np.linalg.norm(b)), abs=2e-6)


def recomputed(recipe: Path, name: str) -> tuple[list[bool], list[float]]:
    trials = (recipe / "data/minivox_test/trials").read_text().splitlines()
    scores = (recipe / f"exp/{name}/scores/minivox_test/trials").read_text().splitlines()
    return [line.endswith(" target") for line in trials], [float(line.split()[2]) for line in scores]


@pytest.mark.parametrize("name", MODELS)
def test_stage_6_error_rates(recipe: Path, name: str) -> None:
    labels, scores = recomputed(recipe, name)
    alarms, hits, _ = roc_curve(labels, scores, drop_intermediate=False)
    misses = 1 - hits
    where = int(np.argmax(alarms >= misses))  # the interpolated crossing lies just before
    metrics: dict[str, Any] = json.loads((recipe / f"exp/{name}/metrics/minivox_test/trials.json").read_text())
    low = max(min(alarms[where], misses[where]), min(alarms[where - 1], misses[where - 1]))
    high = min(max(alarms[where], misses[where]), max(alarms[where - 1], misses[where - 1]))
    assert low - 1e-9 <= metrics["eer"]["value"] <= high + 1e-9
    cost = np.min(0.01 * misses + 0.99 * alarms) / 0.01
    assert metrics["min_dcf"]["0.01"]["value"] == pytest.approx(min(cost, 1.0), abs=1e-9)
    assert metrics["eer"]["interval"]["low"] <= metrics["eer"]["value"] <= metrics["eer"]["interval"]["high"]
    assert metrics["targets"] == sum(labels) and metrics["nontargets"] == len(labels) - sum(labels)


@pytest.mark.parametrize("name", MODELS)
def test_stage_6_input_of_compute_eer(recipe: Path, name: str) -> None:
    """Kaldi's program, as its loop: the EER it would print is the one in the metrics."""
    labels, scores = recomputed(recipe, name)
    lines = [
        line.split(" ") for line in (recipe / f"exp/{name}/metrics/minivox_test/trials.eer").read_text().splitlines()
    ]
    assert [(float(score), label) for score, label in lines] == [
        (score, "target" if target else "nontarget") for score, target in zip(scores, labels, strict=True)
    ]
    targets = sorted(float(score) for score, label in lines if label == "target")
    others = sorted(float(score) for score, label in lines if label == "nontarget")
    for i, threshold in enumerate(targets):
        n = len(others) * i // len(targets)
        if others[max(0, len(others) - 1 - n)] < threshold:
            break
    metrics = json.loads((recipe / f"exp/{name}/metrics/minivox_test/trials.json").read_text())
    assert metrics["eer_kaldi"]["value"] == pytest.approx(i / len(targets), abs=1e-9)


def test_stage_7_report(recipe: Path) -> None:
    page = (recipe / "exp/RESULTS.md").read_text()
    for name in MODELS:
        metrics = json.loads((recipe / f"exp/{name}/metrics/minivox_test/trials.json").read_text())
        state = torch.load(recipe / f"exp/{name}/final.pt", weights_only=True)
        buffers = ("running_mean", "running_var", "num_batches_tracked", "bin_mean", "head.weight")
        size = sum(value.numel() for key, value in state.items() if not key.endswith(buffers))
        row = next(line for line in page.splitlines() if line.startswith(f"| {name} |"))
        assert f"| {size / 1e3:,.0f} k |" in row and f"| {100 * metrics['eer']['value']:.2f} % [" in row
        assert f"| {metrics['min_dcf']['0.01']['value']:.3f} |" in row
        points = np.loadtxt(recipe / f"exp/{name}/report/det.minivox_test.trials.tsv", skiprows=1)
        assert points.shape[1] == 3 and (points[:, 1:] >= 0).all() and (points[:, 1:] <= 1).all()
    assert "./run.sh --corpus minivox" in page and "--methods imlkd" in page
    assert len(re.findall(r"^- data `minivox_\w+`: [0-9a-f]{64}$", page, re.MULTILINE)) == 3
    assert (recipe / "exp/results.txt").read_text().startswith("minivox_test/trials\n")


def test_stage_7_page(recipe: Path) -> None:
    page = (recipe / "exp/minivox_imlkd/report/index.html").read_text(encoding="utf-8")
    assert not (recipe / "exp/minivox_teacher/report/index.html").exists()
    for name in MODELS:
        metrics = json.loads((recipe / f"exp/{name}/metrics/minivox_test/trials.json").read_text())
        assert re.search(rf"<td>{name}</td>.*>{100 * metrics['eer']['value']:.2f} % \[", page)
    assert "data:audio/flac;base64," in page and page.count('class="strip"') > 10
    assert "No student was trained without a teacher" in page and "Not exported" in page
    assert not re.search(r'(src|href)="(?!data:|#)', page)


def test_nothing_half_written_is_left_and_logs_say_how_jobs_ended(recipe: Path) -> None:
    assert not [path for path in recipe.rglob("*") if re.search(r"\.tmp\d+|\.pending$|\.new$", path.name)]
    logs = list(recipe.rglob("*.log"))
    assert len(logs) > 12
    for log in logs:
        text = log.read_text()
        assert text.startswith("# ") and "# Ended (code 0) at " in text, log


def test_every_stage_has_its_marker(recipe: Path) -> None:
    markers = {str(path.relative_to(recipe)) for path in recipe.rglob(".done*") if "/split" not in str(path)}
    expected = {"data/.done.minivox", "exp/.done.report", "exp/.done.page"}
    expected |= {"exp/minivox_teacher/.done", "exp/minivox_imlkd/.done"}
    expected |= {f"data/{name}/.done.features" for name in SETS[:2]}
    targets = "exp/minivox_teacher/targets_minivox_train"
    expected |= {f"{targets}/.done{end}" for end in ("", ".1", ".2")}
    for name in MODELS:
        expected |= {f"exp/{name}/xvectors_minivox_test/.done", f"exp/{name}/scores/minivox_test/.done.trials"}
    assert markers == expected
