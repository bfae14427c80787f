"""The section on the reward's calibration."""

import random

from chainsight.analysis.calibration import calibrations
from chainsight.records import Verified
from chainsight.report.calibration import section
from chainsight.webpage import document


def questions() -> list[list[Verified]]:
    """The reward knows what is right, more or less."""
    rng = random.Random(0)
    made = []
    for number in range(40):
        rights = [rng.random() < 0.5 for _ in range(6)]
        made.append(
            [
                Verified(
                    f"bars/{number}", k, "", "7", "marker", float(right), 5,
                    rng.gauss(2.0 * right, 1.0), 0.0, (), (), "7" if right else str(k),
                )
                for k, right in enumerate(rights)
            ]
        )  # fmt: skip
    return made


def test_the_section_shows_every_signal_with_its_figures() -> None:
    found = calibrations(questions())
    html = section(found)
    reward = found[0]
    assert f"<b>{reward.auroc.value:.2f}</b> ({reward.auroc.low:.2f}" in html
    assert reward.auroc.value > 0.85
    assert f"<b>{100 * reward.reliability.error:.1f}</b>" in html
    assert html.count("<figure>") == len([one for one in found if one.reliability.bins])
    bins = sum(len(one.reliability.bins) for one in found)
    assert html.count("<circle") == bins
    assert f"right {100 * reward.reliability.bins[0].right.value:.0f}" in html
    assert "<script" not in document("", [html])


def test_without_right_and_wrong_answers_there_is_no_section() -> None:
    assert section([]) == ""
    assert section(calibrations([[one] for question in questions() for one in question][:0])) == ""
