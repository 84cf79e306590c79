"""The choice of an inference engine."""

from importlib.util import find_spec

from artifacts.errors import RequestError
from flows.serving.batching_engine import BatchingEngine
from flows.serving.config import EngineName
from flows.serving.inference_engine import InferenceEngine


def create_engine(name: EngineName, rows: int) -> InferenceEngine:
    """The engine: `auto` is vLLM where it is installed and there is a GPU. rows: requests at once, at most."""
    if name == "vllm" or (name == "auto" and find_spec("vllm") and _has_gpu()):
        if not find_spec("vllm"):
            raise RequestError("--engine vllm: vLLM is not installed (`pip install vllm`); use --engine transformers")
        from flows.serving.vllm_engine import VllmEngine

        return VllmEngine(rows)
    return BatchingEngine()


def _has_gpu() -> bool:
    import torch

    return torch.cuda.is_available()
