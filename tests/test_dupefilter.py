"""Has this fingerprint been seen?"""

from __future__ import annotations

import gc
import os
import sys
import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crawler.dupefilter import DupeFilter


def test_a_fingerprint_is_new_once() -> None:
    seen = DupeFilter()
    assert seen.add(b"one") is True
    assert seen.add(b"one") is False
    assert seen.add(b"other") is True


def test_asking_does_not_add() -> None:
    seen = DupeFilter()
    assert b"one" not in seen
    assert len(seen) == 0
    seen.add(b"one")
    assert b"one" in seen
    assert len(seen) == 1


def test_what_is_forgotten_is_new_again() -> None:
    seen = DupeFilter()
    seen.discard(b"one")
    seen.add(b"one")
    seen.discard(b"one")
    assert b"one" not in seen
    assert seen.add(b"one")


def test_each_filter_has_a_memory_of_its_own() -> None:
    DupeFilter().add(b"one")
    assert b"one" not in DupeFilter()


def test_zeros_in_front_count() -> None:
    seen = DupeFilter()
    assert [seen.add(mark) for mark in (b"", b"\0", b"\0\0", b"\0\1", b"\1")] == [True] * 5


@given(st.lists(st.binary(max_size=3) | st.binary(min_size=16, max_size=16), max_size=50))
def test_it_answers_as_a_set_of_bytes_does(marks: list[bytes]) -> None:
    seen, model = DupeFilter(), set[bytes]()
    for mark in marks:
        assert (mark in seen) is (mark in model)
        assert seen.add(mark) is (mark not in model)
        model.add(mark)
        assert len(seen) == len(model)


def test_a_fingerprint_takes_about_80_bytes() -> None:
    count = 150_000
    tracemalloc.start()
    try:
        seen = DupeFilter()
        for _ in range(count):
            seen.add(os.urandom(16))
        each = tracemalloc.get_traced_memory()[0] / count
    finally:
        tracemalloc.stop()
    assert 40 < each < 110


@pytest.mark.skipif(sys.version_info >= (3, 14), reason="it visits what is in a dict, too")
def test_the_garbage_collector_does_not_visit_each_fingerprint() -> None:
    seen = DupeFilter()
    for _ in range(1_000):
        seen.add(os.urandom(16))
    assert not any(map(gc.is_tracked, vars(seen).values()))
