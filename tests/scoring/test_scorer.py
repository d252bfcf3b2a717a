"""Back-ends, normalisation and calibration together, from files."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from imlkd.corpora.trials.lists import Trials, read_trials
from imlkd.errors import UserError
from imlkd.kaldi_io import ArkWriter, read_scp_arrays, write_table
from imlkd.scoring import scorer
from imlkd.scoring.calibration import fit_calibration
from imlkd.scoring.cosine import cosine_scores
from imlkd.scoring.plda_backend import fit_backend, write_backend
from imlkd.scoring.scorer import ScoringOptions, make_scorer
from imlkd.scoring.speaker_means import write_speaker_means

DIM = 5
Vectors = dict[str, np.ndarray]


def embeddings(prefix: str, speakers: int, utterances: int, seed: int) -> Vectors:
    generator = np.random.default_rng(seed)
    centres = generator.normal(size=(speakers, DIM))
    return {
        f"{prefix}{s:02d}-{u}": (centres[s] + 0.5 * generator.normal(size=DIM) + 0.2).astype(np.float32)
        for s in range(speakers)
        for u in range(utterances)
    }


def write(folder: Path, name: str, vectors: Vectors) -> Path:
    with ArkWriter(folder / f"{name}.ark", folder / f"{name}.scp") as writer:
        for key, vector in vectors.items():
            writer.write(key, vector)
    return folder / f"{name}.scp"


def write_set(folder: Path, vectors: Vectors) -> None:
    folder.mkdir()
    write(folder, "xvector", vectors)
    owner = {name: name.split("-")[0] for name in vectors}
    write_table(folder / "utt2spk", owner)
    speakers = dict.fromkeys(owner.values())
    write_table(folder / "spk2utt", {s: " ".join(u for u in owner if owner[u] == s) for s in speakers})
    names = list(vectors)
    pairs = [(a, b) for i, a in enumerate(names) for b in names[i + 1 :]]
    lines = [f"{a} {b} {'target' if owner[a] == owner[b] else 'nontarget'}\n" for a, b in pairs]
    (folder / "trials").write_text("".join(lines))
    write_speaker_means(folder / "spk2utt", folder / "xvector.scp", folder)


@pytest.fixture(scope="module")
def sets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """train (40 speakers), dev (8), test (6); a PLDA back-end of train in ``plda``."""
    folder = tmp_path_factory.mktemp("sets")
    train = embeddings("train", 40, 4, 0)
    write_set(folder / "train", train)
    write_set(folder / "dev", embeddings("dev", 8, 3, 1))
    write_set(folder / "test", embeddings("test", 6, 3, 2))
    write_backend(fit_backend(train, {name: name.split("-")[0] for name in train}), folder / "plda")
    return folder


Score = Callable[..., np.ndarray]


@pytest.fixture
def score(sets: Path) -> Score:
    def call(name: str = "test", **options: object) -> np.ndarray:
        found = make_scorer(
            trials_of(sets, name), sets / name / "xvector.scp", sets / name / "xvector.scp",
            replace(OPTIONS(sets, name), **options),
        )  # fmt: skip
        return found.scores(trials_of(sets, name))

    return call


def trials_of(sets: Path, name: str = "test") -> Trials:
    return read_trials(sets / name / "trials")


def OPTIONS(sets: Path, name: str = "test") -> ScoringOptions:
    return ScoringOptions(
        cohort_scp=sets / "train/spk_xvector.scp", cohort_utt2spk=sets / "train/utt2spk", top_k=10,
        utt2spk=(sets / name / "utt2spk",),
    )  # fmt: skip


@pytest.mark.parametrize("block", [1, 7, 10000])
def test_plain_cosine_is_that_of_the_cosine_module_to_the_bit(
    sets: Path, score: Score, block: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scorer, "BLOCK", block)
    vectors = read_scp_arrays(sets / "test/xvector.scp")
    np.testing.assert_array_equal(score(), cosine_scores(trials_of(sets), vectors, vectors))


@pytest.mark.parametrize("backend", ["cosine", "plda"])
@pytest.mark.parametrize("norm", ["z", "t", "s", "as"])
@pytest.mark.parametrize("cohort", ["spk_xvector.scp", "xvector.scp"])
def test_normalised_scores_by_a_plain_reading(sets: Path, score: Score, backend: str, norm: str, cohort: str) -> None:
    """Every trial by itself, with a full sort."""
    plda = sets / "plda" if backend == "plda" else None
    members = np.stack(list(read_scp_arrays(sets / "train" / cohort).values())).astype(np.float64)
    vectors = {name: vector.astype(np.float64) for name, vector in read_scp_arrays(sets / "test/xvector.scp").items()}

    model = scorer.read_backend(sets / "plda")

    def raw(enroll: np.ndarray, test: np.ndarray) -> float:
        if backend == "cosine":
            return float(enroll @ test / np.linalg.norm(enroll) / np.linalg.norm(test))
        return model.matrix(model.models(enroll[None]), model.test(test[None])).item()  # type: ignore[no-any-return]

    top = 10 if norm == "as" else None
    best = {name: np.sort([raw(vector, member) for member in members])[::-1][:top] for name, vector in vectors.items()}
    sides = {"z": (0,), "t": (1,), "s": (0, 1), "as": (0, 1)}[norm]

    def normalised(pair: tuple[str, str]) -> float:
        score = raw(vectors[pair[0]], vectors[pair[1]])
        return float(np.mean([(score - best[pair[i]].mean()) / best[pair[i]].std() for i in sides]))

    expected = [normalised(pair) for pair in trials_of(sets).pairs()[:12]]
    found = score(plda=plda, norm=norm, cohort_scp=sets / "train" / cohort)
    np.testing.assert_allclose(found[:12], expected, rtol=1e-4, atol=1e-4)


def test_two_files_of_the_same_embeddings_give_the_same_as_one(sets: Path, score: Score, tmp_path: Path) -> None:
    """One file: each embedding is compared with the cohort once. Two: each side by itself."""
    copy = write(tmp_path, "copy", read_scp_arrays(sets / "test/xvector.scp"))
    for plda in (None, sets / "plda"):
        options = replace(OPTIONS(sets), norm="as", plda=plda)
        apart = make_scorer(trials_of(sets), copy, sets / "test/xvector.scp", options).scores(trials_of(sets))
        np.testing.assert_allclose(score(norm="as", plda=plda), apart, rtol=1e-4, atol=1e-4)


def test_statistics_are_kept_and_used(sets: Path, score: Score, tmp_path: Path) -> None:
    first = score(norm="as", norm_stats=tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["both.ark", "both.made_from.json", "both.scp"]
    assert len(read_scp_arrays(tmp_path / "both.scp")) == 18
    np.testing.assert_array_equal(score(norm="as", norm_stats=tmp_path), first)
    np.testing.assert_array_equal(score(norm="as"), first)
    score(norm="z", norm_stats=tmp_path / "z")
    assert len(read_scp_arrays(tmp_path / "z/enroll.scp")) == 18


@pytest.mark.parametrize("plda", [False, True])
def test_models_of_several_utterances(sets: Path, plda: bool, tmp_path: Path) -> None:
    """By a list of utterances, or by means and their numbers; for the PLDA, the joint likelihood."""
    (tmp_path / "models").write_text("m1 test00-0 test00-1\nm2 test01-0\nm3 test02-1 test02-0\n")
    (tmp_path / "trials").write_text("m1 test00-2 target\nm2 test00-2 nontarget\nm3 test02-2 target\n")
    trials = read_trials(tmp_path / "trials")
    options = replace(OPTIONS(sets), plda=sets / "plda" if plda else None, models=tmp_path / "models", norm="as")
    place = sets / "test/xvector.scp"
    found = make_scorer(trials, place, place, replace(options, norm="none")).scores(trials)
    vectors = read_scp_arrays(place)
    backend = scorer.read_backend(sets / "plda") if plda else scorer.Cosine()
    model = backend.enroll(np.stack([vectors["test00-0"], vectors["test00-1"]]))
    test = backend.test(vectors["test00-2"][None])
    assert found[0] == pytest.approx(backend.score(model[None], test).item())
    assert np.isfinite(make_scorer(trials, place, place, options).scores(trials)).all()
    (tmp_path / "models").write_text("m1 test00-0 test09-1\nm2 test01-0\nm3 test02-1 test02-0\n")
    with pytest.raises(UserError, match="0 of 3 enrolment .*, 1 of 5 enrolment utterances not in .*; first: test09-1"):
        make_scorer(trials, place, place, replace(options, utt2spk=(), norm="none"))


def test_speaker_means_with_their_numbers(sets: Path, tmp_path: Path) -> None:
    (tmp_path / "trials").write_text("test00 test01-0 nontarget\ntest00 test00-0 target\n")
    trials = read_trials(tmp_path / "trials")
    options = replace(OPTIONS(sets), plda=sets / "plda", num_utts=sets / "test/num_utts.ark")
    places = sets / "test/spk_xvector.scp", sets / "test/xvector.scp"
    found = make_scorer(trials, *places, options).scores(trials)
    backend = scorer.read_backend(sets / "plda")
    mean = backend.plda.project(backend.prepare(read_scp_arrays(places[0])["test00"][None]))
    test = backend.test(read_scp_arrays(places[1])["test01-0"][None])
    assert found[0] == pytest.approx((backend.plda.model_rows(mean, 3) @ test.T).item())
    assert make_scorer(trials, *places, replace(options, num_utts=None)).scores(trials)[0] != pytest.approx(found[0])
    (tmp_path / "num_utts").write_text("test00 0\n")
    with pytest.raises(UserError, match="num_utts: test00: '0' is no number of utterances"):
        make_scorer(trials, *places, replace(options, num_utts=tmp_path / "num_utts"))
    (tmp_path / "num_utts").write_text("test09 1\n")
    with pytest.raises(UserError, match="num_utts: test00 is not there"):
        make_scorer(trials, *places, replace(options, num_utts=tmp_path / "num_utts"))


def test_calibrated_scores(sets: Path, score: Score, tmp_path: Path) -> None:
    dev, path = trials_of(sets, "dev"), tmp_path / "calibration.json"
    calibration = fit_calibration(dev, score("dev"), [f"dev{s:02d}" for s in range(8)])
    calibration.write(path)
    expected = calibration.scale * score() + calibration.offset
    np.testing.assert_allclose(score(calibration=path), expected)
    with pytest.raises(UserError, match="was fitted on the trials of .*dev/trials themselves"):
        score("dev", calibration=path)
    with pytest.raises(UserError, match="scores lie outside: fit it on scores of the same model"):
        score(calibration=path, norm="as", top_k=40, plda=sets / "plda")


def test_calibration_by_cohort_mean_takes_it_from_the_same_run(sets: Path, score: Score, tmp_path: Path) -> None:
    dev, path = trials_of(sets, "dev"), tmp_path / "calibration.json"
    scores = score("dev", norm="as", norm_stats=tmp_path / "dev")
    quality = scorer.read_quality(cohort_stats_scp=(tmp_path / "dev/both.scp",))
    calibration = fit_calibration(dev, scores, [], quality=quality)
    calibration.write(path)
    found = score(calibration=path, norm="as", norm_stats=tmp_path / "test")
    given = score(calibration=path, norm="as", cohort_stats_scp=(tmp_path / "test/both.scp",))
    np.testing.assert_allclose(found, given)
    assert not np.allclose(found, calibration.scale * score(norm="as") + calibration.offset)
    with pytest.raises(UserError, match="was fitted with cohort_mean_min: give the table with --cohort-stats-scp"):
        score(calibration=path)


def test_shared_speakers_are_refused(sets: Path, score: Score) -> None:
    both = {"cohort_scp": sets / "test/spk_xvector.scp", "cohort_utt2spk": sets / "test/utt2spk"}
    with pytest.raises(UserError, match="the cohort shares 6 speakers with the trials, first: test00, test01"):
        score(norm="s", **both)
    with pytest.raises(UserError, match="plda: the training set of the back-end shares 40 speakers with the trials"):
        score("train", plda=sets / "plda")


def test_what_is_missing(sets: Path, score: Score, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="--norm as needs --utt2spk of the trials"):
        score(norm="as", utt2spk=())
    with pytest.raises(UserError, match="--calibration needs --utt2spk"):
        score(calibration=tmp_path / "c.json", utt2spk=())
    with pytest.raises(UserError, match="--norm s needs --cohort-scp and --cohort-utt2spk"):
        score(norm="s", cohort_scp=None)
    with pytest.raises(UserError, match="spk_xvector.scp: has 40 members, fewer than the 41 of --top-k"):
        score(norm="as", top_k=41)
    with pytest.raises(UserError, match="--mean-scp is the cosine's"):
        score(plda=sets / "plda", mean_scp=sets / "train/xvector.scp")
    with pytest.raises(UserError, match="ids have no speaker, first: train00"):
        score(norm="s", cohort_utt2spk=sets / "dev/utt2spk")


@pytest.mark.parametrize("value", [np.nan, 0.0])
def test_unusable_embeddings_on_either_side(value: float, sets: Path, tmp_path: Path) -> None:
    vectors = read_scp_arrays(sets / "test/xvector.scp")
    ark = tmp_path / "bad.ark"
    place = write(tmp_path, "bad", {**vectors, "test03-1": np.full(DIM, 7.0, np.float32)})
    content = ark.read_bytes()
    ark.write_bytes(content.replace(np.full(DIM, 7.0, "<f4").tobytes(), np.full(DIM, value, "<f4").tobytes()))
    for plda in (None, sets / "plda"):
        with pytest.raises(UserError, match="bad.scp: test03-1: embedding (holds NaN|is all zero)"):
            make_scorer(trials_of(sets), place, place, replace(OPTIONS(sets), plda=plda, norm="as"))


def test_embedding_equal_to_the_mean(sets: Path, tmp_path: Path) -> None:
    vectors = read_scp_arrays(sets / "test/xvector.scp")
    mean = write(tmp_path, "mean", {"m": vectors["test02-0"]})
    with pytest.raises(UserError, match="test02-0: embedding has no length"):
        place = sets / "test/xvector.scp"
        make_scorer(trials_of(sets), place, place, replace(OPTIONS(sets), mean_scp=mean, norm="as"))


def test_dimensions_that_differ(sets: Path, score: Score, tmp_path: Path) -> None:
    wide = write(tmp_path, "wide", {name: np.ones(7) for name in read_scp_arrays(sets / "test/xvector.scp")})
    of_plda = "wide.scp: embeddings of 7 dimensions do not fit a back-end of 5"
    messages = {None: "of 5 and of 7 dimensions", sets / "plda": of_plda}
    for plda, message in messages.items():
        with pytest.raises(UserError, match=message):
            make_scorer(trials_of(sets), sets / "test/xvector.scp", wide, replace(OPTIONS(sets), plda=plda))
    members = write(tmp_path, "members", {f"train{i:02d}": np.ones(7) + np.eye(7)[i % 7] for i in range(20)})
    with pytest.raises(UserError, match="members.scp and the trials: embeddings of 7 and of 5 dimensions"):
        score(norm="s", cohort_scp=members)


def test_ark_cut_off_in_the_middle(sets: Path, score: Score, tmp_path: Path) -> None:
    place = write(tmp_path, "cut", read_scp_arrays(sets / "train/spk_xvector.scp"))
    ark = tmp_path / "cut.ark"
    ark.write_bytes(ark.read_bytes()[:515])
    with pytest.raises(UserError, match=r"cut.ark:\d+: not a readable Kaldi object \(cut off or damaged"):
        score(norm="s", cohort_scp=place)
