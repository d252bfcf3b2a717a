"""Done markers: a stage is up to date when what it was made from, and what it made, are unchanged.

A marker is a hidden JSON file, written last. It holds a digest of each input (file contents, option values, and the
source of every module the stage's code imports, comments and docstrings left out) and the size of each output.
"""

from __future__ import annotations

import ast
import hashlib
import json
import os
import time
import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from imlkd.errors import UserError
from imlkd.files import atomic_write_text, os_errors, parse_json, sha256_file

# The tables of a Kaldi data directory that decide what a stage computes from it. Arks and audio may change under the
# same names: features.yaml stands for the one, reco2sha256 for the other.
DATA_TABLES = (
    "wav.scp", "segments", "utt2spk", "spk2gender", "reco2sha256",
    "feats.scp", "vad.scp", "utt2num_frames", "features.yaml",
)  # fmt: skip


@dataclass
class Recipe:
    """What a stage is made from.

    :param files: files, or folders (their visible files, not those of sub-folders).
    :param data: Kaldi data directories; only their tables named in ``tables`` count.
    :param values: option values that change the result.
    :param code: modules whose source, and that of all they import from this package, counts.
    """

    files: list[Path] = field(default_factory=list)
    data: list[Path] = field(default_factory=list)
    values: dict[str, str] = field(default_factory=dict)
    code: list[str] = field(default_factory=list)
    tables: tuple[str, ...] = DATA_TABLES

    def digests(self) -> dict[str, str]:
        """Digest of each input by a name fit for a message; UserError when an input is missing."""
        found: dict[str, str] = {}
        for path in self.files:
            found.update(_path_digests(path))
        for folder in self.data:
            present = [folder / name for name in self.tables if (folder / name).is_file()]
            if not present:
                names = ", ".join(self.tables[:3])
                raise UserError(f"{folder}: no data directory (it holds none of {names}): check the path")
            found.update({str(path): sha256_file(path) for path in present})
        found.update({f"--{key}": value for key, value in self.values.items()})
        for module in self.code:
            found[f"code of {module}"] = code_digest(module)
        return found


def _path_digests(path: Path) -> dict[str, str]:
    if path.is_dir():
        members = sorted(p for p in path.iterdir() if p.is_file() and not p.name.startswith("."))
        if not members:
            raise UserError(f"{path}: is empty: run the stage that fills it first")
        return {str(member): sha256_file(member) for member in members}
    if not path.exists():
        raise UserError(f"{path}: not there: mend the path, or run the stage that makes it first")
    return {str(path): sha256_file(path)}


def code_digest(module: str) -> str:
    """Digest of a module and of everything it imports, directly or not, from its own package."""
    package = module.partition(".")[0]
    if _module_path(module) is None:
        raise UserError(f"{module}: no such module")
    digest = hashlib.sha256()
    for name, source in sorted(_closure(module, package).items()):
        digest.update(f"{name}\n{_bare_source(source)}\n".encode())
    return digest.hexdigest()


def _closure(module: str, package: str) -> dict[str, str]:
    sources: dict[str, str] = {}
    waiting = [module]
    while waiting:
        name = waiting.pop()
        path = _module_path(name)
        if name in sources or path is None:
            continue
        sources[name] = path.read_text(encoding="utf-8")
        waiting += [found for found in _imports(sources[name]) if found.split(".")[0] == package]
    return sources


def _module_path(name: str) -> Path | None:
    root = Path(__file__).parent.parent
    base = root.joinpath(*name.split("."))
    for candidate in (base.with_suffix(".py"), base / "__init__.py"):
        if candidate.is_file():
            return candidate
    return None  # a name inside a module


def _imports(source: str) -> Iterable[str]:
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def _bare_source(source: str) -> str:
    """The syntax tree without docstrings, so that a comment or a docstring reruns nothing."""
    tree = ast.parse(source)
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            first = node.body[0] if node.body else None
            if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant):
                node.body = node.body[1:]
    return ast.dump(tree)


class DoneMarker:
    """One stage's marker file, for instance ``exp/teacher/.done``."""

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)
        self.pending = self.path.with_name(self.path.name + ".pending")

    def reason_to_run(self, made_from: Mapping[str, str]) -> str | None:
        """Why the stage has to run, in a few words, or None when it is up to date."""
        if not self.path.is_file():
            return "not done yet"
        try:
            known = parse_json(self.path.read_text(encoding="utf-8"))
            before, outputs = dict(known["made_from"]), dict(known["outputs"])
        except (ValueError, KeyError, TypeError):
            return f"marker {self.path} is damaged"
        for name in sorted(set(before) | set(made_from)):
            if before.get(name) != made_from.get(name):
                change = "is new" if name not in before else "is gone" if name not in made_from else "changed"
                return f"{_short(name)} {change}"
        for name, size in outputs.items():
            path = self.path.parent / name
            if not path.is_file():
                return f"{path} is missing"
            if path.stat().st_size != size:
                return f"{path} changed"
        return None

    def begin(self, made_from: Mapping[str, str], anew: bool = False) -> None:
        """Remove the marker and keep, for ``finish``, what the stage starts from.

        :param anew: no half-done work (checkpoints, finished shares) is taken up: ``begun_digest`` is one never seen.
        """
        with os_errors(self.path):
            self.path.unlink(missing_ok=True)
        state = {"made_from": dict(made_from), "started": time.time(), "anew": str(uuid.uuid4()) if anew else ""}
        atomic_write_text(self.pending, json.dumps(state))

    def begun_digest(self) -> str:
        """One digest of what the stage in progress starts from; UserError when no stage is in progress."""
        state = self._begun()
        return hashlib.sha256(json.dumps([state["made_from"], state["anew"]], sort_keys=True).encode()).hexdigest()

    def begun_inputs(self, without: Iterable[str] = ()) -> dict[str, str]:
        """What the stage in progress starts from, name by name, so that a change can be named.

        :param without: names left out: of what the caller compares itself, such as configurations key by key.
        :raises UserError: when no stage is in progress.
        """
        state, left_out = self._begun(), set(without)
        inputs = {name: digest for name, digest in state["made_from"].items() if name not in left_out}
        return inputs | ({"--force": state["anew"]} if state["anew"] else {})

    def _begun(self) -> dict[str, Any]:
        if not self.pending.is_file():
            raise UserError(f"{self.pending}: not there: start this through run.sh, or `imlkd marker check` first")
        state: dict[str, Any] = parse_json(self.pending.read_text(encoding="utf-8"))
        return state

    def finish(self, outputs: Iterable[Path] | None = None, command: str = "") -> None:
        """Write the marker: what ``begin`` saw, and the sizes of the outputs (default: the folder's visible files)."""
        if not self.pending.is_file():
            raise UserError(f"{self.pending}: not there: the stage was not begun, or another run is in this folder")
        begun = parse_json(self.pending.read_text(encoding="utf-8"))
        folder = self.path.parent
        if outputs is None:
            outputs = [p for p in folder.iterdir() if p.is_file() and not p.name.startswith(".")]
        sizes: dict[str, int] = {}
        for path in sorted(outputs):
            if not path.is_file():
                raise UserError(f"{path}: the stage ended without it: run it again, and report this if it stays so")
            sizes[os.path.relpath(path, folder)] = path.stat().st_size
        content = {
            "made_from": begun["made_from"],
            "outputs": sizes,
            "command": command,
            "seconds": round(time.time() - begun["started"], 1),
        }
        atomic_write_text(self.path, json.dumps(content, indent=1) + "\n")
        self.pending.unlink()


def _short(name: str) -> str:
    return name if name.startswith(("--", "code of")) else "/".join(Path(name).parts[-2:])
