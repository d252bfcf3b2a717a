"""From a path to a model, by what lies there."""

from __future__ import annotations

from pathlib import Path

from imlkd.errors import UserError
from imlkd.runtime.model import EmbeddingModel
from imlkd.runtime.onnx_model import OnnxModel


def load_model(path: Path | str, threads: int = 1) -> EmbeddingModel:
    """See :func:`imlkd.load_model`, which is this function without its imports."""
    path = Path(path)
    if not path.is_dir():
        return OnnxModel(path, threads)
    if not (path / "final.pt").is_file():
        raise UserError(f"{path}: holds no final.pt: give a model's folder (exp/<model>) or a .onnx file")
    from imlkd.runtime.folder_model import FolderModel

    return FolderModel(path, threads)
