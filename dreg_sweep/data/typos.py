"""Typos and dropped words in raw text, nested over the rates: a word once hit stays hit, in the same way."""

from collections.abc import Sequence

import numpy as np

from dreg_sweep.data.seeding import generator

LETTERS = "abcdefghijklmnopqrstuvwxyz"


def corrupt(texts: Sequence[str], rates: Sequence[float], name: str, evaluate_on: str) -> list[list[str]]:
    """The texts at each rate, shape (rates, texts).

    Each whitespace-separated word has one u ~ U(0, 1) and is hit at every rate above u. A fair coin of
    its own says whether a hit drops it (probability rate/2) or gives it one typo (rate/2). All draws depend
    on (name, evaluate_on) only. A text may lose all its words; it is then the empty string.
    """
    words = [text.split() for text in texts]
    draws = generator("typos", name, evaluate_on).random((sum(map(len, words)), 5))
    answer: list[list[str]] = [[] for _ in rates]
    row = 0
    for split in words:
        own = draws[row : row + len(split)]
        row += len(split)
        for rate, out in zip(rates, answer, strict=True):
            out.append(" ".join(_hit(split, own, rate)))
    return answer


def _hit(words: list[str], draws: np.ndarray, rate: float) -> list[str]:
    kept = []
    for word, (u, coin, kind, place, letter) in zip(words, draws.tolist(), strict=True):
        if u >= rate:
            kept.append(word)
        elif coin >= 0.5:
            kept.append(typo(word, kind, place, letter))
    return kept


def typo(word: str, kind: float, place: float, letter: float) -> str:
    """One adjacent swap, deletion, insertion or substitution; the three draws in [0, 1) say which and where.

    The result is never empty and always differs from `word`: where a swap or a deletion cannot do that (one
    letter, or equal neighbours everywhere) a letter is substituted.
    """
    choice = int(kind * 4)
    pairs = [i for i in range(len(word) - 1) if word[i] != word[i + 1]]
    if choice == 0 and pairs:
        i = pairs[int(place * len(pairs))]
        return word[:i] + word[i + 1] + word[i] + word[i + 2 :]
    i = int(place * len(word))
    if choice == 1 and len(word) > 1:
        return word[:i] + word[i + 1 :]
    if choice == 2:
        i = int(place * (len(word) + 1))
        return word[:i] + LETTERS[int(letter * 26)] + word[i:]
    others = LETTERS.replace(word[i].lower(), "")
    return word[:i] + others[int(letter * len(others))] + word[i + 1 :]
