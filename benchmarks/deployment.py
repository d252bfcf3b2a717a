#!/usr/bin/env python3
"""How fast, small and frugal an exported student is beside its teacher, one core, onnxruntime for both.

Weights are drawn: none of this depends on them. Every file is measured in processes of its own, which take turns, and
of each number the best of the rounds counts. SpeechBrain's own ECAPA-TDNN, of the same shape and with the same weights,
is exported from its own code (features in; it has no front-end for a graph) and measured beside ours, features in as
well; that both give the same embeddings, and that each waveform graph gives those of the recipe, is checked first.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import logging
import os
import platform
import subprocess
import sys
import tempfile
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from imlkd.export.embedder import FeaturesEmbedder, WaveformEmbedder  # noqa: E402
from imlkd.export.graph import to_onnx, write_onnx  # noqa: E402
from imlkd.export.measure import Cost, cost_of, embed, seconds_of  # noqa: E402
from imlkd.features.fbank import FbankConfig  # noqa: E402
from imlkd.features.teacher_fbanks import SpeechbrainMelConfig  # noqa: E402
from imlkd.models.ecapa import EcapaConfig  # noqa: E402
from imlkd.models.networks import build_network  # noqa: E402
from imlkd.models.speaker_model import SpeakerModel  # noqa: E402
from imlkd.models.speechbrain import load_speechbrain  # noqa: E402
from imlkd.models.tdnn import TdnnConfig  # noqa: E402
from imlkd.onnx_session import open_session  # noqa: E402

RATE, PARITY = 16000, 1e-4
ORACLE = ROOT / ".venv-oracle"
CONF = ROOT / "egs/minivox/conf"


def networks() -> dict[str, SpeakerModel]:
    """ECAPA-512 to ECAPA-64, and the recipe's default pair."""
    fbank = FbankConfig()
    default = {
        name: TdnnConfig(**yaml.safe_load((CONF / f"{name}.yaml").read_text())["network"])
        for name in ("teacher", "student")
    }
    return {
        "teacher": build_network(EcapaConfig(channels=512), fbank),
        "student": build_network(EcapaConfig(channels=64), fbank),
        "default_teacher": build_network(default["teacher"], fbank),
        "default_student": build_network(default["student"], fbank),
    }


def export_waveform(model: SpeakerModel, path: Path) -> Path:
    """With the front-end; its embedding is that of the recipe."""
    model.eval().requires_grad_(False)
    names, axes = ("waveform", "embedding"), {0: "batch", 1: "samples"}
    write_onnx(to_onnx(WaveformEmbedder(model).eval(), 0.1 * torch.randn(2, 24000), names, axes), path, {})
    waveform = 0.1 * torch.randn(31234)
    difference = np.abs(embed(open_session(path), waveform.numpy()) - model.embed(waveform).numpy()).max()
    assert difference < PARITY, f"{path.name}: {difference}"
    return path


def export_speechbrain(folder: Path) -> dict[str, Path]:
    """Its ECAPA-512 by its own code, and the same network by ours; both on features."""
    sys.path.append(str(next(ORACLE.glob("lib/python*/site-packages"))))  # behind our own packages
    spec = importlib.util.spec_from_file_location("original_models", ROOT / "tests/models/original_models.py")
    assert spec is not None and spec.loader is not None
    originals = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(originals)
    settings = {"input_size": 80, "channels": [512, 512, 512, 512, 1536], "lin_neurons": 192}
    theirs = originals.speechbrain("ecapa", settings).eval()
    torch.save(theirs.state_dict(), folder / "embedding_model.ckpt")
    ours = load_speechbrain(folder)
    features = torch.randn(2, 240, 80)
    paths = {"speechbrain": folder / "speechbrain.onnx", "same_network": folder / "same_network.onnx"}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        # Its pooling writes the number of rows into the graph: one, as in all that is timed here.
        program = torch.onnx.export(
            theirs, (features[:1],), dynamo=True, verbose=False, input_names=["feats"], output_names=["embs"],
            dynamic_shapes={"x": {1: torch.export.Dim.AUTO}}, external_data=False,
        )  # fmt: skip
    assert program is not None
    program.save(str(paths["speechbrain"]), external_data=False)
    write_onnx(
        to_onnx(FeaturesEmbedder(ours).eval(), features, ("feats", "embs"), {0: "batch", 1: "frames"}),
        paths["same_network"], {},
    )  # fmt: skip
    probe = torch.randn(1, 333, 80)
    centred = (probe - probe.mean(1, keepdim=True)).numpy()  # what its recipe does before, and ours inside
    found = [open_session(path).run(None, {"feats": centred})[0].reshape(-1) for path in paths.values()]
    difference = np.abs(found[0] / np.linalg.norm(found[0]) - found[1]).max()
    assert difference < PARITY, f"SpeechBrain's graph and ours differ by {difference}"
    return paths


def features_latency(path: Path, repetitions: int) -> float:
    """Milliseconds for the 201 frames of 2 s, here."""
    frames = np.random.default_rng(0).standard_normal((201, SpeechbrainMelConfig().num_mel_bins)).astype(np.float32)
    return float(1000.0 * np.median(seconds_of(open_session(path), frames, repetitions)))


def best(one: Cost | None, other: Cost) -> Cost:
    """The smaller of each number."""
    if one is None:
        return other
    return replace(one, **{name: min(value, getattr(other, name)) for name, value in vars(one).items()})


def measured(paths: dict[str, Path], rounds: int, repetitions: int) -> dict[str, Any]:
    """Keys of every file, and the speed-ups."""
    costs: dict[str, Cost | None] = dict.fromkeys(paths)
    for _ in range(rounds):
        for name, path in paths.items():
            costs[name] = best(costs[name], cost_of(path, RATE, repetitions))
    found: dict[str, Any] = {}
    for name, cost in costs.items():
        assert cost is not None
        found |= {f"{name}_{key}": round(value, 6) for key, value in vars(cost).items()}
    found |= {key: found[f"student_{key}"] for key in ("latency_ms", "rtf", "size_mb", "memory_mb")}
    found["student_vs_teacher_speedup"] = round(found["teacher_latency_ms"] / found["student_latency_ms"], 2)
    default = found["default_teacher_latency_ms"] / found["default_student_latency_ms"]
    found["default_pair_speedup"] = round(default, 2)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="2 rounds of 15 repetitions instead of 5 of 60")
    parser.add_argument("--json", type=Path, required=True, help="file to write")
    options = parser.parse_args()
    rounds, repetitions = (2, 15) if options.quick else (5, 60)
    torch.set_num_threads(1)
    torch.manual_seed(0)
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    found: dict[str, Any] = {"cpu": cpu(), "cores": os.cpu_count(), "python": platform.python_version()}
    found |= {"rounds": rounds, "repetitions": repetitions}
    with tempfile.TemporaryDirectory() as name, torch.no_grad():
        folder = Path(name)
        paths = {key: export_waveform(model, folder / f"{key}.onnx") for key, model in networks().items()}
        found |= measured(paths, rounds, repetitions)
        if (ORACLE / "made_of").is_file():
            graphs = export_speechbrain(folder)
            for _ in range(rounds):
                for key, path in graphs.items():
                    taken = features_latency(path, repetitions)
                    found[f"{key}_features_latency_ms"] = min(taken, found.get(f"{key}_features_latency_ms", taken))
            found["speechbrain_size_mb"] = graphs["speechbrain"].stat().st_size / 1e6
        else:
            print("SpeechBrain's graph is left out: bash tests/setup_oracle.sh makes its environment", file=sys.stderr)
    options.json.write_text(json.dumps(found, indent=1) + "\n")
    for key, value in found.items():
        print(f"{key:34} {value}")


def cpu() -> str:
    """As the kernel names it."""
    done = subprocess.run(["grep", "-m1", "model name", "/proc/cpuinfo"], capture_output=True, text=True, check=False)
    return done.stdout.partition(":")[2].strip() or platform.machine()


if __name__ == "__main__":
    main()
