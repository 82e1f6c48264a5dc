"""The outputs of a study: what a claim's test names."""

import pytest

from goodinit.studies import Claim


def _claim(predicate, **options):
    return Claim("id", "A sentence.", "Table 1", predicate, options)


@pytest.mark.parametrize(
    ("predicate", "options"),
    [
        ("beats", {"better": {"init": "He"}, "worse": {"init": "Xavier"}}),
        ("ranks", {"order": [{"init": "He"}, [{"init": "Xavier"}]]}),
        ("ratio", {"numerator": {"init": "He"}, "denominator": {"init": "Xavier"}}),
    ],
)
def test_the_conditions_of_a_claim_are_all_that_it_compares(predicate, options):
    conditions = _claim(predicate, where={"layer": 1}, **options).conditions
    assert conditions == [{"layer": 1, "init": "He"}, {"layer": 1, "init": "Xavier"}]


def test_a_claim_without_sides_is_about_what_it_selects():
    assert _claim("within", where={"init": "He"}).conditions == [{"init": "He"}]
    assert _claim("within").conditions == [{}]


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, False),
        ({"at": 5}, True),
        ({"at": "lowest"}, False),
        ({"at": {"last": 5}}, False),
        ({"at": {"from": 5}}, False),
        ({"at": {"from": 5, "to": 9}}, True),
        ({"at": 5, "denominator_at": 2}, True),
        ({"at": 5, "denominator_at": "last"}, False),
        ({"denominator_at": 2}, False),
    ],
)
def test_a_claim_is_at_fixed_steps_if_all_its_steps_are_given(options, expected):
    assert _claim("ratio", **options).at_fixed_step is expected
