"""torch.compile of a student's or teacher's network, where the machine can."""

from __future__ import annotations

import os
import shutil
import sysconfig
from pathlib import Path

import torch

from imlkd.distillation.objective import Encode
from imlkd.models.speaker_model import SpeakerModel


def compiled(model: SpeakerModel) -> Encode:
    """``model.encode`` compiled for any number of rows and frames.

    One graph for all shapes: graphs that come and go with the shapes met would make a resumed training another one.
    """
    encode: Encode = torch.compile(model.encode, dynamic=True)
    return encode


def what_lacks() -> str:
    """What torch.compile needs and this machine does not have, and how to get it; empty when nothing does."""
    names = [os.environ["CXX"]] if os.environ.get("CXX") else ["g++", "clang++", "c++"]
    if not any(shutil.which(name) for name in names):
        return f"no C++ compiler ({', '.join(names)}): install one (Debian: apt-get install g++)"
    if not (Path(sysconfig.get_paths()["include"]) / "Python.h").is_file():
        return "no Python.h: install the headers of this Python (Debian: apt-get install python3-dev)"
    return ""
