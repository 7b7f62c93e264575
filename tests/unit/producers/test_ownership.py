"""An owner ends only where the group says so."""

from producers.core.ownership import Owned, assigned, lost, revoked


def test_what_is_given_is_ours_until_it_is_taken() -> None:
    owned = assigned(assigned(Owned(), [0, 1]), [2])
    assert {0, 1, 2} == owned.observed == owned.sure
    assert {0, 2} == revoked(owned, [1]).observed


def test_who_lost_touch_goes_on_until_the_group_speaks() -> None:
    owned = lost(assigned(Owned(), [0, 1]), [0, 1])
    assert {0, 1} == owned.observed
    assert not owned.sure
    assert {1, 2} == assigned(owned, [1, 2]).observed
    assert not assigned(owned, []).observed
    assert {0} == revoked(owned, [1]).observed
