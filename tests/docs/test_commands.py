"""What README and docs name exists: commands and their options, files, functions, links, configuration keys."""

import ast
import importlib.util
import os
import re
import subprocess
import sys
from functools import cache
from pathlib import Path
from types import ModuleType

import click
import pytest

from imlkd.cli.main import main
from imlkd.config import load_config
from tests.docs import pages

ROOT = Path(__file__).parents[2]


def load(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


PAGES = pages.PAGES
ROOMS = [path.name for path in (ROOT / "imlkd").iterdir() if path.is_dir()]
REPOSITORY = ("imlkd", "local", "utils", "egs", "tests", "docs", "benchmarks")
each_page = pytest.mark.parametrize("page", PAGES, ids=str)


@cache
def help_of(program: str) -> str:
    environment = os.environ | {"IMLKD_PYTHON": sys.executable}
    done = subprocess.run([ROOT / program, "--help"], cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def check_imlkd(words: list[str]) -> None:
    command: click.Command = main
    context = click.Context(main)
    options = {"--help", "-h", "--version"}
    for word in words:
        if isinstance(command, click.Group) and not word.startswith("-"):
            found = command.get_command(context, word)
            assert found is not None, f"imlkd has no command {word}"
            command = found
            options = {name for parameter in command.params for name in (*parameter.opts, *parameter.secondary_opts)}
            options.add("--help")
        elif word.startswith("--"):
            assert word in options, f"imlkd {command.name} has no option {word}"
        elif command.name == "watch":
            return  # what follows is a job's own command


def check_pip(words: list[str]) -> None:
    setup = (ROOT / "setup.py").read_text()
    for extras in re.findall(r"\.\[([\w,]+)\]", " ".join(words)):
        for extra in extras.split(","):
            assert f'"{extra}": [' in setup, f"setup.py has no extra {extra}"
    assert not any(word.startswith("imlkd") for word in words), "the package is installed from a checkout: '.[...]'"


@each_page
def test_commands_and_their_options_exist(page: Path) -> None:
    for words in pages.commands_of(page):
        program, arguments = words[0], words[1:]
        if program == "imlkd":
            check_imlkd(arguments)
        elif program == "pip":
            check_pip(arguments)
        else:
            assert (ROOT / program).is_file(), program
            runs = os.access(ROOT / program, os.X_OK) or f"bash {program}" in pages.text_of(page)
            assert runs or not arguments, program
            for option in [word for word in arguments if word.startswith("--") and " " not in word]:
                known = re.findall(r"--[\w-]+", help_of(program.removeprefix("./")))
                assert option in ("--help", *known), f"{program} has no option {option}"


def imlkd_options(command: click.Command = main) -> set[str]:
    options = {name for parameter in command.params for name in (*parameter.opts, *parameter.secondary_opts)}
    if isinstance(command, click.Group):
        context = click.Context(command)
        for name in command.list_commands(context):
            found = command.get_command(context, name)
            assert found is not None
            options |= imlkd_options(found)
    return options


@cache
def all_options() -> set[str]:
    more = sorted((*ROOT.glob("local/*.sh"), *ROOT.glob("egs/*/prepare.sh")))
    scripts = ["run.sh", "tests/run.sh", *(str(path.relative_to(ROOT)) for path in more)]
    shell = {option for script in scripts for option in re.findall(r"--[\w-]+", help_of(script))}
    return shell | imlkd_options() | {"--help", "--kills", "--hours", "--quick", "--json"}


@each_page
def test_options_in_running_text_exist(page: Path) -> None:
    for code in pages.inline_of(page):
        if code.startswith("--"):
            for option in re.findall(r"(?<![\w-])--[\w-]+", code):
                assert option in all_options(), f"{page}: {option}"


@each_page
def test_links_lead_somewhere(page: Path) -> None:
    for link in pages.links_of(page):
        target, _, anchor = link.partition("#")
        path = (ROOT / page).parent / target if target else ROOT / page
        assert path.exists(), f"{page}: {link}"
        if anchor:
            assert anchor in pages.anchors_of(path.resolve().relative_to(ROOT)), f"{page}: {link}"


@each_page
def test_files_and_functions_exist(page: Path) -> None:
    for code in pages.inline_of(page):
        match = re.fullmatch(r"((?:[\w.-]+/)+[\w.-]+\.(?:py|sh|pl|txt|md))(?:: ([\w, ]+))?", code)
        if match is None or match[1].split("/")[0] not in (*REPOSITORY, *ROOMS):
            continue
        path = next((root / match[1] for root in (ROOT, ROOT / "imlkd") if (root / match[1]).is_file()), None)
        assert path is not None, f"{page}: no file {match[1]}"
        if match[2]:
            defined = {getattr(node, "name", "") for node in ast.walk(ast.parse(path.read_text()))}
            assert not set(match[2].split(", ")) - defined, f"{page}: {code}"


@each_page
def test_configuration_keys_exist(page: Path) -> None:
    make_config = load(ROOT / "docs/make_config.py")
    keys = {name for cls in make_config.config_classes().values() for name, _ in make_config.keys_of(cls)}
    sections = {name.split(".")[0] for name in keys if "." in name}
    for code in pages.inline_of(page):
        if re.fullmatch(r"\w+\.\w+", code) and code.split(".")[0] in sections:
            assert code in keys, f"{page}: {code} is no key of a configuration"
    overridden = {"--relevance-set": "relevance", "--student-set": "student", "--set": "corpus"}
    for words in pages.commands_of(page):
        maps = words[:2] in (["imlkd", "explain"], ["imlkd", "faithfulness"])
        for option, value in zip(words, words[1:], strict=False):
            if option in overridden and "V" not in value.split("="):
                config = "relevance" if maps else overridden[option]
                load_config(make_config.config_classes()[config], None, value.split())


def test_every_key_stands_in_config_md_as_it_is() -> None:
    make_config = load(ROOT / "docs/make_config.py")
    page = (ROOT / "docs/config.md").read_text(encoding="utf-8")
    assert make_config.filled(page) == page, "run docs/make_config.py"
    named = re.findall(r"<!-- keys of ([\w-]+)\.yaml -->", page)
    with_keys = [name for name, cls in make_config.config_classes().items() if list(make_config.keys_of(cls))]
    assert sorted(named) == sorted(with_keys)
    assert all(field.metadata.get("help") for name in named for _, field in
               make_config.keys_of(make_config.config_classes()[name]))


def test_sizes_and_keys_in_models_md_are_those_of_the_code() -> None:
    page = (ROOT / "docs/models.md").read_text(encoding="utf-8")
    assert load(ROOT / "docs/make_models.py").filled(page) == page, "run docs/make_models.py"


def test_every_configuration_file_of_a_recipe_is_read_without_complaint() -> None:
    classes = load(ROOT / "docs/make_config.py").config_classes()
    files = sorted(ROOT.glob("egs/*/conf*/*.yaml"))
    assert len(files) > 20
    for path in files:
        load_config(classes[path.stem], path)


def test_run_sh_lists_all_its_options_and_their_defaults() -> None:
    script = (ROOT / "run.sh").read_text()
    variables = re.findall(r"^(\w+)=(.*)$", script.split("help_message=")[0], re.MULTILINE)
    listed = help_of("run.sh")
    assert len(variables) > 20
    for name, default in variables:
        option = f"--{name.replace('_', '-')}"
        lines = [line for line in listed.splitlines() if re.search(rf"{option}\b(?!-)", line)]
        assert lines, f"{option} is not in the help"
        assert not default or any(default in line.split("(default:")[-1] for line in lines), (option, default)


def test_readme_names_every_page() -> None:
    linked = set(pages.links_of(Path("README.md")))
    assert {str(page) for page in PAGES if page.parts[0] == "docs"} <= linked
    assert {str(page.parent) for page in PAGES if page.parts[0] == "egs"} <= {
        link.removesuffix("/README.md") for link in linked
    }
