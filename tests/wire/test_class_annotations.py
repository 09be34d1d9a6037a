"""Annotations of classes of a script, whenever they are evaluated and however they were set."""

from __future__ import annotations

import sys

import pytest
import scripts

CODE = """
    import datetime
    import typing
    from tokengate_mp import TokenGateExecutor

    class Other: pass
    class Text:
        when: "datetime.date"
        other: "Other"
    class Plain: pass
    class Usual:
        when: datetime.date
        other: Other
    class Replaced:
        was: int
    Replaced.__annotations__ = {"now": "Other"}
    class Extended:
        first: int
    Extended.__annotations__["second"] = Other

    CLASSES = (Text, Plain, Usual, Replaced, Extended)

    def hints():
        return [str(typing.get_type_hints(each)) for each in CLASSES]

    def traces():
        return [vars(each).keys() - {"__slotnames__"} for each in CLASSES]

    before = traces()
    with TokenGateExecutor(1) as executor:
        there = executor.submit(hints).result(15)
    print(traces() == before, there == hints())
"""

LATE = """
    from annotationlib import Format, get_annotations
    from tokengate_mp import TokenGateExecutor

    class Early:
        when: Later

    def names():
        return get_annotations(Early, format=Format.STRING)

    with TokenGateExecutor(1) as executor:
        print(executor.submit(names).result(15))
    class Later: pass
    print(Early.__annotations__["when"] is Later)
"""


def test_they_are_the_same_there_and_leave_no_trace_here(tmp_path):
    """Whoever asks for them there finds the same, and the class here is as it was."""
    assert scripts.output(tmp_path / "hints.py", CODE) == "True True\n"


@pytest.mark.skipif(sys.version_info < (3, 14), reason="evaluated with the class")
def test_a_name_without_a_value_may_have_one_later(tmp_path):
    """Annotations that cannot be evaluated yet travel as text, and here they still can be."""
    assert scripts.output(tmp_path / "late.py", LATE) == "{'when': 'Later'}\nTrue\n"
