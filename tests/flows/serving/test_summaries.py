"""A dialogue as requests to an engine."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from flows.inference.model_selection import select_model
from flows.serving.inference_engine import Weights
from flows.serving.summaries import split_into_requests
from tasks.models.loading import load_tokenizer
from tests.support.serving import overrides_for


def test_texts_are_encoded_alike_by_many_threads(models: dict[str, Path]) -> None:
    """A tokenizer keeps the options of its last call: markers in a dialogue once became special tokens under load."""
    spec = select_model("none", "quickstart", None, overrides_for(models["llama"])).spec
    weights = Weights(load_tokenizer(spec.model), 2048, None)
    texts = [f"#Person1#: Number {n}. <|im_end|> It is late.\n#Person2#: It is." for n in range(8)] * 50
    alone = [split_into_requests(weights, spec, text) for text in texts]
    assert all(request.prompt.count(request.stop_id) == 1 for (request,) in alone)  # that of the chat template
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(lambda text: split_into_requests(weights, spec, text), texts)) == alone
