"""Package metadata. The base scores trials and runs exported students; [train] is the whole recipe."""

from pathlib import Path

from setuptools import find_packages, setup

ROOT = Path(__file__).parent
VERSION = (ROOT / "imlkd" / "__init__.py").read_text(encoding="utf-8").split('__version__ = "')[1].split('"')[0]

setup(
    name="imlkd",
    version=VERSION,
    description="Distil a large speaker-verification network into a small one (IML-KD), Kaldi style",
    long_description=(ROOT / "README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    license_files=["LICENSE"],
    python_requires=">=3.11,<3.14",
    packages=find_packages(include=["imlkd", "imlkd.*"]),
    package_data={"imlkd": ["py.typed", "reporting/page/templates/*"]},
    entry_points={"console_scripts": ["imlkd=imlkd.cli.main:run"]},
    install_requires=["numpy>=2.0", "soundfile>=0.13", "PyYAML>=6.0", "click>=8.1", "tqdm>=4.66", "onnxruntime>=1.20"],
    extras_require={
        # torchaudio 2.11 declares no torch at all and refuses builds for another CUDA: the pair has to be named.
        # lhotse 1.33 imports urllib3 without declaring it.
        "train": [
            "torch>=2.11,<2.15",
            "torchaudio==2.11.0",
            "lhotse>=1.33",
            "urllib3>=2",
            "lilcom>=1.8",
            "h5py>=3.11",
            "kaldiio>=2.18",
            "captum>=0.9",
            "matplotlib>=3.9",
            "jinja2>=3.1",
            "multi_quantization>=0.1.1",
            "scikit-learn>=1.6",
            "scipy>=1.14",
        ],
        "m4a": ["av>=14"],
        "resample": ["soxr>=0.5"],
        "silero": ["silero-vad>=6.2"],
        "minivox": ["espeakng-loader==0.2.4"],
        "export": ["onnx>=1.17", "onnxscript>=0.5", "safetensors>=0.4"],
        "dev": [
            "pytest>=8",
            "hypothesis>=6",
            "ruff>=0.9",
            "mypy>=1.15",
            "kaldi_native_io>=1.22",
            "kaldi-native-fbank>=1.22",
            "sherpa-onnx>=1.12",
            "av>=14",
            "silero-vad>=6.2",
            "playwright>=1.49",
        ],
    },
    classifiers=[
        "License :: OSI Approved :: Apache Software License",
        "Programming Language :: Python :: 3.11",
        "Topic :: Multimedia :: Sound/Audio :: Speech",
    ],
)
