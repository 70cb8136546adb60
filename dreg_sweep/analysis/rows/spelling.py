"""How names and levels are spelled: column names in other letters, characters that cannot be seen, and quotes."""

import re
import unicodedata
from collections.abc import Collection, Sequence

from dreg_sweep.errors import UserError

INVISIBLE = "\u200b\u200c\u200d\u2060\ufeff"  # of no width: they make two levels of one that look the same
_UNSEEN = re.compile(r"[\x00-\x1f\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff]")
UNSEEN = (
    r"[\x00-\x1f\x7f]|[\x{80}-\x{9f}\x{61c}\x{200b}-\x{200f}\x{2028}-\x{202e}\x{2060}-\x{2069}\x{feff}]"  # of RE2
)


def visible(text: str) -> str:
    """The text with its control characters and directional marks escaped, as in `a\\x1b[31mb`."""
    return _UNSEEN.sub(_escaped, text)


def _escaped(match: re.Match[str]) -> str:
    code = ord(match[0])
    return {9: "\\t", 10: "\\n", 13: "\\r"}.get(code) or (f"\\x{code:02x}" if code < 256 else f"\\u{code:04x}")


def renamed(names: Sequence[str], known: Collection[str], kept: Collection[str], where: object) -> dict[str, str]:
    """The columns of a file whose names differ from known ones in case, blanks or hyphens only.

    Args:
        names: of the file's columns.
        known: the names that mean something here.
        kept: names of the file that the user has mapped, and that keep their spelling.
        where: what messages call the file.

    Returns:
        The file's name → the known one.

    Raises:
        UserError: for two columns that would both become one.
    """
    found: dict[str, str] = {}
    for name in names:
        plain = re.sub(r"[\s-]+", "_", unicodedata.normalize("NFKC", name).strip().lower())
        if name not in known and name not in kept and plain in known:
            rival = next((other for other, ours in found.items() if ours == plain), None)
            rival = plain if plain in names else rival
            if rival is not None:
                raise UserError(
                    f"{where} has the columns {rival} and {name}, which are one name; rename one of them"
                )
            found[name] = plain
    return found


def refuse_blank_twins(name: str, texts: Collection[str], where: object) -> list[str]:
    """A line on the levels that lose blanks around them.

    Raises:
        UserError: for two levels that differ in such blanks only.
    """
    lines = []
    for text in sorted(texts):
        plain, shown = trimmed(text), quoted(shown_blanks(text), always=True)
        if plain == text or not plain:
            continue
        if plain in texts:
            raise UserError(
                f"{where}: {name} has the levels {quoted(visible(plain), always=True)} and {shown}, which differ in "
                "blanks only; make them one, or name them apart"
            )
        lines.append(f"{where}: {name} {shown} has blanks around it, which are left out")
    return lines


def trimmed(text: str) -> str:
    """The text without blanks and invisible characters around it."""
    before = None
    while text != before:
        before, text = text, text.strip().strip(INVISIBLE)
    return text


def shown_blanks(text: str) -> str:
    """The text with every blank but the ordinary one escaped."""
    return visible(
        "".join(c if c == " " or not c.isspace() or c in "\t\n\r" else f"\\u{ord(c):04x}" for c in text)
    )


def quoted(level: str, always: bool = False) -> str:
    """A level as a list of levels takes it: in quotes where it has a comma, quotes or blanks at its ends."""
    plain = level and not re.search(r"[,\"']", level) and level == level.strip()
    listed = re.fullmatch(r"\[[^\[\]\"']*\]", level)  # such as [64, 64], whose commas belong to it
    if (plain or listed) and not always:
        return level
    return '"' + level.replace('"', '""') + '"'


def split_levels(text: str) -> list[str]:
    """The levels of `a,b,"c, d",[64,64]`: commas within quotes or brackets do not separate.

    Raises:
        UserError: for a quotation mark without its partner.
    """
    levels: list[str] = []
    rest = text.strip()
    while rest:
        if rest[0] in "\"'":
            mark = rest[0]
            match = re.match(f"{mark}((?:[^{mark}]|{mark}{mark})*){mark}\\s*(?:,|$)", rest)
            if match is None:
                raise UserError(f"{text}: a quotation mark has no partner; write quotes within quotes twice")
            levels.append(match[1].replace(mark * 2, mark))
        else:
            match = re.match(r"((?:\[[^\[\]]*\]|[^,])*)(?:,|$)", rest)
            assert match is not None
            levels.append(match[1].strip())
        if match.end() == len(rest) and rest[-1] == "," and match[0].endswith(","):
            levels.append("")
        rest = rest[match.end() :].lstrip()
    return levels
