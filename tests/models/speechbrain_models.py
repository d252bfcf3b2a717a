"""What SpeechBrain's networks say; run by the interpreter of .venv-oracle, never by ours.

    .venv-oracle/bin/python tests/models/speechbrain_models.py NETWORK SETTINGS.json OUT

NETWORK is ecapa, xvector or fbank. A network gets random weights, random batch-norm statistics among them, and answers
OUT/features.pt (B, T, F). OUT/weights.ckpt, OUT/embeddings.pt, OUT/parameters are left. ``fbank`` turns
OUT/waveform.pt (samples,) into OUT/features.pt. The packages around the modules import more than is needed, so they are
taken apart: each is an empty module that knows its folder.
"""

import importlib
import importlib.util
import json
import sys
import types
from pathlib import Path

import torch

PACKAGES = ("", ".lobes", ".lobes.models", ".nnet", ".dataio", ".utils", ".processing")


def bare_packages():
    root = Path(importlib.util.find_spec("speechbrain").submodule_search_locations[0])
    for name in PACKAGES:
        package = types.ModuleType("speechbrain" + name)
        package.__path__ = [str(root / name.replace(".", "/").lstrip("/"))]
        sys.modules["speechbrain" + name] = package
        if name:
            parent, _, child = name.rpartition(".")
            setattr(sys.modules["speechbrain" + parent], child, package)


def build(network, settings):
    importlib.import_module("speechbrain.nnet.containers")
    importlib.import_module("speechbrain.nnet.activations")
    if network == "ecapa":
        return importlib.import_module("speechbrain.lobes.models.ECAPA_TDNN").ECAPA_TDNN(**settings)
    model = importlib.import_module("speechbrain.lobes.models.Xvector").Xvector(**settings)
    for module in model.modules():
        if hasattr(module, "_get_gauss_noise"):  # 1e-5 to 9e-5 of noise on the means, in evaluation too
            module._get_gauss_noise = lambda shape, device: torch.zeros(shape)
    return model


def randomise(model):
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm1d):
            module.running_mean.uniform_(-0.3, 0.3)
            module.running_var.uniform_(0.5, 2.0)
            module.weight.data.uniform_(0.5, 1.5)
            module.bias.data.uniform_(-0.2, 0.2)


@torch.no_grad()
def main():
    network, settings, out = sys.argv[1], json.loads(Path(sys.argv[2]).read_text()), Path(sys.argv[3])
    bare_packages()
    torch.manual_seed(1)
    if network == "fbank":
        fbank = importlib.import_module("speechbrain.lobes.features").Fbank(**settings)
        torch.save(fbank(torch.load(out / "waveform.pt")[None])[0], out / "features.pt")
        return
    model = build(network, settings)
    randomise(model)
    model.eval()
    torch.save(model.state_dict(), out / "weights.ckpt")
    torch.save(model(torch.load(out / "features.pt"))[:, 0], out / "embeddings.pt")
    (out / "parameters").write_text(str(sum(p.numel() for p in model.parameters())))


if __name__ == "__main__":
    main()
