"""m4a (AAC) to samples, by PyAV (`pip install av`, ffmpeg is inside) or this machine's ffmpeg. Sources are only read.

Both decode with libavcodec and give as many samples as the file states, without the encoder's delay.
"""

from __future__ import annotations

import importlib.util
import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from imlkd.errors import UserError

Samples16 = npt.NDArray[np.int16]
SUFFIXES = frozenset({".m4a", ".aac"})
TOOLS = ("pyav", "ffmpeg")
_SHORTFALL_SECONDS = 0.1  # of the stated length: two frames of AAC and rounding


class M4aProblem(Exception):
    """Why a file can't be decoded, in a few words."""


def is_m4a(path: str) -> bool:
    """Whether a path is called like an m4a file."""
    return path[path.rfind(".") :].lower() in SUFFIXES


def find_tool(tool: str = "auto") -> str:
    """``pyav`` or ``ffmpeg``, whichever is there, PyAV first.

    :raises UserError: when neither is, or the one asked for is not.
    """
    has_ffmpeg = shutil.which("ffmpeg") is not None and shutil.which("ffprobe") is not None
    there = {"pyav": importlib.util.find_spec("av") is not None, "ffmpeg": has_ffmpeg}
    if tool != "auto" and tool not in there:
        raise UserError(f"--tool {tool}: known are auto, {', '.join(TOOLS)}")
    for name in TOOLS if tool == "auto" else (tool,):
        if there[name]:
            return name
    wanted = "neither PyAV nor ffmpeg is" if tool == "auto" else f"{tool} is not"
    raise UserError(f"m4a: {wanted} there to decode it: `pip install av`, or put ffmpeg and ffprobe on the PATH")


def decode_m4a(path: str | Path, sample_rate: int | None = None, tool: str = "auto") -> tuple[Samples16, int]:
    """All samples of a file, mixed down to one channel, and their rate.

    :param sample_rate: Hz to resample to; None: the file's own.
    :returns: (samples,) int16, Hz.
    :raises M4aProblem: when the file is gone, empty, cut off or no such audio.
    """
    path = Path(path)
    if not path.is_file():
        raise M4aProblem("no such file")
    if path.stat().st_size == 0:
        raise M4aProblem("empty file of 0 bytes")
    samples, rate = (_by_pyav if find_tool(tool) == "pyav" else _by_ffmpeg)(path, sample_rate)
    if not len(samples):
        raise M4aProblem("zero-length audio")
    return samples, rate


def _by_pyav(path: Path, sample_rate: int | None) -> tuple[Samples16, int]:
    import av

    try:
        with av.open(str(path)) as container:
            stream = next((one for one in container.streams if one.type == "audio"), None)
            if stream is None:
                raise M4aProblem("holds no audio")
            rate = sample_rate or int(stream.rate)
            resampler = av.AudioResampler(format="s16", layout="mono", rate=rate)
            frames = [part for frame in container.decode(stream) for part in resampler.resample(frame)]
            frames += resampler.resample(None)
            stated = float(stream.duration * stream.time_base) if stream.duration else 0.0
    except av.FFmpegError as error:
        raise M4aProblem(f"not readable as m4a ({error.strerror or type(error).__name__})") from None
    samples = np.concatenate([frame.to_ndarray().reshape(-1) for frame in frames]) if frames else np.zeros(0, np.int16)
    return _as_stated(samples, stated, rate), rate


def _as_stated(samples: Samples16, stated: float, rate: int) -> Samples16:
    """Without what fills up the last frame of AAC: libavcodec drops the delay in front, not every version the rest.

    :param stated: seconds by the header; 0 when it says nothing.
    """
    if len(samples) < (stated - _SHORTFALL_SECONDS) * rate:
        raise M4aProblem(f"cut off: its header says {stated:.2f} s, {len(samples) / rate:.2f} s can be decoded")
    end = round(stated * rate) if stated else len(samples)
    return samples[:end].astype(np.int16, copy=False)


def _by_ffmpeg(path: Path, sample_rate: int | None) -> tuple[Samples16, int]:
    own_rate, stated = _stated_by_ffprobe(path)
    rate = sample_rate or own_rate
    command = ["ffmpeg", "-nostdin", "-v", "error", "-xerror", "-i", f"file:{path}", "-map", "0:a:0", "-ac", "1", "-ar",
               str(rate), "-f", "s16le", "-"]  # fmt: skip
    done = subprocess.run(command, capture_output=True, stdin=subprocess.DEVNULL, check=False)
    said = done.stderr.decode(errors="replace").strip().splitlines()
    if done.returncode or said:
        what = said[-1].replace(str(path), "").strip(" :") if said else f"exit status {done.returncode}"
        raise M4aProblem(f"ffmpeg can't decode all of it ({what[:120]})")
    return _as_stated(np.frombuffer(done.stdout, "<i2"), stated, rate), rate


def _stated_by_ffprobe(path: Path) -> tuple[int, float]:
    """Sampling rate and seconds (0 when it says nothing) of the first audio stream, by its header."""
    command = ["ffprobe", "-v", "error", "-select_streams", "a:0", "-show_entries", "stream=sample_rate,duration",
               "-of", "json", f"file:{path}"]  # fmt: skip
    done = subprocess.run(command, capture_output=True, stdin=subprocess.DEVNULL, check=False)
    try:
        stream = json.loads(done.stdout)["streams"][0]
        return int(stream["sample_rate"]), float(stream.get("duration", 0.0))
    except (ValueError, LookupError):
        raise M4aProblem("not readable as m4a") from None


def as_wav(path: str, tool: str = "auto") -> bytes:
    """A decoded file in the form of a WAV file in memory, at its own rate.

    :raises M4aProblem: see ``decode_m4a``.
    """
    return wav_bytes(*decode_m4a(path, None, tool))


def wav_bytes(samples: Samples16, rate: int, kind: str = "WAV") -> bytes:
    """Mono samples as WAV or FLAC."""
    import io

    import soundfile

    stream: Any = io.BytesIO()
    soundfile.write(stream, samples, rate, format=kind, subtype="PCM_16")
    content: bytes = stream.getvalue()
    return content
