from __future__ import annotations

import json

import pytest

from tokengate_mp.bench.measuring.competitors import COMPETITORS, OURS, PACKAGES
from tokengate_mp.bench.measuring.sampling import Sample
from tokengate_mp.bench.results.report import Held, Line, document, ratio_text
from tokengate_mp.bench.results.targets import TARGETS, Target, targets_for
from tokengate_mp.bench.rows.all_rows import ROWS


def line(key="noop", size=65_536, **raws):
    """Make a line of the given raw samples, by competitor, round after round."""
    samples = [
        Sample(name, turn, raw, None if raw is not None else "broke")
        for name, row in raws.items()
        for turn, raw in enumerate(row)
    ]
    return Line(ROWS[key], size, 2, samples)


def test_a_ratio_is_the_median_of_the_ratios_within_rounds():
    """A round in which the whole machine was slow does not move it."""
    measured = line(tokengate_mp=[1.0, 10.0, 1.0], PPE=[20.0, 210.0, 22.0])
    assert measured.ratio("PPE") == 21


def test_a_round_that_failed_on_one_side_is_left_out():
    """Only rounds with both samples give a ratio."""
    measured = line(tokengate_mp=[1.0, None, 1.0], PPE=[2.0, 100.0, None])
    assert measured.ratio("PPE") == 2
    assert measured.ratio_text("PPE") == "2.00x"


def test_no_common_round_gives_no_ratio():
    """Nothing is made up where nothing was measured."""
    measured = line(tokengate_mp=[None, 1.0], PPE=[1.0, None])
    assert measured.ratio("PPE") is None
    assert measured.ratio("loky") is None
    assert measured.ratio_text("PPE") == "failed"
    assert measured.ratio_text("Pool") == "-"
    assert measured.errors("PPE") == ["broke"]


def test_a_capped_competitor_shows_its_cap():
    """Beyond the cap there is the cap and no number."""
    measured = line(size=1_048_576, tokengate_mp=[1.0])
    assert measured.ratio_text("PPE") == "≤65,536"
    assert measured.document()["capped"]["PPE"] == 65_536


def test_a_competitor_that_has_no_part_in_a_row_shows_nothing():
    """The asyncio limit runs no-ops alone, so a row of work has an empty cell for it."""
    assert line("mix", tokengate_mp=[1.0]).ratio_text("asyncio") == ""


@pytest.mark.parametrize(
    ("ratio", "text"),
    [(0.0016, "<0.01x"), (0.5, "0.50x"), (1.756, "1.76x"), (31.42, "31.4x"), (1234.5, "1,234x")],
)
def test_a_ratio_has_as_many_decimals_as_it_bears(ratio, text):
    """Three digits or so, and no more than 7 characters up to ten thousand."""
    assert ratio_text(ratio) == text


def test_figures_are_medians_in_the_row_s_unit():
    """65,536 tokens in a median of 0.25 s are 262,144 a second."""
    measured = line(tokengate_mp=[0.2, 0.25, 9.0])
    assert measured.figure(OURS) == 262_144
    assert measured.figure_text(OURS) == "262,144 tok/s"
    assert measured.figure_text("PPE") == "-"


@pytest.mark.parametrize(
    ("key", "size", "raw", "text"),
    [
        ("trip", 1_000, 41.25e-6, "41.2 µs"),
        ("1ms", 2_000, 1.0, "1.000"),
        ("10ms", 400, 2.5, "0.800"),
        ("uneven", 200, 0.595 * 1.05, "1.050 x"),
        ("start", 1, 0.0042, "4.20 ms"),
        ("memory", 1_048_576, 812.4, "812 B"),
        ("growth", 16_384, -0.25, "-0.250 B"),
    ],
)
def test_every_unit_by_hand(key, size, raw, text):
    """On two cores, a raw sample of each row reads as worked out by hand."""
    assert line(key, size, tokengate_mp=[raw]).figure_text(OURS) == text


def test_targets_are_held_against_figures_and_ratios():
    """The no-op targets compare with three competitors, each against its own bound."""
    measured = line(tokengate_mp=[1.0], PPE=[19.0], Pool=[5.0], asyncio=[0.6])
    met = {held.target.against: held.met for held in measured.held()}
    assert met == {"PPE": False, "Pool": True, "asyncio": True}


def test_a_target_that_could_not_be_measured_is_not_met():
    """Without a value there is no success: a competitor that failed does not make us faster."""
    assert not Held(TARGETS[0], None).met
    (held,) = line(tokengate_mp=[1.0], PPE=[None]).held()
    assert (held.value, held.met) == (None, False)


def test_a_target_against_one_who_was_left_out_is_left_out():
    """A run against some alone is not held against the others."""
    assert [h.target.against for h in line(tokengate_mp=[1.0], Pool=[9.0]).held()] == ["Pool"]


def test_a_target_on_time_is_an_upper_bound():
    """At most 1.1 means that 1.1 is allowed and 1.11 is not."""
    (target,) = targets_for("uneven", 200)
    assert target.held(1.1)
    assert not target.held(1.11)
    assert target.text() == "≤ 1.1"


def test_every_target_belongs_to_a_line_that_is_measured():
    """No bound is on a size or a competitor that its row does not have."""
    for target in TARGETS:
        row = ROWS[target.row]
        assert target.size in row.sizes
        assert target.against is None or target.against in row.competitors
        assert target.against is None or not row.capped(target.against, target.size)


def test_a_target_reads_as_it_was_set():
    """Bound, competitor, aim and note stand in its text."""
    target = Target("noop", 1, 20, "PPE", aim=30, note="why")
    assert target.text() == "≥ 20 x PPE, aim 30 (why)"


def test_rows_name_competitors_that_exist():
    """Every competitor and every cap of a row is one of the contract's classes."""
    for row in ROWS.values():
        assert set(row.competitors) <= set(COMPETITORS)
        assert set(row.caps) <= set(row.competitors)
        assert row.competitors[0] == OURS
    assert set(PACKAGES) <= set(COMPETITORS)


def test_the_document_is_json_with_every_raw_sample():
    """What goes to a file is plain data, and holds samples, ratios and targets."""
    measured = line(tokengate_mp=[1.0, 2.0], PPE=[30.0, None])
    whole = json.loads(json.dumps(document([measured], {"python": "3"}, {"rounds": 2})))
    (written,) = whole["lines"]
    assert [(s["competitor"], s["turn"], s["raw"]) for s in written["samples"]] == [
        (OURS, 0, 1.0),
        (OURS, 1, 2.0),
        ("PPE", 0, 30.0),
        ("PPE", 1, None),
    ]
    assert written["ratios"] == {"PPE": 30.0}
    assert {t["against"]: t["met"] for t in written["targets"]}["PPE"] is True
    assert whole["machine"] == {"python": "3"}
    assert whole["settings"] == {"rounds": 2}
