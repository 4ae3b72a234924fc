"""Links of a page as they are written, for readers of the repository, and as the site needs them.

A page links to other files of the repository by relative paths. Invariant: in the site a link to a page goes to that
page, and one to a file that is no page becomes its text, because the site does not hold the sources. A path that does
not exist stays as it is: MkDocs finds it missing, and the strict build fails. Not responsible for: anchors (MkDocs).
"""

import posixpath
import re
from collections.abc import Mapping
from pathlib import Path

_FENCE = re.compile(r"^ {0,3}(```+|~~~+)")
_LINK = re.compile(r"(?<!!)\[(?P<text>(?:[^\[\]]|\[[^\]]*\])*)\]\((?P<target>[^()\s]+)\)")


def rewritten(text: str, path: str, pages: Mapping[str, str], repository: Path) -> str:
    """``text`` of the file ``path`` with its links as the site needs them. ``pages``: path in the repository of each
    page to its path in the site."""
    lines, fence = [], ""
    for line in text.splitlines(keepends=True):
        mark = _FENCE.match(line)
        if mark and (not fence or line.strip() == fence):
            fence = "" if fence else mark[1]
        lines.append(line if fence else _LINK.sub(lambda m: _one(m, path, pages, repository), line))
    return "".join(lines)


def _one(link: re.Match[str], path: str, pages: Mapping[str, str], repository: Path) -> str:
    target, _, anchor = link["target"].partition("#")
    if not target or ":" in target or target.startswith("/"):
        return link[0]
    wanted = posixpath.normpath(posixpath.join(posixpath.dirname(path), target))
    if wanted in pages:
        relative = posixpath.relpath(pages[wanted], posixpath.dirname(pages[path]) or ".")
        return f"[{link['text']}]({relative}{'#' if anchor else ''}{anchor})"
    if (repository / wanted).exists() and not wanted.startswith("docs/"):
        return f'<span class="source" title="{wanted} in the repository">{link["text"]}</span>'
    return link[0]
