"""What a student may take from its teacher before the first step: weights that fit, and the class weights."""

from __future__ import annotations

from pathlib import Path

import torch

from imlkd.errors import UserError
from imlkd.models.size import count_parameters
from imlkd.models.speaker_model import SpeakerModel
from imlkd.models.store import DESCRIPTION, build_model, load_model


def follow_teacher(student: SpeakerModel, start: str, head: str, targets_dir: Path) -> None:
    """Do what ``start`` and ``head`` of a student's configuration say, and print it.

    :param targets_dir: of stage 3; the teacher's folder is the one around it.
    :raises UserError: when there is no teacher, or its head does not fit.
    """
    if start != "teacher" and head != "teacher":
        return
    if not (targets_dir.parent / DESCRIPTION).is_file():
        raise UserError(
            f"{targets_dir.parent}: holds no teacher, which start: teacher and head: teacher need:"
            " keep targets in the teacher's folder"
        )
    teacher = load_model(targets_dir.parent)
    if start == "teacher":
        print(take_weights(student, teacher), flush=True)
    if head == "teacher":
        share_head(student, teacher)
        print("head: the teacher's class weights, frozen", flush=True)


def warn_of_size(student: SpeakerModel, targets_dir: Path) -> None:
    """Print a warning when the student has more parameters than the teacher whose targets it learns from."""
    folder = targets_dir.parent
    if not (folder / DESCRIPTION).is_file():
        return
    with torch.random.fork_rng(devices=[]):  # a network that is built draws numbers, and must not move the student's
        teacher = build_model(folder)
    own, theirs = count_parameters(student), count_parameters(teacher)
    if not teacher.is_opaque and own > theirs:
        print(f"warning: the student has {own} parameters, its teacher {theirs}: nothing is made smaller", flush=True)


@torch.no_grad()
def take_weights(student: SpeakerModel, teacher: SpeakerModel) -> str:
    """Copy every tensor, the head's excepted, whose name and shape both networks have; says which modules it took."""
    own, theirs = student.state_dict(), teacher.state_dict()
    names = [name for name in own if not name.startswith("head.")]
    taken = [name for name in names if name in theirs and theirs[name].shape == own[name].shape]
    for name in taken:
        own[name].copy_(theirs[name])
    modules = ", ".join(dict.fromkeys(name.split(".")[0] for name in taken))
    values = sum(own[name].numel() for name in taken)
    total = sum(own[name].numel() for name in names)
    said = f"start: {len(taken)} of {len(names)} tensors ({values} of {total} values) are the teacher's"
    return f"{said}: {modules}" if taken else f"{said}: no name and shape fit, all are drawn"


@torch.no_grad()
def share_head(student: SpeakerModel, teacher: SpeakerModel) -> None:
    """Set the student's class weights to the teacher's, matched by speaker, and freeze them.

    :raises UserError: when the teacher lacks a speaker, or its embeddings have another dimension.
    """
    if teacher.head is None or student.head is None:
        raise UserError("head: the teacher has no head to share: fit one first (stage 2)")
    rows = {speaker: row for row, speaker in enumerate(teacher.head.speakers)}
    lacking = [speaker for speaker in student.head.speakers if speaker not in rows]
    if lacking:
        raise UserError(f"head: the teacher's lacks {len(lacking)} of the student's speakers (first: {lacking[0]})")
    if teacher.head.sub_centres > 1 or student.head.sub_centres > 1:
        raise UserError("head: teacher goes without sub-centres: set training.softmax.sub_centres to 1 in both")
    if teacher.embedding_dim != student.embedding_dim:
        raise UserError(
            f"head: the teacher's embeddings have {teacher.embedding_dim} values, the student's"
            f" {student.embedding_dim}: set network.embedding_dim to {teacher.embedding_dim}"
        )
    student.head.weight.copy_(teacher.head.weight[[rows[speaker] for speaker in student.head.speakers]])
    student.head.requires_grad_(False)
