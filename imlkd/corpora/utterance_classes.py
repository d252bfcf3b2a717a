"""The class of each utterance: its speaker, or what a teacher's folder has in place of labels (``utt2class``)."""

from __future__ import annotations

import shutil
from pathlib import Path

from imlkd.files import atomic_path
from imlkd.kaldi_io import read_table

TABLE = "utt2class"


def utterance_classes(data_dir: Path, folder: Path | None) -> dict[str, str]:
    """Utterance -> class.

    :param folder: of a teacher or of its targets, whose ``utt2class``, if it has one, counts; None: speakers.
    """
    return read_table(class_table(data_dir, folder), fields=2)


def class_table(data_dir: Path, folder: Path | None) -> Path:
    """Where these lie."""
    own = None if folder is None else folder / TABLE
    return data_dir / "utt2spk" if own is None or not own.is_file() else own


def pass_on(teacher: Path, targets: Path) -> None:
    """Leave a teacher's ``utt2class`` beside its targets, so that these say what they are over; without one, none."""
    if (teacher / TABLE).is_file():
        with atomic_path(targets / TABLE) as temporary:
            shutil.copyfile(teacher / TABLE, temporary)
    else:
        (targets / TABLE).unlink(missing_ok=True)
