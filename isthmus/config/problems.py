"""What is wrong with a configuration, and how all of it is told at once."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Problem:
    """One mistake: where it was made (``file:line``, variable or flag), what is wrong, and what to do about it."""

    place: str
    what: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.place}: {self.what}\n    -> {self.remedy}"


@dataclass(frozen=True, slots=True)
class ConfigProblems:
    """All mistakes of a configuration, in the order file, environment, flags, relations. Never empty."""

    problems: tuple[Problem, ...]

    def __str__(self) -> str:
        count = len(self.problems)
        head = "1 mistake in the configuration" if count == 1 else f"{count} mistakes in the configuration"
        return "\n".join([f"{head}; nothing was started.", *map(str, self.problems)])
