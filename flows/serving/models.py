"""The models of a server by name: `champion`, `base`, `latest` or the id of an adapter of the same base model."""

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

from artifacts.artifact_store import DamageError, Store
from artifacts.champions import Champion, Champions
from artifacts.errors import RequestError, StageError
from artifacts.text import one_line
from flows.inference.model_selection import select_champion, select_model
from flows.recipe import load_recipe
from flows.serving import metrics
from flows.serving.api_errors import ApiError
from flows.serving.champion_follower import ChampionFollower
from flows.serving.config import ServeConfig
from flows.serving.model_cache import RETRY_SECONDS, ModelCache
from tasks.manifest_views import AdapterView
from tasks.sources.resolve import resolve_model
from tasks.summarization.request import SelectedModel

LOG = logging.getLogger("dialogsum.serve")
ALIASES = {"champion": "champion", "latest": "latest", "base": "none"}
"""Name of a model in the API -> name for `select_model`."""
SELECTIONS = 64
"""Verified adapters, each under one prompt, that are remembered."""


@dataclass(frozen=True)
class ServedModel:
    """What answers a request."""

    artifact: str
    """Id of the adapter, or `base`."""
    selected: SelectedModel


class Models:
    """Finds the model for a name, and keeps the champion loaded."""

    def __init__(self, config: ServeConfig, cache: ModelCache) -> None:
        """RequestError if the recipe or its base model does not exist."""
        self.config, self.cache = config, cache
        self.recipe = config.recipe or newest_recipe()
        self.revision = resolve_model(load_recipe(self.recipe, config.overrides).model).revision
        self.follower = ChampionFollower(self.revision)
        self.champion: str | None = None
        """The champion that was loaded last."""
        self.problem: str | None = "the champion is being loaded"
        """Why `champion` does not answer; None: it does."""
        self._selections: OrderedDict[tuple[str, str | None], SelectedModel] = OrderedDict()

    async def find(self, name: str, prompt: str | None) -> ServedModel:
        """The model for a request. ApiError 404 for a name that is not served, 503 if there is no usable champion."""
        if name == "champion":
            return await self._find_champion(prompt)
        if name not in ALIASES and not name.startswith("train-"):
            raise ApiError(
                404,
                f"no model {one_line(name, 60)!r}: champion, base, latest, or the id of an adapter (train-…)",
                param="model",
                code="model_not_found",
            )
        select = lambda: select_model(ALIASES.get(name, name), self.recipe, prompt, self.config.overrides)  # noqa: E731
        try:
            # `latest` changes, an artifact does not
            key = None if name == "latest" else (name, prompt)
            selected = await self._selected(key, select)
        except RequestError as error:
            raise ApiError(404, one_line(error, 300), param="model", code="model_not_found") from error
        return _served(selected)

    async def _find_champion(self, prompt: str | None) -> ServedModel:
        """What the log names now. Never an older champion: it may have been rolled back because it is harmful."""
        try:
            champion = await self.follower.champion()
            if champion is None:
                raise RequestError("no adapter is champion: `dialogsum promote` makes one; `base` answers meanwhile")
            return _served(await self._select_champion(champion, prompt))
        except (RequestError, StageError, DamageError, OSError) as error:
            raise champion_unavailable(error) from error

    async def _select_champion(self, champion: Champion, prompt: str | None) -> SelectedModel:
        select = lambda: select_champion(champion, self.recipe, prompt, self.config.overrides)  # noqa: E731
        return await self._selected((champion.model_dump_json(), prompt), select)

    async def _selected(self, key: tuple[str, str | None] | None, select: Callable[[], SelectedModel]) -> SelectedModel:
        """The selection, which is verified once. It reads whole files, so it runs in a thread."""
        if key is not None and key in self._selections:
            self._selections.move_to_end(key)
            return self._selections[key]
        selected = await asyncio.to_thread(select)
        if key is not None:
            self._selections[key] = selected
            if len(self._selections) > SELECTIONS:
                self._selections.popitem(last=False)
        return selected

    async def keep_champion_loaded(self) -> None:
        """Look at the log again and again, load a new champion before a request asks for it, note what is wrong."""
        while True:
            try:
                champion = await self.follower.champion()
                if champion is None:
                    raise RequestError("no adapter is champion")
                served = _served(await self._select_champion(champion, None))
                async with self.cache.use(served.artifact, served.selected):
                    self._note(served.artifact, None)
            except Exception as error:
                self._note(None, one_line(error, 300))
            await asyncio.sleep(self.config.poll_seconds if self.problem is None else RETRY_SECONDS)

    def _note(self, artifact: str | None, problem: str | None) -> None:
        if artifact != self.champion and artifact:
            metrics.CHAMPION_CHANGES.inc()
            LOG.info("%s is champion", artifact)
        if problem and problem != self.problem:
            LOG.error("champion does not answer: %s", problem)
        self.champion, self.problem = artifact, problem
        metrics.CHAMPION_AVAILABLE.set(problem is None)

    def names(self) -> list[str]:
        """Every name that a request may give; reads the store."""
        adapters = Store.current().manifests("train")
        return [*ALIASES, *(m.id for m in adapters if AdapterView(m).base_revision == self.revision)]


def champion_unavailable(error: Exception) -> ApiError:
    """The refusal of a request for a champion that cannot be loaded, or a log that cannot be read."""
    message = f"the champion does not answer: {one_line(error, 300)}"
    return ApiError(503, message, param="model", code="champion_unavailable", retry_after=int(RETRY_SECONDS))


def _served(selected: SelectedModel) -> ServedModel:
    return ServedModel(selected.name.rsplit(" ", 1)[-1] if selected.adapter else "base", selected)


def newest_recipe() -> str:
    """The recipe of the base model whose champion log changed last; `quickstart` if there is no champion."""
    store = Store.current()
    logs = [log for base in store.side_files.names("champions") if (log := Champions(store, base)).current]
    if not logs:
        return "quickstart"
    champion = max(logs, key=lambda log: log.changes[-1].at).current
    assert champion is not None
    recipe = store.by_id(champion.adapter).provenance.origin.get("recipe", "").split(" ")[0]
    return recipe or "quickstart"
