"""The first screen of a report: is it better, by how much, can it be trusted, in plain words."""

from typing import Any

MEASURE, NAME = "rouge1", "ROUGE-1"


def verdict(
    scores: dict[str, Any], decision: dict[str, Any] | None, seeds: list[float], other_prompt: bool | None
) -> dict[str, Any]:
    """`state` (better, worse, even, alone) and sentences: `head`, `much`, `champion`, `gate`, `trust`.

    seeds: ROUGE-1 of every training seed, the candidate's first; empty or one figure where only one was trained.
    """
    found = scores["protocols"][scores["headline"]]
    rows = _rows(found["protocol"])
    if "base" not in scores["differences"]:
        base = found["systems"]["base"][MEASURE]
        return {
            "state": "alone",
            "head": f"The base model scores {base['f1']:.1f} {NAME}.",
            "much": f"95 % interval {base['interval'][0]:.1f} to {base['interval'][1]:.1f}.",
            "champion": "", "gate": "", "trust": f"Measured on {rows}.",
        }  # fmt: skip
    rival = "champion" if "champion" in scores["differences"] else "base"
    gain, system = scores["differences"][rival][MEASURE], found["systems"]
    low, high = gain["interval"]
    state = "better" if low > 0 else "worse" if high < 0 else "even"
    against = {"champion": "the champion", "base": "the base model"}[rival]
    resamples = found["protocol"]["interval"].split(", ")[-1]
    return {
        "state": state,
        "head": {
            "better": f"The tuned model is better than {against}.",
            "worse": f"The tuned model is worse than {against}.",
            "even": f"No difference between the tuned model and {against} is established.",
        }[state],
        "much": _against(system["tuned"], system[rival], gain),
        "champion": f"Against the base model: {_against(system['tuned'], system['base'], scores['differences']['base'][MEASURE])}"
        if rival == "champion"
        else "",
        "gate": _gate(decision),
        "trust": " ".join(
            filter(
                None,
                [
                    f"Measured on the same {rows}; better in {100 * gain['better']:.1f} % of {resamples}.",
                    _before(scores),
                    _chance(seeds),
                    "Evaluated with another prompt than the adapter was trained on." if other_prompt else "",
                ],
            )
        ),
    }


def _rows(protocol: dict[str, Any]) -> str:
    rows, split = protocol["rows"], protocol["rows_in_split"]
    part = f"{rows} of {split}" if rows < split else f"{rows}"
    return f"{part} test dialogues with {protocol['references_per_row']} references each"


def _against(ours: dict[str, Any], theirs: dict[str, Any], gain: dict[str, Any]) -> str:
    low, high = gain["interval"]
    return (
        f"{NAME} {ours[MEASURE]['f1']:.1f} against {theirs[MEASURE]['f1']:.1f}: {gain['mean']:+.1f} points "
        f"(95 % interval {low:+.1f} to {high:+.1f})."
    )


def _gate(decision: dict[str, Any] | None) -> str:
    if decision is None:
        return ""
    if decision["passed"]:
        return "It passes the gate."
    return "It does not pass the gate. " + "; ".join(decision["reasons"]) + "."


def _before(scores: dict[str, Any]) -> str:
    if "before" not in scores["differences"]:
        return ""
    gain = scores["differences"]["before"][MEASURE]
    return (
        f"The new prompt moves {NAME} by {gain['mean']:+.1f} points against the prompt it was trained on "
        f"({gain['interval'][0]:+.1f} to {gain['interval'][1]:+.1f})."
    )


def _chance(seeds: list[float]) -> str:
    if len(seeds) < 2:
        return "The interval covers the choice of dialogues, not the chance in training: one seed was trained."
    return f"Over {len(seeds)} training seeds {NAME} went from {min(seeds):.1f} to {max(seeds):.1f}."
