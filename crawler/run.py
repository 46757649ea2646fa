"""One crawl, from a spider's name to its result: puts the parts together and takes them down.

`run` is the Python interface. The command line uses `crawling`, to watch and stop it meanwhile.
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from crawler.demo import PracticeSite
    from crawler.engine import Engine, Stats
    from crawler.file_store import FileStore
    from crawler.output import StandardOutput, Target
    from crawler.pipeline import Pipeline
    from crawler.progress import Block, RunState
    from crawler.refresh import Refresher
    from crawler.request import Request
    from crawler.result import Item
    from crawler.run_folder import RunFolder
    from crawler.settings import Layer, Settings
    from crawler.spider import Spider
    from crawler.step import Step
    from crawler.verdict import Verdict

# Nothing more is imported up here: `import crawler` and `crawl --help` come through this module.

OUTPUT_FOLDER = Path("output")
FILES_FOLDER = "files"
"""In a folder named after the run, beside its outputs."""


@dataclass(frozen=True, slots=True)
class CrawlResult:
    """What came of a crawl."""

    stats: Stats
    verdict: Verdict
    items: list[Item]
    """In the order of the pages."""
    failures: list[dict[str, Any]]
    """A record per failed page or item: url, rank, attempts, kind, message, status, traceback."""

    @property
    def exit_code(self) -> int:
        """What the command line would end with; 0 if all is well."""
        return self.verdict.exit_code


def run(
    spider: str | Callable[..., Any],
    *,
    urls: str | Request | Iterable[str | Request] | None = None,
    site: str | None = None,
    arguments: Mapping[str, Any] | None = None,
    output: str | Path | Sequence[str | Path] | None = None,
    resume: bool = False,
    **settings: Any,
) -> CrawlResult:
    """Crawl, and return items, failures and statistics.

    `spider` is a function, or what `crawl run` takes: NAME, file.py[:function],
    package.module[:function]. `urls` replaces the spider's own start: URLs and Requests, or one
    pattern such as "https://x/page/{0..3}/". `output` is a file to publish ("posts.json"), or a
    list of files; without it nothing is left on disk. With `resume`, the last run of the spider
    that had an output and didn't come to its end is gone on with, if there is one. `settings` are
    those of the command line: pages=4, mode="threads", workers=4 ...

    Blocks until the crawl is over; may be called any number of times, also inside a running event
    loop. Raises UsageError, SpiderImportError, LockedError or OutputError; a page that fails is no
    exception but an entry in `failures`.
    """
    from crawler.errors import UsageError
    from crawler.loader import load_spider

    if resume and output is None:
        raise UsageError("resume needs an output: without one, a run leaves nothing to resume")
    with crawling(
        spider,
        urls=urls,
        site=site,
        arguments=arguments,
        outputs=None if output is None else _outputs(output),
        resume=unfinished_run(OUTPUT_FOLDER, load_spider(spider).name) if resume else None,
        keep_items=True,
        flags=[("the call of run()", settings)],
    ) as crawl:
        return crawl.run()


def _outputs(output: object) -> list[str]:
    """What was given as `output`, as targets."""
    from crawler.errors import UsageError

    given = output if isinstance(output, (list, tuple)) else [output]
    if not given or not all(isinstance(each, (str, Path)) for each in given):
        raise UsageError(
            f"output: {output!r} names no file; give a name or a Path, or a list of them"
        )
    return [str(each) for each in given]


def unfinished_run(output_folder: Path, name: str | None = None) -> Path | None:
    """The folder of the latest run (of that name) that didn't come to its end, or None."""
    from crawler.run_folder import is_unfinished, latest_runs

    found = (run["folder"] for run in latest_runs(output_folder, name) if is_unfinished(run))
    return next(found, None)


@contextmanager
def crawling(
    target: str | Callable[..., Any],
    *,
    urls: str | Request | Iterable[str | Request] | None = None,
    site: str | None = None,
    arguments: Mapping[str, Any] | None = None,
    outputs: list[str] | None = None,
    output_folder: Path = OUTPUT_FOLDER,
    name: str | None = None,
    resume: Path | None = None,
    retry: Path | None = None,
    asked: Mapping[str, Any] | None = None,
    keep_items: bool = False,
    flags: Iterable[Layer] = (),
) -> Iterator[Crawl]:
    """A crawl that is set up and ready to run; taken down when the block ends.

    `outputs` are targets as `-o` takes them, or None for a run that leaves nothing on disk.
    `resume` is the folder of a run to go on with, `retry` that of one whose failed pages are to be
    fetched again, without asking for its start. `asked` is kept in run.json: what to ask for to do
    the same again.
    Raises whatever is wrong with the input before anything is fetched.
    """
    from crawler.again import ITEMS, put_back
    from crawler.arguments import convert_arguments
    from crawler.errors import UsageError
    from crawler.executors import layout
    from crawler.loader import end_import_by_worker, load_spider, plain_request
    from crawler.open_files import make_room
    from crawler.output import (
        StandardOutput,
        check_targets,
        names_of,
        parse_target,
        target_options,
    )
    from crawler.progress import Block, block_name
    from crawler.refresh import Refresher
    from crawler.run_folder import RunFolder, as_read_again, check_name, new_run_id, read_run
    from crawler.settings import from_environment, from_file, resolve
    from crawler.spider import is_async
    from crawler.start import check_names, start_requests

    # A script without `if __name__ == "__main__"` would start itself again in each worker.
    end_import_by_worker()
    spider = load_spider(target)
    if is_async(spider.function):
        raise UsageError(
            f"{spider.name} is an async function; write a plain one: def, not async def. Pages are "
            "fetched on an event loop all the same with --mode async (mode='async')"
        )
    flags = list(flags)
    own = (f"the spider {spider.name}", spider.options.settings)
    layers = [from_file(Path("crawl.toml")), own, *from_environment(), *flags]
    settings = resolve(layers)
    if settings.mode == "processes" and spider.reference.startswith("local:"):
        raise UsageError(
            f"{spider.name} has no name at the top of a module, by which other processes could "
            "find it, as what is defined in a notebook or inside another function, methods and "
            "partials have none: put a def in a file, or use mode='threads'"
        )
    if settings.order == "completion" and settings.pages and settings.pages.until_empty:
        raise UsageError("until-empty needs an order: it ends at the first page that is empty")
    if urls is not None and any("pages" in layer for _, layer in flags):
        raise UsageError(
            "pages and urls don't go together: urls says it all (a pattern such as "
            "'https://site/page/{1..4}/' gives pages)"
        )
    if outputs is not None:
        check_name(name or spider.name)  # before a folder is made for its output
    if urls is None:
        check_names(spider)
    converted = convert_arguments(spider.function, arguments or {})
    make_room(*_processes(settings))
    before = resume or retry
    earlier = {} if before is None else read_run(before)
    is_retry = retry is not None or "retry_of" in earlier
    run_id = new_run_id() if resume is None else str(earlier["id"])
    names = names_of(name or spider.name, run_id)
    _check_images(settings)
    _load_fetcher(settings)
    options = target_options(settings)
    targets = [parse_target(text, names, **options) for text in outputs or []]
    pipeline = _pipeline(spider, settings, layers, sees_all=not is_retry)
    with ExitStack() as stack:
        place = _place(spider, site, urls, stack)
        if place is not None and place.is_ours:
            settings = replace(settings, proxy=None)  # which has another loopback
        start, total = (
            (iter(()), None)  # it is all in the journal
            if is_retry
            else start_requests(
                spider,
                pages=settings.pages,
                urls=urls,
                arguments=converted,
                site=None if place is None else place.url,
            )
        )
        check_targets(targets)
        facts = {
            "spider": spider.reference,
            "source": _source(spider),
            "settings": settings.as_json(),
            "arguments": converted,
            "outputs": outputs or [],
            "asked": asked,
            "in_order": settings.order == "input" and earlier.get("in_order", True),
        }
        changes = _changes(earlier, as_read_again(facts)) if earlier else []
        fill = None
        if retry is not None:
            facts["retry_of"] = earlier["id"]
            until_empty = settings.pages is not None and settings.pages.until_empty
            in_order = earlier.get("in_order", True)
            fill = partial(put_back, retry, in_order=in_order, until_empty=until_empty)
        if outputs is None:
            folder = RunFolder.temporary(spider.name, **facts)
        elif resume is None:
            folder = RunFolder.create(
                output_folder, name or spider.name, run_id, fill=fill, **facts
            )
        else:
            folder = RunFolder.reopen(resume, **facts)
        stack.enter_context(folder)
        stack.enter_context(_begun(pipeline, spider, folder, is_new=resume is None))
        folder.remove_older(settings.keep_runs)
        processes, seats = layout(settings.mode, settings.workers, settings.slots)
        block = stack.enter_context(
            Block.create(block_name(folder.run_id), seats=processes * seats, seats_per_worker=seats)
        )
        folder.note(progress=block.name)
        live = [StandardOutput(target) for target in targets if target.is_live]
        sink = _Committed(folder, targets, keep_items, live, settings.max_items)
        if settings.publish_every is not None and not folder.is_retry:
            sink.refresher = Refresher(
                targets,
                folder.path / ITEMS,
                every=settings.publish_every,
                least=settings.min_items,
            )
            stack.callback(sink.refresher.close)
        start = (plain_request(request, spider.reference) for request in start)
        store = _file_store(output_folder, folder, settings, resumed=resume is not None)
        stack.callback(store.close)
        if settings.files or settings.images:
            store.open()
        engine = stack.enter_context(
            _engine(spider, settings, converted, start, total, pipeline, sink, block, store)
        )
        if earlier:
            engine.resume()
            sink.resume()
        yield Crawl(spider, settings, engine, block, folder, pipeline, sink, store, place, changes)


class Crawl:
    """A crawl that is ready to run, once."""

    def __init__(
        self,
        spider: Spider,
        settings: Settings,
        engine: Engine,
        block: Block,
        folder: RunFolder,
        pipeline: Pipeline,
        sink: _Committed,
        store: FileStore,
        place: _Place | None,
        changes: list[str],
    ) -> None:
        self.spider = spider
        self.settings = settings
        self.engine = engine
        self.block = block
        self.folder = folder
        self.changes = changes
        """What is different from what a resumed run began with, in words."""
        self._pipeline = pipeline
        self._sink = sink
        self._store = store
        self._place = place

    @property
    def notice(self) -> str | None:
        """What the user should know before it starts; waits for the practice site if it is used."""
        return None if self._place is None else self._place.notice()

    @property
    def targets(self) -> list[Target]:
        """Where items go."""
        return self._sink.targets

    def stop(self) -> None:
        """Finish what is in flight and end; for signal handlers and other threads."""
        self.engine.stop()

    def run(self) -> CrawlResult:
        """Crawl until the end, or until it is stopped; publish what is complete."""
        from crawler.errors import OutputError
        from crawler.progress import RunState
        from crawler.verdict import judge

        try:
            is_finished = self.engine.crawl()
            self._pipeline.close()
            if self.settings.max_items is not None:  # a page that was retried may bring more
                self.engine.stats.items = min(self.engine.stats.items, self.settings.max_items)
            verdict = judge(self.engine.stats, self.settings, is_finished=is_finished)
            if self.engine.stats.failed and not self.engine.stats.pages:
                _tell_of_proxy(self.spider, self.settings)
            self._sink.close(publish=verdict.is_published)
            if is_finished:
                self._store.tidy()
        except BaseException as error:
            is_stopped = isinstance(error, KeyboardInterrupt)
            with suppress(OutputError):  # what broke first says more
                self._pipeline.close()
            with suppress(OutputError):  # on a broken disk
                self._end(RunState.STOPPED if is_stopped else RunState.FAILED)
            raise
        self._end(RunState.FINISHED if is_finished else RunState.STOPPED)
        return CrawlResult(self.engine.stats, verdict, self._sink.items, self._sink.failures)

    def _end(self, state: RunState) -> None:
        self.block.engine.update(state=state)
        self.folder.close(state.name.lower(), asdict(self.engine.stats))


def _tell_of_proxy(spider: Spider, settings: Settings) -> None:
    """Warn that the environment names a proxy and the settings don't: other programs take that.

    So may a spider that fetches by itself.
    """
    from crawler.spider import takes_response

    names = ("https_proxy", "HTTPS_PROXY", "http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY")
    named = next((name for name in names if os.environ.get(name)), None)
    if named is not None and settings.proxy is None and takes_response(spider.function):
        logging.getLogger("crawler").warning(
            'no page was got, and the proxy of %s was not asked: --proxy "$%s" does', named, named
        )


def _pipeline(
    spider: Spider, settings: Settings, layers: list[Layer], *, sees_all: bool
) -> Pipeline:
    """The spider's own steps, then those of the setting; errors name where a step came from.

    Before them, unless it sees some of the items only, one that looks for the fields of files.
    """
    from crawler.asked_fields import FileFields
    from crawler.errors import SettingError, UsageError
    from crawler.loader import load_named
    from crawler.pipeline import Pipeline, make_steps

    origins = [origin for origin, layer in layers if "steps" in layer]
    steps: list[tuple[str, Step]] = []
    fields = dict.fromkeys(settings.files, "files") | dict.fromkeys(settings.images, "images")
    if fields and sees_all:
        steps.append(("the fields of files", FileFields(fields)))
    for origin, given in (
        (f"the decorator of {spider.name}", spider.options.steps),
        (origins[-1] if origins else "", settings.steps),
    ):
        try:
            steps += make_steps(given, load_named)
        except UsageError as error:
            raise SettingError("steps", str(error), origin) from None
    return Pipeline(steps)


@contextmanager
def _begun(
    pipeline: Pipeline, spider: Spider, folder: RunFolder, *, is_new: bool
) -> Iterator[None]:
    """The steps know that the crawl begins, and at the end that it is over."""
    from crawler.errors import OutputError, UsageError
    from crawler.loader import load_named
    from crawler.step import Context

    def context(name: str) -> Context:
        return Context(
            run_name=folder.name,
            run_id=folder.run_id,
            is_resumed=not is_new,
            notes=folder.notes_of(name),
            spider=spider.function,
            item_type=spider.options.item,
            load=load_named,
        )

    try:
        pipeline.open(context)
    except UsageError:
        if is_new:
            folder.discard()
        raise
    try:
        yield
    finally:
        with suppress(OutputError):  # told in the log; what broke first says more
            pipeline.close()


def _processes(settings: Settings) -> tuple[int, int]:
    """How many processes fetch, and how many requests are in flight in each of them."""
    from crawler.executors import layout

    workers, seats = layout(settings.mode, settings.workers, settings.slots)
    return (workers, seats) if settings.mode == "processes" else (1, workers * seats)


def _load_fetcher(settings: Settings) -> None:
    """Begin to load what fetches, in a thread: nothing takes longer, and the rest waits for disks.

    Worker processes load it themselves.
    """
    import threading
    from importlib import import_module
    from importlib.util import find_spec

    from crawler.errors import UsageError

    if settings.event_loops and find_spec("aiohttp") is None:
        raise UsageError(
            f"mode {settings.mode} fetches with aiohttp, which is not installed: "
            "pip install 'crawl-in-order[async]'"
        )
    if settings.mode in ("sequential", "threads", "async"):
        name = "aiohttp" if settings.event_loops else "requests"
        load = threading.Thread(target=import_module, args=[f"crawler.fetchers.{name}"])
        load.start()


def _check_images(settings: Settings) -> None:
    """Raise UsageError when pictures are asked for and can't be read."""
    if not (settings.images or settings.thumbnails):
        return
    from crawler.errors import UsageError
    from crawler.exporters import missing

    try:
        import crawler.thumbnails  # noqa: F401
    except ImportError as error:
        what = "images" if settings.images else "thumbnails"
        raise UsageError(missing(f"the setting {what}", "images", error)) from None


def _file_store(
    output_folder: Path, folder: RunFolder, settings: Settings, *, resumed: bool
) -> FileStore:
    """The files of all runs of that name; the folder is made when the first one is fetched."""
    from crawler.file_store import FileStore

    if not folder.is_temporary:  # one that is resumed may lie anywhere
        output_folder = folder.path.parents[2]
    return FileStore(
        output_folder.absolute() / folder.name / FILES_FOLDER,
        prefix=f"{folder.name}/{FILES_FOLDER}",
        run=folder.run_id,
        thumbnails=settings.thumbnails,
        resumed=resumed,
    )


def _mark(settings: Settings) -> Callable[[Request], bytes]:
    """How requests are compared."""
    from crawler.canonical import SESSION, TRACKING
    from crawler.fingerprint import fingerprint

    groups = {"tracking": TRACKING, "session": SESSION}
    names = tuple(name for given in settings.drop_parameters for name in groups.get(given, [given]))
    if not names and not settings.keep_fragments:
        return fingerprint
    return partial(fingerprint, keep_fragment=settings.keep_fragments, drop_parameters=names)


def _source(spider: Spider) -> dict[str, str] | None:
    """The spider's file, and a hash of what stands in it."""
    import hashlib

    if spider.file is None or not spider.file.is_file():  # typed into an interpreter or notebook
        return None
    return {
        "file": str(spider.file),
        "sha256": hashlib.sha256(spider.file.read_bytes()).hexdigest(),
    }


def _changes(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """What is different from what a run began with, in words."""
    changes = []
    was, is_now = old.get("source") or {}, new["source"] or {}
    if was.get("sha256") != is_now.get("sha256"):
        changes.append(f"the spider's file has changed: {is_now.get('file')}")
    for what in ("spider", "arguments", "outputs"):
        if old.get(what) != new[what]:
            changes.append(f"{what}: {old.get(what)} -> {new[what]}")
    before, now = old.get("settings", {}), new["settings"]
    changes += [
        f"{name}: {before.get(name)} -> {now.get(name)}"
        for name in sorted({*before, *now})
        if before.get(name) != now.get(name)
    ]
    return changes


@dataclass(slots=True)
class _Committed:
    """The engine's sink: the run's folder, stdout and, for Python, lists."""

    folder: RunFolder
    targets: list[Target]
    keep_items: bool
    live: list[StandardOutput]
    max_items: int | None = None
    items: list[Item] = field(default_factory=list)
    failures: list[dict[str, Any]] = field(default_factory=list)
    refresher: Refresher | None = None
    count: int = 0
    """Items of the run."""

    def write(self, items: list[Item]) -> None:
        from crawler.lines import line_of

        self.count += len(items)
        if self.keep_items:
            self.items += items
        if self.targets:
            lines = list(map(line_of, items))
            self.folder.items.append(lines)
            if not self.folder.is_retry:  # else they come between others, at the end
                for output in self.live:
                    output.write(lines)

    def fail(self, record: dict[str, Any]) -> None:
        self.folder.fail(record)
        if self.keep_items:
            self.failures.append(record)

    def sync(self) -> dict[str, int]:
        return self.folder.sync()

    def checkpointed(self) -> None:
        if self.refresher is not None:
            self.refresher.checkpoint(self.folder.items.offset, self.count)

    def resume(self) -> None:
        """Give out again what earlier sessions committed."""
        if self.folder.is_retry:
            return
        if self.refresher is not None:
            self.count = sum(1 for _ in self.folder.items.lines())
            self.checkpointed()
        if self.keep_items:
            self.items += map(json.loads, self.folder.items.lines())
            self.failures += map(json.loads, self.folder.failed.lines())
        for output in self.live:
            output.write(self.folder.items.lines())

    def missed_files(self) -> Iterator[str]:
        """URLs of files whose failure earlier sessions listed."""
        for record in map(json.loads, self.folder.failed.lines()):
            if "page" in record:
                yield next(iter(record.get("redirected_from", [])), record["url"])

    def close(self, *, publish: bool) -> None:
        if self.refresher is not None:
            self.refresher.close()
        if self.folder.is_retry:
            if self.keep_items:
                self.items = list(map(json.loads, self._found()))
                self.failures = list(map(json.loads, self.folder.failed.lines()))
            if publish:
                for output in self.live:
                    output.write(self._found())
        for output in self.live:
            output.close()
        if publish:
            from crawler.output import publish_each, publish_items

            complete = partial(publish_items, self._found, made_in=self.folder.path / "uploads")
            publish_each([target for target in self.targets if not target.is_live], complete)

    def _found(self) -> Iterator[bytes]:
        return islice(self.folder.found(), self.max_items)


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a spider's requests go instead of its own site."""

    site: str | PracticeSite
    reason: str = ""

    def url(self) -> str:
        """Its address; waits until a practice site is ready."""
        from crawler.errors import CrawlError

        if isinstance(self.site, str):
            return self.site
        try:
            return self.site.url
        except RuntimeError as error:
            raise CrawlError(f"the practice site did not start: {error}") from error

    @property
    def is_ours(self) -> bool:
        """Whether it is a practice site, on this machine."""
        return not isinstance(self.site, str)

    def notice(self) -> str | None:
        if isinstance(self.site, str):
            return None
        return f"{self.reason}; crawling the bundled practice site at {self.url()}"


def _place(
    spider: Spider,
    site: str | None,
    urls: str | Request | Iterable[str | Request] | None,
    stack: ExitStack,
) -> _Place | None:
    from crawler.errors import UsageError
    from crawler.url import problem_with

    if site is not None:
        problem = problem_with(site) if isinstance(site, str) else "it is no text"
        if problem:
            raise UsageError(f"--site {site}: {problem}")
    reason = spider.options.practice_site
    if site is None and reason is not None and urls is None:
        from crawler.demo import start

        return _Place(stack.enter_context(start()), reason)
    return None if site is None else _Place(site)


@contextmanager
def _engine(
    spider: Spider,
    settings: Settings,
    arguments: Mapping[str, Any],
    start: Iterator[Request],
    total: int | None,
    pipeline: Pipeline,
    sink: _Committed,
    block: Block,
    store: FileStore,
) -> Iterator[Engine]:
    """The engine with its stages; its executor ends with the block."""
    from crawler import worker
    from crawler.collector import Collector, CompletionCollector
    from crawler.cookies import CookieJars
    from crawler.downloads import Downloads
    from crawler.engine import Engine
    from crawler.executors import make_executor
    from crawler.file_part import ImageRules
    from crawler.limits import Limits
    from crawler.open_files import hosts_to_keep
    from crawler.politeness import Politeness
    from crawler.retry import RetryPolicy
    from crawler.scheduler import Scheduler
    from crawler.scope import Scope
    from crawler.spider import takes_response

    _, seats = _processes(settings)
    worker_settings = worker.WorkerSettings(
        timeout=settings.timeout,
        max_body=settings.max_body,
        user_agent=settings.user_agent,
        arguments=arguments,
        retry_statuses=settings.retry_statuses,
        keep_fragments=settings.keep_fragments,
        max_page_items=settings.max_page_items,
        max_page_links=settings.max_page_links,
        files=settings.files,
        images=settings.images,
        image_rules=ImageRules(
            settings.min_image, settings.max_image_pixels, dict(settings.thumbnails)
        ),
        max_file=settings.max_file,
        file_timeout=settings.file_timeout,
        private_addresses=settings.private_addresses,
        proxy=settings.proxy,
        hosts_kept=hosts_to_keep(seats),
        seats=seats,
    )
    # A bare spider fetches for itself, and what it is given may be no page of a site at all.
    is_asked = settings.robots and takes_response(spider.function)
    if not settings.robots:
        logging.getLogger("crawler").warning("robots.txt is ignored")
    if settings.proxy is not None and not takes_response(spider.function):
        logging.getLogger("crawler").warning(
            "%s fetches by itself, so its requests don't go through the proxy", spider.name
        )
    collect = CompletionCollector if settings.order == "completion" else Collector
    executor = make_executor(
        settings.mode,
        workers=settings.workers,
        slots=settings.slots,
        initializer=worker.prepare,
        initargs=(worker_settings, block),
        memory=settings.worker_memory,
        event_loops=settings.event_loops,
    )
    is_over = False
    try:
        yield Engine(
            reference=spider.reference,
            scheduler=Scheduler(
                start,
                politeness=Politeness(
                    settings.delay,
                    serial=settings.slots == 1,
                    per_host=settings.slots_per_host,
                    hosts=settings.hosts,
                    adaptive=settings.adaptive,
                ),
                retry=settings.retry or RetryPolicy(),
                retries=settings.retries,
                scope=Scope(
                    allow_hosts=settings.allow_hosts, allow=settings.allow, deny=settings.deny
                ),
                max_pages=settings.max_pages,
                max_depth=settings.max_depth,
                traps=settings.traps,
                journal=sink.folder.journal,
                mark=_mark(settings),
                is_ordered=settings.order == "input",
                skip=sink.folder.skip if settings.log_skipped else None,
                robots_agent=settings.user_agent if is_asked else None,
            ),
            executor=executor,
            slots=settings.slots,
            collector=collect(window=settings.window, window_bytes=settings.window_bytes),
            journal=sink.folder.journal,
            pipeline=pipeline,
            sink=sink,
            gauge=block.engine,
            until_empty=settings.pages is not None
            and settings.pages.until_empty
            and not sink.folder.is_retry,
            max_items=settings.max_items,
            cookies=CookieJars() if settings.cookies else None,
            limits=Limits(
                max_seconds=settings.max_seconds,
                max_bytes=settings.max_bytes,
                max_failures=settings.max_failures,
            ),
            downloads=Downloads(store, missed=sink.missed_files()),
            page_timeout=settings.page_timeout,
            # Connecting, the wait for an answer, the file, and thumbnails.
            file_timeout=2 * settings.timeout + settings.file_timeout + settings.page_timeout,
            total=total,
        )
        is_over = True
    finally:
        # What is still in flight lies behind the end of the crawl, or nobody wants it any more.
        executor.shutdown(wait=is_over, cancel_futures=True)
