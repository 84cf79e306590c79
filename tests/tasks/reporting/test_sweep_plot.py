"""The plot of a sweep is an SVG of its own with a mark for every trial."""

import xml.etree.ElementTree as ET

from tasks.reporting.sweep_plot import MOST, PlottedTrial, sweep_plot

SVG = "{http://www.w3.org/2000/svg}"


def texts(svg: str) -> str:
    return " ".join("".join(element.itertext()) for element in ET.fromstring(svg).iter(f"{SVG}text"))


def trials(count: int, label: str = "rank") -> list[PlottedTrial]:
    return [PlottedTrial(f"{label} {n}", 50.0 - n, (49.0 - n, 51.0 - n), reference=n == 1) for n in range(count)]


def test_every_trial_has_a_label_and_the_expectation_is_explained() -> None:
    svg = sweep_plot(trials(3), "ROUGE-1", expected=49.4)
    shown = texts(svg)
    assert all(f"rank {n}" in shown for n in range(3))
    assert "ROUGE-1 on validation, 95 % interval" in shown
    assert "as expected on other dialogues" in shown
    assert "the recipe as it is" in shown
    assert "var(--" not in svg
    assert svg == sweep_plot(trials(3), "ROUGE-1", expected=49.4)
    assert "expected" not in texts(sweep_plot(trials(1), "ROUGE-1", expected=None))


def test_of_many_trials_the_best_are_shown_and_the_rest_is_counted() -> None:
    shown = texts(sweep_plot(trials(MOST + 5), "ROUGE-2", expected=None))
    assert f"the best {MOST} of {MOST + 5}" in shown
    assert f"rank {MOST - 1}" in shown
    assert f"rank {MOST}" not in shown.split()


def test_hostile_parameters_stay_text() -> None:
    """A prompt may be any text."""
    svg = sweep_plot(trials(2, "<script>alert('$x$')</script>\u202e"), "ROUGE-1", expected=None)
    assert "<script" not in svg
    assert "\u202e" not in svg
    assert "alert('$x$')" in texts(svg)
