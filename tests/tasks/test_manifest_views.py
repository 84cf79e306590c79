"""Typed views read what the stages have written, and refuse the artifact of another stage."""

import pytest

from artifacts.artifact_store import Store
from tasks import manifest_views
from tasks.manifest_views import AdapterView, ManifestView, ModelView, PredictionsView, ScoresView
from tasks.registry import STAGES
from tests.support.artifacts import publish_small_artifact

VIEWS = [view for view in vars(manifest_views).values() if isinstance(view, type) and issubclass(view, ManifestView)]


def test_each_stage_has_one_view() -> None:
    assert sorted(view.STAGE for view in VIEWS if view not in (ManifestView, ModelView)) == sorted(STAGES)


def test_an_artifact_of_another_stage_is_refused_by_name(store: Store) -> None:
    manifest = publish_small_artifact(store)
    assert manifest.stage == "train"
    assert AdapterView(manifest).id == manifest.id
    with pytest.raises(ValueError, match=f"{manifest.id} is no artifact of generate"):
        PredictionsView(manifest)


def test_scores_from_before_there_was_a_history_have_no_intervals(store: Store) -> None:
    manifest = publish_small_artifact(store).model_copy(update={"stage": "score", "facts": {"headline": {}}})
    assert ScoresView(manifest).intervals == {}
