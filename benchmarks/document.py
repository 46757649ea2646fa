"""The document: goals, then a section a workload, made from figures alone."""

from __future__ import annotations

import ast

from benchmarks import goals
from benchmarks.programs import PEERS
from benchmarks.rounds import HERE
from benchmarks.section import Section
from benchmarks.workloads import NAMES, faults, workload

HEAD = """# Benchmarks

```console
# apt-get install nginx-light wget2 wrk python3-doc postgresql-doc-15
$ pip install -e '.[async,fast,parquet,zstd]' psutil -r benchmarks/peers.txt
$ python -m benchmarks --write docs/benchmarks.md
```

makes this document; no figure is typed. What is not installed is said, and left out. `python -m
benchmarks docs --peers scrapy` runs one part; the peers may have an interpreter of their own
(`--peers-python`).

Each program runs as a command, in turn with all others, round after round: the median is
shown, and in brackets the lowest and the highest. CPU is user and system time of the whole tree of
processes, memory the highest sum of their proportional set sizes; the server (nginx) is in
neither. Every answer is compared page by page, title and links, with what the site's files hold; a
program that misses one gets no figure. Ours runs with order, journal and robots.txt, as always.
Each program, and the server, adds to the load of the machine, up to one for each of its processes.
Where it is above the number of cores, processes waited for each other, these or those of others
who were using the machine: then only ratios tell anything.
"""

PEERS_ABOUT = """\
Those whose names begin with `with_` do the same as `benchmarks/spiders/pages.py` does for us: title
and links of every page, all followed. The others do less, and say so.
"""

_MORE = {"faults": faults.difference}
"""By workload: a table that is made from its figures."""
_PLACE = ("machine", "ours", "peers", "tools")


def whole(sections: dict[str, Section]) -> str:
    """The document, as Markdown."""
    measured = {name: sections[name] for name in NAMES if name in sections}
    parts = [HEAD, goals.table(sections)]
    parts += [of_section(found, workload(name).__doc__ or "") for name, found in measured.items()]
    return "\n".join([*parts, peers(), _places(measured)])


def of_section(section: Section, about: str) -> str:
    """A workload's part of it: what it asks, its tables, when and how often it was measured."""
    parts = [f"## {section.workload}\n", about.strip() + "\n"]
    parts += [table.markdown() for table in section.tables]
    if section.workload in _MORE:
        parts += [_MORE[section.workload](section).markdown()]
    parts += [f"{note}\n" for note in section.notes]
    if section.facts:
        parts += ["Measured on {date}; rounds: {rounds}; {load}.\n".format_map(section.facts)]
    return "\n".join(parts)


def peers() -> str:
    """What each peer is, in the words of its own file; tools, with their options, in ours."""
    parts = ["## The peers\n", PEERS_ABOUT]
    for file in sorted((HERE / "peers").glob("[!_]*.py")):
        about = ast.get_docstring(ast.parse(file.read_text(encoding="utf-8"))) or ""
        parts += [f"`peers/{file.name}`: {about}\n"]
    parts += [f"`{' '.join(peer.command)}`: {peer.about}\n" for peer in PEERS if peer.about]
    return "\n".join(parts)


def _places(sections: dict[str, Section]) -> str:
    """On what machine and with which versions, once for all workloads of which it is true."""
    places: dict[tuple[str, ...], list[str]] = {}
    for name, section in sections.items():
        place = tuple(section.facts.get(fact, "") for fact in _PLACE)
        places.setdefault(place, []).append(name)
    lines = ["## Machine and versions\n"]
    for place, names in places.items():
        lines += [f"{', '.join(names)}:\n"]
        lines += [f"- {what}: {text}" for what, text in zip(_PLACE, place, strict=True) if text]
        lines += [""]
    return "\n".join(lines)
