"""Typed configurations: what is accepted, what is refused, and in which words."""

import dataclasses
import typing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from imlkd.attribution.relevance import RelevanceConfig
from imlkd.config import bounded, chosen, load_config, save_config, variant
from imlkd.distillation.methods.imlkd import ImlkdConfig
from imlkd.distillation.methods.kd import KdConfig
from imlkd.errors import UserError
from imlkd.features.extract import FeaturesConfig
from imlkd.training.head import HeadConfig
from imlkd.training.student import StudentConfig
from imlkd.training.teacher import TeacherConfig

CONFIGS = [FeaturesConfig, TeacherConfig, HeadConfig, RelevanceConfig, StudentConfig, KdConfig, ImlkdConfig]


@dataclass(frozen=True)
class Inner:
    width: int = bounded(8, low=1, high=64)
    kind: str = chosen("mean", ("mean", "level"))


@dataclass(frozen=True)
class Outer:
    rate: float = bounded(0.5, low=0.0, high=1.0)
    seed: int = 1
    loud: bool = False
    name: str = "x"
    limit: float | None = None
    taus: list[float] = bounded([2.0, 3.0], low=0.1)
    inner: Inner = field(default_factory=Inner)


@dataclass(frozen=True)
class Required:
    path: str
    seed: int = 1


@dataclass(frozen=True)
class Wide:
    channels: int = bounded(4, low=1)


@dataclass(frozen=True)
class Choice:
    section: Inner | Wide = variant({"inner": Inner, "wide": Wide}, by="kind")
    kind: str = chosen("inner", ("inner", "wide"))


def written(folder: Path, text: str | bytes) -> Path:
    path = folder / "c.yaml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def values_of(cls: type[Any]) -> st.SearchStrategy[Any]:
    """Instances of a config class within its declared bounds."""
    kinds = typing.get_type_hints(cls)
    return st.builds(cls, **{f.name: _value(kinds[f.name], f.metadata) for f in dataclasses.fields(cls)})


def _value(kind: Any, metadata: typing.Mapping[str, Any]) -> st.SearchStrategy[Any]:
    low, high = metadata.get("min"), metadata.get("max")
    if "choices" in metadata:
        return st.sampled_from(metadata["choices"])
    if "variants" in metadata:
        return st.one_of(*map(values_of, metadata["variants"].values()))
    if dataclasses.is_dataclass(kind):
        return values_of(kind)  # type: ignore[arg-type]
    if typing.get_origin(kind) is list:
        return st.lists(_value(typing.get_args(kind)[0], metadata), min_size=1, max_size=4)
    if type(None) in typing.get_args(kind):
        return st.none() | _value(next(k for k in typing.get_args(kind) if k is not type(None)), metadata)
    if kind is float:
        return st.floats(low, high, allow_nan=False, allow_infinity=False)
    if kind is str:
        return st.text(st.characters(codec="ascii", categories=("L", "N")), max_size=5)
    assert kind is int, kind
    return st.integers(low, high)


@pytest.mark.parametrize("cls", CONFIGS)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=12, deadline=None)
@given(data=st.data())
def test_what_is_saved_is_read_back(cls: type[Any], tmp_path: Path, data: st.DataObject) -> None:
    config = data.draw(values_of(cls))
    save_config(config, tmp_path / "config.yaml")
    assert load_config(cls, tmp_path / "config.yaml") == config
    assert yaml.safe_load((tmp_path / "config.yaml").read_text()) == dataclasses.asdict(config)


SHIPPED = {
    path: cls
    for name, cls in zip(("features", "teacher", "head", "relevance", "student", "kd", "imlkd"), CONFIGS, strict=True)
    for path in sorted((Path(__file__).parents[1] / "egs").glob(f"*/conf*/{name}.yaml"))
}


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: "/".join(path.parts[-3:]))
def test_shipped_configurations_are_read(path: Path) -> None:
    def flat(values: dict[str, Any], prefix: str = "") -> dict[str, Any]:
        parts = [flat(v, f"{prefix}{k}.") if isinstance(v, dict) else {prefix + k: v} for k, v in values.items()]
        return {key: value for part in parts for key, value in part.items()}

    loaded = flat(dataclasses.asdict(load_config(SHIPPED[path], path)))
    assert loaded == loaded | flat(yaml.safe_load(path.read_text()))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", Outer()),
        ("# only a comment\n", Outer()),
        ("rate: 1\n", Outer(rate=1.0)),
        ("rate: 1e-3\n", Outer(rate=0.001)),
        ("rate: '0.25'\n", Outer(rate=0.25)),
        ("limit:\n", Outer(limit=None)),
        ("limit: 3\n", Outer(limit=3.0)),
        ("taus: [1, 2e0]\nloud: yes\n", Outer(taus=[1.0, 2.0], loud=True)),
        ("inner: {width: 3}\n", Outer(inner=Inner(width=3))),
        ("inner:\n  kind: level\nseed: -5\n", Outer(inner=Inner(kind="level"), seed=-5)),
        ("taus: &t [1.0]\n", Outer(taus=[1.0])),
    ],
)
def test_accepted(tmp_path: Path, text: str, expected: Outer) -> None:
    found = load_config(Outer, written(tmp_path, text))
    assert found == expected
    assert isinstance(found.rate, float) and all(isinstance(tau, float) for tau in found.taus)


@pytest.mark.parametrize(
    ("text", "line", "message"),
    [
        ("seed: 1\nrat: 0.5\n", 2, "unknown key rat: did you mean rate?"),
        ("zzzz: 0.5\n", 1, "unknown key zzzz: valid keys: rate, seed, loud, name, limit, taus, inner"),
        ("inner:\n  widht: 3\n", 2, "unknown key widht: did you mean width?"),
        ("inner: 3\n", 1, "expected `key: value` lines"),
        ("inner:\n", 1, "expected `key: value` lines"),
        ("- rate\n", 1, "expected `key: value` lines"),
        ("seed: 1.5\n", 1, "seed: expected a whole number, found 1.5"),
        ("seed: true\n", 1, "seed: expected a whole number, found True"),
        ("seed: many\n", 1, "seed: expected a whole number, found 'many'"),
        ("rate: fast\n", 1, "rate: expected a number, found 'fast'"),
        ("rate: true\n", 1, "rate: expected a number, found True"),
        ("rate:\n", 1, "rate: expected a number, found None"),
        ("loud: 1\n", 1, "loud: expected true or false, found 1"),
        ("name: 1\n", 1, "name: expected a text, found 1"),
        ("taus: 3.0\n", 1, "taus: expected a list, found 3.0"),
        ("taus: [3.0, x]\n", 1, "taus: expected a number, found [3.0, 'x']"),
        ("taus: []\n", 1, "taus: an empty list: give one value or more"),
        ("rate: 1.5\n", 1, "rate: 1.5 is above the largest allowed value 1.0"),
        ("rate: -1\n", 1, "rate: -1.0 is below the smallest allowed value 0.0"),
        ("taus: [3.0, 0.05]\n", 1, "taus: 0.05 is below the smallest allowed value 0.1"),
        ("rate: .nan\n", 1, "rate: nan is no value: give a finite number"),
        ("rate: nan\n", 1, "rate: nan is no value"),
        ("limit: .inf\n", 1, "limit: inf is no value: give a finite number"),
        ("taus: [.inf]\n", 1, "taus: inf is no value"),
        ("inner: {kind: median}\n", 1, "kind: 'median' is none of mean, level"),
        ("inner:\n  width: 3\n  kind: mean\n  width: 4\n", 4, "key width is given twice: keep one"),
        ("seed: 1\nrate: [\n", 3, "not YAML: "),
        ("a: b: c\n", 1, "not YAML: mapping values are not allowed here"),
        ("seed: 1\n\tname: x\n", 2, "not YAML: "),
        ("name: !!python/object/apply:os.system ['touch pwned']\n", 1, "name: not a plain value"),
        ("name: !Thing x\n", 1, "name: not a plain value"),
        ("seed: 2026-13-45\n", 1, "seed: not a plain value"),
        ("seed: !!int many\n", 1, "seed: not a plain value"),
        ("rate: 0.5\n---\nrate: 0.6\n", 2, "not YAML: "),
        ("seed: 1\r\n", 1, "line ends with CRLF"),
        (b"seed: 1\nname: M\xfcller\n", 2, "not UTF-8"),
        (b"\xef\xbb\xbfseed: 1\n", 1, "begins with a byte order mark"),
        ("name: \x07\n", 1, "not YAML: "),
    ],
)
def test_refused_with_file_and_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str | bytes, line: int, message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    path = written(tmp_path, text)
    with pytest.raises(UserError) as caught:
        load_config(Outer, path)
    assert str(caught.value).startswith(f"{path}:{line}: {message}"), caught.value
    assert "\n" not in str(caught.value) and not (tmp_path / "pwned").exists()


@pytest.mark.parametrize(
    ("overrides", "expected"),
    [
        (["rate=0.25", "seed=7"], Outer(rate=0.25, seed=7)),
        (["inner.width=9", "inner.kind=level"], Outer(inner=Inner(9, "level"))),
        (["taus=[1.0,4.0]"], Outer(taus=[1.0, 4.0])),
        (["limit=null"], Outer()),
        (["name=a=b"], Outer(name="a=b")),
    ],
)
def test_overrides(overrides: list[str], expected: Outer) -> None:
    assert load_config(Outer, None, overrides) == expected


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("rate", "override 'rate': expected key=value"),
        ("rat=1", "override 'rat=1': unknown key rat: did you mean rate?"),
        ("inner.widht=1", "override 'inner.widht=1': unknown key widht: did you mean width?"),
        ("rate.x=1", "override 'rate.x=1': unknown key rate.x: did you mean rate?"),
        ("rate=[", "override 'rate=[': not YAML: "),
        ("seed=2026-13-45", "override 'seed=2026-13-45': not YAML: "),
        ("inner.width=65", "override 'inner.width=65': width: 65 is above the largest allowed value 64"),
        ("seed=", "override 'seed=': seed: expected a whole number, found None"),
    ],
)
def test_overrides_refused(override: str, message: str) -> None:
    with pytest.raises(UserError) as caught:
        load_config(Outer, None, [override])
    assert str(caught.value).startswith(message)


def test_overrides_win_over_the_file_and_the_file_over_the_defaults(tmp_path: Path) -> None:
    path = written(tmp_path, "rate: 0.1\ninner: {width: 2, kind: level}\n")
    assert load_config(Outer, path, ["inner.width=3"]) == Outer(rate=0.1, inner=Inner(3, "level"))


def test_missing_key_and_missing_file(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=f"^{tmp_path / 'c.yaml'}: missing key path"):
        load_config(Required, written(tmp_path, "seed: 1\n"))
    with pytest.raises(UserError, match=f"^{tmp_path / 'gone.yaml'}: no such file"):
        load_config(Outer, tmp_path / "gone.yaml")


def test_defaults_are_not_shared() -> None:
    first, second = Outer(), Outer()
    first.taus.append(9.0)
    assert second.taus == [2.0, 3.0]
    assert all(cls() == cls() for cls in CONFIGS)


@pytest.mark.parametrize("cls", CONFIGS)
def test_defaults_lie_within_their_bounds(cls: type[Any], tmp_path: Path) -> None:
    save_config(cls(), tmp_path / "c.yaml")
    assert load_config(cls, tmp_path / "c.yaml") == cls()


@pytest.mark.parametrize("text", ["", "kind: inner\n", "section: {}\n", "section:\n  width: 8\nkind: inner\n"])
def test_a_section_of_the_default_kind(text: str, tmp_path: Path) -> None:
    assert load_config(Choice, written(tmp_path, text)) == Choice(Inner(), "inner")


@pytest.mark.parametrize("text", ["kind: wide\nsection:\n  channels: 7\n", "section:\n  channels: 7\nkind: wide\n"])
def test_the_kind_decides_on_the_keys_of_a_section_wherever_it_stands(text: str, tmp_path: Path) -> None:
    assert load_config(Choice, written(tmp_path, text)) == Choice(Wide(7), "wide")
    assert load_config(Choice, written(tmp_path, "kind: wide\n")) == Choice(Wide(), "wide")


def test_an_override_of_the_kind_starts_from_the_defaults_of_its_section(tmp_path: Path) -> None:
    path = written(tmp_path, "section:\n  width: 9\n")
    assert load_config(Choice, path, ["kind=wide", "section.channels=3"]) == Choice(Wide(3), "wide")
    assert load_config(Choice, path, ["kind=inner"]) == Choice(Inner(9), "inner")


@pytest.mark.parametrize(
    ("text", "overrides", "message"),
    [
        ("kind: wide\nsection:\n  width: 9\n", [], "c.yaml:3: unknown key width: valid keys: channels"),
        ("section:\n  channels: 9\n", [], "c.yaml:2: unknown key channels: valid keys: width, kind"),
        ("kind: broad\nsection:\n  width: 9\n", [], "c.yaml:1: kind: 'broad' is none of inner, wide"),
        ("kind: wide\n", ["section.width=9"], "override 'section.width=9': unknown key width: valid keys: channels"),
        ("", ["section=9"], "override 'section=9': section: expected "),
    ],
)
def test_keys_of_another_kind_are_refused(text: str, overrides: list[str], message: str, tmp_path: Path) -> None:
    with pytest.raises(UserError) as caught:
        load_config(Choice, written(tmp_path, text), overrides)
    assert message in str(caught.value) and "\n" not in str(caught.value)
