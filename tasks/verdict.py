"""The first screen of a report: is it better, by how much, can it be trusted, in plain words."""

from typing import Any

from tasks.examples import MEASURE, RIVALS

NAME = "ROUGE-1"
WORDS = {"champion": "the champion", "base": "the base model"}


def verdict(
    scores: dict[str, Any], decision: dict[str, Any] | None, seeds: list[float], other_prompt: bool | None, changed: str
) -> dict[str, Any]:
    """`state` (better, worse, even, alone) and sentences: `head`, `much`, `others`, `gate`, `trust`.

    seeds: ROUGE-1 of every training seed, the candidate's first; empty or one figure where only one was trained.
    changed: what `before` was asked otherwise: prompt, decoding, or both.
    """
    words = WORDS | {"before": f"the {changed} before"}
    found = scores["protocols"][scores["headline"]]
    rows = _rows(found["protocol"])
    if "base" not in scores["differences"]:
        base = found["systems"]["base"][MEASURE]
        return {
            "state": "alone",
            "head": f"The base model scores {base['f1']:.1f} {NAME}.",
            "much": f"95 % interval {base['interval'][0]:.1f} to {base['interval'][1]:.1f}.",
            "others": [], "gate": "", "trust": f"Measured on {rows}.",
        }  # fmt: skip
    rival = next(name for name in RIVALS if name in scores["differences"])
    gain, system = scores["differences"][rival][MEASURE], found["systems"]
    low, high = gain["interval"]
    state = "better" if low > 0 else "worse" if high < 0 else "even"
    ours, theirs = f"The new {changed}" if rival == "before" else "The tuned model", words[rival]
    others = [name for name in RIVALS if name != rival and name in scores["differences"]]
    trust = [
        f"Measured on the same {rows}; probability of being better {_percent(gain['better'])}.",
        _chance(seeds),
        "It is asked with another prompt than the adapter was trained on." if other_prompt else "",
    ]
    return {
        "state": state,
        "head": {
            "better": f"{ours} is better than {theirs}.",
            "worse": f"{ours} is worse than {theirs}.",
            "even": f"No difference between {ours[0].lower()}{ours[1:]} and {theirs} is established.",
        }[state],
        "much": _against(system["tuned"], system[rival], gain),
        "others": [
            f"Against {words[name]}: {_against(system['tuned'], system[name], scores['differences'][name][MEASURE])}"
            for name in others
        ],
        "gate": _gate(decision),
        "trust": " ".join(filter(None, trust)),
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


def _percent(share: float) -> str:
    return "above 99.9 %" if share > 0.999 else "below 0.1 %" if share < 0.001 else f"{100 * share:.1f} %"


def _gate(decision: dict[str, Any] | None) -> str:
    if decision is None:
        return ""
    left_out = [check["name"] for check in decision["checks"] if not check.get("applied", True)]
    rest = f" Not applied: {', '.join(left_out)}." if left_out else ""
    if decision["passed"]:
        return f"It passes the gate.{rest}"
    return f"It does not pass the gate: {'; '.join(decision['reasons'])}.{rest}"


def _chance(seeds: list[float]) -> str:
    if len(seeds) < 2:
        return "The interval covers the choice of dialogues, not the chance in training: one seed was trained."
    return f"Over {len(seeds)} training seeds {NAME} went from {min(seeds):.1f} to {max(seeds):.1f}."
