"""The GE2E teacher against the package its weights come from, and against a plain reading of the paper."""

import importlib.util
import os
import pickle
import runpy
import subprocess
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional

from imlkd.errors import UserError
from imlkd.features.power_mel import FLOOR, log_power
from imlkd.models.ge2e import LSTM_PARTS, Ge2e, load_ge2e
from imlkd.models.speaker_model import CosineHead

TESTS = Path(__file__).parents[1]
ROOT = TESTS.parent
ORACLE_SCRIPT = Path(__file__).with_name("resemblyzer_oracle.py")
ORACLE_PYTHON = ROOT / ".venv-oracle/bin/python"
WAVES = runpy.run_path(str(ORACLE_SCRIPT))["synthetic_waves"]()

needs_package = pytest.mark.skipif(
    importlib.util.find_spec("resemblyzer") is None,
    reason="Resemblyzer is not installed: run local/install_resemblyzer.sh",
)
needs_oracle = pytest.mark.skipif(
    not (ROOT / ".venv-oracle/made_of").is_file(),
    reason="no .venv-oracle with the whole package: run bash tests/setup_oracle.sh",
)


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    """The small matrices of a recurrent net lose by threads, tenfold on a machine that is busy."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def teacher():
    return load_ge2e()


@pytest.fixture(scope="module")
def network():
    """The architecture with random weights, twice as large as usual."""
    torch.manual_seed(0)
    model = Ge2e()
    for parameter in model.parameters():
        nn.init.uniform_(parameter, -0.12, 0.12)
    return model.eval().requires_grad_(False)


def random_features(*shape, seed=0):
    return log_power(torch.rand(shape, generator=torch.Generator().manual_seed(seed)) ** 4)


def package_checkpoint(model):
    """The state of a network under the package's names."""
    names = {f"layers.{i}.{part}_l0": f"lstm.{part}_l{i}" for i in range(3) for part in LSTM_PARTS}
    state = {names.get(name, name): value for name, value in model.state_dict().items()}
    return {"step": 1, "model_state": state | {"similarity_weight": torch.ones(1)}}


# --- equal to the package -----------------------------------------------------------------------------------------


@needs_package
@pytest.mark.parametrize("name", list(WAVES))
def test_equals_the_kept_reference(teacher, name):
    """The file says how it was made; the docstring of resemblyzer_oracle.py says how to make it again."""
    with np.load(TESTS / "fixtures/resemblyzer.npz") as reference:
        assert "Resemblyzer 0.1.4" in str(reference["provenance"])
        np.testing.assert_allclose(teacher.embed(torch.from_numpy(WAVES[name])), reference[name], atol=1e-5)


def random_waves():
    """Lengths on both sides of what the window rule asks, and random ones, at random levels."""
    random = np.random.RandomState(7)
    waves = {}
    for i, samples in enumerate([1, 100, 159, 160, 399, 12319, 31519, 31520, *random.randint(400, 200000, 12)]):
        amplitude = 10 ** random.uniform(-3, -0.3)
        waves[f"random{i}-{samples}"] = (amplitude * random.uniform(-1, 1, samples)).astype(np.float32)
    return waves


def real_waves(folder):
    """Every 40th utterance of both test sets (1.0, 1.5 and 3.0 s), and three whole recordings (15 to 40 s)."""
    import soundfile

    waves = {}
    for name in ("test", "test_short"):
        recordings = dict(line.split(None, 1) for line in (folder / name / "wav.scp").read_text().splitlines())
        for line in (folder / name / "segments").read_text().splitlines()[::40]:
            utterance, recording, start, end = line.split()
            samples, rate = soundfile.read(folder / recordings[recording], dtype="float32")
            waves[utterance] = samples[round(float(start) * rate) : round(float(end) * rate)]
    for recording in list(recordings)[:: len(recordings) // 3]:
        waves[recording], _ = soundfile.read(folder / recordings[recording], dtype="float32")
    return waves


@pytest.fixture(scope="module")
def compared(tmp_path_factory):
    """Waveforms, and what the package makes of them in its own interpreter."""
    folder = tmp_path_factory.mktemp("oracle")
    waves = random_waves()
    if "SVMINI" in os.environ:
        waves |= real_waves(Path(os.environ["SVMINI"]))
    np.savez(folder / "waves.npz", **waves)
    command = [ORACLE_PYTHON, "-W", "ignore", ORACLE_SCRIPT, folder / "waves.npz", folder / "embedded.npz"]
    environment = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "PYTHONHOME")}
    environment["OMP_NUM_THREADS"] = "1"
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    with np.load(folder / "embedded.npz") as found:
        return waves, dict(found)


def assert_equal(teacher, names, compared):
    waves, expected = compared
    for name in names:
        found = teacher.embed(torch.from_numpy(waves[name])).numpy()
        np.testing.assert_allclose(found, expected[name], atol=1e-5, err_msg=name)


@needs_package
@needs_oracle
def test_equals_the_package_on_noise_of_many_lengths(teacher, compared):
    assert_equal(teacher, random_waves(), compared)


@needs_package
@needs_oracle
@pytest.mark.skipif("SVMINI" not in os.environ, reason="SVMINI does not name the folder of svmini")
def test_equals_the_package_on_real_speech(teacher, compared):
    names = [name for name in compared[0] if not name.startswith("random")]
    lengths = {len(compared[0][name]) for name in names}
    assert {16000, 24000, 48000} <= lengths and max(lengths) > 600000
    assert_equal(teacher, names, compared)


# --- windows, batches, gradients ----------------------------------------------------------------------------------


def embed_plainly(network, features):
    """One row, window by window, through one LSTM of three layers: linear power, last state, mean of unit vectors."""
    lstm = nn.LSTM(40, 256, 3, batch_first=True)
    state = package_checkpoint(network)["model_state"]
    lstm.load_state_dict({name[5:]: value for name, value in state.items() if name.startswith("lstm.")})
    power = torch.exp(features) - FLOOR
    partials = []
    for start in range(0, 10**6, 77):
        window = power[start : start + 160]
        if start and len(window) < 121:  # 120 hops of samples are 75 %
            break
        window = functional.pad(window, (0, 0, 0, 160 - len(window)))
        raw = torch.relu(network.linear(lstm(window[None])[1][0][-1]))[0]
        partials.append(raw / raw.norm())
    mean = torch.stack(partials).mean(0)
    return mean, mean / mean.norm()


@torch.no_grad()
@pytest.mark.parametrize("frames", [1, 80, 159, 160, 161, 197, 198, 237, 238, 275, 500])
def test_embedding_is_the_mean_of_unit_vectors_of_windows(network, frames):
    features = random_features(frames, 40, seed=frames)
    output = network(features[None], torch.tensor([frames]))
    mean, embedding = embed_plainly(network, features)
    torch.testing.assert_close(output.pooled[0], mean, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(output.embedding[0], embedding, atol=1e-5, rtol=1e-5)
    assert output.cosines is None


@settings(max_examples=15, deadline=None)
@given(st.lists(st.integers(1, 420), min_size=1, max_size=4), st.integers(0, 60), st.sampled_from([0.0, float("nan")]))
def test_a_row_of_a_batch_is_the_row_alone(network, lengths, extra, rubbish):
    batch = torch.full((len(lengths), max(lengths) + extra, 40), rubbish)
    rows = [random_features(length, 40, seed=i) for i, length in enumerate(lengths)]
    for i, row in enumerate(rows):
        batch[i, : len(row)] = row
    together = network(batch, torch.tensor(lengths))
    for i, row in enumerate(rows):
        alone = network(row[None], torch.tensor([len(row)]))
        torch.testing.assert_close(together.embedding[i], alone.embedding[0], atol=2e-6, rtol=1e-5)
        for whole, single in zip(together.stages, alone.stages, strict=True):
            torch.testing.assert_close(whole[i, :, : len(row)], single[0], atol=2e-6, rtol=1e-5)
            assert not whole[i, :, len(row) :].any()


@torch.no_grad()
def test_stages_average_overlapping_windows(network):
    features = random_features(240, 40)
    output = network(features[None], torch.tensor([240]))
    assert [tuple(stage.shape) for stage in output.stages] == [(1, 256, 240)] * 3
    hidden = torch.exp(torch.stack([features[:160], features[77:237]])) - FLOOR
    for layer, stage in zip(network.layers, output.stages, strict=True):
        hidden = layer(hidden)[0]
        torch.testing.assert_close(stage[0, :, :77].T, hidden[0, :77], atol=1e-6, rtol=1e-5)
        both = (hidden[0, 77:] + hidden[1, :83]) / 2
        torch.testing.assert_close(stage[0, :, 77:160].T, both, atol=1e-6, rtol=1e-5)
        torch.testing.assert_close(stage[0, :, 160:237].T, hidden[1, 83:], atol=1e-6, rtol=1e-5)
        assert not stage[0, :, 237:].any()  # no window reads the last three frames


def test_gradient_reaches_the_read_frames_of_each_row_only(network):
    features = torch.full((2, 250, 40), float("nan"))
    features[0, :240] = random_features(240, 40)
    features[1, :90] = random_features(90, 40, seed=1)
    features.requires_grad_()
    target = functional.normalize(torch.rand(256, generator=torch.Generator().manual_seed(1)), dim=0)
    (network(features, torch.tensor([240, 90])).embedding @ target).sum().backward()
    reached = features.grad.abs().sum(2) > 0
    assert torch.isfinite(features.grad).all()
    assert reached[0, :237].all() and not reached[0, 237:].any()
    assert reached[1, :90].all() and not reached[1, 90:].any()


def test_gradient_is_the_slope(network):
    features, direction = random_features(1, 200, 40), torch.randn(1, 200, 40, generator=torch.manual_seed(3))
    exact = Ge2e().double()
    exact.load_state_dict(network.state_dict())
    target = torch.eye(256, dtype=torch.double)[int(network(features, torch.tensor([200])).embedding.argmax())]

    def score(shift):
        return (exact(features.double() + shift * direction, torch.tensor([200])).embedding @ target)[0]

    shift = torch.zeros((), dtype=torch.double, requires_grad=True)
    (slope,) = torch.autograd.grad(score(shift), shift)
    assert abs(slope) > 1e-6
    assert slope.item() == pytest.approx(((score(1e-5) - score(-1e-5)) / 2e-5).item(), rel=1e-4)


def test_gradient_is_the_same_in_both_modes(network):
    def gradient():
        features = random_features(1, 200, 40).requires_grad_()
        network(features, torch.tensor([200])).embedding[0, :9].sum().backward()
        return features.grad

    evaluation = gradient()
    network.train()
    training = gradient()
    network.eval()
    assert torch.equal(evaluation, training)
    assert not network.training and not network.linear.training


def test_head_gives_cosines(network):
    head = CosineHead(256, ["anna", "ben", "carl"])
    network.head = head
    try:
        output = network(random_features(2, 200, 40), torch.tensor([200, 150]))
    finally:
        network.head = None
    expected = functional.cosine_similarity(output.embedding[:, None], head.weight[None], dim=2)
    assert output.cosines.shape == (2, 3)
    torch.testing.assert_close(output.cosines, expected, atol=1e-6, rtol=1e-5)


def test_a_length_past_the_batch_is_refused(network):
    with pytest.raises(ValueError, match="length 201 in a batch of 200 frames"):
        network(random_features(1, 200, 40), torch.tensor([201]))


@needs_package
def test_silence_gives_a_finite_unit_vector(teacher):
    embedding = teacher.embed(torch.zeros(8000))
    assert torch.isfinite(embedding).all()
    assert embedding.norm() == pytest.approx(1, abs=1e-5)


# --- the weights --------------------------------------------------------------------------------------------------


@needs_package
def test_loaded_teacher_is_frozen_and_in_evaluation_mode(teacher):
    assert not teacher.training
    assert not any(parameter.requires_grad for parameter in teacher.parameters())
    assert teacher.head is None and teacher.embedding_dim == 256
    assert sum(parameter.numel() for parameter in teacher.parameters()) == 1_423_616


def test_a_checkpoint_of_the_same_network_loads(network, tmp_path):
    torch.save(package_checkpoint(network), tmp_path / "own.pt")
    loaded = load_ge2e(tmp_path / "own.pt").state_dict()
    assert all(torch.equal(value, loaded[name]) for name, value in network.state_dict().items())


def test_missing_package_names_the_remedy(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"is not installed: run local/install_resemblyzer\.sh"):
        load_ge2e()


class Payload:
    """Unpickling this runs a command."""

    def __init__(self, witness):
        self.witness = witness

    def __reduce__(self):
        return os.mkdir, (str(self.witness),)


def truncated(content, checkpoint, path):
    path.write_bytes(content[: len(content) // 2])


def empty(content, checkpoint, path):
    path.write_bytes(b"")


def text(content, checkpoint, path):
    path.write_text("not found\n")


def array(content, checkpoint, path):
    torch.save(torch.zeros(3), path)


def other_shape(content, checkpoint, path):
    checkpoint["model_state"]["linear.weight"] = torch.zeros(128, 256)
    torch.save(checkpoint, path)


def other_names(content, checkpoint, path):
    checkpoint["model_state"]["linear.scale"] = torch.zeros(1)
    torch.save(checkpoint, path)


def lacking(content, checkpoint, path):
    del checkpoint["model_state"]["lstm.bias_hh_l2"]
    torch.save(checkpoint, path)


def not_finite(content, checkpoint, path):
    checkpoint["model_state"]["lstm.bias_hh_l2"][0] = float("nan")
    torch.save(checkpoint, path)


def code(content, checkpoint, path):
    path.write_bytes(pickle.dumps({"model_state": Payload(path.with_name("witness"))}))


def code_in_archive(content, checkpoint, path):
    torch.save({"model_state": Payload(path.with_name("witness"))}, path)


DAMAGES = [truncated, empty, text, array, other_shape, other_names, lacking, not_finite, code, code_in_archive]


@pytest.mark.parametrize("damage", DAMAGES)
def test_damaged_file_ends_in_one_line(network, tmp_path, damage):
    path = tmp_path / "own.pt"
    checkpoint = package_checkpoint(network)
    checkpoint["model_state"] = {name: value.clone() for name, value in checkpoint["model_state"].items()}
    torch.save(checkpoint, path)
    damage(path.read_bytes(), checkpoint, path)
    with pytest.raises(UserError) as caught:
        load_ge2e(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert "give the pretrained.pt of Resemblyzer" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "witness").exists()


def test_absent_file_ends_in_one_line(tmp_path):
    with pytest.raises(UserError, match=r"absent\.pt: no such file"):
        load_ge2e(tmp_path / "absent.pt")
