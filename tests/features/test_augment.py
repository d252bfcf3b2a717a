"""Augmentation: measured levels, samples that stay where they are, and randomness that depends on names alone."""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from imlkd.errors import UserError
from imlkd.features import channel
from imlkd.features.augment import AugmentConfig, Augmenter, generator
from imlkd.features.mixing import babble, convolved, in_room, rms, with_noise
from imlkd.features.sounds import Sounds, kind_of

RATE = 16000
SVMINI = os.environ.get("SVMINI", "")
needs_svmini = pytest.mark.skipif(not SVMINI, reason="needs SVMINI")
ALL_ON = {name: 1.0 for name in ("room", "noise", "music", "babble", "volume", "clipping", "telephone", "codec")}


def speech(samples: int = RATE, seed: int = 0) -> torch.Tensor:
    """A buzz whose loudness moves, peak below 0.5."""
    time = torch.arange(samples) / RATE
    tone = sum(torch.sin(2 * math.pi * 130 * k * time + k) / k for k in range(1, 25))
    noise = torch.from_numpy(np.random.default_rng(seed).normal(0, 0.01, samples))
    wave: torch.Tensor = 0.1 * tone * (0.3 + torch.sin(2 * math.pi * 3 * time) ** 2) + noise
    return wave.float()


def delay(reference: torch.Tensor, other: torch.Tensor, most: int = 400) -> int:
    """Samples by which ``other`` lags, from their cross-correlation."""
    size = 2 * len(reference)
    cross = torch.fft.irfft(torch.fft.rfft(other, size) * torch.fft.rfft(reference, size).conj(), size)
    shifted = torch.cat([cross[-most:], cross[: most + 1]])
    return int(shifted.argmax()) - most


@pytest.fixture(scope="module")
def collection(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """MUSAN's and RIRS_NOISES' folders, small."""
    root = tmp_path_factory.mktemp("sounds")
    random = np.random.default_rng(5)
    lengths = {
        "musan/noise/free-sound/noise-free-sound-0000.wav": 9000, "musan/music/fma/music-fma-0001.wav": 40000,
        "musan/speech/librivox/speech-librivox-0002.wav": 30000,
        "RIRS_NOISES/simulated_rirs/smallroom/Room001/r.wav": 4000,
        "RIRS_NOISES/real_rirs_isotropic_noises/air_type1_air_binaural_x_rir.wav": 3000,
        "RIRS_NOISES/real_rirs_isotropic_noises/RWCP_type1_noise_ambient.wav": 9000,
        "RIRS_NOISES/pointsource_noises/noise-free-sound-0003.wav": 9000,
    }  # fmt: skip
    for name, length in lengths.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        wave = 0.1 * random.normal(size=length)
        if "rir" in name and "noise_" not in name and "pointsource" not in name:
            wave *= np.exp(-np.arange(length) / 400)
            wave[137] = 1.0  # the direct sound, late
        soundfile.write(path, np.stack([wave, wave], 1) if "air_" in name else wave, RATE, subtype="FLOAT")
    return root


def test_layouts_are_recognised(collection: Path) -> None:
    sounds = Sounds(RATE)
    sounds.add(collection)
    assert {kind: sorted(Path(path).name for path in paths) for kind, paths in sounds.files.items()} == {
        "noise": ["RWCP_type1_noise_ambient.wav", "noise-free-sound-0000.wav", "noise-free-sound-0003.wav"],
        "music": ["music-fma-0001.wav"], "voice": ["speech-librivox-0002.wav"],
        "rir": ["air_type1_air_binaural_x_rir.wav", "r.wav"],
    }  # fmt: skip
    assert kind_of("/x/rir/a.flac") == "rir" and kind_of("/data/noise/speech-like.wav") == "noise"


def test_lists_and_manifests(collection: Path, tmp_path: Path) -> None:
    from lhotse import Recording, RecordingSet

    music = collection / "musan/music/fma/music-fma-0001.wav"
    (tmp_path / "list").write_text(f"{music}\n")
    (tmp_path / "noise").mkdir()
    (tmp_path / "noise/wav.scp").write_text(f"a {music}\n")
    RecordingSet.from_recordings([Recording.from_file(music)]).to_file(tmp_path / "r.jsonl.gz")
    for where in ("list", "noise", "noise/wav.scp", "r.jsonl.gz"):
        sounds = Sounds(RATE)
        sounds.add(tmp_path / where)
        assert sounds.files["music"] == [str(music)], where
    (tmp_path / "bad.scp").write_text("a sox x |\n")
    for where, message in (("bad.scp", "bad.scp:1: expected a path"), ("gone", "gone: no such collection")):
        with pytest.raises(UserError, match=message):
            Sounds(RATE).add(tmp_path / where)


@settings(max_examples=40, deadline=None)
@given(snr=st.floats(-20, 40), level=st.floats(1e-3, 1.0), seed=st.integers(0, 99), samples=st.integers(400, 9000))
def test_the_snr_is_the_one_asked_for(snr: float, level: float, seed: int, samples: int) -> None:
    clean = speech(samples)
    noise = level * torch.from_numpy(np.random.default_rng(seed).normal(size=samples)).float()
    added = with_noise(clean, noise, snr).double() - clean.double()
    measured = 20 * math.log10(float(rms(clean.double()) / rms(added)))
    assert abs(measured - snr) < 0.1


def test_noise_is_added_where_there_is_some() -> None:
    clean, silence = speech(), torch.zeros(RATE)
    assert torch.equal(with_noise(clean, silence, 5.0), clean)
    assert torch.equal(with_noise(silence, clean, 5.0), silence)


def test_babble_takes_every_voice_at_one_level() -> None:
    voices = [speech(seed=1), 100 * torch.randn(RATE), 1e-3 * torch.randn(RATE)]
    together = babble(voices)
    for voice in voices:
        unit = voice / rms(voice)
        assert abs(float((together * unit).mean()) - 1) < 0.1


@settings(max_examples=30, deadline=None)
@given(samples=st.integers(1, 700), taps=st.integers(1, 900), block=st.sampled_from([1, 7, 64, 512]))
def test_a_convolution_is_the_plain_one(samples: int, taps: int, block: int) -> None:
    random = np.random.default_rng(samples * 1000 + taps)
    signal, response = random.standard_normal(samples), random.standard_normal(taps)
    found = convolved(torch.from_numpy(signal), torch.from_numpy(response), block)
    np.testing.assert_allclose(found, np.convolve(signal, response)[:samples], atol=1e-9)


def test_a_room_keeps_place_and_level(collection: Path) -> None:
    sounds = Sounds(RATE)
    sounds.add(collection)
    clean = speech()
    for seed in range(4):
        response = torch.from_numpy(sounds.response(np.random.default_rng(seed)))
        assert int(response.abs().argmax()) == 0
        wet = in_room(clean, response)
        assert len(wet) == len(clean) and delay(clean, wet) == 0
        assert abs(float(rms(wet) / rms(clean)) - 1) < 1e-4
        direct = np.convolve(clean.numpy(), response.numpy())[: len(clean)]
        np.testing.assert_allclose(wet / rms(wet), direct / np.sqrt((direct**2).mean()), atol=1e-3)


@pytest.mark.parametrize("codec", channel.TELEPHONE_CODECS)
def test_the_telephone_keeps_its_band_and_the_place(codec: str) -> None:
    clean = speech(RATE + 123) + 0.05 * torch.randn(RATE + 123, generator=torch.Generator().manual_seed(1))
    line = channel.telephone(clean, RATE, codec)
    assert len(line) == len(clean)
    narrow = channel.band_limited(clean, RATE, 300, 3400)
    assert abs(delay(narrow, line)) <= (0 if codec != "gsm" else 1)
    power = torch.fft.rfft(line).abs().square()
    hertz = torch.fft.rfftfreq(len(line), 1 / RATE)
    assert power[hertz > 4200].sum() / power.sum() < 1e-3  # what resampling lets through of coding noise


def test_g711_is_the_standards() -> None:
    """ITU-T G.711's own tables: the decision values of mu-law and A-law around zero and at full scale."""
    steps = torch.tensor([0, 8, 24, 40, 132, 924, 8031 * 4 // 4], dtype=torch.float32) / 32768
    mu = channel.through_codec(steps, 8000, "WAV", "ULAW") * 32768
    a = channel.through_codec(steps, 8000, "WAV", "ALAW") * 32768
    assert mu.tolist()[:4] == [0.0, 8.0, 24.0, 40.0]  # mu-law's first segment: steps of 8 around 0
    assert a.tolist()[:4] == [8.0, 8.0, 24.0, 40.0]  # A-law's: of 16, and none at 0
    for coded in (mu, a):
        assert (coded[4:] / 32768 / steps[4:] - 1).abs().max() < 0.04


@pytest.mark.parametrize("codec", channel.CODECS)
def test_codecs_keep_the_place(codec: str) -> None:
    clean = speech(2 * RATE + 77)
    through = channel.coded(clean, RATE, codec)
    assert len(through) == len(clean) and delay(clean, through) == 0
    assert 0.5 < float((through * clean).mean() / clean.square().mean()) < 1.2


def test_volume_and_clipping() -> None:
    clean = speech()
    assert abs(20 * math.log10(float(rms(channel.louder(clean, -7.0)) / rms(clean))) + 7) < 1e-4
    cut = channel.clipped(clean, 6.0)
    limit = float(clean.abs().max()) * 10 ** (-6 / 20)
    inside = clean.abs() < limit
    torch.testing.assert_close(cut[inside], clean[inside] * 10 ** (6 / 20))
    assert float(cut.abs().max()) == pytest.approx(float(clean.abs().max()), rel=1e-5)
    assert float((~inside).float().mean()) > 0.001
    assert torch.equal(channel.clipped(torch.zeros(9), 6.0), torch.zeros(9))


def test_what_is_heard_depends_on_names_and_epoch_alone(collection: Path) -> None:
    config = AugmentConfig(sounds=str(collection), **{name: 0.5 for name in ALL_ON})
    clean = speech()
    names = [f"s-{number}" for number in range(6)]
    once = {(name, epoch): Augmenter(config, RATE).augmented(clean, name, epoch) for name in names for epoch in (0, 1)}
    again = Augmenter(config, RATE)
    for (name, epoch), heard in reversed(once.items()):  # another order, as another worker or a resumed run has it
        assert torch.equal(again.augmented(clean, name, epoch), heard)
    assert len({tuple(heard[::800].tolist()) for heard in once.values()}) >= 10
    other = Augmenter(replace(config, seed=2), RATE)
    assert any(not torch.equal(other.augmented(clean, *key), heard) for key, heard in once.items())


@settings(max_examples=25, deadline=None)
@given(
    on=st.sets(st.sampled_from(list(ALL_ON))), level=st.sampled_from([1e-5, 0.1, 1.0]), samples=st.integers(1600, 8000),
    epoch=st.integers(0, 3), mode=st.sampled_from(["one", "each"]),
)  # fmt: skip
def test_pairs_lie_on_each_other(
    on: set[str], level: float, samples: int, epoch: int, mode: str, collection: Path
) -> None:
    """Same length, no lag, finite, peak at most 1; the teacher's half is the crop itself."""
    config = AugmentConfig(sounds=str(collection), one_of=mode, **dict.fromkeys(on, 1.0))
    crop = level * speech(samples)
    clean, noisy = Augmenter(config, RATE).pair(crop, "s-1", epoch)
    assert torch.equal(clean, crop) and len(noisy) == samples and noisy.dtype == torch.float32
    assert bool(torch.isfinite(noisy).all()) and float(noisy.abs().max()) <= 1.0
    if level > 1e-4 and not on & {"noise", "music", "babble", "room"}:
        reference = channel.band_limited(crop, RATE, 300, 3400) if "telephone" in on else crop
        assert abs(delay(reference, noisy, 200)) <= 1
    if not on:
        assert torch.equal(noisy, crop)


def test_a_seeded_crop_keeps_its_lag_with_noise(collection: Path) -> None:
    config = AugmentConfig(sounds=str(collection), room=1.0, noise=1.0, noise_snr=[5.0, 5.0], volume=1.0)
    augmenter, clean = Augmenter(config, RATE), speech(2 * RATE)
    for epoch in range(5):
        assert delay(clean, augmenter.augmented(clean, "x", epoch)) == 0


def test_masks(collection: Path) -> None:
    augmenter = Augmenter(AugmentConfig(time_mask=0.3, bin_mask=0.2, masks=2), RATE)
    features = torch.randn(100, 40, generator=torch.Generator().manual_seed(0))
    masked = augmenter.masked(features, "s-1", 3)
    assert torch.equal(masked, augmenter.masked(features, "s-1", 3))
    changed = masked != features
    mean = features.mean(0).expand_as(features)
    assert changed.any() and torch.equal(masked[changed], mean[changed])
    assert changed.all(1).sum() <= 60 and changed.all(0).sum() <= 16
    assert torch.equal(Augmenter(AugmentConfig(), RATE).masked(features, "s-1", 3), features)


def test_what_lacks_is_said_before_training(collection: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"augment.noise: 0.5, but augment.sounds \(empty\) holds no noise"):
        Augmenter(AugmentConfig(noise=0.5), RATE)
    with pytest.raises(UserError, match=r"augment.babble: 1.0, .* holds no voice \(0 noise, 1 music"):
        Augmenter(AugmentConfig(sounds=str(collection / "musan/music"), babble=1.0), RATE)
    with pytest.raises(UserError, match=r"augment.noise_snr: expected two numbers, from and to, found \[9.0, 3.0\]"):
        Augmenter(AugmentConfig(noise_snr=[9.0, 3.0]), RATE)
    soundfile.write(tmp_path / "a.wav", np.full(100, np.nan), RATE, subtype="FLOAT")
    with pytest.raises(UserError, match="a.wav: no samples, or NaN or infinite ones"):
        Augmenter(AugmentConfig(sounds=str(tmp_path), noise=1.0), RATE).augmented(speech(), "x", 0)
    soundfile.write(tmp_path / "a.wav", np.ones(100), 8000)
    with pytest.raises(UserError, match="a.wav: sampled at 8000 Hz, the speech at 16000 Hz"):
        Augmenter(AugmentConfig(sounds=str(tmp_path), noise=1.0), RATE).augmented(speech(), "x", 0)
    quiet = torch.full((100,), float("nan"))
    with pytest.raises(UserError, match="augment: x: NaN, infinite or all-zero samples came out in epoch 4"):
        Augmenter(AugmentConfig(), RATE).augmented(quiet, "x", 4)


def test_streams_are_apart() -> None:
    draws: Callable[..., list[float]] = lambda *key: generator(*key).random(3).tolist()  # noqa: E731
    keys = [(1, "a", 0), (1, "b", 0), (1, "a", 1), (2, "a", 0), (1, "a", 0, 1)]
    assert len({tuple(draws(*key)) for key in keys}) == len(keys)


@needs_svmini
def test_on_real_noise_and_rooms() -> None:
    from imlkd.features.speech import SpeechReader

    config = AugmentConfig(f"{SVMINI}/noise,{SVMINI}/rir", room=1.0, noise=1.0, noise_snr=[3.0, 3.0], one_of="each")
    augmenter, reader = Augmenter(config, RATE), SpeechReader(Path(SVMINI) / "test", RATE)
    assert (len(augmenter.sounds.files["noise"]), len(augmenter.sounds.files["rir"])) == (52, 4)
    lags = []
    for epoch, name in enumerate(reader.names[::40]):
        clean, noisy = augmenter.pair(reader.utterance(name), name, epoch)
        assert len(noisy) == len(clean) and float(noisy.abs().max()) <= 1.0
        lags.append(abs(delay(clean, noisy)))
    assert np.median(lags) <= 8  # real rooms smear the peak by less than a millisecond
