"""The decoder against transformers and peft: same loss, same gradients, rows that do not see one another."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
import torch.nn.functional as F

from tasks.models.loading import flash_attention
from tasks.training.cuda_graphs import GraphedPackedModel, graph_key, pad_pack
from tasks.training.packed_model import MAX_LOGITS, PackedModel
from tasks.training.packing import IGNORED, LabelledRows, Row, balance_by_tokens, micro_batches, pack, target_count
from tests.support.models import peft_model, random_rows
from tests.support.training import engine_loop


def plain(model: Any, rows: list[Row]) -> tuple[float, dict[str, torch.Tensor]]:
    """Loss and LoRA gradients of transformers and peft, one row at a time."""
    model.zero_grad()
    total = 0.0
    for ids, labels in rows:
        loss = model(input_ids=torch.tensor([ids]), labels=torch.tensor([labels])).loss * target_count((ids, labels))
        loss.backward()
        total += loss.item()
    return total, {name: p.grad.clone() for name, p in model.named_parameters() if "lora_" in name}


@pytest.mark.parametrize("name", ["gemma", "llama"])
@pytest.mark.parametrize(
    "lora",
    [{"r": 8}, {"r": 3}, {"target_modules": ["q_proj", "v_proj", "down_proj"]}],
    ids=["fused", "not fused", "three of seven"],
)
def test_loss_and_gradients_are_those_of_transformers_and_peft(
    models: dict[str, Path], name: str, lora: dict[str, Any]
) -> None:
    model, rows = peft_model(models[name], **lora), random_rows()
    expected, gradients = plain(model, rows)
    decoder = PackedModel(model, torch.float32)
    loss = decoder.loss(pack(rows))
    loss.backward()
    assert loss.item() == pytest.approx(expected, rel=1e-6)
    actual = {name: p.grad for name, p in model.named_parameters() if "lora_" in name}
    assert actual.keys() == gradients.keys()
    for key, gradient in gradients.items():
        assert torch.allclose(actual[key], gradient, rtol=1e-4, atol=1e-5 * gradient.abs().max().item()), key
    with torch.no_grad():
        assert decoder.loss(pack(rows)).item() == loss.item()


def test_transformers_modules_work_beside_the_decoder(models: dict[str, Path]) -> None:
    """They share parameters: the loss of either is that of the adapter as it is now."""
    model, rows = peft_model(models["gemma"]), random_rows()
    initial, _ = plain(model, rows)
    decoder = PackedModel(model, torch.float32)
    decoder.adapter.values.data.mul_(1.5)
    decoder.adapter.refresh()
    with torch.no_grad():
        ours = decoder.loss(pack(rows)).item()
        theirs = sum(
            model(input_ids=torch.tensor([ids]), labels=torch.tensor([labels])).loss.item()
            * target_count((ids, labels))
            for ids, labels in rows
        )
    assert ours == pytest.approx(theirs, rel=1e-6)
    assert abs(ours - initial) > 1e-2


def test_gradients_add_up_over_packs(models: dict[str, Path]) -> None:
    rows = random_rows(6)
    at_once = PackedModel(peft_model(models["llama"]), torch.float32)
    at_once.loss(pack(rows)).backward()
    parts = PackedModel(peft_model(models["llama"]), torch.float32)
    for piece in (rows[:1], rows[1:4], rows[4:]):
        parts.loss(pack(piece)).backward()
    assert torch.allclose(at_once.adapter.grads, parts.adapter.grads, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", ["gemma", "llama"])
def test_a_row_does_not_see_its_neighbours(models: dict[str, Path], name: str) -> None:
    """Another row in front, of the same length, changes nothing: not one bit."""
    decoder = PackedModel(peft_model(models[name]), torch.float32)
    first, other, last = random_rows(3)
    other = ([5] * len(first[0]), [IGNORED] * len(first[0]))
    first = (first[0], [IGNORED] * len(first[0]))
    with torch.no_grad():
        assert decoder.loss(pack([first, last])).item() == decoder.loss(pack([other, last])).item()


def test_bf16_products_stay_near_fp32(models: dict[str, Path]) -> None:
    rows = random_rows()
    exact, rounded = (PackedModel(peft_model(models["gemma"]), dtype) for dtype in (torch.float32, torch.bfloat16))
    losses = [decoder.loss(pack(rows)) for decoder in (exact, rounded)]
    for loss in losses:
        loss.backward()
    assert rounded.adapter.compute_values.dtype == torch.bfloat16
    assert rounded.adapter.grads.dtype == torch.float32
    assert losses[1].item() == pytest.approx(losses[0].item(), rel=2e-3)
    expected = exact.adapter.grads
    assert (rounded.adapter.grads - expected).norm() < 0.03 * expected.norm()


def test_head_in_slices_gives_the_same(models: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    rows = random_rows()
    actual = []
    for logits in (1 << 25, 1500):
        monkeypatch.setitem(MAX_LOGITS, "cpu", logits)
        decoder = PackedModel(peft_model(models["llama"]), torch.float32)
        loss = decoder.loss(pack(rows))
        loss.backward()
        actual.append((loss.item(), decoder.adapter.grads))
    assert actual[0][0] == pytest.approx(actual[1][0], rel=1e-6)
    assert torch.allclose(actual[0][1], actual[1][1], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("device", "dtype", "capability", "head", "holds"),
    [
        ("cuda", torch.bfloat16, (9, 0), 64, True),
        ("cuda", torch.float32, (9, 0), 64, False),
        ("cuda", torch.float16, (7, 5), 64, False),
        ("cuda", torch.bfloat16, (8, 0), 512, False),
        ("cpu", torch.bfloat16, (9, 0), 64, False),
    ],
)
def test_flash_attention_is_used_where_torch_has_it(
    device: str,
    dtype: torch.dtype,
    capability: tuple[int, int],
    head: int,
    holds: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As torch's documentation of varlen_attn has it; elsewhere TRL trains."""
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _: capability)
    assert flash_attention(SimpleNamespace(head_dim=head), torch.device(device), dtype) is holds


def test_rows_are_shared_out_by_their_tokens() -> None:
    lengths = [900, 100, 300, 500, 200, 800]
    assert sorted(sum(lengths[i] for i in group) for group in balance_by_tokens(lengths, 2)) == [1400, 1400]
    groups = micro_batches(lengths, 1000)
    assert sorted(i for group in groups for i in group) == list(range(6))
    assert all(sum(lengths[i] for i in group) <= 1000 for group in groups)
    assert micro_batches([5000, 10], 1000) == [[0], [1]]
    assert {len(group) for group in micro_batches([10] * 8, 1000, 2)} == {2}
    assert micro_batches([], 10) == []


@pytest.mark.parametrize("name", ["gemma", "llama"])
def test_recorded_layers_give_the_same(models: dict[str, Path], name: str) -> None:
    """Packs filled up to a fixed size, through the code that replays graphs: same losses, same sums of gradients."""
    plain, graphed = (
        PackedModel(peft_model(models[name]), torch.float32),
        PackedModel(peft_model(models[name]), torch.float32),
    )
    replayed = GraphedPackedModel(graphed, token_bucket=64)
    packs = [pack(random_rows(count, seed)) for count, seed in ((5, 0), (5, 1), (4, 2), (6, 3), (5, 0), (5, 1), (4, 2))]
    keys = [graph_key(packs[i].lengths, 64) for i in replayed.select_warm_up([one.lengths for one in packs])]
    assert keys
    assert len(set(keys)) == len(keys)
    for one in packs:
        expected, actual = plain.loss(one), replayed.loss(one)
        expected.backward()
        actual.backward()
        assert actual.item() == pytest.approx(expected.item(), rel=1e-6)
    assert set(replayed.graphs) == set(keys)
    assert torch.allclose(graphed.adapter.grads, plain.adapter.grads, rtol=1e-4, atol=1e-4)
    tokens, rows, longest = key = graph_key(packs[0].lengths, 64)
    padded = pad_pack(packs[0], key)
    assert (len(padded.ids), len(padded.cu_seqlens), int(padded.cu_seqlens[-1])) == (tokens, rows + 1, tokens)
    assert longest >= max(padded.lengths)


@pytest.mark.parametrize("engine", ["packed", "trl"])
def test_smoothed_labels_are_torchs_in_training_and_plain_in_validation(models: dict[str, Path], engine: str) -> None:
    rows = random_rows()
    model, trained = peft_model(models["llama"]), peft_model(models["llama"])
    total = torch.zeros(())
    for ids, labels in rows:
        logits = model(input_ids=torch.tensor([ids])).logits[0, :-1]
        total = total + F.cross_entropy(logits, torch.tensor(labels[1:]), reduction="sum", label_smoothing=0.2)
    total.backward()
    expected = {name: p.grad for name, p in model.named_parameters() if "lora_" in name}

    ours = engine_loop(engine, trained, models["llama"], smoothing=0.2, train=LabelledRows(rows, ["row"] * 5)).model
    loss = ours.loss(pack(rows))
    loss.backward()
    assert loss.item() == pytest.approx(total.item(), rel=1e-5)
    actual = {name: p.grad for name, p in trained.named_parameters() if "lora_" in name}
    assert actual.keys() == expected.keys()
    for name, grad in actual.items():
        assert torch.allclose(grad, expected[name], rtol=1e-3, atol=1e-5), name
    with torch.no_grad():
        unsmoothed = ours.loss(pack(rows)).item()
    assert unsmoothed == pytest.approx(plain(model, rows)[0], rel=1e-5)
