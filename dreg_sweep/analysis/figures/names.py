"""Names in figures: how long they may get, and fonts for the scripts that the usual font lacks."""

from collections.abc import Iterable
from functools import lru_cache
from typing import Any

from matplotlib.font_manager import FontEntry, fontManager, get_font

LONGEST = 40  # characters of a level's name
USUAL = "DejaVu Sans"  # comes with matplotlib, so a figure is the same on every machine
# Where several fonts have a script, those that are made for text on a screen come first.
_WELCOME = ("noto sans", "cjk", "source han", "wenquanyi", "pingfang", "hiragino", "yahei", "gothic", "unicode")


def shortened(names: Iterable[Any]) -> dict[Any, str]:
    """Each name as a figure says it: at most 40 characters, the middle of a longer one being "…".

    Distinct names stay distinct: those that would be cut to one text are numbered in their order.
    """
    texts = {name: str(name) for name in names}
    taken = {text for text in texts.values() if len(text) <= LONGEST}
    for name, text in texts.items():
        if len(text) > LONGEST:
            short, number = _cut(text, "…"), 1
            while short in taken:
                number += 1
                short = _cut(text, f"…{number}…")
            taken.add(short)
            texts[name] = short
    return texts


def _cut(text: str, middle: str) -> str:
    tail = (LONGEST - len(middle)) // 2
    return f"{text[: LONGEST - len(middle) - tail]}{middle}{text[-tail:]}"


def families(texts: Iterable[str]) -> list[str]:
    """The font families for some texts: the usual one, and installed ones with the characters that it lacks.

    A character that no installed font has stays without one.
    """
    found = [USUAL]
    usual = _characters(_path(USUAL))
    lacking = {character for text in texts for character in text if not character.isspace()}
    missing = {ord(character) for character in lacking} - usual
    for name, path in _others() if missing else ():
        here = missing & _characters(path)
        if here:
            found.append(name)
            missing -= here
        if not missing:
            break
    return found


def _path(family: str) -> str:
    return next(font.fname for font in fontManager.ttflist if font.name == family and _plain(font))


@lru_cache(maxsize=1)
def _others() -> list[tuple[str, str]]:
    """Family and file of every other installed font, in a settled order."""
    fonts = {font.name: font.fname for font in fontManager.ttflist if _plain(font)}

    def order(name: str) -> tuple[int, str]:
        ranks = [place for place, part in enumerate(_WELCOME) if part in name.lower()]
        return min(ranks, default=len(_WELCOME)), name

    # The font of last resort has a box with a number for every character, which is no glyph of any.
    return [(name, fonts[name]) for name in sorted(fonts, key=order) if "last resort" not in name.lower()]


def _plain(font: FontEntry) -> bool:
    return font.style == "normal" and font.weight in (400, "normal", "regular", "book")


@lru_cache(maxsize=64)
def _characters(path: str) -> frozenset[int]:
    try:
        return frozenset(get_font(path).get_charmap())
    except (OSError, RuntimeError):  # a file that is gone or damaged
        return frozenset()
