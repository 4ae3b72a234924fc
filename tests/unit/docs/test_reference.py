"""References tell all that there is: options, keys of channels, commands, routes, messages, codes, names of Python."""

import dataclasses
import re
from pathlib import Path

import pytest

import isthmus
from docs.site import codes, command_line, configuration, http, messages, python
from docs.site.links import rewritten
from docs.site.tables import first_sentence, table
from isthmus.config import OPTIONS
from isthmus.config.channels import Channel
from isthmus.config.model import AREAS
from protocol.acting import AnswerCode
from protocol.channels import ChannelCode
from protocol.codes import Close
from protocol.notices import NoticeCode
from server.http.app import Services, make_app
from server.http.guard import Guard
from server.metrics import Metrics


def test_every_option_with_default_bounds_and_meaning() -> None:
    page = configuration.page()
    parts = dict(re.findall(r"^## \[(\w+)\][^\n]*\n(.*?)(?=^## |\Z)", page, re.MULTILINE | re.DOTALL))
    assert set(parts) == set(AREAS)
    told: set[type] = set()
    for area, owner in AREAS.items():
        for option in (option for option in OPTIONS.values() if option.area == area):
            (row,) = re.findall(rf"^\| `{option.name}` \|.*$", parts[area], re.MULTILINE)
            assert option.accepts in row
            if owner not in told:
                assert " ".join(option.meaning.replace("<", "&lt;").replace("|", "\\|").split()) in row
        told.add(owner)
    assert "typing" not in page
    assert "class" not in re.findall(r"^\| .*$", page, re.MULTILINE)[0]


def test_every_key_of_a_channel() -> None:
    tail = configuration.page().partition("## [[channel]]")[2]
    for field in dataclasses.fields(Channel):
        assert f"| `{field.name}` |" in tail


def test_every_command_and_every_flag_of_its_own() -> None:
    page = command_line.page()
    known = dict(command_line.commands())
    assert {"isthmus serve", "isthmus region move", "isthmus backup"} <= set(known)
    for path, command in known.items():
        section = page.partition(f"## {path}\n")[2].partition("\n## ")[0]
        assert section
        for option in command_line.own_options(command):
            assert f"`{option.opts[0]}" in section
    assert "--gateway-host" not in page
    assert "Sentinel" not in page


def test_every_route() -> None:
    page = http.page()
    app = make_app(Services(ready=lambda: True, status=dict, metrics=Metrics()), Guard())
    for resource in app.router.resources():
        assert f"`{resource.canonical}`" in page
    assert "| POST | `/api/guest` |" in page
    assert "`/ws`" in page


def test_every_message_of_the_standard_and_of_the_code() -> None:
    page = messages.page()
    for number, (name, _) in messages.rows(messages.STANDARD.read_text()).items():
        assert f"### {number} {name} " in page
    for owner in messages.CLASSES.values():
        for field in dataclasses.fields(owner):
            assert f"| `{field.name}` |" in page


@pytest.mark.parametrize("change", [("| 33 | CROWD |", "| 34 | CROWD |"), ("| 33 | CROWD |", "| x | CROWD |")])
def test_a_message_that_only_one_of_them_has_fails_the_build(change: tuple[str, str]) -> None:
    standard = messages.STANDARD.read_text()
    assert change[0] in standard
    with pytest.raises(ValueError, match="types of the standard"):
        messages.page(standard.replace(*change))


def test_every_code() -> None:
    page = codes.page()
    for kind in (Close, NoticeCode, AnswerCode, ChannelCode):
        for code in kind:
            assert re.search(rf"^\| {int(code)} \| [^|]+ \| `{code.name}` \|", page, re.MULTILINE), code


def test_every_name_of_the_door() -> None:
    found = python.names("client", "protocol", "shard")
    assert sorted(name.rpartition(".")[2] for name in found) == sorted(set(isthmus.__all__) - python.ELSEWHERE)
    assert "::: shard.behaviours.api.Script\n" in python.behaviours_page()
    assert "::: client.shell.connection.Client\n" in python.client_page()


def test_what_has_no_docstring_fails_the_build() -> None:
    with pytest.raises(ValueError, match="no docstring"):
        first_sentence(None)


def test_cells_stay_cells() -> None:
    assert table(("a", "b"), [("x | y", "two\nlines")]).splitlines()[2] == "| x \\| y | two lines |"


def test_links_lead_to_pages_or_become_their_text(tmp_path: Path) -> None:
    (tmp_path / "client").mkdir()
    (tmp_path / "client" / "core.py").touch()
    pages = {"docs/A.md": "A.md", "docs/adr/1.md": "adr/1.md", "protocol/S.md": "protocol/S.md"}

    def one(text: str, path: str = "docs/A.md") -> str:
        return rewritten(text, path, pages, tmp_path)

    assert one("[s](../protocol/S.md#8-acting)") == "[s](protocol/S.md#8-acting)"
    assert one("[a](../docs/A.md)", "protocol/S.md") == "[a](../A.md)"
    assert one("[a](../A.md)", "docs/adr/1.md") == "[a](../A.md)"
    assert "href" not in one("[core](../client/core.py)")
    assert ">core</span>" in one("[core](../client/core.py)")
    assert one("[gone](../client/gone.py)") == "[gone](../client/gone.py)"  # MkDocs will say so
    assert one("[x](https://example.org/a) [y](#here)") == "[x](https://example.org/a) [y](#here)"
    assert one("```md\n[s](../protocol/S.md)\n```\n[s](../protocol/S.md)\n") == (
        "```md\n[s](../protocol/S.md)\n```\n[s](protocol/S.md)\n"
    )
