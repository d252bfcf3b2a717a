"""An object that writes a file when it is unpickled, a command, a path that leads out: planted in whatever is read."""

import gzip
import io
import itertools
import json
import pickle
import struct
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from lhotse import Features, MonoCut

from imlkd import load_model
from imlkd.attribution.segmentation.k2_lane import _receive
from imlkd.config import load_config
from imlkd.corpora.lhotse.cuts import from_cuts, read_cuts, write_cuts
from imlkd.corpora.lhotse.shar import export_shar
from imlkd.corpora.lhotse.storages import refuse_leaving
from imlkd.corpora.shards import find_shards, unpack_shards
from imlkd.corpora.utterance_set import read_set
from imlkd.errors import UserError
from imlkd.export.weights import load_safetensors
from imlkd.features.sounds import Sounds
from imlkd.kaldi_io import read_array, read_scp_arrays
from imlkd.models.foreign import read_state
from imlkd.models.store import build_model, load_tensors
from imlkd.training.checkpoint import CheckpointStore
from imlkd.training.frames import lhotse_frames, shar_frames
from imlkd.training.student import StudentConfig
from tests.fuzz.planted import Planted
from tests.runtime.tiny_model import write_tiny_model


@pytest.fixture
def trace(tmp_path: Path) -> Path:
    """What is there once the planted object has been unpickled, or the command run."""
    return tmp_path / "trace"


def refused(work: Callable[[], object], trace: Path) -> None:
    try:
        work()
    except (UserError, ValueError) as error:
        assert str(error)
    assert not trace.exists()


def test_the_planted_object_is_a_live_one(trace: Path) -> None:
    pickle.loads(pickle.dumps(Planted(trace)))
    assert trace.exists()


@pytest.mark.parametrize("name", ["x.pt", "x.ckpt", "x.bin", "x.safetensors"])
@pytest.mark.parametrize("layout", ["pickle", "zip", "old"])
def test_weights(name: str, layout: str, tmp_path: Path, trace: Path) -> None:
    path, state = tmp_path / name, {"w": torch.ones(1), "x": Planted(trace)}
    if layout == "pickle":
        path.write_bytes(pickle.dumps(state))
    else:
        torch.save(state, path, _use_new_zipfile_serialization=layout == "zip")
    for read in (read_state, load_tensors):
        with pytest.raises(UserError):
            read(path)
    refused(lambda: load_model(path), trace)
    path.rename(tmp_path / "model.safetensors")
    (tmp_path / "model.json").write_text(json.dumps({"architecture": "ge2e"}))
    refused(lambda: load_safetensors(tmp_path), trace)


def test_a_checkpoint_with_the_digest_of_its_bytes(tmp_path: Path, trace: Path) -> None:
    store = CheckpointStore(tmp_path, 2)
    store.save({"course": {"x": Planted(trace)}}, 7)
    assert store.newest() is None and len(store.damaged) == 1 and not trace.exists()


@pytest.mark.parametrize("head", [b"PKL ", b"\0BPKL ", b"NPY ", b""])
def test_arks(head: bytes, tmp_path: Path, trace: Path) -> None:
    (tmp_path / "x.ark").write_bytes(b"a " + head + pickle.dumps(Planted(trace)))
    (tmp_path / "x.scp").write_text(f"a {tmp_path}/x.ark:2\n")
    with pytest.raises(UserError):
        read_scp_arrays(tmp_path / "x.scp")
    with pytest.raises(UserError, match="pipes are not read"):
        read_array(f"touch {trace} |")
    assert not trace.exists()


@pytest.mark.parametrize("packed", [True, False])
def test_arrays_of_objects(packed: bool, trace: Path) -> None:
    """As the process of k2 would have to send them."""
    stream = io.BytesIO()
    content = np.array([Planted(trace)], dtype=object)
    np.savez(stream, a=content) if packed else np.save(stream, content)  # type: ignore[func-returns-value]
    message = struct.pack("<Q", stream.tell()) + stream.getvalue()
    with pytest.raises((ValueError, AttributeError, TypeError)):
        _receive(io.BytesIO(message))
    assert not trace.exists()


def test_yaml(tmp_path: Path, trace: Path) -> None:
    code = f"!!python/object/apply:os.system ['touch {trace}']"
    for text in (f"model: {code}", code):
        (tmp_path / "student.yaml").write_text(text)
        with pytest.raises(UserError):
            load_config(StudentConfig, tmp_path / "student.yaml")
        with pytest.raises(UserError):
            load_config(StudentConfig, None, [f"model={code}"])
    assert not trace.exists()


def test_onnx_weights_in_another_file(tmp_path: Path) -> None:
    """The file outside holds what would make the model whole, and is not looked at."""
    model = onnx.load(write_tiny_model(tmp_path / "whole.onnx"))
    folder = tmp_path / "in"
    folder.mkdir()
    onnx.save(model, str(folder / "m.onnx"), save_as_external_data=True, location="w.bin", size_threshold=100)
    (folder / "w.bin").rename(tmp_path / "w.bin")
    moved = onnx.load(str(folder / "m.onnx"), load_external_data=False)
    for place in ("../w.bin", str(tmp_path / "w.bin")):
        for one in moved.graph.initializer:
            for entry in one.external_data:
                entry.value = place if entry.key == "location" else entry.value
        (folder / "m.onnx").write_bytes(moved.SerializeToString())
        with pytest.raises(UserError, match="no ONNX model"):
            load_model(folder / "m.onnx")


def cut_with(corpus: Path, **changes: Any) -> MonoCut:
    cut = read_cuts(corpus.parent / "manifests/toy.jsonl.gz")[0]
    values = {"storage_type": "numpy_files", "storage_path": "feats", "storage_key": "a.npy"} | changes
    cut.features = Features(
        type="fbank", num_frames=20, num_features=4, frame_shift=0.01, sampling_rate=16000, start=0,
        duration=cut.duration, recording_id=cut.recording.id, channels=0, **values,
    )  # fmt: skip
    return cut


@pytest.mark.parametrize("kind", ["memory_raw", "kaldiio", "lilcom_url", "unknown"])
def test_storages_that_can_hold_more_than_numbers(kind: str, toy_corpus: Path, tmp_path: Path, trace: Path) -> None:
    """Lhotse's ``memory_raw`` unpickles what stands in the manifest."""
    cut = cut_with(toy_corpus, storage_type=kind, storage_key="key")
    write_cuts([cut], tmp_path / "cuts.jsonl.gz")
    with pytest.raises(UserError, match=f"features in storage '{kind}', which is not read"):
        lhotse_frames(tmp_path / "cuts.jsonl.gz")


@pytest.mark.parametrize(("field", "value"), [
    ("storage_path", "pipe:touch {}"), ("storage_key", "pipe:touch {}"), ("storage_path", "../feats"),
    ("storage_path", "a/../../feats"), ("storage_key", "../../a.npy"), ("storage_path", "https://example.org/feats"),
])  # fmt: skip
def test_features_that_lie_elsewhere(field: str, value: str, toy_corpus: Path, tmp_path: Path, trace: Path) -> None:
    write_cuts([cut_with(toy_corpus, **{field: value.format(trace)})], tmp_path / "cuts.jsonl.gz")
    with pytest.raises(UserError, match="is no path|leaves its folder"):
        lhotse_frames(tmp_path / "cuts.jsonl.gz").crop("s0-u0", 0, 5)
    assert not trace.exists()


def test_a_shar_whose_features_are_listed_instead(toy_corpus: Path, tmp_path: Path, trace: Path) -> None:
    """A line of JSON in place of a tar file may name any storage."""
    shar = tmp_path / "shar"
    export_shar(toy_corpus, shar, say=lambda line: None)
    (shar / "features.000000.tar").rename(tmp_path / "kept.tar")
    shar_cuts = [cut_with(toy_corpus, storage_type="memory_raw", storage_key="x").features.to_dict()]
    text = json.dumps({"cut_id": "s0-u0", "features": shar_cuts[0]}) + "\n"
    (shar / "features.000000.jsonl").write_text(text)
    (shar / "features.tar").mkdir()
    (shar / "features.0.tar").touch()
    with pytest.raises(UserError):
        shar_frames(shar)
    assert not trace.exists()


def member(name: str, kind: bytes, content: bytes = b"x", link: str = "") -> tuple[tarfile.TarInfo, io.BytesIO]:
    info = tarfile.TarInfo(name)
    info.type, info.size, info.linkname = kind, len(content) if kind == tarfile.REGTYPE else 0, link
    return info, io.BytesIO(content)


def test_members_of_archives_stay_below_their_folder(tmp_path: Path) -> None:
    good = "id10003/abcdefghijk/00001.wav"
    with tarfile.open(tmp_path / "x.tar", "w") as tar:
        for info, content in (
            member(good, tarfile.REGTYPE),
            member("../../id10003/abcdefghijk/00002.wav", tarfile.REGTYPE),
            member("/id10003/abcdefghijk/00003.wav", tarfile.REGTYPE),
            member("id10003/abcdefghijk/00004.wav", tarfile.SYMTYPE, link="/etc/passwd"),
            member("id10003/abcdefghijk/00005.wav", tarfile.LNKTYPE, link="../../../outside"),
            member("id10003/abcdefghijk/00006.wav", tarfile.CHRTYPE),
            member("id10003/../../../up.wav", tarfile.REGTYPE),
        ):
            tar.addfile(info, content)
    out = tmp_path / "deep/er/out"
    unpack_shards(tmp_path / "x.tar", out, say=lambda line: None)
    files = {path for path in tmp_path.rglob("*") if path.is_file() or path.is_symlink()}
    assert all(path.is_relative_to(out) for path in files - {tmp_path / "x.tar"})
    assert not any(path.is_symlink() for path in files) and (out / good).is_file()


def test_lists_and_manifests_stay_below_their_folder(tmp_path: Path, toy_corpus: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "x.tar").touch()
    (tmp_path / "in/shard.list").write_text("../x.tar\n")
    with pytest.raises(UserError, match=r"shard.list:1: '../x.tar' leaves its folder"):
        find_shards(tmp_path / "in")
    (tmp_path / "in/shard.list").write_text(f"{tmp_path}/x.tar\n")
    assert find_shards(tmp_path / "in") == [tmp_path / "x.tar"]
    line = json.dumps({"id": "a", "sources": [{"source": "../a.wav"}]})
    (tmp_path / "in/recordings.jsonl").write_text(line + "\n")
    with pytest.raises(UserError, match=r"recordings.jsonl:1: '../a.wav' leaves its folder"):
        Sounds(16000).add(tmp_path / "in/recordings.jsonl")
    cut = read_cuts(toy_corpus.parent / "manifests/toy.jsonl.gz")[0]
    cut.recording.sources[0].source = "../../a.wav"
    with pytest.raises(UserError, match=r"cut s0-u0: '../../a.wav' leaves its folder: write the absolute path"):
        from_cuts([cut], tmp_path / "in/cuts.jsonl.gz")


def test_entries_that_double_each_other(tmp_path: Path) -> None:
    """Ten lines of YAML that would be ten billion words, were they written out in the message."""
    lines = ["a: &a [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"{b}: &{b} [{', '.join([f'*{a}'] * 10)}]" for a, b in itertools.pairwise("abcdefghij")]
    (tmp_path / "student.yaml").write_text("\n".join(lines).replace("j: &j", "model: &j"))
    with pytest.raises(UserError, match="model: expected a text, found a list or a section"):
        load_config(StudentConfig, tmp_path / "student.yaml")
    (tmp_path / "student.yaml").write_text("".join(f"{line}\n" for line in ["model:", *(f"  {x}" for x in lines)]))
    with pytest.raises(UserError, match="model: expected a text, found a list or a section"):
        load_config(StudentConfig, tmp_path / "student.yaml")


@pytest.mark.parametrize("key", ["architecture", "frontend", "network"])
def test_entries_that_double_each_other_in_a_model(key: str, tmp_path: Path) -> None:
    lines = ["a: &a [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"{b}: &{b} [{', '.join([f'*{a}'] * 10)}]" for a, b in itertools.pairwise("abcdefghij")]
    text = "\n".join(lines).replace("j: &j", f"{key}: &j") + ("" if key == "architecture" else "\narchitecture: tdnn")
    (tmp_path / "model.yaml").write_text(text)
    with pytest.raises(UserError, match=r"model\.yaml"):
        build_model(tmp_path)


def test_a_line_without_end(tmp_path: Path) -> None:
    """A few kilobytes that unpack to a line of a hundred million letters."""
    with gzip.open(tmp_path / "cuts.jsonl.gz", "wb", compresslevel=1) as stream:
        for _ in range(3):
            stream.write(b" " * (1 << 25))
    with pytest.raises(UserError, match="a line of more than 67108864 letters: no cut is so long"):
        read_cuts(tmp_path / "cuts.jsonl.gz")


@pytest.mark.parametrize(("path", "leaves"), [
    ("a/b", False), ("./a", False), ("a/../b", False), ("..a", False), ("/a/../b", False), ("..", True),
    ("../a", True), ("a/../../b", True), ("./../a", True),
])  # fmt: skip
def test_what_leaves_a_folder(path: str, leaves: bool) -> None:
    if leaves:
        with pytest.raises(UserError, match="leaves its folder"):
            refuse_leaving(path, "here")
    else:
        refuse_leaving(path, "here")


def test_a_safetensors_header_that_names_more_than_there_is(tmp_path: Path) -> None:
    header = json.dumps({"w": {"dtype": "F32", "shape": [1 << 40], "data_offsets": [0, 1 << 42]}}).encode()
    (tmp_path / "x.safetensors").write_bytes(struct.pack("<Q", len(header)) + header)
    with pytest.raises(UserError):
        read_state(tmp_path / "x.safetensors")


@pytest.mark.parametrize("line", ["NaN", "1e999", "-1", "null", '"x"', "[]", "[[]]", "{}", '{"a": 1}', "[" * 9999])
def test_a_line_of_a_manifest_that_is_no_object(line: str, tmp_path: Path) -> None:
    (tmp_path / "cuts.jsonl").write_text(f"{line}\n")
    for read in (Sounds(16000).add, read_cuts, read_set):
        with pytest.raises(UserError, match=r"cuts\.jsonl:1: "):
            read(tmp_path / "cuts.jsonl")
