"""What the package Resemblyzer itself makes of waveforms; run by the interpreter of .venv-oracle, never by ours.

    .venv-oracle/bin/python tests/models/resemblyzer_oracle.py WAVES.npz OUT.npz
    .venv-oracle/bin/python tests/models/resemblyzer_oracle.py --fixture tests/fixtures/resemblyzer.npz

The first embeds the waveforms of a file; the second makes again the reference that is kept in the repository, from the
synthetic waveforms below.
"""

import sys

import numpy as np

LENGTHS = {"short": 16000, "window": 25600, "uneven": 48123, "long": 150001}  # samples
LEVELS = {"short": 0.01, "window": 0.4, "uneven": 0.03, "long": 0.1}  # root mean square; -30 dBFS is 0.032


def synthetic_waves():
    """Voiced-like sounds: gliding harmonics under two formants, in bursts, with noise. Seeded, no file needed."""
    waves = {}
    for seed, (name, samples) in enumerate(LENGTHS.items()):
        random = np.random.RandomState(seed)
        time = np.arange(samples) / 16000
        pitch = 110 + 40 * seed + 15 * np.sin(2 * np.pi * 0.7 * time)
        phase = 2 * np.pi * np.cumsum(pitch) / 16000
        wave = 0.02 * random.standard_normal(samples)
        for harmonic in range(1, 20):
            frequency = harmonic * pitch
            gain = 1 / (1 + ((frequency - 600) / 200) ** 2) + 0.5 / (1 + ((frequency - 1700 - 100 * seed) / 300) ** 2)
            wave += gain * np.sin(harmonic * phase)
        wave *= np.sin(2 * np.pi * 1.5 * time) ** 2 + 0.02
        waves[name] = (wave * LEVELS[name] / np.sqrt(np.mean(wave**2))).astype(np.float32)
    return waves


def window_lengths():
    """Lengths in samples around every change of the window rule, up to 8 s, and a coarse grid between them."""
    edges = [12320 * k + edge for k in range(11) for edge in (0, 19200, 25600)]
    around = [edge + d for edge in edges for d in (-161, -160, -1, 0, 1, 160)]
    return np.unique(np.clip([1, *around, *range(1, 150000, 997)], 1, 150000))


def embed(waves):
    """Name -> embedding (256,), name.mel -> (frames, 40) of the waveform as it is."""
    from resemblyzer import VoiceEncoder, normalize_volume
    from resemblyzer.audio import wav_to_mel_spectrogram

    encoder = VoiceEncoder("cpu", verbose=False)
    found = {}
    for name, wave in waves.items():
        found[name] = encoder.embed_utterance(normalize_volume(wave, -30, increase_only=True))
        if len(wave) < 50000:
            found[f"{name}.mel"] = wav_to_mel_spectrogram(wave)
    return found


def window_rule(lengths):
    """(N, 3): samples, number of windows, samples after padding."""
    from resemblyzer import VoiceEncoder

    rows = []
    for samples in lengths:
        slices, _ = VoiceEncoder.compute_partial_slices(int(samples), 1.3, 0.75)
        rows.append((samples, len(slices), max(samples, slices[-1].stop)))
    return np.array(rows)


def provenance():
    from importlib.metadata import version

    packages = ", ".join(f"{name} {version(name)}" for name in ("Resemblyzer", "librosa", "numpy", "torch"))
    return f"tests/models/resemblyzer_oracle.py --fixture, with {packages}, python {sys.version.split()[0]}"


def main():
    if sys.argv[1] == "--fixture":
        found = embed(synthetic_waves())
        found["windows"] = window_rule(window_lengths())
        np.savez_compressed(sys.argv[2], provenance=provenance(), **found)
    else:
        with np.load(sys.argv[1]) as waves:
            np.savez(sys.argv[2], **embed(waves))


if __name__ == "__main__":
    main()
