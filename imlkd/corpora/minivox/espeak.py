"""espeak-ng out of the PyPI package espeakng-loader, driven by ctypes.

Only the default formant synthesiser is used. It is integer and plain IEEE arithmetic compiled for any x86-64; its
breath noise and its Klatt variants would call the C library's ``exp`` and ``cos`` on the way to a sample, which may
round differently from one processor to the next, so no voice here asks for them.
"""

from __future__ import annotations

import ctypes
import os
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from imlkd.errors import UserError
from imlkd.files import atomic_write_text, make_dir, os_errors

TESTED_VERSION = "0.2.4"
ESPEAK_RATE = 22050
_TABLES = ("phontab", "phonindex", "phondata", "intonations", "en_dict")
_SYNCHRONOUS, _DONT_EXIT, _UTF8 = 2, 0x8000, 1
_RATE, _VOLUME, _PITCH, _RANGE = 1, 2, 3, 4
_CALLBACK = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_int, ctypes.c_void_p)


def package_version() -> str:
    """Version of espeakng-loader; UserError with the pip line when it isn't installed."""
    loader()
    try:
        return metadata.version("espeakng-loader")
    except metadata.PackageNotFoundError:  # unpacked somewhere without pip
        return "unknown"


def loader() -> Any:
    """The package espeakng_loader; UserError with the pip line when it isn't installed."""
    try:
        import espeakng_loader
    except ImportError as error:
        raise UserError(
            "the package espeakng-loader, which speaks the built-in corpus, is missing: pip install espeakng-loader"
        ) from error
    return espeakng_loader


class Espeak:
    """A speech synthesiser with a data folder of its own, in which voices are defined.

    :param home: an empty folder, which `install` fills and several processes may then share.
    """

    def __init__(self, home: Path) -> None:
        self.home = home
        self._library = loader().get_library_path()

    def install(self) -> None:
        """Link the tables that English needs; UserError when the library does not load here."""
        try:
            _close(ctypes.CDLL(self._library))
        except OSError as error:
            remedy = f"pip install --force-reinstall espeakng-loader=={TESTED_VERSION}"
            raise UserError(f"{self._library}: does not load ({error}): {remedy}") from error
        source = Path(loader().get_data_path())
        make_dir(self.home / "voices")
        with os_errors(self.home):
            for table in _TABLES:
                (self.home / table).symlink_to(source / table)

    def define_voice(self, name: str, accent: str, lines: str) -> None:
        """Make the voice ``name`` of espeak-ng's English ``accent`` (en-US ...) and lines of its voice-file syntax."""
        file = Path(loader().get_data_path()) / "lang" / "gmw" / accent
        with os_errors(file):
            kept = [line for line in file.read_text("utf-8").splitlines() if not line.startswith(("name", "maint"))]
            atomic_write_text(self.home / "voices" / name, "\n".join([f"name {name}", *kept, lines]))

    def say(self, voice: str, text: str, rate: int, pitch: int, liveliness: int) -> npt.NDArray[np.int16]:
        """Samples (n,) at 22,050 Hz of ``text`` spoken at ``rate`` (words per minute).

        The library is loaded anew each time: it goes on with the phases and gains of what it said before, and a
        sample must not depend on that.
        """
        library = ctypes.CDLL(self._library)
        # espeak-ng has room for 160 bytes of path: a descriptor's name is short wherever the folder lies.
        home = os.open(self.home, os.O_RDONLY | os.O_DIRECTORY)
        try:
            _start(library, f"/proc/self/fd/{home}", voice, (rate, pitch, liveliness))
            return _samples(library, text)
        finally:
            library.espeak_Terminate()
            os.close(home)
            _close(library)
            _check_unloaded(self._library)


def _start(library: Any, home: str, voice: str, manner: tuple[int, int, int]) -> None:
    if library.espeak_Initialize(_SYNCHRONOUS, 0, home.encode(), _DONT_EXIT) != ESPEAK_RATE:
        raise RuntimeError("espeak-ng did not start with its data")
    library.espeak_ng_SetRandSeed(ctypes.c_long(1))
    if library.espeak_SetVoiceByName(voice.encode()) != 0:
        raise RuntimeError(f"espeak-ng does not know the voice {voice}")
    for parameter, value in zip((_RATE, _PITCH, _RANGE, _VOLUME), (*manner, 70), strict=True):
        library.espeak_SetParameter(parameter, value, 0)


def _samples(library: Any, text: str) -> npt.NDArray[np.int16]:
    pieces: list[bytes] = []

    def collect(samples: int | None, count: int, events: int | None) -> int:
        if samples and count > 0:
            pieces.append(ctypes.string_at(samples, 2 * count))
        return 0

    callback = _CALLBACK(collect)
    library.espeak_SetSynthCallback(callback)
    words = text.encode()
    status = library.espeak_Synth(words, ctypes.c_size_t(len(words) + 1), 0, 1, 0, _UTF8, None, None)
    if status != 0:
        raise RuntimeError(f"espeak-ng could not say {text!r} (status {status})")
    return np.frombuffer(b"".join(pieces), dtype="<i2")


def _close(library: Any) -> None:
    close = ctypes.CDLL(None).dlclose
    close.argtypes = [ctypes.c_void_p]
    close(library._handle)


def _check_unloaded(path: str) -> None:
    try:
        ctypes.CDLL(path, mode=os.RTLD_NOLOAD)
    except OSError:
        return
    raise RuntimeError(f"{path}: still in use: its state would leak into the next utterance")
