from pathlib import Path

import pytest

from imlkd.corpora.trials.id_mapping import IdMap, likely_mapping
from imlkd.errors import UserError

VOX = [f"id1027{i}/x6uYqm{i}1kE/0000{j}.wav" for i in range(3) for j in range(4)]
KALDI = [name.replace("/", "-").removesuffix(".wav") for name in VOX]


@pytest.mark.parametrize(
    ("spell", "rule"),
    [
        (lambda name: name.replace("/", "-").removesuffix(".wav"), "separators, extension"),
        (lambda name: name.replace("/", "--").removesuffix(".wav"), "separators, extension"),
        (lambda name: name.removesuffix(".wav"), "file extension"),
        (lambda name: name.removesuffix(".wav") + ".flac", "file extension"),
        (str.upper, "letter case"),
        (lambda name: "wav/" + name, "prefix 'wav-'"),
        (lambda name: name.removesuffix(".wav") + "-noise", "suffix '-noise'"),
        (lambda name: name.partition("/")[2], "part"),
        (lambda name: name.partition("/")[0], "speakers"),
    ],
)
def test_rule_and_example_in_both_directions(spell, rule: str) -> None:  # type: ignore[no-untyped-def]
    respelt = list(dict.fromkeys(spell(name) for name in VOX))
    for missing, available in ((VOX, respelt), (respelt, VOX)):
        hint = likely_mapping(missing, available)
        assert rule in hint
        assert f"joins {len(missing)} of {len(missing)} looked at" in hint
        assert hint.split(": ")[-1].startswith(f"{missing[0]} -> ")


def test_example_is_a_right_pair() -> None:
    assert likely_mapping(VOX[5:], KALDI).endswith("id10271/x6uYqm11kE/00001.wav -> id10271-x6uYqm11kE-00001")


def test_varying_speaker_prefix_needs_no_constant_affix() -> None:
    hint = likely_mapping(["utt1", "utt2", "utt3"], ["anna-utt1", "bert-utt2", "carl-utt3"])
    assert "lacks the first part; joins 3 of 3" in hint and "utt1 -> anna-utt1" in hint


def test_ambiguous_file_names_join_nothing() -> None:
    hint = likely_mapping(["a/1.wav", "b/1.wav", "c/2.wav"], ["x/1.wav", "y/1.wav", "z/2.wav"])
    assert "joins 1 of 3" in hint and hint.endswith("c/2.wav -> z/2.wav")


def test_nothing_alike() -> None:
    assert "no other spelling" in likely_mapping(["b-2", "b-3"], ["0815", "4711"])
    assert "no ids at all" in likely_mapping(["a"], [])


def test_short_ids_are_not_searched_for_in_others() -> None:
    assert "no other spelling" in likely_mapping(["1"], ["spk21", "spk31"])


def test_option_is_named_where_it_helps() -> None:
    assert likely_mapping(VOX, KALDI, "--id-map auto").endswith(f"{VOX[0]} -> {KALDI[0]}: --id-map auto")
    assert "--id-map" not in likely_mapping([*VOX, "other"], KALDI, "--id-map auto")  # joins not all
    speakers = [name.partition("/")[0] for name in VOX[::4]]
    assert "--id-map" not in likely_mapping(VOX, speakers, "--id-map auto")  # would be another trial


def test_automatic_map_joins_by_the_rule_and_says_so() -> None:
    said: list[str] = []
    table = {name: number for number, name in enumerate(KALDI)}
    found = IdMap("auto", said.append).extend(table, [*VOX, KALDI[0]], "xvector.scp")
    assert found == {**table, **dict(zip(VOX, range(len(VOX)), strict=True))}
    assert said == [f"xvector.scp: 12 ids mapped (separators, extension): {VOX[0]} -> {KALDI[0]}"]
    assert IdMap("auto", said.append).extend(table, KALDI, "x") == table and len(said) == 1


def test_automatic_map_leaves_the_ambiguous_and_never_takes_speakers() -> None:
    assert IdMap("auto").extend({"x/1.wav": 1, "y/1.wav": 2}, ["a/1.wav"], "x").keys() == {"x/1.wav", "y/1.wav"}
    speakers = {name.partition("/")[0]: 0 for name in VOX}
    assert IdMap("auto").extend(speakers, VOX, "x") == speakers
    assert IdMap("auto").extend(speakers, VOX[:1], "x") == speakers


def test_map_of_a_file(tmp_path: Path) -> None:
    (tmp_path / "map").write_text("b two\na one\nc three\n")
    said: list[str] = []
    found = IdMap(str(tmp_path / "map"), said.append).extend({"one": 1, "two": 2, "d": 4}, ["a", "b", "c", "d"], "t")
    assert found == {"one": 1, "two": 2, "d": 4, "a": 1, "b": 2}
    assert said == ["t: 2 ids mapped (the file of --id-map): a -> one"]
    (tmp_path / "map").write_text("a one\na two\n")
    with pytest.raises(UserError, match="map:2: duplicate id a"):
        IdMap(str(tmp_path / "map"))


def test_no_map_changes_nothing() -> None:
    assert IdMap().extend({"a-1": 1}, ["a/1"], "x") == {"a-1": 1}
