"""Export a finished model: its graph, smaller variants with what they lose, and the card that says what it is."""

from __future__ import annotations

import dataclasses
import importlib.util
import json
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from imlkd.attribution.folding import folded
from imlkd.errors import UserError
from imlkd.export import card, sherpa
from imlkd.export.embedder import FeaturesEmbedder, WaveformEmbedder
from imlkd.export.facts import Facts, facts_of
from imlkd.export.graph import missing, to_onnx, write_onnx
from imlkd.export.measure import cost_of
from imlkd.export.quantize import half_weights, int8
from imlkd.export.variants import (
    REFERENCE,
    MaxLoss,
    Scored,
    Variant,
    embeddings,
    farthest,
    read_test_audio,
    score,
)
from imlkd.export.weights import save_safetensors, save_torchscript
from imlkd.features.speech import SpeechReader
from imlkd.files import atomic_write_text, make_dir, os_errors
from imlkd.models.speaker_model import SpeakerModel
from imlkd.models.store import load_model

SMALLER = ("fp16", "int8")
FORMATS = ("onnx", *SMALLER, "features", "safetensors", "torchscript")
PACKAGES: dict[str, tuple[str, ...]] = {"safetensors": ("safetensors",), "torchscript": ()}  # the others: onnx's
GRAPH, FEATURES, CARD, SUMMARY = "model.onnx", "features.onnx", "README.md", "export.json"
LONGEST = 10  # seconds of an utterance that int8 is calibrated on


@dataclass(frozen=True)
class ExportOptions:
    """How.

    :param formats: of ``FORMATS``.
    :param sets: ``data/<corpus>.sets.yaml``, for trial lists, training audio and its hash; None: without data.
    :param utterances: training utterances that int8 is calibrated on.
    """

    formats: tuple[str, ...]
    sets: Path | None = None
    licence: str = ""
    max_loss: MaxLoss = MaxLoss(0.05, relative=True)
    accept_loss: bool = False
    utterances: int = 32
    draws: int = 1000
    allow_pipes: bool = False


def export_model(folder: Path, out: Path, options: ExportOptions) -> str:
    """Write what ``options`` name into ``out``, and ``README.md`` and ``export.json`` beside it; returns the table.

    :raises UserError: without a finished model, for an unknown format, a folder that can't be written, a front-end that
        no graph can hold, or, when all else is written, a variant that loses more than the bound.
    """
    check(folder, out, options)
    model = load_model(folder)
    try:
        embedder = WaveformEmbedder(folded(model)[0]).eval()
    except UserError as error:
        raise UserError(f"{folder}: {error}") from error
    facts = facts_of(folder, model, embedder.min_samples, options.sets, options.licence, options.allow_pipes)
    files: list[str] = []
    variants: list[Variant] = []
    if "safetensors" in options.formats:
        files += [path.name for path in save_safetensors(model, out, facts.metadata("fp32"))]
    if "torchscript" in options.formats:
        files.append(save_torchscript(embedder, out, facts.sample_rate).name)
    if "features" in options.formats:
        files.append(_features(folded(model)[0], facts, out).name)
    if {"onnx", *SMALLER} & set(options.formats):
        variants = _graphs(embedder, facts, out, options)
        files = [one.file for one in variants if not one.refused] + files
    atomic_write_text(out / SUMMARY, json.dumps(summary(facts, variants, files), indent=1) + "\n")
    atomic_write_text(out / CARD, card.model_card(facts, variants, files, options.max_loss))
    table = card.printed(variants, list(variants[0].lists) if variants else [])
    _refuse(variants, options, table)
    return "\n".join([*([table, ""] if table else []), f"{out}: {', '.join(files)}, {CARD}, {SUMMARY}"])


def check(folder: Path, out: Path, options: ExportOptions) -> None:
    """UserError before anything is loaded."""
    check_formats(options.formats)
    if not (folder / "final.pt").is_file():
        raise UserError(f"{folder}: no finished model: run stage 2 (teacher) or stage 4 (student) first")
    if options.sets is None and (wanted := [name for name in options.formats if name in SMALLER]):
        raise UserError(
            f"--format {wanted[0]}: a smaller variant is only given out with its error rate: name the recipe's sets"
            " with --sets data/CORPUS.sets.yaml"
        )
    make_dir(out)
    with os_errors(out), tempfile.TemporaryFile(dir=out, prefix=".tmp"):
        pass


def check_formats(names: Sequence[str]) -> None:
    """UserError for an unknown one, or for a package that is not installed."""
    for name in names:
        if name not in FORMATS:
            raise UserError(f"--format {name}: known are {', '.join(FORMATS)}")
        for package in PACKAGES.get(name, ("onnx", "onnxscript")):
            if importlib.util.find_spec(package) is None:
                raise UserError(missing(package))


def _features(model: SpeakerModel, facts: Facts, out: Path) -> Path:
    """The graph without front-end."""
    rows = FeaturesEmbedder(model, getattr(model.frontend, "edge", 0)).eval()
    example = torch.randn(2, 240, model.frontend.dim, generator=torch.Generator().manual_seed(0))
    proto = to_onnx(rows, example, (sherpa.INPUT, sherpa.OUTPUT), {0: "batch", 1: "frames"})
    keys = sherpa.sherpa_keys(facts.front_end, facts.embedding_dim, facts.name)
    write_onnx(proto, out / FEATURES, facts.metadata(REFERENCE, "features") | keys)
    return out / FEATURES


def _graphs(embedder: WaveformEmbedder, facts: Facts, out: Path, options: ExportOptions) -> list[Variant]:
    """float32 first; then each smaller one that is wanted, scored against it. What is refused is removed again."""
    rate = facts.sample_rate
    example = 0.1 * torch.randn(2, rate + embedder.min_samples, generator=torch.Generator().manual_seed(0))
    proto = to_onnx(embedder, example, ("waveform", "embedding"), {0: "batch", 1: "samples"})
    write_onnx(proto, out / GRAPH, facts.metadata(REFERENCE))
    lists = facts.sets.lists if facts.sets else []
    audio: dict[str, Any] = {}
    if facts.data is not None:
        audio = read_test_audio(facts.data, lists, rate, facts.min_samples, options.allow_pipes)
    reference = embeddings(out / GRAPH, audio)
    found: list[Variant] = []
    for name in [REFERENCE, *(name for name in SMALLER if name in options.formats)]:
        path = out / (GRAPH if name == REFERENCE else f"model.{name}.onnx")
        if name == "fp16":
            write_onnx(half_weights(proto), path, facts.metadata(name))
        elif name == "int8":
            int8(proto, _calibration_audio(facts, options), path, facts.metadata(name))
        own = reference if name == REFERENCE else embeddings(path, audio)
        scored = score(facts.data, lists, own, reference, options.draws) if facts.data is not None else {}
        variant = Variant(name, path.name, cost_of(path, rate), scored, farthest(own, reference) if own else 0.0)
        found.append(_judged(variant, found[0].lists if found else scored, out, options))
    return found


def _judged(variant: Variant, reference: dict[str, Scored], out: Path, options: ExportOptions) -> Variant:
    if variant.name == REFERENCE or options.accept_loss or options.max_loss.exceeded(variant.lists, reference) is None:
        return variant
    (out / variant.file).unlink()
    return dataclasses.replace(variant, refused=True)


def _refuse(variants: Sequence[Variant], options: ExportOptions, table: str) -> None:
    for one in variants:
        if one.refused:
            name = options.max_loss.exceeded(one.lists, variants[0].lists) or ""
            own, whole = (v.lists[name].evaluation.eer.value for v in (one, variants[0]))
            raise UserError(
                f"{one.file}: EER on {name} {own:.2%} against {whole:.2%} of float32, more than --max-loss allows:"
                " not kept (the other files were); raise --max-loss, or keep it with --accept-loss"
            )


def _calibration_audio(facts: Facts, options: ExportOptions) -> list[Any]:
    """Training utterances, evenly over their ids, each cut to ten seconds."""
    assert facts.sets is not None and facts.data is not None
    reader = SpeechReader(facts.data / facts.sets.train, facts.sample_rate, options.allow_pipes)
    count = min(options.utterances, len(reader.names))
    chosen = [reader.names[i * len(reader.names) // count] for i in range(count)]
    found = [reader.utterance(name).numpy()[: LONGEST * facts.sample_rate] for name in chosen]
    return [waveform for waveform in found if len(waveform) >= facts.min_samples]


def summary(facts: Facts, variants: Sequence[Variant], files: Sequence[str]) -> dict[str, Any]:
    """``export.json``: what the report shows; error rates are fractions."""
    listed = [
        {
            "variant": one.name,
            "file": one.file,
            "refused": one.refused,
            "farthest": one.farthest,
            **vars(one.cost),
            "lists": {
                name: {
                    "eer": dataclasses.asdict(scored.evaluation.eer),
                    "difference": dataclasses.asdict(scored.difference) if scored.difference else None,
                }
                for name, scored in one.lists.items()
            },
        }
        for one in variants
    ]
    return {"model": facts.name, "git": facts.git, "files": list(files), "variants": listed}
