"""The dataset that the champion was trained on, for the report to compare the dataset of a run with."""

from artifacts.artifact_store import DamageError, Store
from artifacts.errors import RequestError
from artifacts.manifest import InputRef, Manifest
from tasks.config import ChampionData
from tasks.execution.decision import Input
from tasks.manifest_views import AdapterView, FormattedRowsView


class UnavailableError(Exception):
    """An artifact is missing or damaged; the message names it."""


def champion_data(adapter: str, dataset: Input) -> tuple[ChampionData, Manifest | None]:
    """The champion's entry in the settings of the report, and its dataset if that is another one than `dataset`.

    adapter: id of the champion's adapter. A dataset that is missing or damaged ends no run; the entry has the reason.
    """
    store = Store.current()
    try:
        rows = AdapterView(_manifest(store, adapter)).rows
        trained_on = FormattedRowsView(_manifest(store, rows.id)).dataset
        if trained_on.digest == dataset.digest:
            return ChampionData(champion=adapter), None
        return ChampionData(champion=adapter), _intact(store, trained_on)
    except UnavailableError as error:
        return ChampionData(champion=adapter, not_compared=str(error)), None


def _manifest(store: Store, artifact: str) -> Manifest:
    try:
        return store.by_id(artifact)
    except RequestError as error:  # its message has paths, which must not become part of the report's key
        raise UnavailableError(f"{artifact} is missing or damaged") from error


def _intact(store: Store, ref: InputRef) -> Manifest:
    try:
        manifest = store.verified(_manifest(store, ref.id).path)
    except DamageError as error:
        raise UnavailableError(f"{ref.id} is missing or damaged") from error
    if manifest.digest != ref.digest:
        raise UnavailableError(f"{ref.id} was made again with other rows")
    return manifest
