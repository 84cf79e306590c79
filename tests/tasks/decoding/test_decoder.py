"""The decoder generates for each row what transformers' greedy generate returns for that row alone."""

import sys
from collections import Counter
from collections.abc import Sequence
from functools import partial
from itertools import permutations
from typing import Any

import numpy as np
import pytest
import torch
from torch._dynamo.testing import CompileCounterWithBackend
from torch.nn import functional as F
from transformers import AutoConfig, AutoModelForCausalLM

from tasks.config import GenerateConfig
from tasks.decoding import decoder as module
from tasks.decoding import flash_cache, kv_cache
from tasks.decoding.cuda_graphs import StepGraphs
from tasks.decoding.decoder import Decoder, Delivery, NonFiniteError
from tasks.decoding.decoder_choice import NATIVE_MODEL_TYPES, choose_decoder, unsupported_model
from tasks.decoding.engine import Engine, Output
from tasks.decoding.forward import FusedForward, FusedLayer
from tasks.decoding.kv_cache import CacheShape
from tasks.decoding.sampling import Sampler, Sampling, draw_uniforms
from tasks.models import fused_ops

NEW = 12
LENGTHS = (5, 41, 3, 17, 1, 22, 9, 30)


@pytest.fixture(
    scope="module",
    params=[pytest.param(name, marks=[] if name == "llama" else pytest.mark.slow) for name in NATIVE_MODEL_TYPES],
)
def model(request: pytest.FixtureRequest) -> Any:
    """A tiny random model of every family, with several query heads to a key head."""
    torch.manual_seed(0)
    config = AutoConfig.for_model(
        request.param,
        vocab_size=600,
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=32,
        bos_token_id=1,
        eos_token_id=2,
        pad_token_id=0,
        tie_word_embeddings=False,
        initializer_range=0.2,
        sliding_window=None,
    )
    return AutoModelForCausalLM.from_config(config).eval()


@pytest.fixture(scope="module")
def prompts() -> list[list[int]]:
    torch.manual_seed(1)
    return [torch.randint(3, 600, (length,)).tolist() for length in LENGTHS]


@pytest.fixture(scope="module")
def stop(model: Any, prompts: list[list[int]]) -> int:
    """A token that ends some rows early, and others not."""
    outputs = [set(plain(model, prompt, -1)[1:]) for prompt in prompts]
    return Counter(token for row in outputs for token in sorted(row)).most_common(1)[0][0]


def plain(model: Any, prompt: list[int], stop: int, new: int = NEW) -> list[int]:
    ids = torch.tensor([prompt])
    output: list[int] = model.generate(
        input_ids=ids,
        attention_mask=torch.ones_like(ids),
        do_sample=False,
        max_new_tokens=new,
        eos_token_id=stop if stop >= 0 else None,
        pad_token_id=0,
    )[0, len(prompt) :].tolist()
    return output


def make(model: Any, stop: int, rows: int = len(LENGTHS), kind: type[Decoder] = Decoder, **options: Any) -> Decoder:
    new, candidates = options.pop("new", NEW), options.pop("candidates", 4)
    sequences = options.pop("sequences", rows)
    return kind(model, stop, CacheShape(rows, sum(LENGTHS), max(LENGTHS), candidates, sequences, new), **options)


def decode(decoder: Decoder, prompts: list[list[int]]) -> list[list[int]]:
    """The greedy answers."""
    (outputs,) = decoder.decode(prompts)
    return outputs


class Counted(StepGraphs):
    """Plain steps in the place of graphs, counted."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.steps: Counter[tuple[int, bool]] = Counter()

    def _capture(self, step: Any, *kind: Any) -> Any:
        def replay() -> None:
            self.steps[kind] += 1
            step(*kind)

        return replay


def reference_flash(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    cu_seqlens_q: torch.Tensor,
    cu_seqlens_k: torch.Tensor,
    max_seqlen_q: int,
    max_seqlen_k: int,
    *,
    scaling: float,
    causal: bool,
    lengths_k: torch.Tensor | None,
) -> tuple[torch.Tensor, torch.Tensor]:
    """What torch's flash attention does, in a loop; it has no version for the CPU. Queries in no row get NaN."""
    assert bool((cu_seqlens_k.diff() >= 0).all()), "flash attention needs sorted cu_seqlens"
    if max_seqlen_q == 1 and query.shape[1] > key.shape[1]:  # then it folds query heads, and takes no row for empty
        assert len(query) == len(cu_seqlens_q) - 1
    out, lse = torch.full_like(query, torch.nan), query.new_full(query.shape[1::-1], torch.nan)
    for row in range(len(cu_seqlens_q) - 1):
        mine = slice(int(cu_seqlens_q[row]), int(cu_seqlens_q[row + 1]))
        start = int(cu_seqlens_k[row])
        end = start + int(lengths_k[row]) if lengths_k is not None else int(cu_seqlens_k[row + 1])
        assert mine.stop - mine.start <= max_seqlen_q
        assert end - start <= max_seqlen_k
        assert end <= len(key)
        q, k, v = (x.transpose(0, 1)[None] for x in (query[mine], key[start:end], value[start:end]))
        attended = F.scaled_dot_product_attention(q, k, v, is_causal=causal, scale=scaling, enable_gqa=True)
        out[mine] = attended[0].transpose(0, 1)
        keys = k[0].repeat_interleave(q.shape[1] // k.shape[1], 0)
        # of an empty row flash attention returns infinity
        lse[:, mine] = (q[0] @ keys.transpose(1, 2) * scaling).logsumexp(-1) if end > start else torch.inf
    return out, lse


@pytest.fixture(params=["padded", "flash"])
def cache(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Both caches, the one for GPUs with its kernel replaced."""
    if request.param == "flash":
        monkeypatch.setattr(flash_cache, "flash_attention_varlen", reference_flash)
        monkeypatch.setattr(module, "flash_attention", lambda *_: True)
    return str(request.param)


def test_every_row_says_what_it_says_alone(model: Any, prompts: list[list[int]], stop: int, cache: str) -> None:
    """Prompts of many lengths; some rows end at the stop token, early or late, and some at the limit."""
    expected = [plain(model, prompt, stop) for prompt in prompts]
    assert {row[-1] == stop for row in expected} == {True, False}
    assert unsupported_model(model.config) is None
    assert decode(make(model, stop), prompts) == expected


def test_batches_filled_up_to_the_size_of_a_graph(
    model: Any, prompts: list[list[int]], stop: int, cache: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Padding rows affect no other row, at the start or after rows were dropped; checks for the end are rare."""
    monkeypatch.setitem(module.SYNC_INTERVAL, "cpu", 2)
    monkeypatch.setattr(module, "fraction_of_rows", lambda rows, n: -(-rows // n))
    monkeypatch.setattr(module, "StepGraphs", Counted)
    expected = [plain(model, prompt, stop) for prompt in prompts]
    decoder = make(model, stop, rows=len(prompts) + 3, graphs=True)
    for some in (slice(0, None), slice(0, 3), slice(2, 7), slice(0, None)):
        assert decode(decoder, prompts[some]) == expected[some]
    assert decoder.graphs is not None
    assert set(decoder.graph_sizes) == {3, 6, 11}
    assert set(decoder.graphs.steps) == {(3, False), (6, False), (11, False)}


def test_padding_has_slots_of_its_own_after_rows_were_dropped(
    model: Any, prompts: list[list[int]], cache: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where the last sequence of a full decoder remains, behind which there is no other one's room."""
    monkeypatch.setattr(module, "fraction_of_rows", lambda rows, n: -(-rows // n))
    monkeypatch.setattr(module, "StepGraphs", Counted)
    answers = [plain(model, prompt, -1) for prompt in prompts]
    early, late = next((a, b) for a, b in permutations(range(8), 2) if answers[a][1] not in answers[b])
    stop, some = answers[early][1], [prompts[early]] * 5 + [prompts[late]] * 3
    expected = [plain(model, prompt, stop) for prompt in some]
    shape = CacheShape(8, sum(map(len, some)), max(LENGTHS), 1, 8, NEW)
    decoder = Decoder(model, stop, shape, graphs=True)
    assert decode(decoder, some) == expected
    assert decoder.graphs is not None
    assert (4, False) in decoder.graphs.steps  # 3 sequences and one of padding
    assert decode(decoder, some[::-1]) == expected[::-1]


def test_prompts_of_one_and_two_tokens(model: Any, cache: str) -> None:
    """Of which the cache holds none and one."""
    prompts = [[7], [9, 11], [5], [13, 4]]
    assert decode(make(model, -1), prompts) == [plain(model, prompt, -1) for prompt in prompts]


def test_rows_that_ended_are_dropped(model: Any, prompts: list[list[int]], stop: int, cache: str) -> None:
    """The batch computes the living alone: on the CPU from the step on at which a row ended."""
    widths = []

    class Spied(Decoder):
        def _step(self, size: int, sampled: bool) -> None:
            widths.append(size)
            super()._step(size, sampled)

    make(model, stop, kind=Spied).decode(prompts)
    expected = [plain(model, prompt, stop) for prompt in prompts]
    assert widths == [sum(len(row) > step for row in expected) for step in range(max(map(len, expected)))]


def test_company_changes_nothing(model: Any, prompts: list[list[int]], stop: int, cache: str) -> None:
    """One decoder, one row after another, in twos, in reverse and all together."""
    decoder = make(model, stop)
    together = decode(decoder, prompts)
    assert [decode(decoder, [prompt])[0] for prompt in prompts] == together
    assert [row for start in range(0, 8, 2) for row in decode(decoder, prompts[start : start + 2])] == together
    assert decode(decoder, prompts[::-1]) == together[::-1]


def test_prompts_of_several_forwards(
    model: Any, prompts: list[list[int]], stop: int, cache: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Prompts that exceed one forward pass are prefilled in several; a longer single prompt is not split."""
    expected = decode(make(model, stop), prompts)
    monkeypatch.setitem(module.PREFILL_TOKENS, "cpu", 25)
    assert decode(make(model, stop), prompts) == expected


@pytest.mark.parametrize("new", [1, 2])
def test_smallest_limits(model: Any, prompts: list[list[int]], cache: str, new: int) -> None:
    """One token comes from the prompt alone, two from a single step."""
    assert decode(make(model, -1, new=new), prompts) == [plain(model, prompt, -1, new) for prompt in prompts]


def test_too_large_a_batch_is_refused(model: Any, prompts: list[list[int]], cache: str) -> None:
    """More rows or tokens than there is room for never overwrite another row."""
    with pytest.raises(ValueError, match="do not fit"):
        make(model, -1, rows=4).decode(prompts)
    with pytest.raises(ValueError, match="do not fit"):
        make(model, -1).decode([[5] * (sum(LENGTHS) + 100)])


def numbers(rows: range, candidate: int = 0, seed: int = 0) -> np.ndarray:
    return np.stack([draw_uniforms(seed, f"row {row}", candidate, NEW) for row in rows])


def test_prompts_are_read_once_for_several_answers(model: Any, prompts: list[list[int]], stop: int, cache: str) -> None:
    """Greedy, sampled, sampled otherwise and greedy again from one reading, rows dropped on the way in each."""
    decoder = make(model, stop, sampling=Sampling(0.5, 0.0))
    some = [None, numbers(range(8)), numbers(range(8), candidate=1), None]
    together = decoder.decode(prompts, some)
    assert together == [decoder.decode(prompts, [table])[0] for table in some]
    assert together[0] == together[3] == [plain(model, prompt, stop) for prompt in prompts]
    assert len({str(answers) for answers in together}) == 3


@pytest.mark.parametrize("sequences", [1, 3, 8, 40])
@pytest.mark.parametrize("interval", [1, 3])
def test_candidates_wait_for_a_place(
    model: Any,
    prompts: list[list[int]],
    stop: int,
    cache: str,
    sequences: int,
    interval: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """However many are decoded at once, each candidate is that of its prompt and its numbers, and is delivered once."""
    monkeypatch.setitem(module.SYNC_INTERVAL, "cpu", interval)
    tables = [None, *(numbers(range(8), candidate=candidate) for candidate in range(3))]
    alone = make(model, stop, candidates=1, sampling=Sampling(0.7, 0.001))
    expected = [alone.decode(prompts, [table])[0] for table in tables]
    delivered: dict[int, list[list[int]]] = {}

    def deliver(prompt: int, candidates: list[list[int]]) -> None:
        assert prompt not in delivered
        delivered[prompt] = candidates

    decoder = make(model, stop, sequences=sequences, sampling=Sampling(0.7, 0.001))
    assert decoder.decode(prompts, tables, deliver) == expected
    assert delivered == {prompt: [answers[prompt] for answers in expected] for prompt in range(8)}
    some = [numbers(range(2, 4), candidate=candidate) for candidate in range(2)]
    assert decoder.decode(prompts[2:4], some) == [answers[2:4] for answers in expected[1:3]]


def test_more_candidates_than_there_is_room_for_are_refused(model: Any, prompts: list[list[int]], cache: str) -> None:
    with pytest.raises(ValueError, match="2 candidates of a prompt do not fit: 1 do"):
        make(model, -1, candidates=1).decode(prompts, [None, None])


def test_samples_do_not_depend_on_company(
    model: Any, prompts: list[list[int]], stop: int, cache: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A row draws the same summary alone, in another batch, in a padded one, whatever the limit on tokens."""
    decoder = make(model, stop, sampling=Sampling(1.0, 0.001))
    ((*together,),) = decoder.decode(prompts, [numbers(range(8))])
    for row, prompt in enumerate(prompts):
        assert decoder.decode([prompt], [numbers(range(row, row + 1))]) == [[together[row]]]
    assert decoder.decode(prompts[3:6], [numbers(range(3, 6))]) == [together[3:6]]
    monkeypatch.setattr(module, "StepGraphs", Counted)
    padded = make(model, stop, rows=20, sampling=Sampling(1.0, 0.001), graphs=True)
    assert padded.decode(prompts, [numbers(range(8))]) == [together]
    short = make(model, stop, new=4, sampling=Sampling(1.0, 0.001))
    assert short.decode(prompts, [numbers(range(8))[:, :4]]) == [[row[:4] for row in together]]


def test_first_sampled_tokens_have_the_probabilities_of_softmax(model: Any) -> None:
    """4,000 draws after one prompt: frequencies within five standard deviations of transformers' own probabilities."""
    count, ids = 4000, [5, 17, 300]
    with torch.inference_mode():
        expected = (model(torch.tensor([ids])).logits[0, -1] / 0.7).softmax(-1).double().numpy()
    decoder = Decoder(model, -1, CacheShape(500, 1500, 3, 8, 500, 1), Sampling(0.7, 0.0))
    tables = [
        np.stack([draw_uniforms(1, f"{table} {row}", 0, 1) for row in range(500)]) for table in range(count // 500)
    ]
    frequencies = np.zeros(600)
    for answers in decoder.decode([ids] * 500, tables):
        np.add.at(frequencies, [row[0] for row in answers], 1)
    deviation = np.abs(frequencies / count - expected) / np.sqrt(expected * (1 - expected) / count + 1e-9)
    assert frequencies.sum() == count
    assert (frequencies > 0).sum() > 20
    assert deviation[expected > 0.003].max() < 5


def test_a_weight_that_two_kernels_round_differently_is_sampled() -> None:
    """On a GPU one kernel chooses a block of tokens and another one a token in it; the block never becomes empty."""
    sampler = Sampler(Sampling(1.0, 0.1), torch.device("cpu"))
    scores = torch.full((1, 600), -torch.inf)
    scores[0, 3], scores[0, 599] = 0.0, -2.0
    best, block_sums = scores.max(-1)[0], sampler.block_sums
    for threshold in (torch.tensor([[-2.0]]).exp(), torch.tensor([[-2.0]]).exp().nextafter(torch.ones(1, 1))):
        sampler.block_sums = lambda *tensors, threshold=threshold: (block_sums(*tensors)[0], threshold)
        assert sampler.select(scores, best, torch.tensor([0.999], dtype=torch.float64)).tolist() == [599]


def test_fused_operations_are_compiled_once_for_all_sizes(monkeypatch: pytest.MonkeyPatch) -> None:
    """By torch.compile as on a GPU, without its last step: a later compilation would interrupt the decoding."""
    counter = CompileCounterWithBackend("aot_eager")
    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend=counter))
    gpu, groups, heads, size = torch.device("cuda"), 3, 2, 8
    rotate = fused_ops.FusedOps.build("silu", 1e-6, (groups * heads, heads, size), torch.float32, gpu, 0.0)
    sampler, merge = Sampler(Sampling(0.7, 0.01), gpu), fused_ops.fuse(flash_cache.merge_attention, gpu)
    plain_sums, plain_rotate = sampler._block_sums, fused_ops._rotate(groups * heads, heads, size, torch.float32)[2]
    with torch.inference_mode():
        for rows in (33, 8, 40, 2):
            some, scores = torch.randn(rows, groups, heads, size), torch.randn(rows, 1100)
            lse, joint, angles = torch.randn(heads, rows * groups), torch.randn(rows, 80), torch.randn(rows, size)
            ones = torch.ones(rows, 1, dtype=torch.bool)
            of_prompts = (some, lse.t().unflatten(0, (-1, groups)))
            calls = [
                (rotate.rotate_for_cache, plain_rotate, (joint, angles, angles)),
                (sampler.block_sums, plain_sums, (scores, scores.max(-1)[0][:, None])),
                (merge, flash_cache.merge_attention, (*of_prompts, *of_prompts, torch.arange(rows)[:, None], ones)),
            ]
            for compiled, function, tensors in calls:
                torch.testing.assert_close(compiled(*tensors), function(*tensors))
    assert counter.frame_count == len(calls)


def test_decoders_of_one_model_share_its_matrices(model: Any, prompts: list[list[int]]) -> None:
    """A server has several; each would hold the weights once more."""
    first, second = (make(model, -1).forward for _ in range(2))
    if isinstance(first, FusedForward):
        assert isinstance(second, FusedForward)
        for one, other in zip(first.layers, second.layers, strict=True):
            assert [m.data_ptr() for m in matrices(one)] == [m.data_ptr() for m in matrices(other)]
            assert [m.shape for m in matrices(one)] == [m.shape for m in matrices(other)]
    assert decode(make(model, -1), prompts[:2]) == [plain(model, prompt, -1) for prompt in prompts[:2]]


def matrices(layer: FusedLayer) -> list[torch.Tensor]:
    return [layer.qkv, layer.o, layer.gate_up, layer.down]


class Words:
    """A tokenizer whose texts are the ids."""

    def batch_decode(self, rows: list[list[int]], **_: Any) -> list[str]:
        return [" ".join(map(str, row)) for row in rows]


def test_rows_are_finished_while_others_are_decoded(
    model: Any, prompts: list[list[int]], stop: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Once each, also if memory runs out after some; the thread that finishes them does not hold up the decoding."""
    engine = Engine(model, Words(), stop, GenerateConfig(candidates=2, max_new_tokens=NEW, epsilon=0.0))
    batch, intervals = [(str(row), prompt) for row, prompt in enumerate(prompts)], list[float]()

    def finish(row: str, candidates: Sequence[Output]) -> tuple[str, list[str]]:
        intervals.append(sys.getswitchinterval())
        return row, [candidate.text for candidate in candidates]

    interval, expected = sys.getswitchinterval(), engine.sample(batch, finish)
    tokens, real = engine.stats.tokens, Engine._decode_batch
    assert [row for row, _ in expected] == [row for row, _ in batch]

    def full(self: Engine, rows: Any, numbers: Any, deliver: Delivery) -> None:
        real(self, rows, numbers, deliver)
        if len(rows) == len(batch):
            raise torch.OutOfMemoryError("full")

    monkeypatch.setattr(Engine, "_decode_batch", full)
    assert engine.sample(batch, finish) == expected
    assert (engine.stats.splits, engine.stats.tokens) == (1, 2 * tokens)
    assert max(intervals) < 0.001
    assert sys.getswitchinterval() == interval


@pytest.mark.parametrize("position", [1, 5])
def test_scores_that_are_no_numbers_are_named(
    model: Any, prompts: list[list[int]], cache: str, position: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The row and the token at which it happened, also when the look comes later and other rows are long done."""
    monkeypatch.setitem(module.SYNC_INTERVAL, "cpu", 4)
    row = 1  # the longest; what follows leaves out rows that come to the same length
    lonely = [prompt for prompt in prompts if len(prompt) + 12 < len(prompts[row]) or prompt == prompts[row]]
    decoder = make(model, -1)
    real = decoder.forward

    def broken(ids: torch.Tensor, places: torch.Tensor, rows: kv_cache.KVCache) -> torch.Tensor:
        states = real(ids, places, rows)
        if isinstance(rows.batch, kv_cache.DecodeBatch):
            states[places == len(prompts[row]) + position - 2] = torch.nan
        return states

    monkeypatch.setattr(decoder, "forward", broken)
    with pytest.raises(NonFiniteError) as failure:
        decoder.decode(lonely)
    assert (failure.value.prompt, failure.value.position) == (lonely.index(prompts[row]), position)


def test_attention_is_given_back(model: Any, prompts: list[list[int]]) -> None:
    """The model computes as before once the decoder is done, and after an error."""
    attention = model.config._attn_implementation
    expected = plain(model, prompts[0], -1)
    decoder = make(model, -1, rows=2)
    with pytest.raises(ValueError, match="do not fit"):
        decoder.decode(prompts)
    assert model.config._attn_implementation == attention
    assert plain(model, prompts[0], -1) == expected


@pytest.mark.parametrize(
    ("kind", "settings"),
    [
        ("gemma2", {}),
        ("gemma3_text", {}),
        ("smollm3", {"use_sliding_window": True, "sliding_window": 8}),
        ("mistral", {"sliding_window": 8}),
        ("qwen2", {"use_sliding_window": True, "sliding_window": 8}),
        ("llama", {"rope_parameters": {"rope_type": "dynamic", "factor": 2.0, "rope_theta": 10000.0}}),
    ],
)
def test_other_models_are_left_to_transformers(kind: str, settings: dict[str, Any]) -> None:
    """What our attention does not do is not done wrongly."""
    config = AutoConfig.for_model(
        kind,
        vocab_size=600,
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        head_dim=32,
        pad_token_id=0,
        **settings,
    )
    assert unsupported_model(config)


def test_the_choice_names_what_the_decoder_does_not_support() -> None:
    """And fails where a recipe asks for candidates, which transformers does not sample here."""
    config = AutoConfig.for_model("gemma2")
    assert str(choose_decoder(GenerateConfig(), config)) == "generate (architecture gemma2)"
    assert choose_decoder(GenerateConfig(), config).check().state == "ok"
    refused = choose_decoder(GenerateConfig(candidates=4), config).check()
    assert (refused.state, "set generate.candidates=1" in refused.detail) == ("failed", True)
    llama = AutoConfig.for_model("llama")
    assert str(choose_decoder(GenerateConfig(beams=2), llama)) == "generate (beam search)"
    assert str(choose_decoder(GenerateConfig(candidates=4), llama)) == "decoder"


@pytest.mark.parametrize(
    "option", [{"attention_mask": torch.ones(1, 1, 1, 1)}, {"softcap": 30.0}, {"sliding_window": 8}], ids=str
)
def test_attention_that_is_more_than_causal_is_refused(option: dict[str, Any]) -> None:
    """Rather than left out: its answers would be other ones."""
    some = torch.zeros(1, 1, 1, 8)
    arguments = {"attention_mask": None, "scaling": 1.0, "kv_cache": None} | option
    with pytest.raises(ValueError, match="decoded by transformers"):
        kv_cache.cached_attention(None, some, some, some, **arguments)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_scores_are_not_rounded_to_half_precision(dtype: torch.dtype) -> None:
    """They are those of fp32 products of the same numbers."""
    torch.manual_seed(0)
    hidden, head = (torch.randn(rows, 576, device="cuda", dtype=dtype) for rows in (64, 49_152))
    exact = hidden.double() @ head.double().T
    torch.testing.assert_close(module.logits(hidden, head).double(), exact, rtol=1e-4, atol=1e-3)
