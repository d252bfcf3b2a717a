"""`imlkd export`: what it refuses, each in one line and before it works."""

from pathlib import Path

import pytest

from imlkd.features.fbank import FbankConfig
from imlkd.models.networks import build_network
from imlkd.models.store import save_model
from imlkd.models.tdnn import TdnnConfig


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("exp") / "student"
    save_model(build_network(TdnnConfig(width=4, blocks=1, embedding_dim=4), FbankConfig()), out)
    return out


def refused(imlkd, said: str, *arguments: object) -> None:
    done = imlkd("export", *arguments)
    assert done.returncode == 1, done.stdout + done.stderr
    assert said in done.stderr and done.stderr.count("\n") == 1, done.stderr


def test_no_finished_model(imlkd, tmp_path: Path) -> None:
    refused(imlkd, f"{tmp_path}: no finished model: run stage 2 (teacher) or stage 4 (student) first", tmp_path)


def test_unknown_format(imlkd, folder: Path) -> None:
    refused(imlkd, "--format onyx: known are onnx, fp16, int8, features", folder, "--format", "onnx,onyx")


def test_a_variant_without_data(imlkd, folder: Path) -> None:
    refused(imlkd, "--format int8: a smaller variant is only given out with its error rate", folder, "--format", "int8")


def test_output_that_cannot_be_written(imlkd, folder: Path, tmp_path: Path) -> None:
    (tmp_path / "plain").write_text("")
    refused(imlkd, "a plain file stands", folder, "--out", tmp_path / "plain")


def test_bound_that_is_none(imlkd, folder: Path) -> None:
    refused(imlkd, "--max-loss lots: give a share", folder, "--max-loss", "lots")


def test_weights_alone_need_no_exporter(imlkd, folder: Path, tmp_path: Path) -> None:
    done = imlkd("export", folder, "--out", tmp_path / "out", "--format", "safetensors")
    assert done.returncode == 0, done.stderr
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "README.md", "export.json", "model.json", "model.safetensors",
    ]  # fmt: skip


def test_a_front_end_without_graph_is_named(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from imlkd.errors import UserError
    from imlkd.export import front_end
    from imlkd.export.stage import ExportOptions, export_model

    monkeypatch.setattr(front_end, "GRAPHS", {})
    with pytest.raises(UserError, match=f"{folder}: the front-end LogMel cannot be put into a graph"):
        export_model(folder, tmp_path, ExportOptions(("onnx",)))


@pytest.mark.parametrize("name", ["onnx", "int8", "features", "safetensors"])
def test_a_missing_package_is_named_with_its_remedy(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    import importlib.util

    from imlkd.errors import UserError
    from imlkd.export.stage import check_formats

    monkeypatch.setattr(importlib.util, "find_spec", lambda package: None)
    with pytest.raises(UserError, match=r"is missing: `pip install '\.\[train,export\]'` in the checkout"):
        check_formats([name])
    check_formats(["torchscript"])
