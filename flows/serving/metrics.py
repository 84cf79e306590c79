"""The metrics of a server, in Prometheus' format."""

from artifacts.errors import RequestError

try:
    from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
except ImportError as error:
    raise RequestError("`dialogsum serve` needs prometheus-client: pip install 'dialogsum-pipeline[serve]'") from error

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
REGISTRY = CollectorRegistry()
SECONDS = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120)

REQUESTS = Counter("dialogsum_requests", "Answered requests", ["model", "status"], registry=REGISTRY)
REQUEST_SECONDS = Histogram(
    "dialogsum_request_seconds", "Time from arrival to the last byte", ["model"], buckets=SECONDS, registry=REGISTRY
)
IN_PROGRESS = Gauge("dialogsum_requests_in_progress", "Requests under way, waiting ones included", registry=REGISTRY)
TOKENS = Counter("dialogsum_tokens", "Tokens of prompts and of summaries", ["kind"], registry=REGISTRY)
BATCH_ROWS = Histogram(
    "dialogsum_batch_rows", "Requests that were decoded together", buckets=(1, 2, 4, 8, 16, 32, 64), registry=REGISTRY
)
MODELS = Gauge("dialogsum_models_loaded", "Models in memory", registry=REGISTRY)
LOAD_SECONDS = Histogram("dialogsum_model_load_seconds", "Time to load a model", buckets=SECONDS, registry=REGISTRY)
LOAD_FAILURES = Counter("dialogsum_model_load_failures", "Models that could not be loaded", registry=REGISTRY)
CHAMPION_AVAILABLE = Gauge(
    "dialogsum_champion_available", "1: the champion of the log answers; 0: it cannot", registry=REGISTRY
)
CHAMPION_CHANGES = Counter(
    "dialogsum_champion_changes", "Promotions and rollbacks that this server has followed", registry=REGISTRY
)


def exposition() -> bytes:
    """All metrics, as Prometheus reads them."""
    return generate_latest(REGISTRY)
