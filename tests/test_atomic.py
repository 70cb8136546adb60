"""A file is the old one or the new one, whatever goes wrong between."""

import os

import pytest

from dreg_sweep.atomic import whole_file


@pytest.mark.parametrize("before", [None, b"old"])
def test_a_file_takes_its_name_when_it_is_whole(tmp_path, before):
    path = tmp_path / "file"
    if before:
        path.write_bytes(before)
    with whole_file(path) as file:
        file.write(b"new")
        file.flush()
        assert (path.read_bytes() if path.exists() else None) == before
    assert path.read_bytes() == b"new"
    assert os.listdir(tmp_path) == ["file"]


@pytest.mark.parametrize("stage", ["filling", "fsync", "replace"])
def test_what_fails_leaves_the_old_one_and_no_draft(tmp_path, monkeypatch, stage):
    path = tmp_path / "file"
    path.write_bytes(b"old")

    def full(*arguments):
        raise OSError(28, "No space left on device")

    if stage == "fsync":
        monkeypatch.setattr("os.fsync", full)
    elif stage == "replace":
        monkeypatch.setattr("pathlib.Path.replace", full)
    with pytest.raises(OSError, match="No space"), whole_file(path) as file:  # noqa: PT012
        file.write(b"new")
        if stage == "filling":
            full()
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["file"]


def test_two_that_write_one_file_do_not_meet(tmp_path):
    path = tmp_path / "file"
    with whole_file(path) as one, whole_file(path) as other:
        one.write(b"one")
        other.write(b"other")
    assert path.read_bytes() == b"one"  # the outer one ends last
    assert os.listdir(tmp_path) == ["file"]
