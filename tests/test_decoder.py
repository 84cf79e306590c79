"""The decoder says, row by row, what transformers' own greedy generate says to that row alone."""

from collections import Counter
from typing import Any

import pytest
import torch
from torch.nn import functional as F
from transformers import AutoConfig, AutoModelForCausalLM

from tasks import decoder as module
from tasks import flash_cache
from tasks.decoder import Decoder, supported

NEW = 12
LENGTHS = (5, 41, 3, 17, 1, 22, 9, 30)


@pytest.fixture(scope="module", params=module.FAMILIES)
def model(request: pytest.FixtureRequest) -> Any:
    """A tiny random model of every family, with several query heads to a key head."""
    torch.manual_seed(0)
    config = AutoConfig.for_model(
        request.param, vocab_size=600, hidden_size=64, intermediate_size=128, num_hidden_layers=2,
        num_attention_heads=4, num_key_value_heads=2, head_dim=32, bos_token_id=1, eos_token_id=2, pad_token_id=0,
        tie_word_embeddings=False, initializer_range=0.2, sliding_window=None,
    )  # fmt: skip
    return AutoModelForCausalLM.from_config(config).eval()


@pytest.fixture(scope="module")
def prompts() -> list[list[int]]:
    torch.manual_seed(1)
    return [torch.randint(3, 600, (length,)).tolist() for length in LENGTHS]


@pytest.fixture(scope="module")
def stop(model: Any, prompts: list[list[int]]) -> int:
    """A token that ends some rows early, and others not."""
    said = [set(plain(model, prompt, -1)[1:]) for prompt in prompts]
    return Counter(token for row in said for token in sorted(row)).most_common(1)[0][0]


def plain(model: Any, prompt: list[int], stop: int, new: int = NEW) -> list[int]:
    ids = torch.tensor([prompt])
    found: list[int] = model.generate(
        input_ids=ids, attention_mask=torch.ones_like(ids), do_sample=False, max_new_tokens=new,
        eos_token_id=stop if stop >= 0 else None, pad_token_id=0,
    )[0, len(prompt) :].tolist()  # fmt: skip
    return found


def make(model: Any, stop: int, rows: int = len(LENGTHS), kind: type[Decoder] = Decoder, **options: Any) -> Decoder:
    new = options.pop("new", NEW)
    return kind(model, stop, rows, prompt_tokens=sum(LENGTHS), longest=max(LENGTHS), new_tokens=new, **options)


class Staged(Decoder):
    """Batches padded to the sizes of graphs, as on a GPU, with plain steps in the place of graphs."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, graphs=True, **options)
        self.steps: Counter[int] = Counter()

    def _captured(self, rows: int) -> Any:
        def replay() -> None:
            self.steps[rows] += 1
            self._step(rows, self.width)

        return replay


def reference_flash(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, query_edges: torch.Tensor, key_edges: torch.Tensor,
    longest_query: int, longest_key: int, *, scaling: float, causal: bool, used: torch.Tensor | None,
) -> torch.Tensor:  # fmt: skip
    """What torch's flash attention does, in a loop; it has no version for the CPU."""
    assert bool((key_edges.diff() >= 0).all()), "flash attention wants rising edges"
    out = torch.empty_like(query)
    for row in range(len(query_edges) - 1):
        mine = slice(int(query_edges[row]), int(query_edges[row + 1]))
        start = int(key_edges[row])
        end = start + int(used[row]) if used is not None else int(key_edges[row + 1])
        assert mine.stop - mine.start <= longest_query
        assert end - start <= longest_key
        q, k, v = (x.transpose(0, 1)[None] for x in (query[mine], key[start:end], value[start:end]))
        said = F.scaled_dot_product_attention(q, k, v, is_causal=causal, scale=scaling, enable_gqa=True)
        out[mine] = said[0].transpose(0, 1)
    return out


@pytest.fixture(params=["even", "flash"])
def cache(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Both caches, the one for GPUs with its kernel replaced."""
    if request.param == "flash":
        monkeypatch.setattr(flash_cache, "flash", reference_flash)
        monkeypatch.setattr(flash_cache.FlashCache, "possible", lambda *_: True)
    return str(request.param)


def test_every_row_says_what_it_says_alone(model: Any, prompts: list[list[int]], stop: int, cache: str) -> None:
    """Prompts of many lengths; some rows end at the stop token, early or late, and some at the limit."""
    wanted = [plain(model, prompt, stop) for prompt in prompts]
    assert {row[-1] == stop for row in wanted} == {True, False}
    assert supported(model)
    assert make(model, stop).decode(prompts) == wanted


@pytest.mark.parametrize("shrink", [True, False])
def test_batches_filled_up_to_the_size_of_a_graph(
    model: Any, prompts: list[list[int]], stop: int, cache: str, shrink: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rows that are nobody's touch no other, at the start or after rows were dropped; looks are rare."""
    monkeypatch.setitem(module.LOOK_EVERY, "cpu", 2)
    monkeypatch.setattr(module, "_rounded", lambda rows, part: -(-rows // part))
    wanted = [plain(model, prompt, stop) for prompt in prompts]
    decoder = make(model, stop, rows=len(prompts) + 3, kind=Staged, shrink=shrink)
    decoder.warm_up()
    for some in (slice(0, None), slice(0, 3), slice(2, 7), slice(0, None)):
        assert decoder.decode(prompts[some]) == wanted[some]
    assert set(decoder.sizes) == {3, 6, 11}
    assert len(decoder.steps) == 3


def test_rows_that_ended_are_dropped(model: Any, prompts: list[list[int]], stop: int, cache: str) -> None:
    """The batch computes the living alone: on the CPU from the step on at which a row ended."""
    widths = []

    class Spied(Decoder):
        def _step(self, rows: int, width: int) -> None:
            widths.append(rows)
            super()._step(rows, width)

    make(model, stop, kind=Spied).decode(prompts)
    wanted = [plain(model, prompt, stop) for prompt in prompts]
    assert widths == [sum(len(row) > step for row in wanted) for step in range(1, max(map(len, wanted)))]


def test_company_changes_nothing(model: Any, prompts: list[list[int]], stop: int, cache: str) -> None:
    """One decoder, one row after another, in twos, in reverse and all together."""
    decoder = make(model, stop)
    together = decoder.decode(prompts)
    assert [decoder.decode([prompt])[0] for prompt in prompts] == together
    assert [row for start in range(0, 8, 2) for row in decoder.decode(prompts[start : start + 2])] == together
    assert decoder.decode(prompts[::-1]) == together[::-1]


def test_prompts_of_several_forwards(
    model: Any, prompts: list[list[int]], stop: int, cache: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Prompts that exceed one forward are read in several, a prompt longer than a forward whole."""
    whole = make(model, stop).decode(prompts)
    monkeypatch.setitem(module.PROMPT_TOKENS, "cpu", 25)
    assert make(model, stop).decode(prompts) == whole


@pytest.mark.parametrize("new", [1, 2])
def test_smallest_limits(model: Any, prompts: list[list[int]], cache: str, new: int) -> None:
    """One token comes from the prompt alone, two from a single step."""
    assert make(model, -1, new=new).decode(prompts) == [plain(model, prompt, -1, new) for prompt in prompts]


def test_too_large_a_batch_is_refused(model: Any, prompts: list[list[int]], cache: str) -> None:
    """More rows or tokens than there is room for never overwrite another row."""
    with pytest.raises(ValueError, match="room"):
        make(model, -1, rows=4).decode(prompts)
    with pytest.raises(ValueError, match="room"):
        make(model, -1).decode([[5] * (sum(LENGTHS) + 100)])


def test_attention_is_given_back(model: Any, prompts: list[list[int]]) -> None:
    """The model computes as before once the decoder is done, and after an error."""
    before = model.config._attn_implementation
    wanted = plain(model, prompts[0], -1)
    decoder = make(model, -1, rows=2)
    with pytest.raises(ValueError, match="room"):
        decoder.decode(prompts)
    assert model.config._attn_implementation == before
    assert plain(model, prompts[0], -1) == wanted


@pytest.mark.parametrize(
    ("kind", "settings"),
    [
        ("gemma2", {}), ("mistral", {"sliding_window": 8}), ("qwen2", {"use_sliding_window": True, "sliding_window": 8}),
        ("llama", {"rope_parameters": {"rope_type": "dynamic", "factor": 2.0, "rope_theta": 10000.0}}),
    ],
)  # fmt: skip
def test_other_models_are_left_to_transformers(kind: str, settings: dict[str, Any]) -> None:
    """What our attention does not do is not done wrongly."""
    config = AutoConfig.for_model(
        kind, vocab_size=600, hidden_size=64, intermediate_size=128, num_hidden_layers=2, num_attention_heads=2,
        num_key_value_heads=1, head_dim=32, pad_token_id=0, **settings,
    )  # fmt: skip
    assert not supported(AutoModelForCausalLM.from_config(config))
