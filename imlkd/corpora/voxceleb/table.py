"""The tables that stage 0 prints on VoxCeleb: what was found, used and dropped, and what is missing per speaker."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from imlkd.corpora.voxceleb.names import PUBLISHED, speaker_of, video_of
from imlkd.corpora.voxceleb.sources import SourceRow


def sources_text(rows: Sequence[SourceRow]) -> str:
    """A line a source, then one for each reason why something of it was dropped, with examples."""
    lines = [f"{'kind':16} {'found':>9} {'used':>9} {'dropped':>9}  source"]
    for row in rows:
        lines.append(f"{row.kind:16} {row.found:9} {row.used:9} {sum(row.dropped.values()):9}  {row.path}")
        for reason, count in sorted(row.dropped.items()):
            lines.append(f"{'':37}{count:9}  {reason}: {', '.join(row.examples[reason])}")
    return "".join(f"{line}\n" for line in lines)


def parts_text(audio: Mapping[str, Mapping[str, str]], used: Collection[str]) -> str:
    """A line a part of the corpus: speakers, videos and utterances found, of how many, and how many are used."""
    lines = [f"{'part':10} {'speakers':>13} {'videos':>15} {'utterances':>17} {'used':>9}"]
    for part, names in audio.items():
        whole = PUBLISHED[part]
        speakers, videos = len(set(map(speaker_of, names))), len(set(map(video_of, names)))
        lines.append(
            f"{part:10} {f'{speakers}/{whole.speakers}':>13} {f'{videos}/{whole.videos}':>15} "
            f"{f'{len(names)}/{whole.utterances}':>17} {sum(name in used for name in names):9}"
        )
    return "".join(f"{line}\n" for line in lines)


def missing_text(lost: Mapping[str, tuple[int, int]], gone: Sequence[str], is_full: bool) -> str:
    """Per speaker how many utterances are missing of how many that lists name; speakers without any audio behind."""
    named = "lists of --expect and trials" if is_full else "trials (give all of them with --expect iden_split.txt)"
    lines = [f"# speaker missing expected, by the utterances in {named}"]
    lines += [f"{speaker} {missing} {expected}" for speaker, (expected, missing) in lost.items()]
    lines += [f"{speaker} all unknown" for speaker in gone if speaker not in lost]
    return "".join(f"{line}\n" for line in lines)
