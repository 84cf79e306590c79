"""How probable a model finds texts behind a prompt, by forward passes alone.

The texts of one dialogue differ in few words. For models with causal attention over all earlier tokens, one pass over
the prompt and a tree of the texts computes every state once: what several texts begin with is one path, and each token
sees the prompt and its own path only. Other models take each text behind its prompt, without anything shared.
"""

import gc
import inspect
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from artifacts.errors import StageError
from tasks.decoding.decoder import logits as head_logits
from tasks.decoding.decoder_choice import unsupported_model

TOKENS = {"cuda": 16_384, "cpu": 2_048}
"""Tokens of one forward pass, padding included."""
MAX_LOGITS = {"cuda": 1 << 28, "cpu": 1 << 25}
"""Logits that exist at once: 1 GiB in fp32 on a GPU."""


@dataclass(frozen=True)
class Question:
    """A prompt, and the texts that might follow it, as token ids."""

    id: str
    prompt: list[int]
    texts: list[list[int]]


@dataclass
class Tree:
    """A prompt and the texts behind it, each beginning that several share stored once."""

    ids: list[int]
    """[tokens] the prompt, then the nodes, each behind its parent."""
    depths: list[int]
    """[tokens] position of each token in its text."""
    parents: list[int]
    """[nodes] index of the token before each node, in `ids`."""
    paths: list[list[int]] = field(default_factory=list)
    """The nodes of each text, counted from 0."""

    @staticmethod
    def of(question: Question) -> "Tree":
        start = len(question.prompt)
        tree = Tree(list(question.prompt), list(range(start)), [])
        children: dict[tuple[int, int], int] = {}
        for text in question.texts:
            before, path = start - 1, list[int]()
            for depth, token in enumerate(text, start):
                node = children.get((before, token))
                if node is None:
                    node = children[before, token] = len(tree.ids)
                    tree.ids.append(token)
                    tree.depths.append(depth)
                    tree.parents.append(before)
                path.append(node - start)
                before = node
            tree.paths.append(path)
        return tree

    def visible(self) -> Tensor:
        """[tokens, tokens] whether the token of the row sees that of the column."""
        start, size = len(self.ids) - len(self.parents), len(self.ids)
        seen = torch.zeros(size, size, dtype=torch.bool)
        seen[:start, :start] = torch.ones(start, start, dtype=torch.bool).tril()
        for node, parent in enumerate(self.parents, start):
            seen[node] = seen[parent]
            seen[node, node] = True
        return seen


class Scorer:
    """Log-probabilities of texts under one model."""

    def __init__(self, model: Any) -> None:
        self.model = model
        self.shared = unsupported_model(model.config) is None
        """Whether the texts of a question share one pass."""
        self.max_tokens = TOKENS[model.device.type]
        self.max_logits = MAX_LOGITS[model.device.type]
        self.halved = 0
        """How often a pass was divided because memory ran out."""

    def score(self, questions: Sequence[Question]) -> Iterator[tuple[Question, list[float]]]:
        """Each question with the sum of log-probabilities of the tokens of each of its texts, natural logarithm.

        The longest questions come first, so that memory runs out at once if it does. StageError if one question does
        not fit into memory, or if the model's logits are NaN or infinite.
        """
        size = _tree_size if self.shared else _plain_size
        longest_first = sorted(questions, key=lambda each: (-size(each), each.id))
        while longest_first:
            width = max(size(longest_first[0]), 1)
            count = max(1, self.max_tokens // width)
            batch, longest_first = longest_first[:count], longest_first[count:]
            yield from zip(batch, self._fitting(batch), strict=True)

    @torch.inference_mode()
    def _fitting(self, batch: list[Question]) -> list[list[float]]:
        """Sums of each question; a batch that does not fit into memory is divided in two."""
        try:
            sums = self._trees(batch) if self.shared else [self._plain(question) for question in batch]
        except torch.OutOfMemoryError as error:
            if len(batch) == 1 and self.max_logits <= 1 << 20:
                raise StageError(
                    f"a prompt of {len(batch[0].prompt)} tokens does not fit into the memory of the GPU: "
                    "lower generate.max_prompt_tokens"
                ) from error
        else:
            for question, values in zip(batch, sums, strict=True):
                if not all(map(torch.isfinite, torch.tensor(values))):
                    raise StageError(
                        f"the model produced NaN or infinite logits for row {question.id!r}: the weights of the model "
                        "or of the adapter are broken, or too large for half precision"
                    )
            return sums
        # outside of `except`, whose traceback keeps the tensors that filled the memory
        self.halved += 1
        self.max_tokens, self.max_logits = max(1, self.max_tokens // 2), self.max_logits // 2
        gc.collect()
        if self.model.device.type == "cuda":
            torch.cuda.empty_cache()
        if len(batch) == 1:
            return self._fitting(batch)
        middle = -(-len(batch) // 2)
        return self._fitting(batch[:middle]) + self._fitting(batch[middle:])

    def _trees(self, batch: list[Question]) -> list[list[float]]:
        """One forward pass over a tree per question, padded on the right."""
        trees = [Tree.of(question) for question in batch]
        width, device = max(len(tree.ids) for tree in trees), self.model.device
        ids, depths = (torch.zeros(len(trees), width, dtype=torch.int64) for _ in range(2))
        seen = torch.eye(width, dtype=torch.bool).repeat(len(trees), 1, 1)  # padding sees itself, or it would be NaN
        for row, tree in enumerate(trees):
            length = len(tree.ids)
            ids[row, :length], depths[row, :length] = torch.tensor(tree.ids), torch.tensor(tree.depths)
            seen[row, :length, :length] = tree.visible()
        mask = torch.zeros(seen.shape, dtype=self.model.dtype).masked_fill_(~seen, torch.finfo(self.model.dtype).min)
        states = self.model.base_model(
            input_ids=ids.to(device),
            position_ids=depths.to(device),
            attention_mask=mask[:, None].to(device),
            use_cache=False,
        ).last_hidden_state
        sums = []
        for row, tree in enumerate(trees):
            targets = torch.tensor(tree.ids[len(tree.ids) - len(tree.parents) :], device=device)
            values = self._log_probabilities(states[row, torch.tensor(tree.parents, device=device)], targets)
            sums.append([float(values[torch.tensor(path)].sum()) for path in tree.paths])
        return sums

    def _log_probabilities(self, states: Tensor, targets: Tensor) -> Tensor:
        """[tokens] fp64 log-probability of each target behind a state of the last layer, on the CPU."""
        head = self.model.get_output_embeddings().weight
        rows = max(1, self.max_logits // len(head))
        parts = [
            _chosen(head_logits(states[at : at + rows], head), targets[at : at + rows])
            for at in range(0, len(states), rows)
        ]
        return torch.cat(parts)

    def _plain(self, question: Question) -> list[float]:
        """Each text behind the prompt, in batches that are padded on the right."""
        start, sums = len(question.prompt), list[float]()
        longest = start + max(map(len, question.texts))
        count = max(1, self.max_tokens // longest)
        has_keep = "logits_to_keep" in inspect.signature(self.model.forward).parameters
        for at in range(0, len(question.texts), count):
            rows = [question.prompt + text for text in question.texts[at : at + count]]
            width = max(map(len, rows))
            ids = torch.tensor([row + [0] * (width - len(row)) for row in rows], device=self.model.device)
            mask = torch.tensor([[1] * len(row) + [0] * (width - len(row)) for row in rows], device=self.model.device)
            kept = {"logits_to_keep": width - start + 1} if has_keep else {}
            scores = self.model(input_ids=ids, attention_mask=mask, use_cache=False, **kept).logits
            scores = scores[:, -(width - start + 1) : -1]
            for row, text in enumerate(question.texts[at : at + count]):
                targets = torch.tensor(text, device=scores.device)
                sums.append(float(_chosen(scores[row, : len(text)], targets).sum()))
        return sums


def _chosen(scores: Tensor, targets: Tensor) -> Tensor:
    """[rows, vocabulary], [rows] -> [rows] log-probability of the targets, fp64 on the CPU."""
    scores = scores.float()
    chosen = scores.gather(1, targets[:, None])[:, 0] - scores.logsumexp(-1)
    return chosen.double().cpu()


def _tree_size(question: Question) -> int:
    return len(Tree.of(question).ids)


def _plain_size(question: Question) -> int:
    return (len(question.prompt) + max(map(len, question.texts))) * len(question.texts)
