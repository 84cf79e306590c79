"""Likelihoods are those of a plain forward pass of transformers for each text."""

from itertools import pairwise
from typing import Any

import pytest
import torch
from transformers import (
    AutoModelForCausalLM,
    Gemma2Config,
    GemmaConfig,
    GPTNeoXConfig,
    LlamaConfig,
    MistralConfig,
    Qwen2Config,
    Qwen3Config,
    SmolLM3Config,
)

from artifacts.errors import StageError
from tasks.decoding.decoder_choice import NATIVE_MODEL_TYPES
from tasks.probing.likelihood import Question, Scorer, Tree

SHAPE = {
    "vocab_size": 120,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "pad_token_id": 0,
}
CONFIGS: dict[str, Any] = {
    "gemma": GemmaConfig(**SHAPE),
    "llama": LlamaConfig(**SHAPE),
    "mistral": MistralConfig(**SHAPE, sliding_window=None),
    "qwen2": Qwen2Config(**SHAPE),
    "qwen3": Qwen3Config(**SHAPE),
    "smollm3": SmolLM3Config(**SHAPE, no_rope_layer_interval=2),
    "sliding window": MistralConfig(**SHAPE, sliding_window=7),
    "gemma2": Gemma2Config(**SHAPE, sliding_window=7, query_pre_attn_scalar=8),
    "gpt_neox": GPTNeoXConfig(
        vocab_size=120, hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4
    ),
}
SHARED = [name for name in CONFIGS if name in NATIVE_MODEL_TYPES]
PROMPT = [5, 9, 17, 3, 80, 41, 7, 66]
TEXTS = [[11, 12, 13, 14], [11, 12, 99, 14, 15], [11], [60, 12, 13, 14], [11, 12, 13, 14, 15, 16]]


def model_of(name: str) -> Any:
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(CONFIGS[name], dtype=torch.float32)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter.data, std=0.4)
    return model.eval()


def plain_sum(model: Any, prompt: list[int], text: list[int]) -> float:
    """Log-softmax of the logits of one unpadded row, token by token."""
    with torch.no_grad():
        scores = model(input_ids=torch.tensor([prompt + text])).logits[0].double().log_softmax(-1)
    return sum(float(scores[len(prompt) + i - 1, token]) for i, token in enumerate(text))


@pytest.mark.parametrize("name", CONFIGS)
def test_each_sum_is_that_of_a_plain_forward_pass(name: str) -> None:
    """Texts with a common start, one inside of another, prompts of different lengths in one batch."""
    model = model_of(name)
    scorer = Scorer(model)
    assert scorer.shared is (name in SHARED)
    questions = [
        Question("a", PROMPT, TEXTS),
        Question("b", PROMPT[:3] * 5, TEXTS[::-1]),
        Question("c", PROMPT[1:], [TEXTS[1]]),
    ]
    found = {question.id: sums for question, sums in scorer.score(questions)}
    for question in questions:
        expected = [plain_sum(model, question.prompt, text) for text in question.texts]
        assert found[question.id] == pytest.approx(expected, abs=2e-4)
    assert len(set(found["a"])) == len(TEXTS)


def test_all_architectures_of_the_decoder_share_the_prompt() -> None:
    assert sorted(SHARED) == sorted(NATIVE_MODEL_TYPES)


def test_a_beginning_that_texts_share_is_computed_once() -> None:
    """Counted by hand: 11 12 13 14 15 16, then 99 14 15, then 60 12 13 14."""
    tree = Tree.of(Question("a", PROMPT, TEXTS))
    assert len(tree.ids) == len(PROMPT) + 6 + 3 + 4
    seen = tree.visible()
    for path, text in zip(tree.paths, TEXTS, strict=True):
        nodes = [len(PROMPT) + node for node in path]
        assert [tree.ids[node] for node in nodes] == text
        assert seen[nodes[-1]].nonzero()[:, 0].tolist() == [*range(len(PROMPT)), *nodes]
        assert all(tree.depths[b] == tree.depths[a] + 1 for a, b in pairwise([len(PROMPT) - 1, *nodes]))


@pytest.mark.parametrize("name", ["llama", "gpt_neox"])
def test_batches_and_parts_of_the_head_change_nothing(name: str) -> None:
    """One question at a time, or all together; logits of all tokens, or of one at a time."""
    model = model_of(name)
    questions = [Question(str(i), PROMPT * (1 + i % 3), TEXTS) for i in range(6)]
    whole, small = Scorer(model), Scorer(model)
    small.max_tokens, small.max_logits = 1, 1
    expected = {question.id: sums for question, sums in whole.score(questions)}
    for question, sums in small.score(questions):
        assert sums == pytest.approx(expected[question.id], abs=1e-4)


def test_memory_that_runs_out_divides_the_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    """The figures are those of a batch that fits; the next batches are smaller at once."""
    model, sizes = model_of("llama"), list[int]()
    questions = [Question(str(i), PROMPT, TEXTS) for i in range(8)]
    expected = {question.id: sums for question, sums in Scorer(model).score(questions)}
    scorer = Scorer(model)
    passed = Scorer._trees

    def trees(self: Scorer, batch: list[Question]) -> list[list[float]]:
        sizes.append(len(batch))
        if len(batch) > 2:
            raise torch.OutOfMemoryError("no memory")
        return passed(self, batch)

    monkeypatch.setattr(Scorer, "_trees", trees)
    found = {question.id: sums for question, sums in scorer.score(questions)}
    for name, sums in expected.items():
        assert found[name] == pytest.approx(sums, abs=1e-4)
    assert sizes == [8, 4, 2, 2, 4, 2, 2]
    assert scorer.halved == 3


def test_a_prompt_that_never_fits_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_memory(self: Scorer, batch: list[Question]) -> list[list[float]]:
        raise torch.OutOfMemoryError("no memory")

    monkeypatch.setattr(Scorer, "_trees", no_memory)
    with pytest.raises(StageError, match=r"a prompt of 8 tokens does not fit.*generate.max_prompt_tokens"):
        list(Scorer(model_of("llama")).score([Question("a", PROMPT, TEXTS)]))


@pytest.mark.parametrize("name", ["llama", "gpt_neox"])
def test_broken_weights_are_refused_by_row(name: str) -> None:
    model = model_of(name)
    model.get_output_embeddings().weight.data[3, 0] = float("nan")
    with pytest.raises(StageError, match="NaN or infinite logits for row 'a'"):
        list(Scorer(model).score([Question("a", PROMPT, TEXTS)]))
