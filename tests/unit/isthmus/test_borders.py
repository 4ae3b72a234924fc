"""Counts of regions that come and go make one total that never falls."""

from collections import Counter

from isthmus.fleet.figures import Borders


def test_a_total_never_falls() -> None:
    borders = Borders()
    assert borders.look({1: Counter(gone=3), 2: Counter(gone=1, come=2)}) == {"gone": 4, "come": 2}
    assert borders.look({1: Counter(gone=5), 2: Counter(gone=1, come=2)}) == {"gone": 6, "come": 2}
    assert borders.look({2: Counter(gone=2, come=2)}) == {"gone": 7, "come": 2}, "1 has moved away"
    assert borders.look({1: Counter(gone=1), 2: Counter(gone=2, come=2)}) == {"gone": 8, "come": 2}, "it began anew"
    assert borders.look({}) == {"gone": 8, "come": 2}
