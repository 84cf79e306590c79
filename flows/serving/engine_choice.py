"""The choice of an inference engine."""

from importlib.util import find_spec

from artifacts.errors import RequestError
from flows.serving.batching_engine import BatchingEngine
from flows.serving.config import EngineName
from flows.serving.inference_engine import InferenceEngine


def create_engine(name: EngineName, rows: int) -> InferenceEngine:
    """`native` decodes as the stage generate does; `vllm` has to be asked for, since it words summaries differently.

    rows: requests at once, at most. RequestError if vLLM is not installed.
    """
    if name == "native":
        return BatchingEngine()
    if not find_spec("vllm"):
        raise RequestError("--engine vllm: vLLM is not installed (`pip install vllm`); use --engine native")
    from flows.serving.vllm_engine import VllmEngine

    return VllmEngine(rows)
