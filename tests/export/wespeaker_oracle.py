"""What wespeaker's own Python runtime makes of an exported file; run by the interpreter of .venv-oracle, never by ours.

    .venv-oracle/bin/python tests/export/wespeaker_oracle.py MODEL.onnx a.wav FEATURES.npy OUT.npz

OUT: ``wav``, the embedding of the recording by the runtime's front-end; ``features``, that of the features as they are.
"""

import sys

import numpy as np
import soundfile
import torch
import torchaudio
from wespeakerruntime import Speaker


def load(path: str) -> tuple[torch.Tensor, int]:
    """In the place of torchaudio's, which wants torchcodec."""
    samples, rate = soundfile.read(path, dtype="float32", always_2d=True)
    return torch.from_numpy(samples.T), rate


def main(model: str, wav: str, features: str, out: str) -> None:
    torchaudio.load = load
    speaker = Speaker(onnx_path=model)
    found = speaker.extract_embedding_feat(np.load(features), cmn=False)
    np.savez(out, wav=speaker.extract_embedding(wav), features=found)


main(*sys.argv[1:])
