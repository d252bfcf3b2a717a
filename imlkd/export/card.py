"""The model card: what an exported model is, from what its run left on disk."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from imlkd.export.facts import NOT_STATED, Facts
from imlkd.export.sherpa import mismatch
from imlkd.export.variants import MaxLoss, Variant
from imlkd.reporting.table import markdown_table, text_table
from imlkd.scoring.evaluate import Evaluation

COLUMNS = (
    "variant", "EER [95 % interval]", "minus fp32 [95 % interval]", "p", "cosine distance to fp32, at most", "size",
    "2 s on one core", "real-time factor", "peak memory",
)  # fmt: skip


def model_card(facts: Facts, variants: Sequence[Variant], files: Sequence[str], limit: MaxLoss) -> str:
    """``README.md`` of the export folder."""
    parts = [
        f"# {facts.name}\n\nA speaker-verification model: audio in, an embedding of {facts.embedding_dim} values out;"
        " the cosine of two embeddings says how alike the two voices are. Distilled by imlkd"
        f" at git {facts.git}.\n",
        _facts(facts),
        _files(facts, files),
        _errors(facts),
        _table(facts, variants, limit),
        _thresholds(facts),
        _use(facts, files),
        _limits(facts),
    ]
    return "\n".join(part for part in parts if part)


def rows(variants: Sequence[Variant], name: str | None) -> list[list[str]]:
    """The table of one trial list, or without error rates."""
    return [_row(one, name) for one in variants]


def printed(variants: Sequence[Variant], lists: Sequence[str]) -> str:
    """Every list's table, for the terminal."""
    if not variants:
        return ""
    return "\n\n".join(f"{name or 'no trials'}\n{text_table(COLUMNS, rows(variants, name))}" for name in lists or [""])


def _row(one: Variant, name: str | None) -> list[str]:
    scored = one.lists.get(name or "")
    eer = difference = p = "-"
    if scored:
        eer = _percent(scored.evaluation.eer.value, scored.evaluation.eer.interval)
        if scored.difference:
            difference = _percent(scored.difference.difference, scored.difference.interval, "+")
            p = f"{scored.difference.p:.3g}"
    cost = one.cost
    return [
        one.name + (" (refused)" if one.refused else ""), eer, difference, p,
        f"{one.farthest:.1e}" if one.lists else "-", f"{cost.size_mb:.2f} MB", f"{cost.latency_ms:.2f} ms",
        f"{cost.rtf:.5f}", f"{cost.memory_mb:.0f} MB",
    ]  # fmt: skip


def _percent(value: float, interval: Any, sign: str = "") -> str:
    def one(fraction: float) -> str:
        return f"{100.0 * fraction:{sign}.2f}"

    return one(value) + " %" + (f" [{one(interval.low)}, {one(interval.high)}]" if interval else "")


def _facts(facts: Facts) -> str:
    settings = ", ".join(f"{key} {value}" for key, value in facts.front_end.items() if key != "name")
    data = ", ".join(f"`{name}` {digest}" for name, digest in facts.training_data.items()) or "not known"
    lines = [
        ["parameters", f"{facts.parameters:,}"],
        ["multiply-accumulates for 2 s, front-end excluded", f"{facts.macs:,}"],
        ["audio", f"one channel, {facts.sample_rate} Hz, in [-1, 1], {facts.min_samples} samples or more"],
        ["front-end, inside the graph", f"{facts.front_end['name']}: {settings}"],
        ["training data", data],
        ["licence", facts.licence],
    ]
    return markdown_table(["", ""], lines) + "\n"


def _files(facts: Facts, files: Sequence[str]) -> str:
    wrong = mismatch(facts.front_end)
    told = {
        "model.onnx": "waveform in, embedding out, float32",
        "model.fp16.onnx": "the same, weights stored in half precision",
        "model.int8.onnx": "the same, layers with weights in 8-bit integers",
        "features.onnx": "features in, for runtimes with a front-end of their own"
        + (f"; not for sherpa-onnx: {wrong}" if wrong else "; sherpa-onnx's fits"),
        "model.safetensors": "weights, for PyTorch",
        "model.json": "what to build for them",
        "model.torchscript": "waveform in, embedding out, for torch.jit.load",
    }
    return "\n".join(["## Files", "", *(f"- `{name}`: {told[name]}" for name in files), ""])


def _errors(facts: Facts) -> str:
    if not facts.evaluations:
        return ""
    lines = [[name, *_measures(found)] for name, found in facts.evaluations.items()]
    header = ["trials", "EER [95 % interval over speakers]", "minDCF(0.01)", "speakers", "targets", "nontargets"]
    return f"## Errors in the recipe\n\n{markdown_table(header, lines)}\n"


def _measures(found: Evaluation) -> list[str]:
    speakers = "-" if found.speakers is None else f"{found.speakers}{' (few)' if found.few_speakers else ''}"
    cost = f"{found.min_dcf[0.01].value:.3f}" if 0.01 in found.min_dcf else "-"
    return [_percent(found.eer.value, found.eer.interval), cost, speakers, str(found.targets), str(found.nontargets)]


def _table(facts: Facts, variants: Sequence[Variant], limit: MaxLoss) -> str:
    if not variants:
        return ""
    bound = f"{limit.value:.3g} of fp32's EER" if limit.relative else f"{limit.value:.3g} (a fraction) in EER"
    text = f"## Variants\n\nOnnxruntime on one core. Largest loss that is not refused: {bound}.\n"
    for name in list(variants[0].lists) or [""]:
        text += f"\n{f'### {name}' if name else 'Without trials.'}\n\n{markdown_table(COLUMNS, rows(variants, name))}\n"
    return text


def _thresholds(facts: Facts) -> str:
    parts = ["## Thresholds", ""]
    if facts.thresholds:
        points = [
            ["equal error rate" if key == "eer" else f"smallest cost at a target prior of {key}", _cosine(value)]
            for key, value in facts.thresholds.items()
            if key != "list"
        ]
        parts += [f"On the cosine, from `{facts.thresholds['list']}`; accept at or above.", ""]
        parts += [markdown_table(["operating point", "threshold"], points), ""]
    else:
        parts += ["None: the run has no scored list, or its scores are not cosines.", ""]
    if facts.calibration:
        one = facts.calibration
        parts += [
            f"Calibration: natural log-likelihood ratio = {one.scale:.6g} x cosine + {one.offset:.6g}, fitted on"
            f" {one.targets} target and {one.nontargets} nontarget trials of {len(one.speakers)} speakers.", "",
        ]  # fmt: skip
    else:
        parts += ["Calibration: none; the recipe fits one with `--calibrate`.", ""]
    return "\n".join(parts)


def _cosine(value: float | None) -> str:
    return "rejects all" if value is None else f"{value:.4f}"


def _use(facts: Facts, files: Sequence[str]) -> str:
    if "model.onnx" not in files:
        return ""
    return f"""## Use
```python
import numpy, onnxruntime, soundfile
session = onnxruntime.InferenceSession("model.onnx", providers=["CPUExecutionProvider"])
waveform, rate = soundfile.read("audio.wav", dtype="float32")  # one channel, {facts.sample_rate} Hz
embedding = session.run(None, {{"waveform": waveform[None]}})[0][0]  # of length 1: a cosine is a plain product
```
Rows of a batch are equally long. The thresholds, the calibration and all of the above are also in the file's metadata.
"""


def _limits(facts: Facts) -> str:
    few = [name for name, found in facts.evaluations.items() if found.few_speakers]
    lines = [
        "The error rates hold for audio like that of the lists; other channels, languages and noises give others.",
        "A threshold belongs to one model and one kind of audio: set it on your own recordings.",
        "An embedding tells speakers apart and is personal data.",
    ]
    if few:
        lines.append(f"Few speakers in {', '.join(few)}: read its intervals as a hint only.")
    if facts.licence == NOT_STATED:
        lines.append("No licence was stated: weights follow what the training data and the teacher allow.")
    return "\n".join(["## Limits", "", *(f"- {line}" for line in lines), ""])
