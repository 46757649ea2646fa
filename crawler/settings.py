"""Settings: their names, types, defaults, and which of several sources wins.

Weakest first: defaults, `crawl.toml`, the spider, `CRAWL_*` in the environment, flags. A bad value
is an error that names where it came from.
"""

from __future__ import annotations

import difflib
import json
import math
import os
import re
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field, fields
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from crawler.call import Call, parse_call
from crawler.errors import SettingError, UsageError
from crawler.pages import Pages, parse_pages
from crawler.proxy import Proxy, parse_proxy
from crawler.result import RETRYABLE_STATUSES
from crawler.step import Step, step_name
from crawler.thumbnail_rule import ThumbnailRule, parse_size
from crawler.version import __version__

if TYPE_CHECKING:
    from crawler.retry import RetryPolicy

MODES = ("sequential", "threads", "processes", "async")
FETCHERS = ("auto", "requests", "aiohttp")
USER_AGENT = f"crawl-in-order/{__version__}"


@dataclass(frozen=True, slots=True)
class HostRule:
    """What is different for some hosts; None is as for all."""

    delay: float | None = None
    per_host: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """How a crawl is run. Times are seconds, sizes bytes."""

    mode: str = "threads"
    """`sequential`, `threads`, `processes`, `async`, or `package.module:Executor`."""
    fetcher: str = "auto"
    """`requests`, or `aiohttp` on event loops: in mode `async`, and in mode `processes` where it is
    installed."""
    workers: int | None = None
    """Threads or processes; by default as many threads as `concurrency`, or one process a core. In
    mode `async` the same as `concurrency`."""
    concurrency: int | None = None
    """Requests in flight at most, over all workers; 8, or as many as there are workers."""
    order: str = "input"
    """`input`: the same bytes in every mode; `completion`: results as they come."""
    pages: Pages | None = None
    delay: float = 0.0
    """Between two requests to the same host, from start to start; from the end of one to the start
    of the next when only one is in flight at a time."""
    per_host: int | None = None
    """Requests in flight to one host at most; 8, or as many as may be in flight in all."""
    adaptive: bool = True
    """A host that is overloaded, or down, is asked less; one that stays so is given up."""
    hosts: Mapping[str, HostRule] = field(default_factory=dict)
    """`delay` and `per_host` of some hosts, by patterns such as `*.example.org`."""
    timeout: float = 30.0
    """For connecting, and for the whole exchange after that: request, headers and body."""
    page_timeout: float = 180.0
    """For a whole page, fetching and spider together; not in sequential mode."""
    retries: int = 2
    """How often a request that failed for a passing reason is tried again."""
    retry: RetryPolicy | None = None
    """When and how long to wait, as tenacity objects; `retries` stops it unless it has its own."""
    max_pages: int | None = None
    """The crawl ends after so many pages, those that failed included."""
    max_items: int | None = None
    """The crawl ends after so many items."""
    max_depth: int | None = None
    """Links from a start page that are followed at most."""
    max_seconds: float | None = None
    """The crawl stops after so long, to be resumed."""
    max_bytes: int | None = None
    """The crawl stops after so many bytes of pages, to be resumed."""
    max_failures: int | None = None
    """The crawl stops after so many failed pages, to be resumed."""
    allow_hosts: tuple[str, ...] = ()
    """Hosts that links are followed to, besides those of the start; `*` is any."""
    allow: tuple[str, ...] = ()
    """Regular expressions; a link is followed if one of them is found in its URL."""
    deny: tuple[str, ...] = ()
    """Regular expressions; a link is not followed if one of them is found in its URL."""
    max_failed: int = 0
    """The exit code is 3 when more pages than this failed."""
    min_items: int = 0
    """With fewer items nothing is published and the exit code is 4."""
    max_body: int = 32 * 1024 * 1024
    """Bytes of one page after decompression."""
    max_page_items: int = 100_000
    """Items that one page may give."""
    max_page_links: int = 100_000
    """Requests that one page may give."""
    files: tuple[str, ...] = ()
    """Fields of items that hold URLs; the files are fetched, and what was stored comes there."""
    images: tuple[str, ...] = ()
    """The same for pictures."""
    thumbnails: Mapping[str, ThumbnailRule] = field(default_factory=dict)
    """What is made of pictures, by name."""
    min_image: tuple[int, int] = (1, 1)
    """Width and height that pictures must have."""
    max_image_pixels: int = 64 * 1024 * 1024
    """Width times height that pictures may have."""
    max_file: int = 256 * 1024 * 1024
    """Bytes of one file."""
    file_timeout: float = 600.0
    """For a file, once the answer has begun."""
    private_addresses: str = "auto"
    """`auto`: only start requests may go to private addresses (loopback, intranet, a cloud's
    metadata), and what follows them on the same host; `allow`: all may; `deny`: none."""
    proxy: Proxy | None = None
    """What all requests go through: `http://user:password@host:port`; in place of a weaker one also
    `none`. `HTTP_PROXY` and the like in the environment don't count."""
    worker_memory: int | None = None
    """Bytes that each worker process may take beyond what it starts with; in mode `processes`."""
    window: int = 1_000
    """Results held at most until those before them are there."""
    window_bytes: int = 64 * 1024 * 1024
    """The same in bytes of page they came from."""
    user_agent: str = USER_AGENT
    robots: bool = True
    """Whether robots.txt is obeyed (RFC 9309)."""
    cookies: bool = True
    """Whether cookies are kept, for all workers together."""
    retry_statuses: tuple[int, ...] = tuple(sorted(RETRYABLE_STATUSES))
    """Statuses after which a page is tried again."""
    keep_fragments: bool = False
    """Whether URLs that differ in what is behind `#` are different pages."""
    drop_parameters: tuple[str, ...] = ("session",)
    """Parameters of query or path that make no difference, `*` for any characters; `tracking`
    stands for those that tell where a visitor came from, `session` for ids of sessions."""
    traps: bool = True
    """Whether links are left out that seem to lead into an endless site (see `crawler.traps`)."""
    log_skipped: bool = False
    """Whether each link that is not followed is a line in `skipped.jsonl`."""
    steps: tuple[Call | Step, ...] = ()
    """What items go through, behind the spider's own steps."""
    csv_safe: bool = False
    """Whether text that a spreadsheet would take for a formula gets a `'` in CSV outputs."""
    csv_bom: bool = False
    """Whether CSV outputs begin with a byte order mark, by which Excel knows that it is UTF-8."""
    key: str | None = None
    """A field; of several items that have one value there, outputs get the last one."""
    table: str | None = None
    """A field; its value names an item's table in SQLite, and keys count within a table."""
    publish_every: float | None = None
    """Outputs are also replaced every so many seconds, by what is there so far."""
    keep_runs: int = 10
    """Run folders of a name that are kept."""

    def as_json(self) -> dict[str, object]:
        """Name and value of each, for people to read."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        plain = (str, int, float, type(None))
        lists = {
            name: [each if isinstance(each, plain) else _name_of(each) for each in v]
            for name, v in values.items()
            if isinstance(v, tuple)
        }
        others = {name: v if isinstance(v, plain) else str(v) for name, v in values.items()}
        return {
            **others,
            **lists,
            "hosts": {name: asdict(rule) for name, rule in self.hosts.items()},
            "thumbnails": {name: asdict(rule) for name, rule in self.thumbnails.items()},
        }

    @property
    def slots(self) -> int:
        """Requests in flight at most, in this mode."""
        if self.mode == "sequential":
            return 1
        if self.mode in ("threads", "async"):  # a thread has one request in flight
            return min(self.workers or self.concurrency or 8, self.concurrency or 10**6)
        return self.concurrency or max(8, self.workers or 1)

    @property
    def event_loops(self) -> bool:
        """Whether requests are made on event loops, not in threads."""
        if self.fetcher == "auto" and self.mode == "processes":
            return find_spec("aiohttp") is not None
        return self.fetcher == "aiohttp" or self.mode == "async"

    @property
    def slots_per_host(self) -> int:
        """Requests in flight to one host at most, if `hosts` doesn't say otherwise.

        Who asks for 16 workers and nothing else wants them all at work, also on a single site.
        """
        return self.per_host or max(8, self.slots)


def _name_of(step: object) -> str:
    return str(step) if isinstance(step, Call) else step_name(step)


def _number(
    kind: type[int] | type[float], low: float, unit: str, high: float = 1e15
) -> Callable[[object], Any]:
    def parse(value: object) -> int | float:
        if isinstance(value, bool) or not isinstance(value, (int, float, str)):
            raise ValueError(f"{value!r} is no number of {unit}")  # noqa: TRY004
        try:
            number = kind(value)
            is_exact = number == float(value)
        except (ValueError, OverflowError):
            is_exact = False
        if not is_exact or not math.isfinite(number):
            raise ValueError(f"{value!r} is no {_kinds[kind]} of {unit}")
        if number < low:
            raise ValueError(f"{value} {unit} is too few; the least is {low:g}")
        if number > high:
            raise ValueError(f"{value} {unit} is too many; the most is {high:,.0f}")
        return number

    return parse


_kinds: dict[type, str] = {int: "whole number", float: "number"}


def _mode(value: object) -> str:
    if isinstance(value, str) and (value in MODES or ":" in value):
        return value
    choice = ", ".join(MODES)
    raise ValueError(f"unknown mode {value!r}; choose {choice}, or package.module:Executor")


def _fetcher(value: object) -> str:
    if value in FETCHERS:
        return str(value)
    raise ValueError(f"unknown fetcher {value!r}; choose {', '.join(FETCHERS)}")


def _private_addresses(value: object) -> str:
    if value in ("auto", "allow", "deny"):
        return str(value)
    raise ValueError(f"unknown rule {value!r}; choose auto, allow or deny")


def _memory(value: object) -> int:
    """A number of bytes, or of K, M or G of them."""
    unit = _UNITS.get(value[-1:].upper(), 1) if isinstance(value, str) else 1
    if unit > 1 and isinstance(value, str):
        value = value[:-1]
    size = int(_number(int if unit == 1 else float, 0, "bytes")(value) * unit)
    if size < _LEAST_MEMORY:
        raise ValueError(f"{size:,} bytes are too few; the least is {_LEAST_MEMORY:,}")
    return size


_UNITS = {"K": 2**10, "M": 2**20, "G": 2**30}
_LEAST_MEMORY = 64 * 2**20


def _order(value: object) -> str:
    if value in ("input", "completion"):
        return str(value)
    raise ValueError(f"unknown order {value!r}; choose input or completion")


def _pages(value: object) -> Pages:
    if isinstance(value, Pages):
        return value
    if isinstance(value, bool) or not isinstance(value, (int, str)):
        raise ValueError(f"{value!r} names no pages")  # noqa: TRY004
    return parse_pages(value)


def _header_text(value: object) -> str:
    if not isinstance(value, str) or not value.isprintable() or not value.strip():
        raise ValueError(f"{value!r} is no line of text")
    if not value.isascii():
        raise ValueError(f"{value!r} has characters that a header can't hold; use ASCII")
    return value.strip()


def _texts(value: object) -> tuple[str, ...]:
    texts = [value] if isinstance(value, str) else value
    if not isinstance(texts, (list, tuple)):
        raise ValueError(f"{value!r} is no list of texts")  # noqa: TRY004
    for text in texts:
        if not isinstance(text, str) or not text.strip():
            raise ValueError(f"{text!r} is no text")
    return tuple(texts)


def _duration(value: object) -> float:
    """Seconds, or text such as `90s`, `5m`, `2h`."""
    unit = 1.0
    if isinstance(value, str) and value[-1:] in _SECONDS:
        unit, value = _SECONDS[value[-1]], value[:-1]
    seconds: float = _number(float, 0, "seconds, minutes (5m) or hours (2h)")(value) * unit
    if seconds < 1:
        raise ValueError(f"{seconds:g} seconds are too few; the least is 1")
    return seconds


_SECONDS = {"s": 1.0, "m": 60.0, "h": 3600.0}


def _field(value: object) -> str:
    if not isinstance(value, str) or not value:
        raise ValueError(f"{value!r} is no name of a field")
    return value


def _patterns(value: object) -> tuple[str, ...]:
    patterns = _texts(value)
    for pattern in patterns:
        try:
            re.compile(pattern)
        except re.error as error:
            raise ValueError(f"{pattern!r} is no regular expression: {error}") from None
    return patterns


def _steps(value: object) -> tuple[Call | Step, ...]:
    steps: list[Any] = list(value) if isinstance(value, (list, tuple)) else [value]
    for step in steps:
        if not callable(step) and not isinstance(step, (str, Call)):
            raise ValueError(  # noqa: TRY004
                f"{step!r} is no step; write \"dedupe('id')\" or module:function"
            )
    return tuple(parse_call(step) if isinstance(step, str) else step for step in steps)


def _statuses(value: object) -> tuple[int, ...]:
    texts = value.split(",") if isinstance(value, str) else value
    if not isinstance(texts, (list, tuple)):
        raise ValueError(f"{value!r} is no list of statuses")  # noqa: TRY004
    return tuple(sorted({_status(text) for text in texts if text != ""}))


def _status(value: object) -> int:
    text = str(value).strip()
    if not re.fullmatch("[1-5][0-9][0-9]", text):
        raise ValueError(f"{value!r} is no status; write numbers of 100 to 599, as in 429,503")
    return int(text)


def _retry(value: object) -> object:
    if not callable(getattr(value, "wait_before", None)):
        raise ValueError(  # noqa: TRY004
            f"{value!r} is no RetryPolicy, which a spider or a call of run() gives; how often is "
            "said by retries"
        )
    return value


def _switch(value: object) -> bool:
    if isinstance(value, bool):
        return value
    word = value.strip().lower() if isinstance(value, str) else None
    if word in ("true", "yes", "on", "1"):
        return True
    if word in ("false", "no", "off", "0"):
        return False
    raise ValueError(f"{value!r} is neither true nor false")


def _thumbnails(value: object) -> dict[str, ThumbnailRule]:
    if not isinstance(value, Mapping):
        raise ValueError(  # noqa: TRY004
            f"{value!r} is no table of thumbnails; write them by name: "
            '{"small": "75x75"}, or {"small": {"size": "75x75", "how": "crop"}}, in the '
            "environment as JSON"
        )
    return {_thumbnail_name(name): _thumbnail(name, rule) for name, rule in value.items()}


def _thumbnail_name(name: object) -> str:
    if not isinstance(name, str) or not re.fullmatch(r"[a-z0-9][a-z0-9_-]{0,31}", name):
        raise ValueError(
            f"{name!r} is no name for thumbnails: it becomes a folder; use a-z, 0-9, _ and -"
        )
    return name


def _thumbnail(name: object, rule: object) -> ThumbnailRule:
    if isinstance(rule, ThumbnailRule):
        return rule
    if not isinstance(rule, Mapping):
        rule = {"size": rule}
    unknown = rule.keys() - {"size", "how", "format"}
    if unknown or "size" not in rule:
        problem = f"no {sorted(unknown, key=str)[0]!r}" if unknown else "and the size is missing"
        raise ValueError(f"{name}: a thumbnail has size, how and format, {problem}")
    try:
        return ThumbnailRule(**{**rule, "size": parse_size(rule["size"])})
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from None


def _hosts(value: object) -> dict[str, HostRule]:
    if not isinstance(value, Mapping):
        raise ValueError(  # noqa: TRY004
            f"{value!r} is no table of hosts; crawl.toml has them as "
            '[hosts."*.example.org"] with delay = 2.0 or per_host = 1 below it, the environment '
            'as JSON: {"*.example.org": {"delay": 2.0}}'
        )
    return {_host_pattern(pattern): _host_rule(pattern, rule) for pattern, rule in value.items()}


def _host_patterns(value: object) -> tuple[str, ...]:
    return tuple(map(_host_pattern, _texts(value)))


_HOST_PATTERN = re.compile(r"""([^\s/@?#,"'\[\]{}]|\[[^\s/@?#,"'\[\]{}]+\])+""")


def _host_pattern(pattern: object) -> str:
    if not isinstance(pattern, str) or not _HOST_PATTERN.fullmatch(pattern):
        raise ValueError(
            f"{pattern!r} is no host; write example.org, *.example.org or localhost:8000"
        )
    return pattern.lower()


def _host_rule(pattern: object, rule: object) -> HostRule:
    if isinstance(rule, HostRule):
        rule = {name: value for name, value in asdict(rule).items() if value is not None}
    if not isinstance(rule, Mapping):
        raise ValueError(f"{pattern}: {rule!r} is no table of delay and per_host")  # noqa: TRY004
    values = {}
    for name, value in rule.items():
        if name not in ("delay", "per_host"):
            quoted = f'; a host with dots is written in quotes: [hosts."{pattern}.{name}"]'
            hint = quoted if isinstance(value, Mapping) else ""
            raise ValueError(f"{pattern}: a host has delay and per_host, no {name!r}{hint}")
        try:
            values[name] = _PARSERS[name](value)
        except ValueError as error:
            raise ValueError(f"{pattern}: {name}: {error}") from None
    return HostRule(**values)


_PARSERS: dict[str, Callable[[object], Any]] = {
    "mode": _mode,
    "fetcher": _fetcher,
    "workers": _number(int, 1, "workers", 10_000),
    "concurrency": _number(int, 1, "requests", 10_000),
    "order": _order,
    "pages": _pages,
    "delay": _number(float, 0, "seconds", 86_400),
    "per_host": _number(int, 1, "requests", 10_000),
    "adaptive": _switch,
    "hosts": _hosts,
    "timeout": _number(float, 0.001, "seconds", 86_400),
    "page_timeout": _number(float, 0.001, "seconds", 86_400),
    "retries": _number(int, 0, "retries"),
    "retry": _retry,
    "max_pages": _number(int, 1, "pages"),
    "max_items": _number(int, 1, "items"),
    "max_depth": _number(int, 0, "links"),
    "max_seconds": _number(float, 0.001, "seconds"),
    "max_bytes": _number(int, 1, "bytes"),
    "max_failures": _number(int, 1, "pages"),
    "allow_hosts": _host_patterns,
    "allow": _patterns,
    "deny": _patterns,
    "max_failed": _number(int, 0, "pages"),
    "min_items": _number(int, 0, "items"),
    "max_body": _number(int, 1, "bytes"),
    "max_page_items": _number(int, 1, "items"),
    "max_page_links": _number(int, 1, "links"),
    "files": _texts,
    "images": _texts,
    "thumbnails": _thumbnails,
    "min_image": parse_size,
    "max_image_pixels": _number(int, 1, "pixels"),
    "max_file": _number(int, 1, "bytes"),
    "file_timeout": _number(float, 0.001, "seconds", 86_400),
    "private_addresses": _private_addresses,
    "proxy": parse_proxy,
    "worker_memory": _memory,
    "window": _number(int, 1, "results"),
    "window_bytes": _number(int, 1, "bytes"),
    "user_agent": _header_text,
    "robots": _switch,
    "cookies": _switch,
    "retry_statuses": _statuses,
    "keep_fragments": _switch,
    "drop_parameters": _texts,
    "traps": _switch,
    "log_skipped": _switch,
    "steps": _steps,
    "csv_safe": _switch,
    "csv_bom": _switch,
    "key": _field,
    "table": _field,
    "publish_every": _duration,
    "keep_runs": _number(int, 1, "runs"),
}

Layer = tuple[str, Mapping[str, object]]
"""Where settings come from, in words for the error, and what they are."""


def resolve(layers: Iterable[Layer]) -> Settings:
    """Settings from several sources, the last one that names a setting wins.

    Values may be of the right type or text. Raises SettingError for a bad value or unknown name.
    """
    values: dict[str, Any] = {}
    origins: dict[str, str] = {}
    for origin, layer in layers:
        for name, value in layer.items():
            if name not in _PARSERS:
                raise SettingError(name, f"no such setting; {_hint(name)}", origin)
            try:
                values[name] = _PARSERS[name](value)
            except ValueError as error:
                raise SettingError(name, str(error), origin) from None
            origins[name] = origin
    settings = Settings(**values)
    if settings.worker_memory is not None and settings.mode != "processes":
        problem = f"only a process can be limited, and the mode is {settings.mode}"
        raise SettingError("worker_memory", problem, origins["worker_memory"])
    fits = {"async": ("auto", "aiohttp"), "processes": FETCHERS}.get(settings.mode, FETCHERS[:2])
    if settings.fetcher not in fits:
        problem = f"{settings.fetcher} isn't for mode {settings.mode}, use {' or '.join(fits)}"
        raise SettingError("fetcher", problem, origins["fetcher"])
    return settings


def _hint(name: str) -> str:
    near = difflib.get_close_matches(name, _PARSERS, n=1)
    return f"did you mean {near[0]}?" if near else f"there are {', '.join(_PARSERS)}"


def from_file(path: Path) -> Layer:
    """The layer of a `crawl.toml`; empty when there is none."""
    origin = str(path)
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return origin, {}
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{path} can't be read: {error}") from None
    import tomllib  # 4 ms, and mostly there is no such file

    try:
        return origin, tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise UsageError(f"{path} is no valid TOML: {error}") from None


def from_environment(environ: Mapping[str, str] | None = None) -> list[Layer]:
    """A layer for each `CRAWL_TIMEOUT=10` and the like; variables of other names are left alone.

    Several values and tables are JSON: `CRAWL_STEPS='["strip_space", "dedupe(1)"]'`. Raises
    UsageError for a name that is nearly one of ours.
    """
    environ = os.environ if environ is None else environ
    named = {f"CRAWL_{field.name.upper()}": field.name for field in fields(Settings)}
    for variable in environ:
        if variable in named or not variable.startswith("CRAWL_"):
            continue
        near = difflib.get_close_matches(variable, named, n=1, cutoff=0.85)
        if near:
            raise UsageError(f"the environment has {variable}; did you mean {near[0]}?")
    return [
        (f"{variable} in the environment", {named[variable]: _read(named[variable], value)})
        for variable, value in environ.items()
        if variable in named
    ]


def _read(name: str, text: str) -> object:
    """What a variable says: a list or table if it is one in JSON, else its text.

    `[0-9]` is a pattern, and as a list no JSON.
    """
    if isinstance(getattr(_DEFAULTS, name), (tuple, Mapping)) and text.lstrip()[:1] in ("[", "{"):
        with suppress(ValueError, RecursionError):
            return json.loads(text)
    return text


_DEFAULTS = Settings()
