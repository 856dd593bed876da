import pytest

from svdsweep.errors import some


@pytest.mark.parametrize(
    ("count", "separator", "told"),
    [
        (0, ",", ""),
        (1, ",", "a"),
        (2, ",", "a, b"),
        (4, ",", "a, b and 2 more"),
        (3, ";", "a; b; and 1 more"),
    ],
)
def test_the_first_of_many_are_named(count, separator, told):
    assert some("abcd"[:count], 2, separator) == told
