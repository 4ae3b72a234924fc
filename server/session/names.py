"""Names as people read them: normal form, allowed characters, look-alikes (Unicode UAX #15, UTS #39 §4).

Rules. A name is in NFKC with single spaces. Letters, marks, digits, punctuation and symbols are allowed; control,
format (zero width, direction), private and unassigned characters are refused, so are more than three marks in a row.
Two names look alike if their skeletons agree, as written or with case folded. In one world no two people have
look-alike names:

* guests and names that an issuer vouches for get a number as suffix ("Anna 47"), because nobody can be blamed for
  their name;
* a name that somebody else chose freely is refused (4302);
* reserved names are refused for everybody.

Invariant: ``NameBook`` holds the keys of exactly those names taken and not released. Not responsible for: insults.
"""

import unicodedata
from collections.abc import Callable
from functools import lru_cache

from confusable_homoglyphs.confusables import confusables_data

MARKS_IN_A_ROW_MAX = 3
_REFUSED = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})
_SUFFIX_DIGITS = (2, 2, 3, 3, 4, 4, 6, 6, 8, 8)


class NameRefused(Exception):
    """The name cannot be used; the text says why, ``reason`` is a stable word for metrics."""

    def __init__(self, reason: str, text: str) -> None:
        super().__init__(text)
        self.reason = reason


def normalised(name: str, chars_max: int) -> str:
    """NFKC with single spaces, checked. Raises NameRefused."""
    name = unicodedata.normalize("NFKC", name)
    marks = 0
    for char in name:
        category = unicodedata.category(char)
        if category in _REFUSED:
            raise NameRefused("name_characters", f"a name cannot contain the character U+{ord(char):04X}")
        marks = marks + 1 if category[0] == "M" else 0
        if marks > MARKS_IN_A_ROW_MAX:
            raise NameRefused("name_characters", f"a name cannot have more than {MARKS_IN_A_ROW_MAX} marks in a row")
    name = " ".join(name.split())
    if not any(unicodedata.category(char)[0] in "LN" for char in name):
        raise NameRefused("name_empty", "a name needs at least one letter or digit")
    if len(name) > chars_max:
        raise NameRefused("name_long", f"a name has at most {chars_max} characters")
    return name


@lru_cache(maxsize=4096)
def _prototype(char: str) -> str:
    # The table lists look-alikes in both directions; the prototype of UTS #39 is the one that the others point to.
    def entries(text: str) -> int:
        return len(confusables_data.get(text, ()))

    best = char
    for item in confusables_data.get(char, ()):
        other = str(item["c"])
        if len(other) > 1 or (entries(other), -ord(other)) > (entries(best), -ord(best[0])):
            best = other
            if len(other) > 1:
                break
    return best


def skeleton(text: str) -> str:
    """Equal for texts that look alike (UTS #39 §4): NFD, each character replaced by its prototype, NFD."""
    for _ in range(3):  # a prototype may have one of its own; the table's chains are shorter than this
        before = text
        text = "".join(_prototype(char) for char in unicodedata.normalize("NFD", text))
        text = unicodedata.normalize("NFD", text)
        if text == before:
            break
    return text


def keys(name: str) -> frozenset[str]:
    """What a name is recognised by: its skeleton, and that of its case-folded form (I and l look alike, I and i are
    alike)."""
    return frozenset({skeleton(name), skeleton(name.casefold())})


class NameBook:
    """The names in use, by what they look like."""

    def __init__(self, chars_max: int, reserved: tuple[str, ...], random_bytes: Callable[[int], bytes]) -> None:
        self._chars_max = chars_max
        self._random_bytes = random_bytes
        self._taken: dict[str, int] = {}
        self._reserved = frozenset(key for name in reserved for key in keys(name))

    def __len__(self) -> int:
        """Keys held; at most two for each name."""
        return len(self._taken)

    def take(self, name: str, *, suffix: bool) -> str:
        """Reserve ``name``, with a suffix if it is taken and ``suffix`` allows one; returns it as it shall be shown.

        Raises NameRefused.
        """
        name = normalised(name, self._chars_max)
        if keys(name) & self._reserved:
            raise NameRefused("name_reserved", f"the name {name!r} is reserved; choose another one")
        if self._reserve(name):
            return name
        if not suffix:
            raise NameRefused("name_taken", f"a name that looks like {name!r} is in use; choose another one")
        for digits in _SUFFIX_DIGITS:
            number = 10 ** (digits - 1) + int.from_bytes(self._random_bytes(4), "big") % (9 * 10 ** (digits - 1))
            candidate = f"{name} {number}"
            if len(candidate) > self._chars_max:
                break
            if self._reserve(candidate):
                return candidate
        raise NameRefused("name_taken", f"names that look like {name!r} are in use; choose a shorter or another one")

    def hold(self, name: str) -> None:
        """A name is in use at another gateway, whoever else has it."""
        for key in keys(name):
            self._taken[key] = self._taken.get(key, 0) + 1

    def release(self, name: str) -> None:
        """Give back a name that ``take`` returned, or one held."""
        for key in keys(name):
            self._taken[key] -= 1
            if not self._taken[key]:
                del self._taken[key]

    def _reserve(self, name: str) -> bool:
        wanted = keys(name)
        if any(key in self._taken for key in wanted):
            return False
        self.hold(name)
        return True
