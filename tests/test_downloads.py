"""Pages that wait for files are committed in their places, complete, whatever happens when."""

from __future__ import annotations

import hashlib
import shutil
import tempfile
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import Executor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crawler import Download, Request
from crawler.collector import Collector
from crawler.download import FileOrder
from crawler.downloads import Downloads
from crawler.engine import Engine, Stats
from crawler.entry import Entry
from crawler.errors import CrawlError, OutputError
from crawler.file_part import FilePart
from crawler.file_store import FileStore
from crawler.item_files import ItemFiles
from crawler.journal import Journal
from crawler.pipeline import Pipeline
from crawler.politeness import Politeness
from crawler.result import Failure, Item, Result
from crawler.scheduler import Scheduler
from journals import journal_in_memory
from test_engine import AT_ONCE, Lists, Shuffled, number_of
from test_following import BUSY, GONE, url
from test_resume import PowerCutError

FILES = 12


@dataclass(frozen=True)
class Page:
    """A page of a made-up site: what it links to and which files are on it."""

    links: tuple[int, ...]
    files: tuple[int, ...]
    failures: int


@dataclass(frozen=True)
class File:
    """A file: `content` is shared by some; one that is gone has no content, one may be moved."""

    content: int
    is_gone: bool
    moved_to: int | None
    failures: int


pages = st.builds(
    Page,
    links=st.lists(st.integers(0, 14), max_size=4).map(tuple),
    files=st.lists(st.integers(0, FILES - 1), max_size=4).map(tuple),
    failures=st.sampled_from([0, 0, 0, 1]),
)
files = st.builds(
    File,
    content=st.integers(0, 5),
    is_gone=st.sampled_from([False, False, False, False, True]),
    moved_to=st.sampled_from([None, None, None, 0, 5]),
    failures=st.sampled_from([0, 0, 0, 1, 2]),
)
sites = st.tuples(
    st.lists(pages, min_size=15, max_size=15), st.lists(files, min_size=FILES, max_size=FILES)
)


class Site:
    """Answers as workers do; may crash at one of its requests."""

    def __init__(self, pages: list[Page], files: list[File]) -> None:
        self._pages = pages
        self._files = files
        self._left = Counter[str]()
        self.asked = Counter[str]()
        self.crash_at: int | None = None

    def page(self, request: Request) -> Result:
        self._ask(request)
        number = number_of(request)
        page = self._pages[number]
        if self._fails(request, page.failures):
            return Result(failure=BUSY, status=503)
        names = ItemFiles(request.url, files=("files",))
        item = {"n": number, "files": [f"http://f.test/file/{each}" for each in page.files]}
        items = [names.plain_item(item, 0, "item")]
        if page.files:
            single = {"n": -number, "file": Download(f"http://f.test/file/{page.files[0]}")}
            items.append(names.plain_item(single, 1, "item"))
        follow = [Request(url(link)) for link in page.links]
        return Result(items=items, follow=follow, files=tuple(names.wanted), status=200)

    def file(self, request: Request, order: FileOrder) -> Result:
        self._ask(request)
        file = self._files[number_of(request)]
        if self._fails(request, file.failures):
            return Result(failure=BUSY, status=503)
        if file.is_gone:
            return Result(failure=GONE, status=404)
        if file.moved_to is not None:
            return Result(redirect=f"/file/{file.moved_to}", status=302)
        with FilePart(Path(order.parts), max_bytes=99, seconds=1) as part:
            part.begin()
            part.write(b"content %d" % file.content)
            return Result(stored=part.store("text/plain", None), status=200)

    def _ask(self, request: Request) -> None:
        if self.crash_at is not None and self.asked.total() >= self.crash_at:
            raise PowerCutError
        self.asked[request.url] += 1

    def _fails(self, request: Request, times: int) -> bool:
        self._left[request.url] += 1
        return self._left[request.url] <= times


class Workers(Shuffled):
    """Knows both kinds of work."""

    def __init__(self, site: Site, seed: int) -> None:
        super().__init__(self._work, seed)
        self._site = site

    def submit(self, fn: Any, /, *args: Any, **kwargs: Any) -> Any:
        return super().submit(fn, None, args, **kwargs)

    def _work(self, task: Any) -> Result:
        first, second = task
        if isinstance(second, FileOrder):
            return self._site.file(first, second)
        return self._site.page(second)


def make(
    executor: Executor,
    start: list[int],
    store: FileStore,
    *,
    journal: Journal,
    sink: Lists,
    slots: int,
    window: int,
    every: float,
) -> Engine:
    missed = [record.get("redirected_from", [record["url"]])[0] for record in sink.failures]
    return Engine(
        reference="unused:here",
        scheduler=Scheduler(
            iter([Request(url(number)) for number in start]),
            politeness=Politeness(adaptive=False),
            retry=AT_ONCE,
            retries=10,
            journal=journal,
        ),
        executor=executor,
        slots=slots,
        collector=Collector(window=window, window_bytes=2**20),
        journal=journal,
        pipeline=Pipeline([seen_whole]),
        sink=sink,
        gauge=sink,
        downloads=Downloads(store, missed=missed),
        checkpoint_every=every,
    )


def seen_whole(item: Item) -> Item:
    """A step sees files, not URLs."""
    for each in [*item.get("files", []), item.get("file")]:
        assert each is None or each["sha256"]
    return item


def expected_item(number: int, page: Page, files: list[File]) -> dict[str, Any]:
    def sha256(index: int) -> str | None:
        passed: list[int] = []
        place: int | None = index
        while place is not None and place not in passed:
            passed.append(place)
            if files[place].is_gone:
                return None
            place = files[place].moved_to
        if place is not None:
            return None  # in a circle
        content = b"content %d" % files[passed[-1]].content
        return hashlib.sha256(content).hexdigest()

    return {"n": number, "files": [sha256(index) for index in page.files]}


@pytest.fixture(scope="module")
def place() -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp())
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("os.fsync", lambda _: None)  # thousands of files; the power stays on
        yield folder
    shutil.rmtree(folder)


@settings(max_examples=25)
@given(
    site=sites,
    starts=st.lists(st.integers(0, 14), min_size=1, max_size=3, unique=True),
    crashes=st.lists(st.integers(0, 40), max_size=3),
    every=st.sampled_from([0.0, 0.0, 0.001, 9.0]),
    slots=st.integers(1, 6),
    window=st.integers(1, 20),
    seed=st.integers(0, 10**6),
)
def test_f1_pages_with_files_are_the_same_after_any_crash(
    place: Path,
    site: tuple[list[Page], list[File]],
    starts: list[int],
    crashes: list[int],
    every: float,
    slots: int,
    window: int,
    seed: int,
) -> None:
    shutil.rmtree(place)
    place.mkdir()

    def session(
        site: Site, journal: Journal, sink: Lists, folder: Path, slots: int, *, resumed: bool
    ) -> Stats:
        store = FileStore(folder, prefix="x", run="1", resumed=resumed)
        try:
            sink.cut((journal.state() or {}).get("offsets", {}))
            engine = make(
                Workers(site, seed),
                starts,
                store,
                journal=journal,
                sink=sink,
                slots=slots,
                window=window,
                every=every,
            )
            engine.resume()
            assert engine.crawl()
            store.tidy()
            return engine.stats
        finally:
            store.close()

    sequential = Lists()
    calm = Site(*site)
    session(calm, journal_in_memory(), sequential, place / "calm", 1, resumed=False)
    pages, files = site
    for item in sequential.items:
        if item["n"] >= 0 and "files" in item:
            shas = [each and each["sha256"] for each in item["files"]]
            assert {"n": item["n"], "files": shas} == expected_item(
                item["n"], pages[item["n"]], files
            )

    rough, sink, path = Site(*site), Lists(), place / "journal.sqlite"
    stats = Stats()
    for crash_after in [*crashes, None]:
        resumed = path.exists()
        journal = Journal.open(path) if resumed else Journal.create(path, durable=False)
        before = rough.asked.total()
        rough.crash_at = None if crash_after is None else before + crash_after
        try:
            stats = session(rough, journal, sink, place / "rough", slots, resumed=resumed)
            break
        except CrawlError:
            assert crash_after is not None
        finally:
            journal.close()
    assert sink.items == sequential.items
    assert told(sink) == told(sequential)
    assert names(place / "rough") == names(place / "calm")
    on_disk = {name for name in names(place / "rough") if name}
    assert {Path(each["path"]).name for each in in_items(sink)} == on_disk
    assert stats.failed_files == len(sink.failures)
    assert stats.files == len({each["url"] for each in in_items(sink)})
    assert asdict(stats)["items"] == len(sink.items)
    if not crashes:
        fetched = {name: count for name, count in rough.asked.items() if "/file/" in name}
        assert fetched == {name: c for name, c in calm.asked.items() if "/file/" in name}


def told(sink: Lists) -> list[tuple[object, ...]]:
    return [(each["url"], each["rank"], each["page"], each["kind"]) for each in sink.failures]


def in_items(sink: Lists) -> list[dict[str, Any]]:
    values = [each for item in sink.items for each in [*item.get("files", []), item.get("file")]]
    return [each for each in values if each is not None]


def names(folder: Path) -> set[str]:
    return {p.name for p in folder.rglob("*") if p.is_file() and not p.name.startswith(".")}


# ---- What is asked for, and when ----


def wanted_by(rank: int, *numbers: int, store: FileStore) -> tuple[Entry, Result]:
    names = ItemFiles("http://x.test/", files=("files",))
    item = {"files": [f"http://f.test/file/{number}" for number in numbers]}
    items = [names.plain_item(item, 0, "item")]
    return Entry(rank, Request("http://x.test/")), Result(items=items, files=tuple(names.wanted))


@pytest.fixture
def store(tmp_path: Path) -> Iterator[FileStore]:
    store = FileStore(tmp_path / "files", prefix="x", run="1")
    yield store
    store.close()


def arrive(downloads: Downloads, file: Entry, content: bytes = b"x") -> None:
    with FilePart(Path(downloads.order(file).parts), max_bytes=99, seconds=1) as part:
        part.begin()
        part.write(content)
        downloads.returned(file, Result(stored=part.store(None, None)))


def test_a_file_is_asked_for_once_whoever_wants_it(store: FileStore) -> None:
    downloads = Downloads(store)
    entry, result = wanted_by(0, 1, 2, 1, store=store)
    first = downloads.want(entry, result)
    assert [number_of(file.request) for file in first] == [1, 2]
    later, more = wanted_by(1, 2, 3, store=store)
    assert [number_of(file.request) for file in downloads.want(later, more)] == [3]
    for file in first:
        assert not downloads.is_complete(result)
        arrive(downloads, file)
    assert downloads.is_complete(result)
    assert not downloads.is_complete(more)
    again, same = wanted_by(2, 1, 2, store=store)
    assert downloads.want(again, same) == []
    assert downloads.is_complete(same)


def test_files_go_before_all_pages_and_those_of_earlier_pages_first(store: FileStore) -> None:
    downloads = Downloads(store)
    (late,) = downloads.want(*wanted_by(9, 1, store=store))
    (early,) = downloads.want(*wanted_by(3, 2, store=store))
    (ahead,) = downloads.want(*wanted_by(2**70, 3, store=store))
    assert early.rank < late.rank < ahead.rank < -1


def test_a_miss_is_none_in_each_item_and_listed_once(store: FileStore) -> None:
    downloads = Downloads(store)
    entry, result = wanted_by(0, 1, 2, store=store)
    gone, there = downloads.want(entry, result)
    downloads.returned(gone, Result(failure=GONE))
    arrive(downloads, there)
    item, (missed,) = downloads.fill(result.items[0], result.files)
    assert item["files"][0] is None
    assert item["files"][1]["bytes"] == 1
    assert (missed.entry, missed.failure) == (gone, GONE)
    _, another = wanted_by(1, 1, store=store)
    assert downloads.want(entry, another) == []
    assert downloads.fill(another.items[0], another.files) == ({"files": [None]}, [])


def test_what_stood_in_the_list_before_is_not_listed_again(store: FileStore) -> None:
    downloads = Downloads(store, missed=["http://f.test/file/1"])
    entry, result = wanted_by(0, 1, store=store)
    (gone,) = downloads.want(entry, result)
    downloads.returned(gone, Result(failure=GONE))
    assert downloads.fill(result.items[0], result.files) == ({"files": [None]}, [])


def test_filling_leaves_the_result_as_it_was(store: FileStore) -> None:
    """What the trap rules see of a page is the same whatever became of its files."""
    downloads = Downloads(store)
    entry, result = wanted_by(0, 1, store=store)
    (file,) = downloads.want(entry, result)
    arrive(downloads, file)
    downloads.fill(result.items[0], result.files)
    assert result.items == [{"files": ["http://f.test/file/1"]}]


def test_f6_a_disk_that_is_full_ends_the_crawl(store: FileStore) -> None:
    class Full(Site):
        def file(self, request: Request, order: FileOrder) -> Result:
            message = f"can't write {order.parts}/x: No space left on device"
            return Result(failure=Failure("storage", message))

    site = Full([Page((), (1,), 0)], [File(0, False, None, 0)] * FILES)
    sink = Lists()
    engine = make(
        Workers(site, 0),
        [0],
        store,
        journal=journal_in_memory(),
        sink=sink,
        slots=2,
        window=9,
        every=1,
    )
    with pytest.raises(OutputError, match="No space left on device"):
        engine.crawl()
    assert sink.items == []
