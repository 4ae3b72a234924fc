"""What MkDocs calls while it builds: pages from outside of docs/, reference pages, links, patterns in the navigation.

Decides what is a page. Invariants: every Markdown file of docs/ is one; the standard and other normative pages stay
beside the code they are about, and are pages all the same; a reference page is made anew in each build. Not responsible
for: what the reference says (``configuration`` and its like), looks (mkdocs.yml, docs/assets).
"""

import fnmatch
import re
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

from docs.site import codes, command_line, configuration, http, messages, python
from docs.site.links import rewritten

REPOSITORY = Path(__file__).resolve().parents[2]
DOCS = REPOSITORY / "docs"
OUTSIDE = (
    "protocol/STANDARD.md",
    "protocol/SESSIONS.md",
    "protocol/WALKING.md",
    "protocol/MAP.md",
    "protocol/c/README.md",
    "loadtest/swarm/README.md",
    "bench/README.md",
    "SECURITY.md",
    "CHANGELOG.md",
)
"""Pages whose place is beside the code they are about: path in the repository and in the site."""
REFERENCE = {
    "reference/configuration.md": configuration.page,
    "reference/command-line.md": command_line.page,
    "reference/http.md": http.page,
    "reference/messages.md": messages.page,
    "reference/codes.md": codes.page,
    "reference/client.md": python.client_page,
    "reference/behaviours.md": python.behaviours_page,
}
_PATTERN = "*"
_ROLE = re.compile(r":(?:attr|class|func|meth|mod):(?=<code)")


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """A pattern in the navigation stands for all pages that it matches; it may match none."""
    known = sorted(path.relative_to(DOCS).as_posix() for path in DOCS.rglob("*.md"))
    config.nav = _expanded(config.nav, known)
    return config


def _expanded(item: Any, known: list[str]) -> Any:
    if isinstance(item, dict):
        return {title: _expanded(inner, known) for title, inner in item.items()}
    if not isinstance(item, list):
        return item
    out: list[Any] = []
    for inner in item:
        if isinstance(inner, str) and _PATTERN in inner:
            out += [path for path in known if fnmatch.fnmatch(path, inner)]
        else:
            out.append(_expanded(inner, known))
    # A section of patterns that matched nothing has no title either.
    return [inner for inner in out if not (isinstance(inner, dict) and list(inner.values()) == [[]])]


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages that are not files of docs/."""
    for path in OUTSIDE:
        files.append(File.generated(config, path, content=(REPOSITORY / path).read_text(encoding="utf-8")))
    for path, page in REFERENCE.items():
        files.append(File.generated(config, path, content=page()))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Links as the site needs them."""
    pages = {_home(file.src_uri): file.src_uri for file in files.documentation_pages()}
    return rewritten(markdown, _home(page.file.src_uri), pages, REPOSITORY)


def on_page_content(html: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Docstrings say :meth:`act`, which Markdown takes for a word and a code span."""
    return _ROLE.sub("", html)


def _home(src_uri: str) -> str:
    """Path in the repository of a page."""
    return src_uri if src_uri in OUTSIDE else f"docs/{src_uri}"
