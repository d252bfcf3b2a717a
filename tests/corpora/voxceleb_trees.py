"""Trees of VoxCeleb's layouts, small, with bytes in the place of audio."""

from __future__ import annotations

from pathlib import Path

DEV1 = ["id10001/1zcIwhmdeo4/00001", "id10001/1zcIwhmdeo4/00002", "id10002/-fJ_x8q2D0A/00001"]
TEST1 = ["id10270/x6uYqmx31kE/00001", "id10270/GWXujl-xAVM/00017", "id10271/1gtz-CUIygI/00001"]
DEV2 = ["id00012/21Uxsk56VDQ/00001", "id00012/21Uxsk56VDQ/00002", "id09272/_zeRXDz_B-s/00301"]
TEST2 = ["id00017/01dfn2spqyE/00001"]
LIST_O = [f"1 {TEST1[0]}.wav {TEST1[1]}.wav", f"0 {TEST1[0]}.wav {TEST1[2]}.wav"]
LIST_E = [f"1 {DEV1[0]}.wav {DEV1[1]}.wav", f"0 {DEV1[2]}.wav {TEST1[2]}.wav"]


def make_tree(root: Path, names: list[str], kind: str = "wav") -> Path:
    for name in names:
        path = root / f"{name}.{kind}"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"audio")
    return root


def make_list(path: Path, lines: list[str]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return path


def kaldi(name: str) -> str:
    return name.replace("/", "-")
