# What server/session uses of the untyped package confusable-homoglyphs.
from collections.abc import Sequence
from typing import TypedDict

class Homoglyph(TypedDict):
    c: str
    n: str

class Confusable(TypedDict):
    character: str
    alias: str
    homoglyphs: list[Homoglyph]

confusables_data: dict[str, list[Homoglyph]]

def is_mixed_script(string: str, allowed_aliases: Sequence[str] = ...) -> bool: ...
def is_confusable(
    string: str, greedy: bool = False, preferred_aliases: Sequence[str] = ...
) -> list[Confusable] | bool: ...
def is_dangerous(string: str, preferred_aliases: Sequence[str] = ...) -> bool: ...
