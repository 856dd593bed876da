"""What `seeds` reads from its command line, and how its table looks."""

import made_up
import pandas as pd
import pytest

from svdsweep.commands.seeds import pair, text
from svdsweep.errors import UserError

SWEEP = made_up.in_memory(*(made_up.ok(made_up.job(seed=seed)) for seed in (0, 5)))


def test_the_values_of_a_pair_are_those_of_the_sweep_in_the_order_that_was_typed():
    assert pair("seed=5,0", SWEEP.table) == ("seed", 5, 0)


@pytest.mark.parametrize("words", ["seed", "seed=0", "seed=0,", "seed=,5"])
def test_a_pair_is_of_two_values(words):
    with pytest.raises(UserError, match="not of the form SETTING=A,B"):
        pair(words, SWEEP.table)


def test_what_is_unknown_is_a_dash_on_the_terminal():
    table = pd.DataFrame({"metric": ["a", "b"], "low": [1.5, float("nan")]})
    lines = [line.split() for line in text(table, ["metric", "low"]).splitlines()]
    assert lines == [["metric", "low"], ["a", "1.5"], ["b", "-"]]
