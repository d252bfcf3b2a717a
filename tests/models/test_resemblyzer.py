"""The weights inside the installed package: found without an import, compared with what the package lists."""

import importlib.metadata
import importlib.util
import subprocess
import sys
from base64 import urlsafe_b64decode
from pathlib import Path

import pytest

from imlkd.errors import UserError
from imlkd.models.resemblyzer import PACKAGE, WEIGHTS_SHA256, find_weights, verified_weights

ROOT = Path(__file__).parents[2]

needs_package = pytest.mark.skipif(
    importlib.util.find_spec("resemblyzer") is None,
    reason="Resemblyzer is not installed: run local/install_resemblyzer.sh",
)


@pytest.fixture
def fake_package(monkeypatch, tmp_path):
    """An installed package of that name which holds nothing yet; found before any other."""
    package = tmp_path / "resemblyzer"
    package.mkdir()
    (package / "__init__.py").touch()
    monkeypatch.syspath_prepend(str(tmp_path))
    return package


@needs_package
def test_weights_are_found_without_importing_the_package():
    program = (
        "import sys; from imlkd.models.resemblyzer import verified_weights; print(verified_weights());"
        "assert not {'resemblyzer', 'librosa', 'webrtcvad', 'torch'} & set(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    assert Path(done.stdout.strip()) == find_weights()


@needs_package
def test_checksum_is_the_one_the_package_lists():
    package, version = PACKAGE.split("==")
    distribution = importlib.metadata.distribution(package)
    assert distribution.version == version
    (listed,) = [file.hash.value for file in distribution.files if file.name == "pretrained.pt"]
    assert urlsafe_b64decode(listed + "=").hex() == WEIGHTS_SHA256


@needs_package
@pytest.mark.parametrize("flipped", [100, 10_000_000])
def test_one_wrong_byte_is_noticed(fake_package, monkeypatch, flipped):
    with monkeypatch.context() as context:
        context.setattr(sys, "path", sys.path[1:])
        content = bytearray(find_weights().read_bytes())
    content[flipped] ^= 4
    (fake_package / "pretrained.pt").write_bytes(content)
    with pytest.raises(UserError, match=r"pretrained\.pt: damaged.*run local/install_resemblyzer\.sh") as caught:
        verified_weights()
    assert str(fake_package) in str(caught.value)


def test_package_without_weights_names_the_remedy(fake_package):
    with pytest.raises(UserError, match=r"pretrained\.pt: the weights are missing.*run local/install_resemblyzer\.sh"):
        find_weights()


def test_missing_package_names_the_remedy(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"Resemblyzer==0\.1\.4 is not installed: run local/install_resemblyzer\.sh"):
        find_weights()
