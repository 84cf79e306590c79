"""The label of a sequence classifier that means: the premise supports the claim."""

import re
from collections.abc import Mapping

from artifacts.errors import RequestError

SUPPORTED = {"entailment", "entail", "entailed", "supported", "support", "supports", "consistent", "faithful"}
"""Names that mean it, in small letters."""
_GENERIC = re.compile(r"label_\d+")


def supported_label(labels: Mapping[int, str], wanted: str | None) -> int:
    """Number of the label. RequestError if no label, or several, can be meant.

    One label: the model gives one logit. Two labels without names, as fact checkers have them: the second.

    labels: `id2label` of the model's config. wanted: `judge.label`, a name or a number.
    """
    names = {number: name.strip().lower() for number, name in labels.items()}
    listed = ", ".join(f"{number} {name}" for number, name in sorted(labels.items()))
    if wanted is not None:
        found = [number for number, name in names.items() if wanted.strip().lower() in (name, str(number))]
        if not found:
            raise RequestError(f"judge.label: the judge has no label {wanted!r}; it has {listed}")
        return found[0]
    if len(names) == 1:
        return next(iter(names))
    found = [number for number, name in names.items() if name in SUPPORTED]
    if len(found) == 1:
        return found[0]
    if len(names) == 2 and all(map(_GENERIC.fullmatch, names.values())):
        return max(names)
    raise RequestError(
        f"judge.model: which of its labels means that the dialogue supports the summary? It has {listed}: "
        "name it as judge.label, or choose a model for entailment"
    )
