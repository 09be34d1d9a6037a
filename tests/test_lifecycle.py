from __future__ import annotations

import pickle
from itertools import product
from pathlib import Path

import pytest

from tokengate_mp.lifecycle import EXPLANATIONS, TRANSITIONS, TokenState, allowed, diagram, path

STATES_PAGE = Path(__file__).resolve().parents[1] / "docs" / "states.md"

# From the state on the left to each state in the order of the heading.
TABLE = """
           created waiting admitted executing completed failed killed timeout
created       .       x       .         .         .        .      x       x
waiting       .       .       x         .         .        x      x       x
admitted      .       x       .         x         .        .      x       x
executing     .       x       .         .         x        x      x       x
completed     .       .       .         .         .        .      .       .
failed        .       .       .         .         .        .      .       .
killed        .       .       .         .         .        .      .       .
timeout       .       .       .         .         .        .      .       .
"""


def table():
    """The table above, by pairs of states."""
    heading, *rows = (line.split() for line in TABLE.strip().splitlines())
    return {
        (TokenState(before), TokenState(after)): mark == "x"
        for before, *marks in rows
        for after, mark in zip(heading, marks, strict=True)
    }


def test_the_literal_table():
    """Every pair of states is allowed or not, as written down here once more by hand."""
    expected = table()
    assert set(expected) == set(product(TokenState, TokenState))
    assert {pair: allowed(*pair) for pair in expected} == expected


def test_final_states():
    """The four ways to end are final, and nothing else is."""
    ended = {state for state in TokenState if state.ended}
    assert ended == {state for state in TokenState if not TRANSITIONS[state]}
    assert {state.name for state in ended} == {"COMPLETED", "FAILED", "KILLED", "TIMEOUT"}


def test_every_transition_is_explained():
    """Each transition has its explanation, but for the two ends that speak for themselves."""
    spoken = {
        pair
        for pair, possible in table().items()
        if possible and pair[1] not in {TokenState.KILLED, TokenState.TIMEOUT}
    }
    assert set(EXPLANATIONS) == spoken
    # In Mermaid a colon or a semicolon would end the label.
    assert not any(mark in text for text in EXPLANATIONS.values() for mark in ":;\n")


@pytest.mark.parametrize(("before", "after"), list(product(TokenState, TokenState)))
def test_path(before, after):
    """The way between two states is one step, or leads through EXECUTING unseen, or is none."""
    if table()[before, after]:
        assert path(before, after) == (after,)
    elif before is TokenState.ADMITTED and after in {TokenState.COMPLETED, TokenState.FAILED}:
        assert path(before, after) == (TokenState.EXECUTING, after)
    else:
        with pytest.raises(ValueError, match=f"from {before.name} to {after.name}"):
            path(before, after)


def test_states_are_the_same_objects_after_pickling():
    """A state that travels between processes is still compared by identity."""
    assert all(pickle.loads(pickle.dumps(state)) is state for state in TokenState)


def test_the_diagram_holds_every_transition_once():
    """One line for each transition, one for the beginning, and one for each end."""
    arrows = [line.split(":")[0].split() for line in diagram().splitlines()[1:]]
    drawn = [(before, after) for before, _, after in arrows]
    expected = [(a.name, b.name) for (a, b), possible in table().items() if possible]
    expected += [("[*]", "CREATED")]
    expected += [(state.name, "[*]") for state in TokenState if state.ended]
    assert sorted(drawn) == sorted(expected)


def test_the_page_on_states_shows_the_diagram():
    """The documentation's diagram is the table's."""
    assert f"```mermaid\n{diagram()}```\n" in STATES_PAGE.read_text("utf-8")
