"""imlkd: Integrated Multi-level Knowledge Distillation for small speaker-verification models."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from imlkd.runtime.model import EmbeddingModel

__version__ = "0.1.0"
__all__ = ["__version__", "load_model"]


def load_model(path: Path | str, threads: int = 1) -> EmbeddingModel:
    """A finished model: a ``.onnx`` file that ``imlkd export`` wrote, or a folder ``exp/<model>`` (needs torch).

    :param threads: cores that one recording may take.
    :raises imlkd.errors.UserError: naming what is missing, damaged or of another toolkit.

    >>> from imlkd import load_model
    >>> model = load_model("student.onnx")
    >>> model.sample_rate, model.embedding_dim
    (16000, 24)
    >>> first, second = model.embed_files(["alice-1.wav", "alice-2.wav"])
    >>> bool(first @ second >= model.thresholds.values["eer"])
    True
    """
    from imlkd.runtime.loading import load_model as load

    return load(path, threads)
