"""Documents that can be checked are: commands, flags and make targets that they name exist, and none is left out."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import typer

from resnetfea.cli import app

ROOT = Path(__file__).parents[1]
READMES = ["README.md", "README.zh.md"]
COMMANDS = typer.main.get_command(app).commands  # type: ignore[attr-defined]


@pytest.mark.parametrize("readme", READMES)
def test_every_command_is_in_the_readme(readme: str) -> None:
    text = (ROOT / readme).read_text()
    assert [name for name in COMMANDS if f"resnetfea {name}" not in text] == []
    assert "make features" in text
    assert "make test" in text


@pytest.mark.parametrize("readme", READMES)
def test_every_flag_that_the_readme_names_exists(readme: str) -> None:
    flags = {flag for command in COMMANDS.values() for option in command.params for flag in option.opts}
    named = set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", (ROOT / readme).read_text()))
    assert named - flags - {"--help", "--version"} == set()


@pytest.mark.parametrize("document", [*READMES, "CONTRIBUTING.md"])
def test_every_make_target_and_link_exists(document: str) -> None:
    text = (ROOT / document).read_text()
    makefile = (ROOT / "Makefile").read_text()
    targets = set(re.findall(r"^([a-z-]+):", makefile, re.MULTILINE))
    assert set(re.findall(r"`make ([a-z-]+)", text)) - targets == set()
    links = re.findall(r"\]\((?!http|#)([^)#]+)", text)
    assert [link for link in links if not (ROOT / link).exists()] == []


def test_both_readmes_show_the_same_commands() -> None:
    shown = [set(re.findall(r"^ *(?:\$ )?((?:make|resnetfea|pip) .+?)(?: +#.*)?$", (ROOT / readme).read_text(), re.M))
             for readme in READMES]  # fmt: skip
    assert shown[0] == shown[1]


@pytest.mark.parametrize("name", COMMANDS)
def test_help_ends_in_an_example_that_runs_this_command(name: str) -> None:
    assert f"  resnetfea {name} " in COMMANDS[name].help


def test_make_help_lists_every_target() -> None:
    makefile = (ROOT / "Makefile").read_text()
    phony = set(re.search(r"^\.PHONY: (.+)$", makefile, re.MULTILINE)[1].split())  # type: ignore[index]
    assert phony == set(re.findall(r"^([a-z-]+):.*## ", makefile, re.MULTILINE))
