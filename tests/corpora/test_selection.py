"""Subsets and splits, against Kaldi's scripts in utils/ on the same directories; manifests against directories."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imlkd.corpora.kaldi_dir import read_data_dir
from imlkd.corpora.lhotse.cuts import read_cuts, to_cuts, write_cuts
from imlkd.corpora.selection import choose, listed, parts
from imlkd.corpora.utterance_set import combined, read_set
from imlkd.errors import UserError
from imlkd.kaldi_io import write_table

ROOT = Path(__file__).parents[2]


@pytest.fixture
def data(corpus: object, tmp_path: Path) -> Path:
    folder: Path = corpus(tmp_path / "d", ("s1", "s2", "s3"), segments=True)  # type: ignore[operator]
    names = read_data_dir(folder).utterances
    seconds = {name: f"{1 + (7 * index) % 5}.25" for index, name in enumerate(names)}
    write_table(folder / "utt2dur", seconds)
    write_table(folder / "feats.scp", {name: f"/a.ark:{index}" for index, name in enumerate(names)})
    write_table(folder / "utt2num_frames", {name: str(round(100 * float(value))) for name, value in seconds.items()})
    write_table(folder / "reco2dur", dict.fromkeys(read_data_dir(folder).wav, "1.0"))
    return folder


def script(*arguments: object) -> None:
    done = subprocess.run(list(map(str, arguments)), cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def tables_of(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if not path.name.startswith(".")}


@pytest.mark.parametrize(("rule", "number"), [
    ("spread", 5), ("first", 4), ("last", 3), ("shortest", 6), ("per-speaker", 3), ("per-speaker", 9),
])  # fmt: skip
def test_subsets_are_those_of_kaldis_script(rule: str, number: int, data: Path, tmp_path: Path) -> None:
    whole = read_set(data)
    whole.part(choose(whole.utt2spk, number, rule, whole.seconds())).write(tmp_path / "ours")
    options = {"spread": [], "per-speaker": ["--per-spk"]}.get(rule, [f"--{rule}"])
    script("utils/subset_data_dir.sh", *options, data, number, tmp_path / "theirs")
    assert tables_of(tmp_path / "ours") == tables_of(tmp_path / "theirs")


@pytest.mark.parametrize("count", [1, 2, 3])
@pytest.mark.parametrize("per_utterance", [False, True])
def test_splits_are_those_of_kaldis_script(count: int, per_utterance: bool, data: Path, tmp_path: Path) -> None:
    whole = read_set(data)
    for number, part in enumerate(parts(whole.utt2spk, count, per_utterance), start=1):
        whole.part(part).write(tmp_path / "ours" / str(number))
    script("utils/split_data.sh", *(["--per-utt"] if per_utterance else []), data, count)
    theirs = data / f"split{count}{'utt' if per_utterance else ''}"
    for number in range(1, count + 1):
        assert tables_of(tmp_path / "ours" / str(number)) == tables_of(theirs / str(number))


@given(sizes=st.lists(st.integers(1, 9), min_size=1, max_size=12), drawn=st.data())
def test_parts_hold_everything_once(sizes: list[int], drawn: st.DataObject) -> None:
    utt2spk = {f"s{s:02}-{u}": f"s{s:02}" for s, size in enumerate(sizes) for u in range(size)}
    by_utterance = drawn.draw(st.booleans())
    count = drawn.draw(st.integers(1, len(utt2spk) if by_utterance else len(sizes)))
    found = parts(utt2spk, count, by_utterance)
    assert [name for part in found for name in part] == list(utt2spk) and all(found) and len(found) == count
    if not by_utterance:
        assert sum(len({utt2spk[name] for name in part}) for part in found) == len(sizes)
    number = drawn.draw(st.integers(1, len(utt2spk)))
    whole = choose(utt2spk, number, "speakers")
    speakers = {utt2spk[name] for name in whole}
    assert len(whole) >= number and whole == [name for name in utt2spk if utt2spk[name] in speakers]
    smallest = min(sizes[int(speaker[1:])] for speaker in speakers)
    assert len(whole) - number < max(sizes) and (len(speakers) == 1 or len(whole) - smallest <= number + max(sizes))


def test_a_manifest_gives_the_same_subset(data: Path, tmp_path: Path) -> None:
    write_cuts(to_cuts(read_data_dir(data)), tmp_path / "c.jsonl.gz")
    cuts, tables = read_set(tmp_path / "c.jsonl.gz"), read_set(data)
    chosen = choose(cuts.utt2spk, 5, "spread")
    assert chosen == choose(tables.utt2spk, 5, "spread")
    cuts.part(chosen).write(tmp_path / "part.jsonl.gz")
    whole = {cut.id: cut for cut in read_cuts(tmp_path / "c.jsonl.gz")}
    assert read_cuts(tmp_path / "part.jsonl.gz") == [whole[name] for name in chosen]
    rest = [name for name in cuts.utt2spk if name not in chosen]
    cuts.part(rest).write(tmp_path / "rest.jsonl.gz")
    both = combined([read_set(tmp_path / f"{name}.jsonl.gz") for name in ("part", "rest")])
    assert sorted(both.utt2spk) == sorted(whole)


def test_parts_together_are_the_whole(data: Path, tmp_path: Path) -> None:
    whole = read_set(data)
    places = []
    for number, part in enumerate(parts(whole.utt2spk, 3), start=1):
        places.append(tmp_path / "parts" / str(number))
        whole.part(part).write(places[-1])
    (places[1] / "spk2gender").unlink()
    said: list[str] = []
    combined([read_set(place) for place in places], said.append).write(tmp_path / "again")
    assert said == [f"spk2gender is left out: not in {places[1]}"]
    script("utils/combine_data.sh", tmp_path / "theirs", *places)
    theirs, ours = tables_of(tmp_path / "theirs"), tables_of(tmp_path / "again")
    assert ours == theirs
    expected = tables_of(data)
    del expected["spk2gender"]
    assert ours == {name: text for name, text in expected.items() if name in ours} and len(ours) == len(expected)


def test_what_cannot_be_chosen_or_combined(data: Path, corpus: object, tmp_path: Path) -> None:
    utt2spk = read_set(data).utt2spk
    with pytest.raises(UserError, match="20 utterances asked for, there are 12: ask for less"):
        choose(utt2spk, 20, "first")
    with pytest.raises(UserError, match="4 parts of 3 speakers: ask for 3 at most"):
        parts(utt2spk, 4)
    with pytest.raises(UserError, match="the length of s1-r1-a is not known"):
        choose(utt2spk, 2, "shortest")
    (tmp_path / "list").write_text("x\n\ns2 more\n")
    assert listed(utt2spk, tmp_path / "list", by_speaker=True) == ([n for n in utt2spk if n.startswith("s2")], ["x"])
    with pytest.raises(UserError, match="none of its ids is among the utterances of the set: x, s2: mend the list"):
        listed(utt2spk, tmp_path / "list", by_speaker=False)
    other: Path = corpus(tmp_path / "o" / "d", ("s1",), kind="wav", segments=True)  # type: ignore[operator]
    (tmp_path / "o" / "audio" / "s1-r1.wav").write_bytes(b"other audio")
    with pytest.raises(UserError, match="share 2 recording ids for different audio, first: s1-r1, s1-r2"):
        combined([read_set(data), read_set(other)])
    write_cuts(to_cuts(read_data_dir(data)), tmp_path / "c.jsonl.gz")
    with pytest.raises(UserError, match="of two forms: convert one"):
        combined([read_set(data), read_set(tmp_path / "c.jsonl.gz")])
