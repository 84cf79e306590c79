"""The first screen of a report: what was compared, is it better, by how much, can it be trusted, in plain words."""

from collections.abc import Mapping
from typing import Any

from artifacts.manifest import Manifest
from tasks.metrics.rounding import probability
from tasks.reporting.examples import MEASURE, RIVALS

NAME = "ROUGE-1"
WORDS = {"champion": "the champion", "base": "the base model"}


def changed(outputs: Mapping[str, Manifest]) -> str:
    """What differs between `tuned` and `before`, one adapter's summaries: `prompt`, `decoding`, both, or nothing."""
    if not {"tuned", "before"} <= set(outputs):
        return ""
    (prompt, decoding), (prompt_before, decoding_before) = (
        ((m.inputs["rows"].digest, m.identity["config"]["turns"]), m.identity["config"]["generate"])
        for m in (outputs["tuned"], outputs["before"])
    )
    names = {"prompt": prompt != prompt_before, "decoding": decoding != decoding_before}
    return " and ".join(name for name, other in names.items() if other)


def system_labels(outputs: Mapping[str, Manifest], prompts: Mapping[str, str]) -> dict[str, str]:
    """System -> its name in tables and drawings, so that two outputs of one adapter can be told apart.

    outputs: manifests of the predictions. prompts: system -> name or first words of its prompt, as far as known.
    """
    labels = {name: name for name in outputs}
    differs = changed(outputs)
    if not differs:
        return labels
    for name, age in (("tuned", "new"), ("before", "previous")):
        parts = []
        for part in differs.split(" and "):
            own, other = (
                (f"prompt {quoted(prompts[system])}" if system in prompts else "")
                if part == "prompt"
                else decoding_in_words(outputs[system].identity["config"]["generate"])
                for system in (name, "before" if name == "tuned" else "tuned")
            )
            parts.append(own if own and own != other else f"{age} {part}")
        labels[name] = ", ".join(["tuned", *parts])
    return labels


def quoted(prompt: str) -> str:
    """The name of a prompt as it is, the first words of one without a name in quotes."""
    return prompt if len(prompt.split()) == 1 and not prompt.endswith("…") else f'"{prompt}"'


def rivals_in_words(
    outputs: Mapping[str, Manifest], prompts: Mapping[str, str], quotes: bool = True
) -> tuple[str, dict[str, str]]:  # fmt: skip
    """What the tuned model is called beside `before`, and system -> what a sentence calls the one it is compared with."""
    differs, words = changed(outputs), dict(WORDS)
    if not differs:
        return "the tuned model", words | {"before": "the tuned model before"}
    names = [prompts.get(name, "") for name in ("tuned", "before")]
    named = quotes and all(names) and names[0] != names[1]  # the same prompt with other turns has the same name
    now, then = (f' "{name}"' if named else "" for name in names)
    ours = f"prompt{now}" if now else "the new prompt"
    theirs = f"the previous prompt{then}"
    if "decoding" in differs:
        new, old = (decoding_in_words(outputs[name].identity["config"]["generate"]) for name in ("tuned", "before"))
        new, old = (f" ({new})", f" ({old})") if new != old and quotes else ("", "")
        if differs == "decoding":
            ours, theirs = f"the new decoding{new}", f"the previous decoding{old}"
        else:
            ours, theirs = f"{ours} with the new decoding{new}", f"{theirs} and decoding{old}"
    return ours, words | {"before": theirs}


def decoding_in_words(generate: dict[str, Any]) -> str:
    """Settings of a generation -> `greedy`, `beam 4`, `best of 64 by agreement`."""
    candidates = generate.get("candidates", 1)  # older artifacts have none
    if generate.get("beams", 1) > 1:
        return f"beam {generate['beams']}"
    return "greedy" if candidates == 1 else f"best of {candidates} by agreement"


def verdict(
    scores: dict[str, Any],
    decision: dict[str, Any] | None,
    seeds: list[float],
    other_prompt: bool | None,
    compared: tuple[str, dict[str, str]],
) -> dict[str, Any]:
    """`state` (better, worse, even, alone) and sentences: `head`, `much`, `others`, `gate`, `trust`.

    seeds: ROUGE-1 of every training seed, the candidate's first; empty or one figure where only one was trained.
    compared: what `rivals_in_words` returns.
    """
    new, words = compared
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
    ours, theirs = new if rival == "before" else "the tuned model", words[rival]
    subject = f"{ours[0].upper()}{ours[1:]}"
    others = [name for name in RIVALS if name != rival and name in scores["differences"]]
    trust = [
        f"Measured on the same {rows}; probability of being better {probability(gain['better'])}.",
        _chance(seeds),
        "This prompt differs from the one the adapter was trained with." if other_prompt else "",
    ]
    return {
        "state": state,
        "head": {
            "better": f"{subject} is better than {theirs}.",
            "worse": f"{subject} is worse than {theirs}.",
            "even": f"No significant difference between {ours} and {theirs}.",
        }[state],
        "much": _against(system["tuned"], system[rival], gain),
        "others": [
            f"Against {words[name]}: {_against(system['tuned'], system[name], scores['differences'][name][MEASURE])}"
            for name in others
        ],
        "gate": _gate(decision),
        "trust": " ".join(filter(None, trust)),
    }


def dialogues(protocol: dict[str, Any]) -> str:
    """`40`, or `8 of 40` where only a part of the split was summarized."""
    rows, split = protocol["rows"], protocol["rows_in_split"]
    return f"{rows} of {split}" if rows < split else f"{rows}"


def _rows(protocol: dict[str, Any]) -> str:
    return f"{dialogues(protocol)} test dialogues with {protocol['references_per_row']} references each"


def _against(ours: dict[str, Any], theirs: dict[str, Any], gain: dict[str, Any]) -> str:
    low, high = gain["interval"]
    return (
        f"{NAME} {ours[MEASURE]['f1']:.1f} against {theirs[MEASURE]['f1']:.1f}: {gain['mean']:+.1f} points "
        f"(95 % interval {low:+.1f} to {high:+.1f})."
    )


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
