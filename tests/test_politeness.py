"""The rest that a host gets between two requests."""

from __future__ import annotations

from crawler.politeness import Politeness


def test_a_host_that_was_not_asked_is_ready() -> None:
    assert Politeness(5.0).ready_at("x") == 0.0


def test_the_delay_runs_from_start_to_start() -> None:
    politeness = Politeness(2.0)
    politeness.started("x", 100.0)
    assert politeness.ready_at("x") == 102.0
    politeness.finished("x", 101.5)
    assert politeness.ready_at("x") == 102.0


def test_one_at_a_time_the_delay_runs_from_end_to_start() -> None:
    politeness = Politeness(2.0, serial=True)
    politeness.started("x", 100.0)
    politeness.finished("x", 109.0)
    assert politeness.ready_at("x") == 111.0


def test_each_host_has_its_own_rest() -> None:
    politeness = Politeness(2.0)
    politeness.started("x", 100.0)
    assert politeness.ready_at("y") == 0.0


def test_without_a_delay_every_host_is_always_ready() -> None:
    politeness = Politeness(serial=True)
    politeness.started("x", 100.0)
    politeness.finished("x", 100.0)
    assert politeness.ready_at("x") == 0.0
