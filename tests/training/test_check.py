"""Before anything is computed: configurations and names."""

import shutil
from pathlib import Path

import pytest

from imlkd.errors import UserError
from imlkd.training.check import check_recipe
from imlkd.training.imported_teacher import check_teacher_name

ROOT = Path(__file__).parents[2]


@pytest.fixture
def conf(tmp_path: Path) -> Path:
    return Path(shutil.copytree(ROOT / "egs/minivox/conf_reduced", tmp_path / "conf"))


@pytest.mark.parametrize("shipped", sorted((ROOT / "egs").glob("*/conf*")), ids=lambda path: "/".join(path.parts[-2:]))
def test_shipped_recipes(shipped: Path) -> None:
    check_recipe("own", "none,kd,imlkd", shipped)
    check_recipe("resemblyzer", "imlkd", shipped)


def test_files_that_lack_are_defaults(tmp_path: Path) -> None:
    check_recipe("own", "kd", tmp_path)


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("features", "fbank: {num_mel_bin: 80}\n", "{}:1: unknown key num_mel_bin: did you mean num_mel_bins?"),
        ("features", "fbank:\n  sample_rate: 8000\n", "{}: fbank.high_freq: 7600 Hz is above half of sample_rate"),
        ("teacher", "network: {width: 1}\n", "{}:1: width: 1 is below the smallest allowed value 4"),
        ("head", "epochs: 0\n", "{}:1: epochs: 0 is below the smallest allowed value 1"),
        ("relevance", "nodes: 8\nrule: simpson\n", "{}:2: rule: 'simpson' is none of adaptive, clenshaw-curtis,"),
        ("student", "training:\n  epochs: many\n", "{}:2: epochs: expected a whole number, found 'many'"),
        ("imlkd", "weight: 1\n", "{}:1: unknown key weight: did you mean weight_"),
        ("kd", "temperature: 0\n", "{}:1: temperature: 0.0 is below the smallest allowed value 0.1"),
    ],
)
def test_each_file_is_read(conf: Path, name: str, text: str, message: str) -> None:
    (conf / f"{name}.yaml").write_text(text)
    with pytest.raises(UserError) as caught:
        check_recipe("own", "none,kd,imlkd", conf)
    assert str(caught.value).startswith(message.format(conf / f"{name}.yaml"))


def test_overrides_are_read_too(conf: Path) -> None:
    check_recipe("own", "kd", conf, ["nodes=4", "segments.durations=[1.0]"], ["training.epochs=2"])
    with pytest.raises(UserError, match="unknown key nods: did you mean nodes?"):
        check_recipe("own", "kd", conf, ["nods=4"])
    with pytest.raises(UserError, match="epochs: expected a whole number, found 'many'"):
        check_recipe("own", "kd", conf, [], ["training.epochs=many"])


def test_adapters_need_a_student_that_takes_them(conf: Path) -> None:
    check_recipe("own", "oskdft", conf)
    with pytest.raises(UserError, match="model: ecapa: takes no adapters, which the method is about: take tdnn"):
        check_recipe("own", "oskdft", conf, [], ["model=ecapa"])


def test_settings_of_methods_that_are_not_run_do_not_matter(conf: Path) -> None:
    (conf / "imlkd.yaml").write_text("weight: 1\n")
    check_recipe("own", "none,kd", conf)


@pytest.mark.parametrize(
    ("teacher", "methods", "message"),
    [
        ("resemblizer", "kd", "unknown teacher 'resemblizer': did you mean resemblyzer?"),
        ("wavlm", "kd", "unknown teacher 'wavlm': known teachers: own, resemblyzer"),
        ("own", "kd,imkld", "unknown method 'imkld': did you mean imlkd?"),
        ("own", "kd,,none", "unknown method ''"),
        ("own", "", "--methods is empty: give one or more of none,kd,imlkd"),
        ("own", ",", "--methods is empty"),
        ("own", "kd,none,kd", "--methods kd,none,kd: kd is named twice: name it once"),
    ],
)
def test_names(conf: Path, teacher: str, methods: str, message: str) -> None:
    with pytest.raises(UserError) as caught:
        check_recipe(teacher, methods, conf)
    assert str(caught.value).startswith(message)


def test_teachers() -> None:
    check_teacher_name("own")
    check_teacher_name("resemblyzer")
