"""What the documents promise is there: commands, options, settings, exit codes, routes, names."""

from __future__ import annotations

import dataclasses
import re
import uuid
from pathlib import Path

import click
import pytest

import crawler
from conftest import REPOSITORY
from crawler import errors
from crawler.cli import crawl
from crawler.demo import routes
from crawler.engine import Stats
from crawler.settings import Settings
from programs import run_python

README = (REPOSITORY / "README.md").read_text(encoding="utf-8")
COMMAND_LINE = (REPOSITORY / "docs" / "command-line.md").read_text(encoding="utf-8")
FAULTS = (REPOSITORY / "docs" / "faults.md").read_text(encoding="utf-8")
PRACTICE_SITE = (REPOSITORY / "docs" / "practice-site.md").read_text(encoding="utf-8")
DOCUMENTS = [REPOSITORY / "README.md", *sorted((REPOSITORY / "docs").glob("*.md"))]


def name_of(path: Path) -> str:
    return path.name


def options_of(command: click.Command) -> set[str]:
    return {option for parameter in command.params for option in parameter.opts}


def test_every_command_is_documented_and_every_documented_command_exists() -> None:
    documented = set(re.findall(r"^\| `crawl (\w+)", COMMAND_LINE, re.MULTILINE))
    assert documented == set(crawl.commands)


@pytest.mark.parametrize("path", DOCUMENTS, ids=name_of)
def test_commands_in_examples_take_the_options_they_are_shown_with(path: Path) -> None:
    for block in re.findall(r"```console\n(.*?)```", path.read_text(encoding="utf-8"), re.DOTALL):
        for name, rest in re.findall(r"crawl (\w+)([^|#\n]*)", block):
            command = crawl.commands.get(name)
            if command is not None:
                shown = set(re.findall(r"(?<=\s)(--?[a-z][\w-]*)", rest))
                assert shown <= options_of(command), f"crawl {name}{rest}"


@pytest.mark.parametrize("path", DOCUMENTS, ids=name_of)
def test_links_between_documents_lead_somewhere(path: Path) -> None:
    for target in re.findall(r"\]\((?!http)([^)#]+)", path.read_text(encoding="utf-8")):
        assert (path.parent / target).exists(), target


@pytest.mark.parametrize("path", DOCUMENTS, ids=name_of)
def test_python_examples_are_python(path: Path) -> None:
    for block in re.findall(r"```python\n(.*?)```", path.read_text(encoding="utf-8"), re.DOTALL):
        compile(block, str(path), "exec")


def test_every_setting_is_in_the_table_with_its_default() -> None:
    rows = [row.split("|")[1:5] for row in COMMAND_LINE.splitlines() if row.startswith("| `")]
    table = {row[0].strip(" `"): row[2].strip(" `") for row in rows if len(row) == 4}
    for field in dataclasses.fields(Settings):
        assert field.name in table, f"{field.name} is not documented"
        if isinstance(field.default, bool):
            assert table[field.name] == str(field.default).lower(), field.name
        elif isinstance(field.default, (int, float)):
            assert float(table[field.name]) == field.default, field.name


def test_every_exit_code_is_in_the_table() -> None:
    section = COMMAND_LINE.partition("## Exit codes")[2]
    documented = {
        int(code)
        for row in re.findall(r"^\| ([\d, ]+) \|", section, re.M)
        for code in row.split(",")
    }
    of_errors = {
        error.exit_code
        for error in vars(errors).values()
        if isinstance(error, type) and issubclass(error, errors.CrawlError)
    }
    assert of_errors | {0, 3, 4, 7, 130, 143} <= documented


def test_every_route_of_the_practice_site_is_in_its_document() -> None:
    documented = set(re.findall(r"^\| `([^`]+)` \|", PRACTICE_SITE, re.MULTILINE))
    patterns = {route.pattern for section in routes.SECTIONS for route in section.routes}
    assert patterns <= documented
    assert {name for name in documented if name.startswith("/")} <= patterns


def test_the_response_has_what_the_document_says() -> None:
    from crawler import Response

    spiders = (REPOSITORY / "docs" / "spiders.md").read_text(encoding="utf-8")
    table = spiders.partition("| `response.` | |")[2].partition("\n\n")[0]
    response = Response("https://x.test/", "{}")
    for name in re.findall(r"`(\w+)[^`]*`", re.sub(r"\|[^|]*\|$", "", table, flags=re.M)):
        assert hasattr(response, name), name


def test_the_statistics_that_the_readme_names_exist() -> None:
    (line,) = re.findall(r"^result\.stats  # (.*) \.\.\.$", README, re.MULTILINE)
    for name in line.split(", "):
        assert hasattr(Stats(), name), name


def test_every_fault_has_a_row_and_every_test_it_names_exists() -> None:
    rows = re.findall(r"^\| ([FB]\d+) \|", FAULTS, re.MULTILINE)
    assert rows == [f"F{number}" for number in range(1, 37)] + [f"B{n}" for n in range(1, 8)]
    tests = (REPOSITORY / "tests").glob("test_*.py")
    sources = "\n".join(path.read_text(encoding="utf-8") for path in tests)
    for name in re.findall(r"`(test_\w+)`", FAULTS):
        assert f"def {name}(" in sources, name
    for name in re.findall(r"`(test_\w+\.py)`", FAULTS):
        assert (REPOSITORY / "tests" / name).exists(), name


def test_the_readmes_commands_are_the_ones_that_ci_runs() -> None:
    script = (REPOSITORY / ".ci" / "run").read_text(encoding="utf-8")
    first, second = re.findall(r"^\$ (pip install .*)$", README, re.MULTILINE)
    assert first.endswith("crawl run qiushibaike --pages 4 --mode threads")
    for part in second.split(" && "):
        assert part.removeprefix("pip install ") in script
    assert crawler.__version__ in (REPOSITORY / "CHANGELOG.md").read_text(encoding="utf-8")


SCRIPTS = (REPOSITORY / "docs" / "from-your-script.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("section", re.findall(r"^## .*?(?=^## |\Z)", SCRIPTS, re.M | re.S)[:-1])
def test_scripts_give_the_same_before_and_after(section: str, tmp_path: Path) -> None:
    before, after = (
        printed(block, tmp_path) for block in re.findall(r"```python\n(.*?)```", section, re.S)
    )
    assert before
    assert after == before


def test_where_a_program_imports_all_from_multiprocessing_that_line_is_all(tmp_path: Path) -> None:
    section = SCRIPTS.partition("## Passing arguments\n")[2]
    before = section.partition("```python\n")[2].partition("```")[0]
    after = before.replace("\nfrom multiprocessing import", "\nfrom crawler import")
    assert "from crawler import Pool, freeze_support\n" in after
    assert printed(after, tmp_path) == printed(before, tmp_path) != []


def printed(program: str, folder: Path) -> list[str]:
    """The lines that a program prints, sorted, with no seconds in them.

    Without what workers print: where multiprocessing's do, lines get mixed up.
    """
    if "from PIL" in program:
        image = pytest.importorskip("PIL.Image")
        (folder / "images").mkdir()
        for name in ("b.jpg", "a.png"):
            image.new("RGB", (200, 100)).save(folder / "images" / name)
    script = folder / "script.py"
    mine = f'"frame-{uuid.uuid4().hex[:12]}"'  # blocks have the whole machine's names
    script.write_text(program.replace("sleep(1)", "sleep(0.1)").replace('"frame"', mine))
    done = run_python(str(script), cwd=folder)
    assert done.stderr == ""
    lines = [line for line in done.stdout.splitlines() if line and not line.startswith("http")]
    return sorted(re.sub(r"[\d.]+ s$", "", line) for line in lines)
