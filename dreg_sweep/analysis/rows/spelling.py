"""How names and levels are spelled: column names in other letters, characters that cannot be seen, and quotes."""

import re
import shlex
import unicodedata
from collections.abc import Collection, Sequence

from dreg_sweep.errors import UserError

INVISIBLE = "\u00ad\u200b\u200c\u200d\u2060\ufeff"  # of no width: they make two levels of one that look the same
_RANGES = (  # control characters, directional marks, and others that show nothing
    *((0x0, 0x1F), (0x7F, 0x9F), (0xAD, 0xAD), (0x34F, 0x34F), (0x61C, 0x61C), (0x180E, 0x180E)),
    *((0x200B, 0x200F), (0x2028, 0x202E), (0x2060, 0x206F), (0x3164, 0x3164), (0xFEFF, 0xFEFF)),
    *((0xFFF9, 0xFFFB), (0xE0000, 0xE007F)),
)
_BLANKS = ((0xA0, 0xA0), (0x1680, 0x1680), (0x2000, 0x200A), (0x202F, 0x202F), (0x205F, 0x205F), (0x3000, 0x3000))


def _python(ranges: Sequence[tuple[int, int]]) -> str:
    return f"[{''.join(f'{re.escape(chr(low))}-{re.escape(chr(high))}' for low, high in ranges)}]"


_SURROGATES = ((0xD800, 0xDFFF),)  # of file names that are not UTF-8
_UNSEEN = re.compile(_python((*_RANGES, *_SURROGATES)))
_UNUSUAL = re.compile(_python((*_RANGES, *_SURROGATES, *_BLANKS)))
UNUSUAL = "".join(f"\\x{{{low:x}}}-\\x{{{high:x}}}" for low, high in (*_RANGES, *_BLANKS)).join("[]")  # for RE2


def visible(text: str) -> str:
    """The text with its control characters and directional marks escaped, as in `a\\x1b[31mb`."""
    return _UNSEEN.sub(_escaped, text)


def visible_lines(text: str) -> str:
    """The same of a text of several lines, whose ends stay."""
    return "\n".join(map(visible, text.split("\n")))


def shown_blanks(text: str) -> str:
    """The same with every blank but the ordinary one escaped, so that levels which look alike can be told apart."""
    return _UNUSUAL.sub(_escaped, text)


def _escaped(match: re.Match[str]) -> str:
    code = ord(match[0])
    if code in (9, 10, 13):
        return {9: "\\t", 10: "\\n", 13: "\\r"}[code]
    return f"\\x{code:02x}" if code < 256 else f"\\u{code:04x}" if code < 65536 else f"\\U{code:08x}"


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


def quoted(level: str, always: bool = False) -> str:
    """A level as a list of levels takes it: in quotes where it has a comma, quotes or blanks at its ends."""
    plain = level and not re.search(r"[,\"']", level) and level == level.strip()
    listed = re.fullmatch(r"\[[^\[\]\"']*\]", level)  # such as [64, 64], whose commas belong to it
    if (plain or listed) and not always:
        return level
    return '"' + level.replace('"', '""') + '"'


def condition(factor: str, *levels: str) -> str:
    """`factor=level,level` to be pasted into a shell as it is, behind --where."""
    return shlex.quote(f"{factor}={','.join(map(quoted, levels))}")


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
