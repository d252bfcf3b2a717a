"""How a file is damaged: bytes overwritten, cut out, put in, cut off; and pieces that parsers fall over."""

from __future__ import annotations

from hypothesis import strategies as st

Damage = list[tuple[str, int, bytes]]

# Depth, length, numbers beyond any type, text that is none, code that would run, entries that double each other.
PIECES = [
    b"[" * 100_000,
    b'{"a":' * 50_000,
    b"- " * 20_000,
    b"9" * 5_000,
    b"1e999",
    b"-1",
    b"nan",
    b"18446744073709551616",
    b"\xff\xff\xff\x7f",
    b"\xff" * 8,
    b"\0" * 64,
    b"\xed\xa0\x80",
    b'"\\ud800"',
    b"\r\n",
    b" ",
    b"null",
    b"{}",
    b"../../../../etc/passwd",
    b"/dev/zero",
    b"pipe:touch planted",
    b"touch planted |",
    b"!!python/object/apply:os.system ['touch planted']",
    b"a: &a [x,x,x,x,x,x,x,x,x]\n" + b"".join(b"%c: &%c [%s]\n" % (c, c, b",".join([b"*%c" % (c - 1)] * 9))
                                            for c in range(ord("b"), ord("k"))),
    b"2026-13-45",
]  # fmt: skip

pieces = st.binary(min_size=1, max_size=12) | st.sampled_from(PIECES)
damages = st.lists(
    st.tuples(
        st.sampled_from(["set", "set", "set", "cut", "put", "put", "end"]),
        st.integers(-200, 200) | st.integers(-30_000, 30_000),
        pieces,
    ),
    min_size=1,
    max_size=5,
)


def damaged(content: bytes, damage: Damage) -> bytes:
    """``content`` after each step, at places counted from either end."""
    for kind, place, piece in damage:
        at = place % max(len(content), 1)
        if kind == "set":
            content = content[:at] + piece + content[at + len(piece) :]
        elif kind == "cut":
            content = content[:at] + content[at + len(piece) :]
        elif kind == "put":
            content = content[:at] + piece + content[at:]
        else:
            content = content[:at]
    return content
