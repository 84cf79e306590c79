"""Finds the review of two sets of predictions."""

from artifacts.artifact_store import DamageError, Store
from artifacts.manifest import Manifest
from tasks.manifest_views import ReviewView


def newest_review(candidate: str, opponent: str) -> Manifest | None:
    """The newest intact review of these predictions; None if there is none.

    Predictions are compared by their digests, so that a review remains valid when the same summaries are scored again.
    """
    store = Store.current()
    for manifest in reversed(store.manifests("review")):
        if tuple(ref.digest for ref in ReviewView(manifest).predictions) == (candidate, opponent):
            try:
                return store.verified(manifest.path)
            except DamageError:
                continue
    return None
