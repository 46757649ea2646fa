"""Items as lines: the same bytes as by `json.dumps`, and back."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crawler import lines
from crawler.lines import item_of, json_text, line_of
from test_exporters import text, value

items = st.dictionaries(text, value, max_size=5)


@given(items)
def test_a_line_is_what_json_makes_of_an_item(item: dict[str, Any]) -> None:
    line = line_of(item)
    assert line == json.dumps(item, ensure_ascii=False).encode()
    assert b"\n" not in line
    assert item_of(line) == item == json.loads(line)
    assert list(item_of(line)) == list(item)


@given(value)
def test_text_is_what_json_makes_of_a_value(thing: Any) -> None:
    assert json_text(thing) == json.dumps(thing, ensure_ascii=False)


def test_where_json_has_no_encoder_in_c_its_own_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("json.encoder.c_make_encoder", None)
    item = {"a": [1, 2.5, None, True, "汉\n"], "b": {}}
    assert lines._make_encode()(item) == line_of(item).decode()


def test_what_is_not_plain_is_refused() -> None:
    with pytest.raises(TypeError, match="is no plain JSON value"):
        line_of({"a": {1}})
