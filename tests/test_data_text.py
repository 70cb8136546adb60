"""Corruption of texts, their features and the cache of these."""

import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dreg_sweep.data import DatasetSpec, NoiseLadder, Split, feature_cache, features, make_split
from dreg_sweep.data.text_rows import TextRows, text_data
from dreg_sweep.data.typos import corrupt, typo
from dreg_sweep.errors import UserError

LADDER = NoiseLadder((), (0.1, 0.4))
SPEC = DatasetSpec("made_up", "text_table", "text", "clean", options={"n_components": 8})
WORDS = ["alpha", "bravo", "charlie", "delta", "echo", "foxtrot", "golf", "hotel"]


def split_of(cache_dir: Path | None, ladder: NoiseLadder = LADDER, train_size: int | None = 20) -> Split:
    rng = np.random.default_rng(0)
    texts = [" ".join(rng.choice(WORDS, 6)) for _ in range(60)]
    rows = TextRows(texts, ["ab"[i % 2] for i in range(60)], ["train"] * 30 + ["test"] * 30)
    return make_split(text_data(SPEC, rows, "made up"), train_size, 0, "test", ladder, cache_dir)


def assert_same(first: Split, second: Split) -> None:
    np.testing.assert_array_equal(first.x_train, second.x_train)
    for severity in (None, 0, 1):
        np.testing.assert_array_equal(first.eval_rows(severity, 0, 30), second.eval_rows(severity, 0, 30))


def test_words_once_hit_stay_hit_in_the_same_way() -> None:
    texts = [f"word{chr(97 + i % 26)}x{i}" for i in range(3000)]  # one word a text: its fate is visible
    low, high = corrupt(texts, (0.1, 0.4), "made_up", "test")
    hit = [i for i, text in enumerate(texts) if low[i] != text]
    assert all(high[i] == low[i] for i in hit)
    for rate, out in ((0.1, low), (0.4, high)):
        fates = Counter(
            "kept" if new == old else "dropped" if not new else "typo" for old, new in zip(texts, out, strict=True)
        )
        for fate, share in (("kept", 1 - rate), ("dropped", rate / 2), ("typo", rate / 2)):
            assert abs(fates[fate] / 3000 - share) < 3 * (share * (1 - share) / 3000) ** 0.5


def test_corruption_depends_on_the_dataset_and_not_on_the_other_rates() -> None:
    texts = [" ".join(WORDS)] * 20
    assert corrupt(texts, (0.1, 0.4), "a", "test")[1] == corrupt(texts, (0.4,), "a", "test")[0]
    assert corrupt(texts, (0.4,), "a", "test") != corrupt(texts, (0.4,), "b", "test")
    assert corrupt(texts, (0.4,), "a", "test") != corrupt(texts, (0.4,), "a", "validation")


def test_a_rate_of_one_hits_every_word_and_empty_texts_pass() -> None:
    texts = ["a", "", "   ", "oo", "ß", "one two", "😀"] * 10
    (out,) = corrupt(texts, (1.0,), "made_up", "test")
    for old, new in zip(texts, out, strict=True):
        assert not set(old.split()) & set(new.split()) or len(old.split()) > 1
    assert "" in out


@pytest.mark.parametrize(
    ("word", "kind", "place", "expected"),
    [
        ("abc", 0.0, 0.0, "bac"),
        ("abc", 0.0, 0.99, "acb"),
        ("aab", 0.0, 0.0, "aba"),  # swapping equal letters would change nothing
        ("abc", 0.3, 0.5, "ac"),
        ("abc", 0.6, 0.99, "abca"),
        ("abc", 0.6, 0.0, "aabc"),
        ("abc", 0.9, 0.0, "bbc"),
        ("a", 0.0, 0.0, "b"),
        ("a", 0.3, 0.0, "b"),
        ("A", 0.9, 0.0, "b"),
    ],
)
def test_typos_by_hand(word: str, kind: float, place: float, expected: str) -> None:
    assert typo(word, kind, place, 0.0) == expected


def test_a_typo_always_changes_a_word_and_never_empties_it() -> None:
    rng = np.random.default_rng(0)
    for word in ("a", "aa", "ab", "hello", "Ω", "1234"):
        for kind, place, letter in rng.random((200, 3)).tolist():
            changed = typo(word, kind, place, letter)
            assert changed
            assert changed != word


def test_features_are_standardized_and_padded_beyond_the_rank() -> None:
    texts = ["one two", "two three", "three one", "one two"]
    x = features.fit(texts, 10).encode(texts)
    assert x.shape == (4, 10)
    used = x.std(axis=0) > 0
    assert used.sum() == 3  # four texts, two of them equal
    np.testing.assert_allclose(x[:, used].mean(axis=0), 0, atol=1e-6)
    np.testing.assert_allclose(x[:, used].std(axis=0), 1, atol=1e-6)
    assert (features.fit(texts, 10).encode(["four one"])[:, ~used] == 0).all()


@pytest.mark.parametrize("texts", [["same words"] * 5, ["x y", "x y", ""]])
def test_equal_texts_give_finite_features(texts: list[str]) -> None:
    assert np.isfinite(features.fit(texts, 4).encode([*texts, "", "other"])).all()


@pytest.mark.parametrize("texts", [["", " "], ["x", "x"]])
def test_training_texts_without_words_are_a_user_error(texts: list[str]) -> None:
    with pytest.raises(UserError, match="the 2 training texts of a split hold fewer than two distinct words"):
        features.fit(texts, 4)


def test_a_cache_hit_gives_identical_arrays_without_fitting(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fresh, first = split_of(None), split_of(tmp_path)
    monkeypatch.setattr(features, "fit", lambda *_: pytest.fail("fitted although cached"))
    hit = split_of(tmp_path)
    assert fresh.identity == first.identity == hit.identity
    assert_same(fresh, first)
    assert_same(first, hit)
    assert hit.x_train.flags["WRITEABLE"]
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


def test_another_ladder_or_subset_is_another_entry(tmp_path: Path) -> None:
    splits = [
        split_of(tmp_path),
        split_of(tmp_path, NoiseLadder((), (0.1, 0.5))),
        split_of(tmp_path, train_size=10),
    ]
    assert len(list(tmp_path.iterdir())) == 3
    assert len({split.identity for split in splits}) == 3


@pytest.mark.parametrize("damage", ["truncate", "flip", "remove", "manifest"])
def test_a_damaged_entry_is_made_again(tmp_path: Path, damage: str) -> None:
    fresh = split_of(tmp_path)
    (entry,) = tmp_path.iterdir()
    file = entry / "noisy1.npy"
    content = file.read_bytes()
    if damage == "truncate":
        file.write_bytes(content[:-10])
    elif damage == "flip":
        file.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    elif damage == "remove":
        file.unlink()
    else:
        (entry / "sha256.json").write_text("[")
    assert_same(fresh, split_of(tmp_path))
    assert file.read_bytes() == content
    assert list(tmp_path.iterdir()) == [entry]


def test_a_cache_that_cannot_be_written_costs_nothing_but_time(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert_same(split_of(None), split_of(tmp_path / "file" / "cache"))


def test_two_processes_may_make_one_entry_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The other one finishes between our look-up and our writing."""
    write, other = feature_cache._write, tmp_path / "other"
    split_of(other)

    def late(folder: Path, arrays: dict[str, Any]) -> None:
        (entry,) = other.iterdir()
        shutil.copytree(entry, folder)
        write(folder, arrays)

    monkeypatch.setattr(feature_cache, "_write", late)
    ours = split_of(tmp_path / "cache")
    monkeypatch.undo()
    assert len(list((tmp_path / "cache").iterdir())) == 1
    assert_same(ours, split_of(tmp_path / "cache"))
