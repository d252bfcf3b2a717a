"""A graph on features, for runtimes that bring a front-end: wespeaker's, and sherpa-onnx where its own is the model's.

sherpa-onnx computes, for any speaker model, Kaldi's log mel of 80 bands from 20 Hz to 400 Hz below half of the sampling
rate, Povey windows, frames up to both ends of the audio, no dither; ``normalize_samples=0`` has it on the scale of
16-bit integers. That is the recipe's own front-end with its default settings. It takes nothing from the features unless
``feature_normalize_type`` says so, which is empty here: what the network needs of that is inside the graph.
"""

from __future__ import annotations

from typing import Any

INPUT, OUTPUT = "feats", "embs"  # names that wespeaker's runtime feeds and reads
BANDS, LOW, BELOW_NYQUIST = 80, 20.0, 400.0


def sherpa_keys(front_end: dict[str, Any], embedding_dim: int, name: str) -> dict[str, str]:
    """The metadata that sherpa-onnx asks for; empty when its features are not the model's, so that it refuses them."""
    if mismatch(front_end):
        return {}
    return {
        "framework": "wespeaker",
        "language": "any",
        "url": "",
        "comment": f"{name}, exported by imlkd",
        "sample_rate": str(front_end["sample_rate"]),
        "output_dim": str(embedding_dim),
        "normalize_samples": "0",
        "feature_normalize_type": "",
    }


def mismatch(front_end: dict[str, Any]) -> str:
    """What tells the model's front-end from sherpa-onnx's; empty when nothing does."""
    if front_end["name"] != "log-mel":
        return f"its front-end is {front_end['name']}"
    rate = front_end["sample_rate"]
    expected = {"num_mel_bins": BANDS, "low_freq": LOW, "high_freq": rate / 2 - BELOW_NYQUIST}
    return ", ".join(
        f"{key} is {front_end[key]:g}, not {value:g}" for key, value in expected.items() if front_end[key] != value
    )
