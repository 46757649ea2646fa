"""One crawl, from a spider's name to its result: puts the parts together and takes them down.

`run` is the Python interface. The command line uses `crawling`, to watch and stop it meanwhile.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from crawler.demo import PracticeSite
    from crawler.engine import Engine, Stats
    from crawler.output import Output
    from crawler.progress import Block
    from crawler.request import Request
    from crawler.result import Item
    from crawler.run_folder import RunFolder
    from crawler.settings import Layer, Settings
    from crawler.spider import Spider
    from crawler.verdict import Verdict

# Nothing more is imported up here: `import crawler` and `crawl --help` come through this module.

OUTPUT_FOLDER = Path("output")


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
    urls: str | Iterable[str | Request] | None = None,
    site: str | None = None,
    arguments: Mapping[str, Any] | None = None,
    output: str | Path | None = None,
    **settings: Any,
) -> CrawlResult:
    """Crawl, and return items, failures and statistics.

    `spider` is a function, or what `crawl run` takes: NAME, file.py[:function],
    package.module[:function]. `urls` replaces the spider's own start: URLs and Requests, or one
    pattern such as "https://x/page/{0..3}/". `output` is a file to publish ("posts.json"); without
    it nothing is left on disk. `settings` are those of the command line: pages=4, mode="threads",
    workers=4 ...

    Blocks until the crawl is over; may be called any number of times, also inside a running event
    loop. Raises UsageError, SpiderImportError, LockedError or OutputError; a page that fails is no
    exception but an entry in `failures`.
    """
    with crawling(
        spider,
        urls=urls,
        site=site,
        arguments=arguments,
        outputs=None if output is None else [str(output)],
        keep_items=True,
        flags=[("the call of run()", settings)],
    ) as crawl:
        return crawl.run()


@contextmanager
def crawling(
    target: str | Callable[..., Any],
    *,
    urls: str | Iterable[str | Request] | None = None,
    site: str | None = None,
    arguments: Mapping[str, Any] | None = None,
    outputs: list[str] | None = None,
    output_folder: Path = OUTPUT_FOLDER,
    name: str | None = None,
    keep_items: bool = False,
    flags: Iterable[Layer] = (),
) -> Iterator[Crawl]:
    """A crawl that is set up and ready to run; taken down when the block ends.

    `outputs` are targets as `-o` takes them, or None for a run that leaves nothing on disk.
    Raises whatever is wrong with the input before anything is fetched.
    """
    from crawler.arguments import convert_arguments
    from crawler.errors import UsageError
    from crawler.executors import layout
    from crawler.loader import end_import_by_worker, load_spider
    from crawler.output import Output, check_targets, parse_target
    from crawler.progress import Block, block_name, remove_stale
    from crawler.run_folder import RunFolder
    from crawler.settings import from_environment, from_file, resolve
    from crawler.start import start_requests

    # A script without `if __name__ == "__main__"` would start itself again in each worker.
    end_import_by_worker()
    spider = load_spider(target)
    flags = list(flags)
    own = (f"the spider {spider.name}", spider.options.settings)
    settings = resolve([from_file(Path("crawl.toml")), own, *from_environment(), *flags])
    if settings.mode == "processes" and spider.reference.startswith("local:"):
        raise UsageError(
            f"{spider.name} is defined in a notebook or inside another function, where other "
            "processes can't find it: put it in a file, or use mode='threads'"
        )
    if settings.order == "completion" and settings.pages and settings.pages.until_empty:
        raise UsageError("until-empty needs an order: it ends at the first page that is empty")
    if urls is not None and any("pages" in layer for _, layer in flags):
        raise UsageError(
            "pages and urls don't go together: urls says it all (a pattern such as "
            "'https://site/page/{1..4}/' gives pages)"
        )
    converted = convert_arguments(spider.function, arguments or {})
    targets = [parse_target(text) for text in outputs or []]
    with ExitStack() as stack:
        place = _place(spider, site, urls, stack)
        start, total = start_requests(
            spider,
            pages=settings.pages,
            urls=urls,
            arguments=converted,
            site=None if place is None else place.url,
        )
        check_targets(targets)
        facts = {
            "spider": spider.reference,
            "settings": settings.as_json(),
            "arguments": converted,
            "outputs": outputs or [],
        }
        if outputs is None:
            folder = stack.enter_context(RunFolder.temporary(spider.name, **facts))
        else:
            folder = stack.enter_context(
                RunFolder.create(output_folder, name or spider.name, **facts)
            )
        folder.remove_older(settings.keep_runs)
        remove_stale()
        processes, seats = layout(settings.mode, settings.workers, settings.slots)
        block = stack.enter_context(
            Block.create(block_name(folder.run_id), seats=processes * seats, seats_per_worker=seats)
        )
        folder.note(progress=block.name)
        sink = _Committed(
            folder,
            [Output(target, folder.path, number) for number, target in enumerate(targets, 1)],
            keep_items=keep_items,
        )
        engine = stack.enter_context(
            _engine(spider, settings, converted, start, total, sink, block)
        )
        yield Crawl(spider, settings, engine, block, folder, sink, place)


class Crawl:
    """A crawl that is ready to run, once."""

    def __init__(
        self,
        spider: Spider,
        settings: Settings,
        engine: Engine,
        block: Block,
        folder: RunFolder,
        sink: _Committed,
        place: _Place | None,
    ) -> None:
        self.spider = spider
        self.settings = settings
        self.engine = engine
        self.block = block
        self.folder = folder
        self._sink = sink
        self._place = place

    @property
    def notice(self) -> str | None:
        """What the user should know before it starts; waits for the practice site if it is used."""
        return None if self._place is None else self._place.notice()

    def stop(self) -> None:
        """Finish what is in flight and end; for signal handlers and other threads."""
        self.engine.stop()

    def run(self) -> CrawlResult:
        """Crawl until the end, or until it is stopped; publish what is complete."""
        from crawler.progress import RunState
        from crawler.verdict import judge

        state = RunState.FAILED
        try:
            is_finished = self.engine.crawl()
            verdict = judge(self.engine.stats, self.settings, is_finished=is_finished)
            self._sink.close(publish=verdict.is_published)
            state = RunState.FINISHED if is_finished else RunState.STOPPED
        except KeyboardInterrupt:
            state = RunState.STOPPED
            raise
        finally:
            self.block.engine.update(state=state)
            self.folder.close(state.name.lower(), asdict(self.engine.stats))
        return CrawlResult(self.engine.stats, verdict, self._sink.items, self._sink.failures)


@dataclass(slots=True)
class _Committed:
    """The engine's sink: the run's folder, the outputs and, for Python, lists."""

    folder: RunFolder
    outputs: list[Output]
    keep_items: bool
    items: list[Item] = field(default_factory=list)
    failures: list[dict[str, Any]] = field(default_factory=list)

    def write(self, items: list[Item]) -> None:
        for output in self.outputs:
            output.write(items)
        if self.keep_items:
            self.items += items

    def fail(self, record: dict[str, Any]) -> None:
        self.folder.fail(record)
        if self.keep_items:
            self.failures.append(record)

    def flush(self) -> None:
        self.folder.flush()
        for output in self.outputs:
            output.flush()

    def close(self, *, publish: bool) -> None:
        for output in self.outputs:
            output.close()
        if publish:
            for output in self.outputs:
                output.publish()


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

    def notice(self) -> str | None:
        if isinstance(self.site, str):
            return None
        return f"{self.reason}; crawling the bundled practice site at {self.url()}"


def _place(
    spider: Spider,
    site: str | None,
    urls: str | Iterable[str | Request] | None,
    stack: ExitStack,
) -> _Place | None:
    from crawler.errors import UsageError
    from crawler.url import problem_with

    if site is not None:
        problem = problem_with(site)
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
    sink: _Committed,
    block: Block,
) -> Iterator[Engine]:
    """The engine with its stages; its executor ends with the block."""
    from crawler import worker
    from crawler.collector import Collector, CompletionCollector
    from crawler.engine import Engine
    from crawler.executors import make_executor
    from crawler.pipeline import Pipeline
    from crawler.politeness import Politeness
    from crawler.retry import RetryPolicy
    from crawler.scheduler import Scheduler
    from crawler.scope import Scope

    if settings.mode in ("sequential", "threads"):
        import crawler.fetchers.requests  # noqa: F401  (while the practice site gets ready)
    worker_settings = worker.WorkerSettings(
        timeout=settings.timeout,
        max_body=settings.max_body,
        user_agent=settings.user_agent,
        arguments=arguments,
    )
    collect = CompletionCollector if settings.order == "completion" else Collector
    executor = make_executor(
        settings.mode,
        workers=settings.workers,
        slots=settings.slots,
        initializer=worker.prepare,
        initargs=(worker_settings, block),
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
            ),
            executor=executor,
            slots=settings.slots,
            collector=collect(window=settings.window, window_bytes=settings.window_bytes),
            pipeline=Pipeline(spider.options.steps),
            sink=sink,
            gauge=block.engine,
            until_empty=settings.pages is not None and settings.pages.until_empty,
            max_items=settings.max_items,
            page_timeout=settings.page_timeout,
            total=total,
        )
        is_over = True
    finally:
        # What is still in flight lies behind the end of the crawl, or nobody wants it any more.
        executor.shutdown(wait=is_over, cancel_futures=True)
