"""What the originals of imported networks say; run by the interpreter of .venv-oracle, never by ours.

    .venv-oracle/bin/python tests/models/original_models.py FOLDER...

FOLDER/settings.json names a network and its settings. ``ecapa`` and ``xvector`` are SpeechBrain's, ``resnet``
pyannote.audio's (wespeaker's own), ``campplus`` and ``eres2net`` funasr's (3D-Speaker's own),
``wespeaker.MODULE.CLASS`` are those of wespeaker-unofficial. Each gets random weights, random batch-norm statistics
among them, and answers FOLDER/features.pt (B, T, F); FOLDER/weights.pt, embeddings.pt and parameters are left.
``fbank`` turns FOLDER/waveform.pt (samples,) into FOLDER/features.pt by SpeechBrain.

The packages around the modules import more than is needed, so they are taken apart: each becomes an empty module that
knows its folder.
"""

import importlib
import importlib.util
import json
import sys
import types
from pathlib import Path

import torch

SPEECHBRAIN = ("", ".lobes", ".lobes.models", ".nnet", ".dataio", ".utils", ".processing")
PYANNOTE = ("", ".audio", ".audio.utils", ".audio.models", ".audio.models.blocks")
PYANNOTE += (".audio.models.embedding", ".audio.models.embedding.wespeaker")
FUNASR = ("", ".models", ".models.campplus", ".models.eres2net", ".models.sond", ".models.sond.pooling", ".utils")


def bare_packages(name, children):
    if name in sys.modules:
        return
    root = Path(importlib.util.find_spec(name).submodule_search_locations[0])
    for child in children:
        module(name + child).__path__ = [str(root / child.replace(".", "/").lstrip("/"))]


def module(name, **contents):
    made = types.ModuleType(name)
    made.__dict__.update(contents)
    sys.modules[name] = made
    parent, _, child = name.rpartition(".")
    if parent:
        setattr(sys.modules[parent], child, made)
    return made


def speechbrain(network, settings):
    bare_packages("speechbrain", SPEECHBRAIN)
    importlib.import_module("speechbrain.nnet.containers")
    importlib.import_module("speechbrain.nnet.activations")
    if network == "fbank":
        return importlib.import_module("speechbrain.lobes.features").Fbank(**settings)
    if network == "ecapa":
        return importlib.import_module("speechbrain.lobes.models.ECAPA_TDNN").ECAPA_TDNN(**settings)
    model = importlib.import_module("speechbrain.lobes.models.Xvector").Xvector(**settings)
    for inner in model.modules():
        if hasattr(inner, "_get_gauss_noise"):  # 1e-5 to 9e-5 of noise on the means, in evaluation too
            inner._get_gauss_noise = lambda shape, device: torch.zeros(shape)
    return model


def resnet(settings):
    bare_packages("pyannote", PYANNOTE)
    resnets = importlib.import_module("pyannote.audio.models.embedding.wespeaker.resnet")
    return resnets.ResNet(resnets.BasicBlock, two_emb_layer=False, **settings)


def campplus(settings):
    bare_packages("funasr", FUNASR)
    tables = types.SimpleNamespace(register=lambda *arguments: lambda cls: cls)
    module("funasr.register", tables=tables)
    module("funasr.utils.load_utils", load_audio_text_image_video=None)
    module("funasr.utils.amp", autocast=None)
    module("funasr.models.campplus.utils", extract_feature=None)
    return importlib.import_module("funasr.models.campplus.model").CAMPPlus(**settings)


def eres2net(settings):
    bare_packages("funasr", FUNASR)
    return importlib.import_module("funasr.models.eres2net.eres2net").ERes2Net(**settings)


def wespeaker(network, settings):
    bare_packages("wespeaker", ("", ".models"))
    _, name, cls = network.split(".")
    return getattr(importlib.import_module(f"wespeaker.models.{name}"), cls)(**settings)


def build(network, settings):
    if network.startswith("wespeaker."):
        return wespeaker(network, settings)
    if network in ("resnet", "campplus", "eres2net"):
        return {"resnet": resnet, "campplus": campplus, "eres2net": eres2net}[network](settings)
    return speechbrain(network, settings)


def randomise(model):
    for inner in model.modules():
        if isinstance(inner, (torch.nn.BatchNorm1d, torch.nn.BatchNorm2d)):
            inner.running_mean.uniform_(-0.3, 0.3)
            inner.running_var.uniform_(0.5, 2.0)
            if inner.affine:
                inner.weight.data.uniform_(0.5, 1.5)
                inner.bias.data.uniform_(-0.2, 0.2)


@torch.no_grad()
def answer(folder):
    asked = json.loads((folder / "settings.json").read_text())
    torch.manual_seed(1)
    model = build(asked["network"], asked["settings"])
    if asked["network"] == "fbank":
        torch.save(model(torch.load(folder / "waveform.pt")[None])[0], folder / "features.pt")
        return
    randomise(model)
    model.eval()
    output = model(torch.load(folder / "features.pt"))
    output = output[-1] if isinstance(output, tuple) else output
    torch.save(model.state_dict(), folder / "weights.pt")
    torch.save(output.flatten(1), folder / "embeddings.pt")
    (folder / "parameters").write_text(str(sum(p.numel() for p in model.parameters())))


if __name__ == "__main__":
    for path in sys.argv[1:]:
        answer(Path(path))
