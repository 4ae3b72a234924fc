"""Which pages there are: all Markdown files of the repository that people read."""

from docs.site.commands import Block, read
from docs.site.existing import REPOSITORY

_PLACES = (
    "*.md",
    "docs/**/*.md",
    "protocol/**/*.md",
    "loadtest/**/*.md",
    "bench/*.md",
    "examples/**/*.md",
    "k8s/**/*.md",
)


def all_pages() -> list[str]:
    """Their paths in the repository."""
    return sorted({path.relative_to(REPOSITORY).as_posix() for place in _PLACES for path in REPOSITORY.glob(place)})


def all_blocks() -> dict[str, list[Block]]:
    """The blocks of each page. Raises PageError."""
    return {page: read(REPOSITORY / page, page) for page in all_pages()}
