"""One session of a crawl at the terminal: signals, the bar, the report, the exit code."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, redirect_stdout
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any, Literal, Self

from crawler.cli.flags import flag_layers, read_urls
from crawler.process import collect_garbage_less_often

if TYPE_CHECKING:
    from crawler.cli.report import About
    from crawler.run import Crawl

Progress = Literal["auto", "bar", "plain", "none"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What `crawl run` was asked for. Kept in run.json, so that a resumed run asks for the same."""

    spider: str
    urls: tuple[str, ...] = ()
    site: str | None = None
    arguments: tuple[str, ...] = ()
    outputs: tuple[str, ...] = ()
    output_dir: str | None = None
    name: str | None = None
    settings: dict[str, Any] = field(default_factory=dict)
    """Flags as they were typed."""
    cwd: str = field(default_factory=os.getcwd)

    @property
    def folder(self) -> Path:
        """Where NAME.json and run folders go."""
        from crawler.run import OUTPUT_FOLDER

        return Path(self.output_dir) if self.output_dir else OUTPUT_FOLDER

    @classmethod
    def again(cls, facts: Mapping[str, Any], given: Mapping[str, Any], *, otherwise: str) -> Self:
        """What an earlier run was asked for; settings that are `given` take the place of its own.

        Raises UsageError, with what can be done `otherwise`, if it wasn't begun by a command.
        """
        from crawler.errors import UsageError
        from crawler.proxy import is_without_password

        kept = facts.get("asked")
        if kept is None:
            raise UsageError(
                f"{facts['folder'].absolute()} was begun by a program, so its spider and settings "
                f"are not known; {otherwise}"
            )
        known = {field.name for field in fields(cls)}
        given = {key: value for key, value in given.items() if value not in (None, ())}
        try:
            values = {key: value for key, value in kept.items() if key in known}
            for key, value in values.items():
                if isinstance(value, list):
                    values[key] = tuple(value)
            settings = {**kept["settings"], **given}
            if is_without_password(settings.get("proxy")) and "CRAWL_PROXY" in os.environ:
                del settings["proxy"]  # or it would be asked for what run.json must not hold
            return cls(**{**values, "settings": settings})
        except (AttributeError, KeyError, TypeError):
            raise UsageError(
                f"{facts['folder'] / 'run.json'} doesn't say what was asked for"
            ) from None

    def as_json(self) -> dict[str, Any]:
        """What run.json holds: all of it but the password of a proxy."""
        from crawler.proxy import without_password

        kept = asdict(self)
        if isinstance(self.settings.get("proxy"), str):
            kept["settings"]["proxy"] = without_password(self.settings["proxy"])
        return kept

    def go_home(self, folder: Path) -> Self:
        """Change to the directory where the spider, crawl.toml and outputs of a run are.

        It is where the run began, or if all of it was moved or copied since, where that is now.
        """
        from crawler.errors import UsageError

        home = Path(self.cwd)
        place = Path(*folder.parts[-3:])  # runs/NAME/ID
        moved = Path(*folder.parts[: -3 - len(self.folder.parts)])
        is_there = (home / self.folder / place).is_dir()
        is_there = is_there and (home / self.folder / place).samefile(folder)
        is_moved = not self.folder.is_absolute() and moved / self.folder / place == folder
        if is_moved and not is_there:
            home = moved
        try:
            os.chdir(home)
        except OSError as error:
            problem = error.strerror or error
            raise UsageError(f"can't go to {home}, where the run began: {problem}") from None
        return replace(self, cwd=str(home))

    def run_name(self) -> str:
        """What the run is called."""
        from crawler.loader import load_spider

        return self.name or load_spider(self.spider).name


def outputs_of(facts: Mapping[str, Any]) -> tuple[str, ...]:
    """The outputs that an earlier run was asked for; none if those were the default."""
    asked = facts.get("asked")
    kept = (asked if isinstance(asked, dict) else facts).get("outputs")
    return tuple(map(str, kept)) if isinstance(kept, list) else ()


def crawl_and_report(
    asked: Asked,
    *,
    resume: Path | None = None,
    retry: Path | None = None,
    progress: Progress,
    quiet: int,
    notice: str | None = None,
    here: Path | None = None,
) -> None:
    """Run or resume one crawl, or retry its failed pages, and exit with its code.

    `here` is where the user is, if that isn't the working directory.
    """
    from crawler.arguments import parse_argument
    from crawler.cli.console import say
    from crawler.cli.report import report
    from crawler.output import literal
    from crawler.run import crawling
    from crawler.run_folder import read_run

    is_retry = retry is not None or (resume is not None and "retry_of" in read_run(resume))
    outputs = list(asked.outputs) or [literal(asked.folder / f"{asked.run_name()}.json")]
    with (
        _ended_at_once(),
        broken_pipe_is_the_end(),
        redirect_stdout(sys.stderr),
        _signals() as signals,
        crawling(
            asked.spider,
            urls=asked.urls or None if is_retry else read_urls(asked.urls),
            site=asked.site,
            arguments=dict(map(parse_argument, asked.arguments)),
            outputs=outputs,
            output_folder=asked.folder,
            name=asked.name,
            resume=resume,
            retry=retry,
            asked=asked.as_json(),
            flags=flag_layers(asked.settings),
        ) as crawl,
    ):
        if not quiet:
            for line in [notice, *_notices(crawl, resume)]:
                if line is not None:
                    say(line)
        # Items and a bar on one terminal would overwrite each other.
        is_crowded = any(name.startswith("-") for name in outputs) and os.isatty(1)
        shown = "none" if quiet or is_crowded else progress
        again = how_to_resume(crawl.folder.path, here or Path.cwd())
        with _display(crawl, shown), _noted(again), signals.stopping(crawl):
            collect_garbage_less_often()
            result = crawl.run()
    if not quiet or result.exit_code:
        for line in report(result, _about(crawl, again), is_short=quiet > 0):
            say(line)
    is_interrupted = result.exit_code == 130 and signals.received
    sys.exit(128 + signals.received[0] if is_interrupted else result.exit_code)


def _about(crawl: Crawl, again: str) -> About:
    from crawler.cli.report import About

    return About(
        how_to_resume=again,
        folder=crawl.folder.path,
        files=[str(target) for target in crawl.targets if not target.is_stdout],
        mode=crawl.settings.mode,
    )


def _notices(crawl: Crawl, resume: Path | None) -> Iterator[str]:
    from crawler.wording import plural

    if resume is not None:
        done = crawl.engine.stats.pages + crawl.engine.stats.failed
        yield f"resuming {resume}: {plural(done, 'page')} done"
    yield from (f"changed since then: {change}" for change in crawl.changes)
    if crawl.notice:
        yield crawl.notice


@contextmanager
def _noted(how_to_resume: str) -> Iterator[None]:
    """Add to an error by which the crawl ends how to go on when its cause is gone."""
    from crawler.errors import CrawlError, UsageError

    try:
        yield
    except UsageError:
        raise
    except (CrawlError, KeyboardInterrupt) as error:
        error.add_note(how_to_resume)
        raise


def how_to_resume(folder: Path, here: Path, *, by_id: bool = False) -> str:
    """What to type in the directory `here` to go on with the run that has this folder."""
    import shlex

    from crawler.run import OUTPUT_FOLDER

    what = str(folder)
    if folder.parents[2] == here / OUTPUT_FOLDER:
        what = folder.name if by_id else folder.parent.name
    return f"`crawl resume {shlex.quote(what)}` goes on from here"


@contextmanager
def _ended_at_once() -> Iterator[None]:
    """After a second Ctrl-C, exit without waiting for threads that are still at work."""
    try:
        yield
    except KeyboardInterrupt as error:
        from crawler.cli.console import say

        say("\n".join(["ended at once; nothing is published", *getattr(error, "__notes__", ())]))
        os._exit(128 + (error.args[0] if error.args else signal.SIGINT))


def let_go_of_stdout() -> None:
    """Nothing more can be written to it, and Python flushes it once more at exit."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)


@contextmanager
def broken_pipe_is_the_end() -> Iterator[None]:
    """Whoever read our stdout has enough: end as quietly as other commands in a pipe do."""
    try:
        yield
    except BrokenPipeError:
        let_go_of_stdout()
        sys.exit(128 + signal.SIGPIPE)


@contextmanager
def _display(crawl: Crawl, progress: Progress) -> Iterator[None]:
    from crawler.cli.bar import display
    from crawler.cli.console import say

    with display(crawl.block, progress, stream=sys.stderr) as shown:
        hook = sys.breakpointhook

        def pause_and_debug(*args: Any, **kwargs: Any) -> Any:
            shown.pause()
            if crawl.settings.mode != "sequential":
                say("breakpoint() in several threads at once; --mode sequential is made for it")
            if sys.__stdout__ is not None:
                sys.stdout = sys.__stdout__
            if hook is not sys.__breakpointhook__ or "PYTHONBREAKPOINT" in os.environ:
                return hook(*args, **kwargs)
            import pdb  # a twentieth of a whole start

            # The standard hook would stop in the frame that called it: here.
            return pdb.Pdb().set_trace(sys._getframe(1))

        sys.breakpointhook = pause_and_debug
        try:
            yield
        finally:
            sys.breakpointhook = hook


@dataclass(slots=True)
class _Signals:
    """The signals that came, and the crawl that is to be stopped by them once it is set up."""

    received: list[int] = field(default_factory=list)
    late: list[int] = field(default_factory=list)
    crawl: Crawl | None = None
    is_over: bool = False

    @contextmanager
    def stopping(self, crawl: Crawl) -> Iterator[None]:
        """From here on there is something to stop: at once, if a signal came before."""
        self.crawl = crawl
        if self.received:
            crawl.stop()
        try:
            yield
        finally:
            self.is_over = True


@contextmanager
def _signals() -> Iterator[_Signals]:
    """Once: finish what is in flight and end. Twice: end now. Yields the signals that came.

    One that comes while the crawl is set up is heeded when that is done: an exception within an
    import would be dropped, or leave a lock behind. The first one after the crawl is over changes
    nothing: workers end in a moment, and then it is told how it went, where an end at once could
    say neither what is published nor how to go on.
    """
    from crawler.cli.console import say
    from crawler.wording import plural

    signals = _Signals()

    def handle(number: int, _: FrameType | None) -> None:
        if signals.is_over:
            signals.late.append(number)
            if len(signals.late) > 1:  # it takes more than a moment: a terminal that takes nothing
                os._exit(128 + [*signals.received, *signals.late][0])
            return
        signals.received.append(number)
        again = "; Ctrl-C again to end now" if number == signal.SIGINT else ""
        if signals.crawl is None:
            if len(signals.received) > 1:
                os._exit(128 + signals.received[0])
            say(f"stopping: waiting for the crawl to be set up{again}")
            return
        if len(signals.received) > 1:
            raise KeyboardInterrupt(signals.received[0])
        signals.crawl.stop()
        left = signals.crawl.engine.in_flight
        waiting = f": waiting for {plural(left, 'request')} in flight" if left else ""
        say(f"stopping{waiting}{again}")

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is not signal.SIG_IGN:  # as nohup and the shell's & ask for
            signal.signal(number, handle)  # to the end of the process: it is about to end
    yield signals
