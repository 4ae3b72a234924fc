"""Build hook: the browser page (web/) becomes part of the package (server/static/), which git does not hold.

Decides when the page is built: when it is missing or its sources are newer. A source distribution carries the built
page and needs no npm. Not responsible for: what is built (web/package.json).
"""

import shutil
import subprocess
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class PageBuildHook(BuildHookInterface):  # type: ignore[type-arg]  # hatchling does not say which builder configuration
    """Runs ``npm ci`` and ``npm run build`` in web/ where that is needed and possible."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Raises RuntimeError with what to do if there is no page and none can be built."""
        root = Path(self.root)
        web, page = root / "web", root / "server" / "static" / "index.html"
        if page.exists() and not _newer(web, page):
            return
        npm = shutil.which("npm")
        if npm is None or not (web / "package.json").exists():
            if page.exists():
                return
            raise RuntimeError(
                "The browser page is not built and npm is missing: install Node.js 20 or newer (https://nodejs.org), "
                "or build from a source distribution, which carries the page."
            )
        for step in (["ci", "--no-audit", "--no-fund"], ["run", "build"]):
            self.app.display_info(f"web: npm {' '.join(step)}")
            done = subprocess.run([npm, *step], cwd=web, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
            if done.returncode != 0:
                raise RuntimeError(f"web: npm {' '.join(step)} failed:\n{done.stdout}")


def _newer(web: Path, page: Path) -> bool:
    """Whether a source of the page was changed after it was built."""
    built = page.stat().st_mtime
    names = ("index.html", "package.json", "package-lock.json", "tsconfig.json", "vite.config.ts")
    sources = [web / name for name in names] + [*web.glob("src/**/*"), *web.glob("public/**/*")]
    return any(source.is_file() and source.stat().st_mtime > built for source in sources)
