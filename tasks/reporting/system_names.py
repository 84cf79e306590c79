"""Names of the compared systems in tables and sentences, by the prompt and decoding that distinguish them."""

from collections.abc import Mapping
from typing import Any

from artifacts.manifest import Manifest
from tasks.manifest_views import PredictionsView
from tasks.metrics.score_table import System

NAMES: dict[str, str] = {System.CHAMPION: "the champion", System.BASE: "the base model"}


def changed_settings(outputs: Mapping[str, Manifest]) -> str:
    """What differs between `tuned` and `before`, which are one adapter: `prompt`, `decoding`, both, or nothing."""
    if not {System.TUNED, System.PREVIOUS} <= set(outputs):
        return ""
    (prompt, decoding), (previous_prompt, previous_decoding) = (
        ((view.rows.digest, view.turns), view.decoding)
        for view in (PredictionsView(outputs[System.TUNED]), PredictionsView(outputs[System.PREVIOUS]))
    )
    differs = {"prompt": prompt != previous_prompt, "decoding": decoding != previous_decoding}
    return " and ".join(name for name, different in differs.items() if different)


def system_labels(outputs: Mapping[str, Manifest], prompts: Mapping[str, str]) -> dict[str, str]:
    """System -> its name in tables and plots; two outputs of one adapter get different names.

    outputs: manifests of the predictions. prompts: system -> name or first words of its prompt, if known.
    """
    labels = {name: name for name in outputs}
    settings = changed_settings(outputs)
    if not settings:
        return labels
    pair = (System.TUNED, System.PREVIOUS)
    for system, other, age in ((*pair, "new"), (*pair[::-1], "previous")):
        parts = []
        for setting in settings.split(" and "):
            own, others = (_setting_label(setting, outputs[name], prompts.get(name)) for name in (system, other))
            parts.append(own if own and own != others else f"{age} {setting}")
        labels[system] = ", ".join([System.TUNED, *parts])
    return labels


def _setting_label(setting: str, output: Manifest, prompt: str | None) -> str:
    if setting == "decoding":
        return describe_decoding(PredictionsView(output).decoding)
    return f"prompt {quoted(prompt)}" if prompt is not None else ""


def quoted(prompt: str) -> str:
    """The name of a prompt unchanged; the first words of a prompt without a name in quotes."""
    return prompt if len(prompt.split()) == 1 and not prompt.endswith("…") else f'"{prompt}"'


def comparison_names(
    outputs: Mapping[str, Manifest], prompts: Mapping[str, str], details: bool = True
) -> tuple[str, dict[str, str]]:
    """(name of the tuned model beside `before`, system -> name of a compared system), for use in sentences.

    details: name the prompts and decodings, not just `the new prompt` and `the previous prompt`.
    """
    settings = changed_settings(outputs)
    if not settings:
        return "the tuned model", NAMES | {System.PREVIOUS: "the tuned model before"}
    new_prompt, old_prompt = (prompts.get(system, "") for system in (System.TUNED, System.PREVIOUS))
    # one prompt in two chat templates has one name, which would not distinguish them
    named = bool(details and new_prompt and old_prompt and new_prompt != old_prompt)
    new, old = f'prompt "{new_prompt}"' if named else "the new prompt", "the previous prompt"
    old += f' "{old_prompt}"' if named else ""
    if "decoding" in settings:
        new_decoding, old_decoding = (
            describe_decoding(PredictionsView(outputs[system]).decoding) for system in (System.TUNED, System.PREVIOUS)
        )
        described = details and new_decoding != old_decoding
        new_detail, old_detail = (f" ({new_decoding})", f" ({old_decoding})") if described else ("", "")
        if settings == "decoding":
            new, old = f"the new decoding{new_detail}", f"the previous decoding{old_detail}"
        else:
            new, old = f"{new} with the new decoding{new_detail}", f"{old} and decoding{old_detail}"
    return new, NAMES | {System.PREVIOUS: old}


def describe_decoding(generate: Mapping[str, Any]) -> str:
    """Settings of a generation -> `greedy`, `beam 4`, `best of 64 by agreement`, `greedy, NF4 weights`."""
    candidates = generate.get("candidates", 1)  # older artifacts do not have it
    words = "greedy" if candidates == 1 else f"best of {candidates} by agreement"
    if generate.get("beams", 1) > 1:
        words = f"beam {generate['beams']}"
    return f"{words}, NF4 weights" if generate.get("quantization") == "nf4" else words
