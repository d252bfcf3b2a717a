"""Stages 2 to 4 on the toy corpus, as small as they go."""

from pathlib import Path

from imlkd.attribution.relevance import RelevanceConfig
from imlkd.attribution.stage import explain_job, join_jobs
from imlkd.config import save_config
from imlkd.done import DoneMarker
from imlkd.features.segments import SegmentsConfig, write_segments
from imlkd.models.speaker_model import SpeakerModel
from imlkd.models.store import load_model
from imlkd.models.tdnn import TdnnConfig
from imlkd.models.xvector_table import XvectorTable
from imlkd.training.config import TrainingConfig
from imlkd.training.head import HeadConfig
from imlkd.training.imported_teacher import import_teacher
from imlkd.training.pool import grid_of
from imlkd.training.student import StudentConfig, method_of, train_student

SEGMENTS = SegmentsConfig(durations=[0.5, 1.0])
HEAD = HeadConfig(segments=SEGMENTS, epochs=5, held_out=0.25)
RELEVANCE = RelevanceConfig(segments=SEGMENTS, nodes=2, max_nodes=2, max_failing=1.0)
STUDENT = StudentConfig(TdnnConfig(width=4, blocks=1, embedding_dim=5), TrainingConfig(epochs=2, batch=4, threads=1))


def imported(name: str, weights: Path | None, corpus: Path, folder: Path) -> SpeakerModel:
    """Stage 2; the teacher as it lies on the disk then."""
    import_teacher(name, weights, corpus, HEAD, folder, folder / "progress", threads=1)
    return load_model(folder)


def explained(teacher: Path, corpus: Path, config: RelevanceConfig = RELEVANCE, nj: int = 1) -> tuple[Path, str]:
    """Stage 3: the folder of targets, and what was said of them."""
    from imlkd.attribution.table_targets import known_segments

    targets, model = teacher / f"targets_{corpus.name}", load_model(teacher)
    segments = grid_of(corpus, config.segments)
    if isinstance(model, XvectorTable):
        segments = known_segments(segments, model, config.segments.max_dropped)
    write_segments(targets / "segments", segments)
    save_config(config, targets / "config.yaml")
    DoneMarker(targets / ".done").begin({"x": "1"})
    for job in range(1, nj + 1):
        explain_job(teacher, corpus, targets, job, nj, targets / "progress")
    return targets, join_jobs(targets, corpus.parent / f"manifests/{corpus.name}.jsonl.gz", nj)


def student(method: str, corpus: Path, targets: Path, folder: Path, config: StudentConfig = STUDENT) -> SpeakerModel:
    """Stage 4."""
    train_student(corpus, targets, config, method_of(method, None, folder, []), folder, {}, folder / "progress")
    return load_model(folder)
