"""What a Lhotse cut says that no Kaldi table can hold, kept as JSON in ``utt2lhotse``: the way back loses nothing.

A remainder is the difference between a cut and the cut that the tables alone give back: values of other types than
text (``snr: 3.5``), arrays, alignments, features, times between two samples, a place in an order that is not Kaldi's.
What a table says wins over the remainder where the two no longer agree, so tables may be edited.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from imlkd.errors import UserError
from imlkd.files import parse_json

TABLE = "utt2lhotse"
ORDER = "order"  # key: place of the cut in its manifest
_DROPPED = "dropped"  # key: what the tables would add, by section
_SECTIONS = ("cut", "custom", "supervision", "supervision.custom")
_NOT_COMPARED = {
    "cut": ("supervisions", "recording", "custom", "channel", "type"),
    "supervision": ("custom", "channel"),
}  # recordings are built from the audio, and the one channel is number 0
_TIMES = ("start", "duration")
_IN_TABLES = ("text", "language", "gender", "speaker")
_CUSTOM = ("custom", "supervision.custom")
_GENDERS = {"male": "m", "female": "f"}

Line = dict[str, Any]  # a cut as JSON has it


def remainder_of(original: Line, rebuilt: Line) -> dict[str, Any]:
    """What must be kept so that :func:`restored` makes ``original`` of ``rebuilt``; empty when nothing has to be.

    Both are ``cut.to_dict()``; ``rebuilt`` comes from the tables alone.
    """
    found: dict[str, Any] = {}
    dropped: dict[str, list[str]] = {}
    for section in _SECTIONS:
        ours, theirs = _section(original, section), _section(rebuilt, section)
        changed = {key: value for key, value in ours.items() if key not in theirs or theirs[key] != value}
        if changed:
            found[section] = changed
        added = [key for key in theirs if key not in ours]
        if added:
            dropped[section] = added
    if "supervision" in found and any(key in found["supervision"] for key in _TIMES):  # they are relative to the cut's
        found.setdefault("cut", {}).update({key: original[key] for key in _TIMES})
    return found | ({_DROPPED: dropped} if dropped else {})


def restored(line: Line, remainder: Mapping[str, Any]) -> Line:
    """``line``, made from tables, with what the tables could not hold."""
    sections = {section: dict(_section(line, section)) for section in _SECTIONS}
    kept = {section: dict(remainder.get(section, {})) for section in _SECTIONS}
    if not _same_times(line, kept["cut"]):
        for section in ("cut", "supervision"):
            kept[section] = {key: value for key, value in kept[section].items() if key not in _TIMES}
    dropped = remainder.get(_DROPPED, {})
    in_tables = {key: value for key, value in kept["supervision"].items() if key in _IN_TABLES}
    moved = {key: kept["custom"][key] for key in dropped.get("supervision.custom", ()) if key in kept["custom"]}
    stale = {"supervision": _stale(sections["supervision"], in_tables)}
    stale |= dict.fromkeys(_CUSTOM, _stale(sections["supervision.custom"], {**moved, **kept["supervision.custom"]}))
    for section in _SECTIONS:
        for key in dropped.get(section, ()):
            if key not in stale.get(section, ()):
                sections[section].pop(key, None)
        sections[section].update((k, value) for k, value in kept[section].items() if k not in stale.get(section, ()))
    return _joined(line, sections)


def read_remainder(value: str, where: str) -> dict[str, Any]:
    """The value of a line of ``utt2lhotse``.

    :raises UserError: when it is no JSON object.
    """
    try:
        remainder = parse_json(value)
    except ValueError:
        remainder = None
    if not isinstance(remainder, dict):
        raise UserError(f"{where}: not what `imlkd data from-lhotse` wrote: remove the line")
    return remainder


def write_remainder(remainder: Mapping[str, Any]) -> str:
    """The value of a line of ``utt2lhotse``: JSON without line feeds."""
    return json.dumps(remainder, ensure_ascii=True, separators=(",", ":"))


def in_order(utterances: Iterable[str], table: Mapping[str, str] | None) -> list[str]:
    """The utterances as their manifest had them; those without a place stay in front, in the order given."""
    places = {key: int(read_remainder(value, f"{TABLE}: {key}").get(ORDER, -1)) for key, value in (table or {}).items()}
    return sorted(utterances, key=lambda utterance: places.get(utterance, -1))


def _section(line: Line, section: str) -> Mapping[str, Any]:
    owner = line["supervisions"][0] if section.startswith("supervision") else line
    if section.endswith("custom"):
        return owner.get("custom") or {}
    return {key: value for key, value in owner.items() if key not in _NOT_COMPARED[section]}


def _joined(line: Line, sections: Mapping[str, dict[str, Any]]) -> Line:
    """The cut of these sections, in Lhotse's order of keys; the rest is the line's."""
    supervision = {**sections["supervision"], "channel": line["supervisions"][0].get("channel", 0)}
    if sections["supervision.custom"]:
        supervision["custom"] = sections["supervision.custom"]
    whole = {**sections["cut"], "channel": line["channel"], "supervisions": [supervision]}
    whole["recording"] = line["recording"]
    if sections["custom"]:
        whole["custom"] = sections["custom"]
    return {**whole, "type": line["type"]}


def _same_times(line: Line, cut: Mapping[str, Any]) -> bool:
    half_a_sample = 0.5 / line["recording"]["sampling_rate"]
    return all(abs(cut.get(key, line[key]) - line[key]) <= half_a_sample for key in _TIMES)


def _stale(tables: Mapping[str, Any], before: Mapping[str, Any]) -> set[str]:
    """Fields of which a table says something else by now than ``before``, what it was written from."""
    return {
        key for key, value in before.items() if isinstance(tables.get(key), str) and _as_text(key, value) != tables[key]
    }


def table_text(value: Any) -> str:
    """How a table holds a value: single blanks, nothing that can't be printed."""
    return " ".join("".join(letter if letter.isprintable() else " " for letter in str(value)).split())


def _as_text(key: str, value: Any) -> str:
    text = table_text(value)
    return _GENDERS.get(text.lower(), text.lower()) if key == "gender" else text
