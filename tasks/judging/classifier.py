"""A sequence classifier as a judge: the probability that a part of the dialogue entails a sentence of the summary.

As in SummaC-ZS (Laban et al., TACL 2022): each sentence gets the score of the chunk of the dialogue that supports it
most; a summary gets the mean of its sentences.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from artifacts.errors import RequestError
from artifacts.text import one_line
from tasks.config import JudgeClassifier, ResolvedModel
from tasks.judging.chunks import chunks, sentences
from tasks.judging.labels import supported_label
from tasks.judging.texts import JudgedText, empty_summary
from tasks.metrics.judgement import Judgement
from tasks.models.loading import half_precision
from tasks.sources.hub import fetch

FILES = ["*.safetensors", "*.safetensors.index.json", "*.json", "*.txt", "*.model", "*.jinja"]
"""Files of a hub model: weights, config, and those of every kind of tokenizer."""
MOST_TOKENS = 10**5
"""A tokenizer without a limit names a number beyond this."""
TOKENS_PER_BATCH = {"cpu": 1 << 12, "cuda": 1 << 16}
"""Tokens, padding included, that the classifier reads at once."""


class Classifier:
    """Judges summaries by a sequence classifier on one device."""

    def __init__(self, spec: JudgeClassifier, device: torch.device) -> None:
        folder = _folder(spec.model)
        try:
            self.tokenizer: Any = AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
            self.model: Any = AutoModelForSequenceClassification.from_pretrained(
                folder,
                dtype=torch.float32 if device.type == "cpu" else half_precision(device),
                use_safetensors=True,
                trust_remote_code=False,
            )
        except (OSError, ValueError) as error:
            raise RequestError(
                f"judge.model: {spec.model.origin} is no sequence classifier in *.safetensors ({one_line(error, 160)})"
            ) from error
        config = self.model.config
        if self.tokenizer.pad_token is None:
            self.tokenizer.pad_token = self.tokenizer.eos_token
        config.pad_token_id = self.tokenizer.pad_token_id
        self.model = self.model.to(device).eval()
        self.device, self.spec = device, spec
        self.label = supported_label(config.id2label, spec.label)
        self.label_name = str(config.id2label[self.label])
        limits = [self.tokenizer.model_max_length, getattr(config, "max_position_embeddings", MOST_TOKENS)]
        # RoBERTa's positions begin behind that of the padding
        offset = config.pad_token_id + 1 if "roberta" in config.model_type else 0
        self.most_tokens = int(min(limits[0], limits[1] - offset, MOST_TOKENS))
        self.tokens = 0
        """Tokens read so far, without padding."""

    def judge(self, texts: Sequence[JudgedText]) -> list[Judgement]:
        """Judge a batch of summaries."""
        claims = [sentences(text.summary) for text in texts]
        pairs = [
            (i, j, chunk, claim)
            for i, (text, own) in enumerate(zip(texts, claims, strict=True))
            for j, claim in enumerate(own)
            for chunk in self._chunks(text.dialogue, claim)
        ]
        best: dict[tuple[int, int], float] = {}
        for (i, j, *_), probability in zip(pairs, self._probabilities([pair[2:] for pair in pairs]), strict=True):
            best[i, j] = max(best.get((i, j), 0.0), probability)
        judgements = []
        for i, (text, own) in enumerate(zip(texts, claims, strict=True)):
            scores = [best[i, j] for j in range(len(own))]
            judgements.append(empty_summary(text) or self._judgement(text, own, scores))
        return judgements

    def _judgement(self, text: JudgedText, claims: list[str], scores: list[float]) -> Judgement:
        low = tuple(claim for claim, score in zip(claims, scores, strict=True) if score < self.spec.threshold)
        mean = sum(scores) / len(scores)
        return Judgement(id=text.id, kind=text.kind, score=mean, lowest=min(scores), unsupported=low)

    def _chunks(self, dialogue: str, claim: str) -> list[str]:
        """The chunks of a dialogue that fit into the model together with a claim."""
        special = self.tokenizer.num_special_tokens_to_add(pair=True)
        room = self.most_tokens - self._length(claim) - special
        return chunks(dialogue, max(min(self.spec.chunk_tokens, room), 1), self._length)

    def _length(self, text: str) -> int:
        return len(self.tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"])

    @torch.inference_mode()
    def _probabilities(self, pairs: Sequence[tuple[str, str]]) -> list[float]:
        """Probability of the label for each (chunk, claim)."""
        options = {"truncation": "longest_first", "max_length": self.most_tokens}
        encoded = [self.tokenizer(chunk, claim, **options) for chunk, claim in pairs]
        found = [0.0] * len(pairs)
        for batch in _by_length([len(each["input_ids"]) for each in encoded], TOKENS_PER_BATCH[self.device.type]):
            padded = self.tokenizer.pad([encoded[i] for i in batch], return_tensors="pt").to(self.device)
            logits = self.model(**padded).logits.float()
            single = logits.shape[-1] == 1
            values = logits[:, 0].sigmoid() if single else logits.softmax(dim=-1)[:, self.label]
            self.tokens += int(padded["attention_mask"].sum())
            for i, value in zip(batch, values.tolist(), strict=True):
                found[i] = round(value, 6)
        return found


def _by_length(lengths: Sequence[int], most: int) -> Iterator[list[int]]:
    """Numbers of the rows, the longest first, in batches of at most `most` tokens with padding."""
    order = sorted(range(len(lengths)), key=lambda i: -lengths[i])
    while order:
        size = max(1, most // lengths[order[0]])
        yield order[:size]
        order = order[size:]


def _folder(model: ResolvedModel) -> Path:
    if Path(model.location).is_dir():
        return Path(model.location)
    return fetch(model.location, model.revision, FILES, key="judge.model")
