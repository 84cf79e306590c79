"""The default recipe of a station's deployments. The first `station up` chooses it, later ones keep it.

Order: --recipe, the recipe that an earlier `up` chose, the recipe that trained the champion, the recipe in prefect.yaml
if its data and base model are available on this machine, quickstart (which needs no hub).
"""

from collections.abc import Sequence
from pathlib import Path
from threading import Thread
from typing import Any

import yaml

from artifacts.artifact_store import Store
from artifacts.champions import Champion, Champions
from artifacts.errors import RequestError
from artifacts.record import Record
from artifacts.text import did_you_mean, one_line
from flows.recipe import RECIPES, load_recipe
from tasks.sources.resolve import resolve_data, resolve_model

PREFECT_YAML = Path(__file__).with_name("prefect.yaml")
"""Link to the file in the root of the checkout; a wheel has a copy."""
DEPLOYMENTS = ("retrain", "evaluate", "promote", "sweep")
"""Deployments in prefect.yaml that have the default recipe as a parameter."""
WITHOUT_HUB = "quickstart"
DEADLINE = 5.0
"""Seconds to find a recipe's data and model: on a machine without a network a look-up can hang for minutes."""


class DefaultRecipe(Record):
    """A choice, as it is kept from one `station up` to the next."""

    recipe: str
    reason: str


def known_recipe(name: str) -> str:
    """The name. RequestError if the forms do not offer it: a deployment has no access to recipe files elsewhere."""
    known = [file.stem for file in RECIPES.glob("*.yaml")]
    if name not in known:
        raise RequestError(f"--recipe: no recipe {one_line(name, 80)!r} in flows/recipes{did_you_mean(name, known)}")
    return name


def choose(option: str | None, file: Path, overrides: Sequence[str]) -> tuple[DefaultRecipe, str]:
    """Choose the default recipe and write it to `file`. Returns the choice, and the line that explains it.

    `option` is that of --recipe; `overrides` are those of the Prefect variable, which apply to every deployed run.
    """
    earlier, trained = _read(file), _trained_champion()
    if option is not None:
        choice = DefaultRecipe(recipe=known_recipe(option), reason="given with --recipe")
    else:
        choice = earlier or trained or _configured(overrides)
    why = f"kept from an earlier `station up`: {choice.reason}" if choice is earlier else choice.reason
    if trained is not None and trained.recipe != choice.recipe:
        why += f"; but {trained.recipe}: {trained.reason}"
    file.write_text(choice.model_dump_json())
    return choice, f"default recipe: {choice.recipe} ({why}); `dialogsum station up --recipe NAME` changes it"


def newest_champion() -> Champion | None:
    """Of all base models in the store, the champion whose log changed last."""
    store = Store.current()
    bases = store.side_files.names("champions")
    logs = [log for base in bases if (log := Champions(store, base)).current]
    return max(logs, key=lambda log: log.changes[-1].at).current if logs else None


def deployments_with(recipe: str) -> str:
    """prefect.yaml with this recipe as the default of its deployments."""
    content = _prefect_yaml()
    for deployment in content["deployments"]:
        if deployment["name"] in DEPLOYMENTS:
            deployment["parameters"] = (deployment.get("parameters") or {}) | {"recipe": recipe}
    return yaml.safe_dump(content, sort_keys=False, allow_unicode=True)


def _prefect_yaml() -> Any:
    return yaml.safe_load(PREFECT_YAML.read_text(encoding="utf-8"))


def _read(file: Path) -> DefaultRecipe | None:
    """An earlier choice, unless its recipe has been removed."""
    try:
        earlier = DefaultRecipe.model_validate_json(file.read_text())
    except (OSError, ValueError):
        return None
    return earlier if (RECIPES / f"{earlier.recipe}.yaml").is_file() else None


def _trained_champion() -> DefaultRecipe | None:
    """The recipe that trained the newest champion, if flows/recipes has it."""
    champion = newest_champion()
    if champion is None:
        return None
    try:
        name = Store.current().by_id(champion.adapter).provenance.origin.get("recipe", "").split(" ")[0]
    except RequestError:  # the adapter was removed from the store
        return None
    if not name or not (RECIPES / f"{name}.yaml").is_file():
        return None
    return DefaultRecipe(recipe=name, reason=f"it trained the champion {champion.adapter}")


def _configured(overrides: Sequence[str]) -> DefaultRecipe:
    """The recipe in prefect.yaml, or quickstart where that one's data or model are not available."""
    deployment = next(each for each in _prefect_yaml()["deployments"] if each["name"] == DEPLOYMENTS[0])
    name = (deployment.get("parameters") or {}).get("recipe", WITHOUT_HUB)
    problem = None if name == WITHOUT_HUB else _unavailable(name, overrides)
    if problem is None:
        return DefaultRecipe(recipe=name, reason="from prefect.yaml; no champion of a recipe in flows/recipes exists")
    return DefaultRecipe(
        recipe=WITHOUT_HUB,
        reason=f"no champion exists, and {name} of prefect.yaml cannot run here: "
        f"{one_line(problem.partition(';')[0], 160)}",
    )


def _unavailable(recipe: str, overrides: Sequence[str]) -> str | None:
    """Why a recipe's data or base model cannot be used on this machine, or None. Takes DEADLINE at most."""
    import huggingface_hub.errors  # noqa: F401  # takes seconds, which are not the hub's

    problems = list[str | None]()

    def look() -> None:
        try:
            loaded = load_recipe(recipe, overrides)
            resolve_data(loaded.data)
            resolve_model(loaded.model)
        except RequestError as error:
            problems.append(str(error))
        else:
            problems.append(None)

    thread = Thread(target=look, daemon=True)  # a daemon does not keep the process from ending
    thread.start()
    thread.join(DEADLINE)
    return (
        problems[0] if problems else f"its data and model were not found within {DEADLINE:g} s (is the hub reachable?)"
    )
