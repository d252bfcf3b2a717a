"""Typed configurations: one dataclass per thing, read from YAML, nothing accepted silently.

A field may carry ``metadata={"min": .., "max": .., "choices": (..)}``; for lists the bounds hold for each item.
"""

from __future__ import annotations

import dataclasses
import difflib
import math
import reprlib
import types
import typing
from pathlib import Path
from typing import Any, TypeVar

import yaml
from yaml.constructor import SafeConstructor

from imlkd.errors import UserError
from imlkd.files import atomic_write_text, parse_yaml
from imlkd.kaldi_io import read_lines

T = TypeVar("T")


def bounded(default: Any, *, low: float | None = None, high: float | None = None, help: str = "") -> Any:
    """A dataclass field with a default and inclusive bounds."""
    metadata = {"min": low, "max": high, "help": help}
    if isinstance(default, list):
        return dataclasses.field(default_factory=lambda: list(default), metadata=metadata)
    return dataclasses.field(default=default, metadata=metadata)


def chosen(default: str | int, choices: tuple[str | int, ...], help: str = "") -> Any:
    """A dataclass field with a default and the values it may take."""
    return dataclasses.field(default=default, metadata={"choices": choices, "help": help})


def switch(default: bool, help: str = "") -> Any:
    """A dataclass field that is true or false."""
    return dataclasses.field(default=default, metadata={"choices": (True, False), "help": help})


def text(default: str, help: str = "") -> Any:
    """A dataclass field of free text."""
    return dataclasses.field(default=default, metadata={"help": help})


def variant(classes: typing.Mapping[str, type[Any]], by: str) -> Any:
    """A section whose dataclass is chosen by the key ``by`` beside it, the first one by default."""
    return dataclasses.field(default_factory=next(iter(classes.values())), metadata={"variants": classes, "by": by})


def load_config(cls: type[T], path: Path | str | None, overrides: typing.Sequence[str] = ()) -> T:
    """Read ``cls`` (a dataclass) from a YAML file, then apply ``key=value`` overrides (``outer.inner=value`` in parts).

    :raises UserError: naming file and line, for an unknown key (with the nearest one), wrong type or range.
    """
    values = _read_mapping(cls, Path(path)) if path is not None else {}
    missing = [f.name for f in _fields(cls).values() if _required(f) and f.name not in values]
    if missing:
        raise UserError(f"{path}: missing key {missing[0]}")
    config = cls(**values)
    for override in overrides:
        key, separator, text = override.partition("=")
        if not separator:
            raise UserError(f"override {override!r}: expected key=value")
        where = f"override {override!r}"
        config = _replaced(config, key.split("."), _parse(text, where), where)
    return config


def _replaced(config: Any, keys: list[str], value: Any, where: str) -> Any:
    """``config`` with the value at a (dotted) key exchanged."""
    key, *inner = keys
    section = getattr(config, key, None)
    if inner and dataclasses.is_dataclass(section):
        return dataclasses.replace(config, **{key: _replaced(section, inner, value, where)})
    value = _checked(type(config), ".".join(keys) if inner else key, value, where)
    changes = {key: value}
    for name, field in _fields(type(config)).items():
        if field.metadata.get("by") == key and type(getattr(config, name)) is not field.metadata["variants"][value]:
            changes[name] = field.metadata["variants"][value]()  # keys of another network mean nothing to this one
    return dataclasses.replace(config, **changes)


def save_config(config: Any, path: Path | str) -> None:
    """Write the resolved configuration as YAML, keys in declaration order."""
    atomic_write_text(path, yaml.safe_dump(dataclasses.asdict(config), sort_keys=False, allow_unicode=True))


def _fields(cls: type[Any]) -> dict[str, dataclasses.Field[Any]]:
    return {field.name: field for field in dataclasses.fields(cls)}


def _required(field: dataclasses.Field[Any]) -> bool:
    return field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING


def _parse(text: str, where: str) -> Any:
    try:
        return parse_yaml(text)
    except ValueError as error:  # 2026-13-45 too looks like a date, and is none
        raise UserError(f"{where}: not YAML: {error}") from error


def _problem(error: Exception) -> str:
    return str(getattr(error, "problem", None) or error).splitlines()[0]


def _read_mapping(cls: type[Any], path: Path) -> dict[str, Any]:
    text = "".join(f"{line}\n" for _, line in read_lines(path))
    try:
        root = yaml.compose(text, Loader=yaml.SafeLoader)
    except (yaml.YAMLError, RecursionError) as error:
        mark = getattr(error, "problem_mark", None)
        raise UserError(f"{path}:{mark.line + 1 if mark else 1}: not YAML: {_problem(error)}") from error
    return _mapping(cls, root, path)


def _mapping(cls: type[Any], root: yaml.Node | None, path: Path) -> dict[str, Any]:
    if root is None:
        root = yaml.MappingNode("tag:yaml.org,2002:map", [])
    if not isinstance(root, yaml.MappingNode):
        raise UserError(f"{path}:{root.start_mark.line + 1}: expected `key: value` lines")
    values: dict[str, Any] = {}
    variants = _variants(cls, root, path)
    for key_node, value_node in root.value:
        where, key = f"{path}:{key_node.start_mark.line + 1}", str(key_node.value)
        if key in values:
            raise UserError(f"{where}: key {key} is given twice: keep one")
        inner = variants.get(key) or _inner_dataclass(cls, key)
        if inner is not None:
            values[key] = inner(**_mapping(inner, value_node, path))
            continue
        try:
            loaded = SafeConstructor().construct_document(value_node)
        except (yaml.YAMLError, ValueError, TypeError, RecursionError) as error:  # a stranger's class, no date
            raise UserError(f"{where}: {key}: not a plain value") from error
        values[key] = _checked(cls, key, loaded, where)
    return {name: inner() for name, inner in variants.items()} | values


def _variants(cls: type[Any], root: yaml.MappingNode, path: Path) -> dict[str, type[Any]]:
    """The dataclass of each section that another key chooses."""
    given = {str(key.value): (value, f"{path}:{key.start_mark.line + 1}") for key, value in root.value}
    fields, found = _fields(cls), {}
    for name, field in fields.items():
        by = field.metadata.get("by")
        if by is not None:
            chosen = fields[by].default
            if by in given:
                node, where = given[by]
                if not isinstance(node, yaml.ScalarNode):
                    raise UserError(f"{where}: {by}: expected a text, found a list or a section")
                chosen = _checked(cls, by, node.value, where)
            found[name] = field.metadata["variants"][chosen]
    return found


def _inner_dataclass(cls: type[Any], key: str) -> type[Any] | None:
    kind = typing.get_type_hints(cls).get(key)
    return kind if isinstance(kind, type) and dataclasses.is_dataclass(kind) else None


def _checked(cls: type[Any], key: str, value: Any, where: str) -> Any:
    fields = _fields(cls)
    if key not in fields:
        near = difflib.get_close_matches(key, fields, n=1, cutoff=0.4)
        hint = f"did you mean {near[0]}?" if near else f"valid keys: {', '.join(fields)}"
        raise UserError(f"{where}: unknown key {key}: {hint}")
    kind = typing.get_type_hints(cls)[key]
    try:
        value = _coerce(kind, value)
    except TypeError as error:
        raise UserError(f"{where}: {key}: expected {error}, found {reprlib.repr(value)}") from None
    _check_range(fields[key].metadata, key, value, where)
    return value


def _coerce(kind: Any, value: Any) -> Any:
    """Return ``value`` as ``kind`` or raise TypeError with the name of what was expected."""
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin in (types.UnionType, typing.Union):
        if value is None and type(None) in arguments:
            return None
        return _coerce(next(a for a in arguments if a is not type(None)), value)
    if origin is list:
        if not isinstance(value, list):
            raise TypeError("a list")
        return [_coerce(arguments[0], item) for item in value]
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if kind is float and isinstance(value, str):
        return _float(value)
    names = {bool: "true or false", int: "a whole number", float: "a number", str: "a text"}
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        raise TypeError(names.get(kind, str(kind)))
    return value


def _float(text: str) -> float:
    """YAML 1.1 reads 1e-3 (no dot) as text; take it as the number it is."""
    try:
        return float(text)
    except ValueError:
        raise TypeError("a number") from None


def _check_range(metadata: typing.Mapping[str, Any], key: str, value: Any, where: str) -> None:
    choices = metadata.get("choices")
    if choices and value not in choices:
        near = difflib.get_close_matches(str(value), map(str, choices), n=1, cutoff=0.5)
        hint = f": did you mean {near[0]}?" if near else ""
        raise UserError(f"{where}: {key}: {reprlib.repr(value)} is none of {', '.join(map(str, choices))}{hint}")
    low, high = metadata.get("min"), metadata.get("max")
    if value == []:
        raise UserError(f"{where}: {key}: an empty list: give one value or more")
    for item in value if isinstance(value, list) else [value]:
        if isinstance(item, float) and not math.isfinite(item):
            raise UserError(f"{where}: {key}: {item} is no value: give a finite number")
        if low is not None and item is not None and item < low:
            raise UserError(f"{where}: {key}: {item} is below the smallest allowed value {low}")
        if high is not None and item is not None and item > high:
            raise UserError(f"{where}: {key}: {item} is above the largest allowed value {high}")
