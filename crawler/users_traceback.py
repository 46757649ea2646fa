"""Errors in what users wrote, shown as they need them: without the frames that are ours."""

from __future__ import annotations

import importlib
import traceback
from pathlib import Path
from types import TracebackType

from crawler.errors import CrawlError

_MACHINERY = (f"{Path(__file__).parent}/", "<frozen importlib", importlib.__file__)


def users_traceback(error: BaseException) -> str:
    """The traceback from the user's own first frame on."""
    frame = first_outside(error, _MACHINERY)
    return "".join(traceback.format_exception(type(error), error, frame)).rstrip()


def first_outside(error: BaseException, files: tuple[str, ...]) -> TracebackType | None:
    """Where its traceback leaves the files whose names begin so; None if it doesn't."""
    frame = error.__traceback__
    while frame is not None and frame.tb_frame.f_code.co_filename.startswith(files):
        frame = frame.tb_next
    return frame


def failed_start(error: BaseException) -> CrawlError:
    """What is raised when a spider's start, or an iterable of URLs, raises."""
    return CrawlError(f"the start of the crawl failed:\n{users_traceback(error)}")
