"""Names of flow runs: a name that a person typed is kept, any other is replaced by a description of the run.

Prefect's engine calls `flow_run_name` when a run starts and replaces its name, also one that was typed into the field
"Run Name" of the UI's form. A run does not record whether its name was typed, so Prefect's random names are recognised.
"""

import re
from collections.abc import Callable
from typing import Any

from coolname.data import config
from prefect.client.orchestration import get_client
from prefect.context import FlowRunContext
from prefect.runtime import flow_run

from tasks.run_watch import end_if_cancelled

VOCABULARY: Any = config
WORDS = frozenset(word for words in VOCABULARY.values() if words["type"] == "words" for word in words["words"])
"""Of the names that the server draws: `fluffy-heron`."""
GREEK = (
    "alpha|beta|gamma|delta|epsilon|zeta|eta|theta|iota|kappa|lambda|mu|nu|xi|omicron|pi|rho|sigma|tau|upsilon|phi|chi|"
    "psi|omega"
)
ENDINGS = (
    "[a-z]|adjunct|anomaly|band|boundary|cloud|cluster|collapse|conflux|expanse|field|fringe|instability|manifold|mass|"
    "nebula|"
    "point|quadrant|reach|ring|sector|shift|tensor|terminus|vector|void|warp"
)
FORM = re.compile(rf"(?:{GREEK})(?:\d+-[a-z-]*|-[a-z-]*-(?:{ENDINGS}))")
"""`upsilon368-selye-warp`, which the UI's form begins with."""
NEW_FORM = re.compile(
    "(?:Awesome|Rustic|Small|Gorgeous|Fantastic|Sleek|Intelligent|Unbranded|Refined|Licensed|Generic|Practical|"
    "Ergonomic|"
    "Handcrafted|Tasty|Handmade|Incredible)-.{1,6}"
)
"""`Tasty-Mici`, which the form of the newer UI begins with."""


def drawn(name: str) -> bool:
    """Whether Prefect may have drawn this name: the server of two words, or a form of the UI."""
    two = name.split("-")
    return (len(two) == 2 and set(two) <= WORDS) or any(form.fullmatch(name) for form in (FORM, NEW_FORM))


def kept_or(build: Callable[[dict[str, Any]], str]) -> Callable[[], str]:
    """A `flow_run_name`: the name that the run has if a person typed it, else `build(parameters)`.

    Prefect asks for it before the run is Running, the last moment to end one that was cancelled meanwhile.
    """

    def name() -> str:
        end_if_cancelled()
        name = flow_run.name
        return name if name and not drawn(name) else build(flow_run.parameters)

    return name


def of_retrain(parameters: dict[str, Any]) -> str:
    """What is known before the flow has read its recipe; `rename` completes it."""
    return f"retrain {parameters['recipe']}"


def of_evaluate(parameters: dict[str, Any]) -> str:
    """See `of_retrain`."""
    prompt = f" with prompt {parameters['prompt'][:40]}" if parameters.get("prompt") else ""
    return f"evaluate {parameters['adapter']}{prompt} ({parameters['recipe']})"


def of_promote(parameters: dict[str, Any]) -> str:
    """See `of_retrain`."""
    return f"promote {parameters['adapter']} ({parameters['recipe']})"


def of_sweep(parameters: dict[str, Any]) -> str:
    """`sweep quickstart: train.lora.rank=32,64`."""
    return f"sweep {parameters['recipe']}: {'; '.join(parameters['over'])}"[:200]


def rename(name: str, recipe: str) -> None:
    """Give the run of this recipe its complete name, unless a person typed another.

    A run that is retried has a complete name from its first try, with the adapter that was the latest then.
    """
    context, by = FlowRunContext.get(), re.escape(recipe)
    ours = re.compile(
        rf"retrain {by}(, .*)?|(evaluate|promote) (latest|champion|none|base model|train-[0-9a-f]{{8}})"
        rf"( with prompt .*)? \({by}(, .*)?\)"
    )
    if context is None or context.flow_run is None or not ours.fullmatch(context.flow_run.name):
        return
    with get_client(sync_client=True) as client:
        client.set_flow_run_name(context.flow_run.id, name)
    context.flow_run.name = name
