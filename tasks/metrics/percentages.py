"""Shares and probabilities as text, rounded the same way in the gate, the tables and the report."""


def percent(share: float) -> str:
    """A share (0 to 1) in percent with one decimal; only exactly none or all is `0 %` or `100 %`."""
    if share in (0, 1):
        return f"{100 * share:.0f} %"
    return "above 99.9 %" if share > 0.999 else "below 0.1 %" if share < 0.001 else f"{100 * share:.1f} %"


def probability(estimate: float) -> str:
    """A probability (0 to 1) estimated from resamples, in percent: never certain, even where all resamples agree."""
    return percent(min(max(estimate, 1e-9), 1 - 1e-9))
