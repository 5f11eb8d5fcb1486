"""The bound on modules that a factory registers."""

import pytest
from torch import nn

from hmhsa_insert.surgery.base.bounded import TooManyModules, at_most


def build(blocks: int) -> nn.Module:
    return nn.Sequential(*[nn.Sequential(nn.ReLU(), nn.ReLU()) for _ in range(blocks)])


def test_one_more_than_allowed_is_refused_and_only_inside() -> None:
    with at_most(9):
        build(3)
    with pytest.raises(TooManyModules, match="it has more than 8 modules"), at_most(8):
        build(3)
    build(3)


def test_it_ends_while_a_list_is_being_made() -> None:
    made = []

    def block() -> nn.Module:
        made.append(1)
        return nn.Sequential(nn.ReLU())

    with pytest.raises(TooManyModules), at_most(10):
        nn.Sequential(*[block() for _ in range(10**9)])
    assert len(made) == 11
