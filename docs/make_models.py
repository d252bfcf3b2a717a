#!/usr/bin/env python3
"""Write the tables of docs/models.md from the code: `. ./path.sh && "$IMLKD_PYTHON" docs/make_models.py`."""

from __future__ import annotations

import importlib.util
import re
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

from imlkd.features.fbank import FbankConfig
from imlkd.models.campplus import CampPlusConfig
from imlkd.models.ecapa import EcapaConfig
from imlkd.models.eres2net import Eres2netConfig
from imlkd.models.networks import CONFIGS, build_network, name_of
from imlkd.models.nexttdnn import NextTdnnConfig
from imlkd.models.redimnet import RedimnetConfig
from imlkd.models.resnet import ResnetConfig
from imlkd.models.size import count_macs, count_parameters
from imlkd.models.tdnn import TdnnConfig
from imlkd.models.xvector import XvectorConfig

PAGE = Path(__file__).parent / "models.md"
WESPEAKER, REDIMNET = "wespeaker, table of its VoxCeleb recipe v2", "ReDimNet, EVALUATION.md"
# Network, mel bands, what is published of parameters (millions) and multiply-accumulates (billions), where.
ROWS: list[tuple[Any, int, str, str, str]] = [
    (TdnnConfig(), 80, "", "", ""),
    (EcapaConfig(channels=64), 80, "", "", ""),
    (EcapaConfig(channels=128), 80, "", "", ""),
    (EcapaConfig(channels=256), 80, "", "", ""),
    (EcapaConfig(channels=512), 80, "6.19", "1.04", WESPEAKER),
    (EcapaConfig(channels=1024, aggregated=1536), 80, "14.65", "2.65", WESPEAKER),
    (XvectorConfig(width=512, wide=1500, segment_layers=2, embedding_dim=512, padding="none"), 80, "4.61", "0.53",
     WESPEAKER),
    (XvectorConfig(width=128, wide=384, embedding_dim=192), 80, "", "", ""),
    (XvectorConfig(), 80, "", "", ""),
    (ResnetConfig(width=8, depth=10), 80, "", "", ""),
    (ResnetConfig(width=8, depth=18), 80, "", "", ""),
    (ResnetConfig(), 80, "", "", ""),
    (ResnetConfig(width=32, depth=34), 80, "6.63", "4.55", WESPEAKER),
    (CampPlusConfig(), 80, "7.18", "1.15", WESPEAKER),
    (CampPlusConfig(front=16, width=64, growth=16, embedding_dim=192), 80, "", "", ""),
    (Eres2netConfig(embedding_dim=512), 80, "7.88", "3.43", WESPEAKER),
    (Eres2netConfig(width=12), 80, "", "", ""),
    (RedimnetConfig(), 60, "1.0", "0.43", REDIMNET),
    (RedimnetConfig(), 80, "", "", ""),
    (NextTdnnConfig(kernels=[65]), 80, "1.6", "0.29", REDIMNET),
    (NextTdnnConfig(), 80, "1.9", "0.35", REDIMNET),
]  # fmt: skip


def make_config() -> ModuleType:
    """docs/make_config.py, which knows how a key is written."""
    spec = importlib.util.spec_from_file_location("make_config", Path(__file__).with_name("make_config.py"))
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def settings_of(config: Any) -> str:
    """The keys that are not at their defaults."""
    usual = type(config)()
    changed = {key: value for key, value in vars(config).items() if value != getattr(usual, key)}
    return ", ".join(f"{key} {value}" for key, value in changed.items()) or "defaults"


def sizes() -> str:
    """Markdown: each row of ``ROWS``, counted."""
    lines = [
        "| network | keys | bands | parameters | multiply-accumulates | published | where |",
        "|---|---|---|---|---|---|---|",
    ]
    for config, bands, millions, billions, where in ROWS:
        model = build_network(config, FbankConfig(num_mel_bins=bands)).eval()
        counted = f"{count_parameters(model) / 1e6:.3f} M | {count_macs(model) / 1e9:.3f} G"
        published = f"{millions} M, {billions} G" if millions else ""
        lines.append(f"| `{name_of(config)}` | {settings_of(config)} | {bands} | {counted} | {published} | {where} |")
    return "\n".join(lines) + "\n"


def keys() -> str:
    """Markdown: a table of keys for each network but the TDNN."""
    table_of = make_config().table_of
    tables = [f"### {name}\n{table_of(cls)}" for name, cls in CONFIGS.items() if name != "tdnn"]
    return "\n".join(tables)


def filled(page: str) -> str:
    """``page`` with its tables made anew."""
    for mark, text in (("sizes", sizes()), ("keys", keys())):
        found = re.compile(rf"(<!-- {mark} -->\n).*?(<!-- end -->)", re.DOTALL)
        page = found.sub(lambda match, text=text: match[1] + text + match[2], page, count=1)  # type: ignore[misc]
    return page


if __name__ == "__main__":
    if sys.argv[1:]:
        sys.exit(f"usage: {sys.argv[0]}   (writes {PAGE})")
    PAGE.write_text(filled(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
