"""Integrated inputs in training: the cached way, the teacher beside the student, every gate, other front-ends."""

import dataclasses
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from imlkd.attribution.origin import check_origin
from imlkd.attribution.relevance import RelevanceConfig
from imlkd.attribution.stage import explain_job, join_jobs
from imlkd.config import load_config, save_config
from imlkd.distillation.batch import DistillationBatch
from imlkd.distillation.integrated_inputs import GATES, NEED_MAP, GateConfig, gated, map_gate, overlaid, soft_gate
from imlkd.distillation.objective import build_method
from imlkd.done import DoneMarker
from imlkd.errors import UserError
from imlkd.features.augment import AugmentConfig
from imlkd.features.extract import FeaturesConfig
from imlkd.features.fbank import FbankConfig, LogMel
from imlkd.features.segments import Segment, SegmentsConfig, read_segments, write_segments
from imlkd.kaldi_io import read_scp_arrays
from imlkd.models.ge2e import Ge2e
from imlkd.models.speaker_model import CosineHead, SpeakerModel
from imlkd.models.store import load_model, save_model
from imlkd.models.tdnn import Tdnn, TdnnConfig
from imlkd.training.config import TrainingConfig
from imlkd.training.frames import FramesConfig
from imlkd.training.gates import IntegratedInputs, check_relevance_name, is_cached
from imlkd.training.pool import grid_of, load_pool
from imlkd.training.sampling import SegmentPool
from imlkd.training.student import StudentConfig, TeacherTargets, train_student

SPEAKERS = ["s0", "s1", "s2", "s3"]
RELEVANCE = RelevanceConfig(
    segments=SegmentsConfig(durations=[0.5, 1.0]), nodes=4, max_nodes=4, max_failing=1.0, rho=0.3
)
STUDENT = StudentConfig(TdnnConfig(width=4, blocks=1, embedding_dim=5), TrainingConfig(epochs=2, batch=4, threads=1))


@pytest.fixture(scope="module", autouse=True)
def leave_torch_as_it_was() -> object:
    before = torch.are_deterministic_algorithms_enabled()
    yield
    torch.use_deterministic_algorithms(before)


def explained(folder: Path, corpus: Path, model: SpeakerModel, config: RelevanceConfig = RELEVANCE) -> Path:
    """A teacher's folder with its targets."""
    model.head = CosineHead(model.embedding_dim, SPEAKERS)
    save_model(model, folder)
    targets = folder / "targets_toy"
    write_segments(targets / "segments", grid_of(corpus, config.segments))
    save_config(config, targets / "config.yaml")
    DoneMarker(targets / ".done").begin({"x": "1"})
    explain_job(folder, corpus, targets, 1, 1, folder / "progress")
    join_jobs(targets, corpus.parent / "manifests/toy.jsonl.gz", 1)
    return targets


@pytest.fixture(scope="module")
def targets(toy_corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of a teacher with the student's front-end."""
    torch.manual_seed(0)
    fbank = load_config(FeaturesConfig, toy_corpus / "features.yaml").fbank
    model = Tdnn(TdnnConfig(width=6, blocks=1, embedding_dim=5), fbank)
    model.train()(torch.randn(6, 30, 24) + 8, torch.full((6,), 30))
    return explained(tmp_path_factory.mktemp("teacher"), toy_corpus, model)


@pytest.fixture(scope="module")
def foreign(toy_corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of GE2E, whose front-end has 40 bands and pads to 161 frames."""
    torch.manual_seed(0)
    config = dataclasses.replace(RELEVANCE, segments=SegmentsConfig(durations=[1.0], hop=2.0), full=False)
    return explained(tmp_path_factory.mktemp("ge2e"), toy_corpus, Ge2e(), config)


def inputs_of(targets: Path, corpus: Path, config: GateConfig) -> IntegratedInputs:
    fbank = load_config(FeaturesConfig, corpus / "features.yaml").fbank
    return IntegratedInputs(config, targets, read_segments(targets / "segments"), targets.parent, corpus, LogMel(fbank))


def filled(targets: Path, corpus: Path, config: GateConfig, seed: int = 0) -> tuple[DistillationBatch, list[Segment]]:
    """A batch of all segments of 1 s."""
    segments = read_segments(targets / "segments")
    pool: SegmentPool = load_pool(corpus, segments, SPEAKERS)
    chosen = np.array([i for i, segment in enumerate(segments) if segment.frames == 100])
    inputs = inputs_of(targets, corpus, config)
    plain = TeacherTargets(targets, segments, build_method("imlkd"), 30.0, inputs, config)
    torch.manual_seed(seed)
    return plain.batch(pool, chosen), [segments[i] for i in chosen]


def test_only_the_soft_gate_of_stage_3_is_cached(targets: Path) -> None:
    assert is_cached(GateConfig(), targets) and is_cached(GateConfig(rho=0.3), targets)
    for change in ({"rho": 0.5}, {"kind": "perm"}, {"relevance": "fused"}, {"target": "clean"}):
        assert not is_cached(dataclasses.replace(GateConfig(), **change), targets)


@pytest.mark.parametrize("which", ["targets", "foreign"])
def test_the_teacher_beside_the_student_says_what_stage_3_said(
    request: pytest.FixtureRequest, toy_corpus: Path, which: str
) -> None:
    """Relevance from the cache or online, and the teacher's answer to its own gated features."""
    folder: Path = request.getfixturevalue(which)
    arrays = {kind: read_scp_arrays(folder / f"{kind}.scp") for kind in ("relevance", "cosines_gated", "cosines")}
    for config in (GateConfig(), GateConfig(relevance="online", nodes=4)):
        batch, segments = filled(folder, toy_corpus, config)
        assert batch.gate is not None and batch.teacher_logits_gated is not None and len(segments) >= 8
        for row, segment in enumerate(segments):
            np.testing.assert_allclose(batch.gate[row], 0.3 + 0.7 * arrays["relevance"][segment.id], atol=1e-3)
            found, expected = batch.teacher_logits_gated[row] / 30, arrays["cosines_gated"][segment.id]
            np.testing.assert_allclose(found, expected, atol=2e-4)
    batch, segments = filled(folder, toy_corpus, GateConfig(target="clean"))
    assert batch.teacher_logits_gated is batch.teacher_logits


def test_online_the_teacher_hears_the_crop_as_it_is_augmented(targets: Path, toy_corpus: Path) -> None:
    """Its features are the student's, but for frames at the edges, which there see what lies around the crop."""
    segments = read_segments(targets / "segments")
    chosen = np.array([i for i, segment in enumerate(segments) if segment.frames == 100])
    augment = AugmentConfig(volume=1.0, telephone=1.0, clipping=1.0)
    pool = load_pool(toy_corpus, segments, SPEAKERS, FramesConfig("audio"), augment)
    config, method = GateConfig(relevance="online", nodes=4), build_method("imlkd")
    inputs = inputs_of(targets, toy_corpus, config)
    made = TeacherTargets(targets, segments, method, 30.0, inputs, config)
    teacher, own = inputs.teacher, [segments[i] for i in chosen]
    assert teacher is not None
    clean = teacher.relevance(teacher.attribution(teacher.hear(own)))
    by_epoch = []
    for epoch in (3, 4):
        pool.at_epoch(epoch)
        batch, waveforms = made.batch(pool, chosen), pool.waveforms(chosen)
        assert waveforms is not None and {len(wave) for wave in waveforms} == {16000}
        features = torch.stack([teacher.explainer.model.frontend(wave) for wave in waveforms])
        torch.testing.assert_close(features[:, 3:-3], batch.features[:, 3:-3], atol=1e-3, rtol=0)
        found = teacher.explainer.explain(own, list(features))
        expected = teacher.relevance(torch.stack([one.map for one in found]).float())
        assert batch.relevance is not None and batch.teacher_logits_gated is not None
        torch.testing.assert_close(batch.relevance, expected, atol=1e-3, rtol=0)
        gated_ = gated(features, soft_gate(expected, 0.3))
        answer = teacher.explainer.model(gated_, torch.full((len(own),), 100)).cosines
        torch.testing.assert_close(batch.teacher_logits_gated, 30 * answer, atol=1e-2, rtol=0)
        by_epoch.append(batch.relevance)
    for other in (clean, by_epoch[1]):
        assert (by_epoch[0] - other).abs().mean() > 0.02
    masked = load_pool(toy_corpus, segments, SPEAKERS, FramesConfig("audio"), AugmentConfig(time_mask=0.3))
    assert masked.waveforms(chosen) is None and load_pool(toy_corpus, segments, SPEAKERS).waveforms(chosen) is None
    batch = made.batch(masked, chosen)  # masks are the student's alone
    assert batch.relevance is not None
    torch.testing.assert_close(batch.relevance, clean, atol=1e-3, rtol=0)


def test_a_cached_relevance_is_of_the_clean_crop(targets: Path, toy_corpus: Path) -> None:
    segments = read_segments(targets / "segments")
    chosen = np.array([i for i, segment in enumerate(segments) if segment.frames == 100])
    pools = [
        load_pool(toy_corpus, segments, SPEAKERS, FramesConfig("audio"), augment)
        for augment in (None, AugmentConfig(telephone=1.0))
    ]
    config = GateConfig("soft", rho=0.6)
    made = TeacherTargets(
        targets, segments, build_method("imlkd"), 30.0, inputs_of(targets, toy_corpus, config), config
    )
    quiet, noisy = (made.batch(pool, chosen) for pool in pools)
    assert not torch.equal(quiet.features, noisy.features)
    assert quiet.teacher_logits_gated is not None and noisy.teacher_logits_gated is not None
    assert torch.equal(quiet.teacher_logits_gated, noisy.teacher_logits_gated)


@pytest.mark.parametrize("kind", [kind for kind in GATES if kind not in (*NEED_MAP, "id")])
def test_teacher_and_student_take_the_same_gate(foreign: Path, toy_corpus: Path, kind: str) -> None:
    """Features of their own, one gate: the teacher's answer is to its features under the batch's gate."""
    config = GateConfig(kind=kind, rho=0.2)
    batch, segments = filled(foreign, toy_corpus, config)
    assert batch.gate is not None and batch.teacher_logits_gated is not None
    assert batch.gate.shape == (len(segments), 100)
    teacher = inputs_of(foreign, toy_corpus, config).teacher
    assert teacher is not None
    heard = teacher.hear(segments)
    by_hand = heard.features.clone()
    mean = by_hand[:, :100].mean(1, keepdim=True)
    by_hand[:, :100] = mean + batch.gate[:, :, None] * (by_hand[:, :100] - mean)  # padding is left alone
    answer = teacher.explainer.model(by_hand, torch.full((len(by_hand),), 161)).cosines
    torch.testing.assert_close(batch.teacher_logits_gated, 30 * answer, atol=1e-3, rtol=0)
    again, other = (filled(foreign, toy_corpus, config, seed)[0].gate for seed in (0, 1))
    assert again is not None and other is not None and torch.equal(batch.gate, again)
    assert torch.equal(batch.gate, other) is (kind in ("soft", "energy"))


def test_gates_over_bins(targets: Path, toy_corpus: Path) -> None:
    for kind in NEED_MAP:
        config = GateConfig(kind=kind, relevance="online", nodes=8, rho=0.2, beta=0.7)
        batch, segments = filled(targets, toy_corpus, config)
        teacher = inputs_of(targets, toy_corpus, config).teacher
        assert teacher is not None and batch.teacher_logits_gated is not None
        heard = teacher.hear(segments)
        attribution = teacher.attribution(heard)
        assert attribution.shape == batch.features.shape
        views = build_method("imlkd").views(batch, teacher.explainer.model)
        if kind == "tf":
            theirs = gated(heard.features, map_gate(attribution, 0.2))
            expected = gated(batch.features, map_gate(attribution, 0.2))
        else:
            theirs, expected = (overlaid(x, attribution, 0.7) for x in (heard.features, batch.features))
        torch.testing.assert_close(views[1], expected, atol=1e-3, rtol=1e-3)
        answer = teacher.explainer.answer(theirs)[1]
        torch.testing.assert_close(batch.teacher_logits_gated, 30 * answer, atol=5e-3, rtol=0)


def test_controls_without_relevance(foreign: Path, toy_corpus: Path) -> None:
    """`id` is the input itself, with the cached answer; `energy` follows the student's own log energy."""
    batch, _ = filled(foreign, toy_corpus, GateConfig("id"))
    assert batch.integrated is batch.features and batch.gate is None
    assert batch.teacher_logits_gated is batch.teacher_logits
    batch, _ = filled(foreign, toy_corpus, GateConfig("energy", rho=0.2))
    assert batch.gate is not None
    energy = batch.features.mean(2)
    for gate, values in zip(batch.gate.numpy(), energy.numpy(), strict=True):
        low, high = 2, 98  # the moving average is whole
        mean = np.convolve(values, np.ones(5) / 5, mode="valid")
        top = np.minimum(mean, np.quantile(mean, 0.95))
        assert np.corrcoef(gate[low:high], top)[0, 1] > 0.999
        assert gate.min() == pytest.approx(0.2, abs=1e-6) and gate.max() == pytest.approx(1.0, abs=1e-6)


def test_the_student_may_hear_the_plain_input(targets: Path, toy_corpus: Path) -> None:
    for config in (GateConfig(student="clean"), GateConfig("del", student="clean")):
        batch, _ = filled(targets, toy_corpus, config)
        assert batch.gate is None and batch.integrated is batch.features
        assert batch.teacher_logits_gated is not None and batch.teacher_logits is not None
        assert not torch.equal(batch.teacher_logits_gated, batch.teacher_logits)


def test_a_share_of_the_batches_is_integrated(targets: Path, toy_corpus: Path) -> None:
    segments = read_segments(targets / "segments")
    pool = load_pool(toy_corpus, segments, SPEAKERS)
    rows = np.array([i for i, segment in enumerate(segments) if segment.frames == 100])
    for method, has_relevance in (("imlkd", 0.0), ("imlkd+ig-match", 1.0)):
        for inputs in (None, inputs_of(targets, toy_corpus, GateConfig("perm"))):
            built = build_method(method)
            plain = TeacherTargets(targets, segments, built, 30.0, inputs, GateConfig(share=0.3))
            torch.manual_seed(0)
            batches = [plain.batch(pool, rows) for _ in range(200)]
            share = np.mean([batch.gate is not None for batch in batches])
            assert 0.2 < share < 0.4
            assert np.mean([batch.relevance is not None for batch in batches]) >= max(share, has_relevance)
            counts = {len(built.views(batch, torch.nn.Module())) for batch in batches}  # type: ignore[arg-type]
            assert counts == {1, 2}


def test_curves_give_the_relevance_of_their_place(targets: Path, toy_corpus: Path) -> None:
    for curve in ("fused", "full", "100"):
        whole = read_scp_arrays(targets / f"curves/{curve}/relevance.scp")
        batch, segments = filled(targets, toy_corpus, GateConfig(relevance=curve))
        assert batch.gate is not None
        for row, segment in enumerate(segments):
            part = whole[segment.utterance][segment.start : segment.start + 100]
            np.testing.assert_allclose(batch.gate[row], soft_gate(torch.from_numpy(part), 0.3), atol=1e-6)


@pytest.mark.parametrize("gate", [GateConfig("perm"), GateConfig("del", relevance="fused", target="clean"),
                                  GateConfig("energy", share=0.5), GateConfig("id"),
                                  GateConfig("add", relevance="online", nodes=2)])  # fmt: skip
def test_a_student_by_another_gate(targets: Path, toy_corpus: Path, tmp_path: Path, gate: GateConfig) -> None:
    config = dataclasses.replace(STUDENT, gate=gate)
    for name, settings in (("a", config), ("b", config), ("soft", STUDENT)):
        train_student(toy_corpus, targets, settings, build_method("imlkd"), tmp_path / name, {}, tmp_path / "progress")
    assert load_config(StudentConfig, tmp_path / "a/config.yaml") == config
    a, b, soft = ((tmp_path / name / "final.pt").read_bytes() for name in ("a", "b", "soft"))
    assert a == b and a != soft


def test_a_teacher_of_other_features_and_gates_over_bins(foreign: Path, targets: Path, toy_corpus: Path) -> None:
    for kind in NEED_MAP:
        with pytest.raises(UserError, match=f"^gate.kind {kind}: lies over time and bins.*take a gate over time"):
            inputs_of(foreign, toy_corpus, GateConfig(kind, relevance="online"))
        with pytest.raises(UserError, match=f"^gate.kind {kind}: needs the map over frames and bins.*relevance=online"):
            inputs_of(targets, toy_corpus, GateConfig(kind))


def test_maps_of_something_else_are_refused(targets: Path, toy_corpus: Path, tmp_path: Path) -> None:
    """Another teacher, another front-end, another duration, nobody's: one line each, before the first step."""

    def refused(config: StudentConfig, teacher: Path | None, folder: Path = targets) -> str:
        with pytest.raises(UserError) as caught:
            train_student(toy_corpus, folder, config, build_method("imlkd"), tmp_path / "x", {}, None, teacher)
        assert "\n" not in str(caught.value) and not (tmp_path / "x/final.pt").exists()
        return str(caught.value)

    own = check_origin(targets)
    other, bands = tmp_path / "other", tmp_path / "bands"
    shutil.copytree(targets.parent, other, ignore=shutil.ignore_patterns("targets_toy"))
    model = load_model(targets.parent)
    with torch.no_grad():
        model.head.weight[0, 0] += 1e-3  # type: ignore[union-attr]
    save_model(model, other)
    said = refused(STUDENT, other)
    assert said.startswith(f"{targets}: relevance of teacher {own.teacher}, wanted ") and said.endswith("again")
    save_model(Tdnn(TdnnConfig(width=6, blocks=1, embedding_dim=5), FbankConfig(num_mel_bins=30)), bands)
    said = refused(STUDENT, bands)
    assert said.startswith(f"{targets}: relevance of front-end {own.front_end}, wanted ") and f"that of {bands}" in said
    said = refused(dataclasses.replace(STUDENT, gate=GateConfig(relevance="300")), None)
    assert "durations 50, 100, full, fused (frames of 10 ms), wanted 300: add it to segments.durations" in said
    said = refused(STUDENT, tmp_path / "nothing")
    assert "nothing: holds no model.yaml" in said
    bare = tmp_path / "teacher/targets_toy"
    shutil.copytree(targets.parent, tmp_path / "teacher")
    (bare / "origin.yaml").unlink()
    said = refused(STUDENT, None, bare)
    assert said == f"{bare}/origin.yaml: not there, so nobody knows whose relevance this is: run stage 3 again"


def test_names_of_relevance() -> None:
    for name in ("segment", "online", "fused", "full", "200"):
        check_relevance_name(name)
    with pytest.raises(UserError, match="gate.relevance 'fussed': expected segment, online, fused, full, or"):
        check_relevance_name("fussed")
