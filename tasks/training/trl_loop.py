"""Training by TRL's SFTTrainer, for models and adapters that the packed engine does not support.

The trainer runs the steps: forward passes through the modules of transformers and peft in accelerate's precision, TRL's
fused head, clipping, the optimizer. Rows, labels, learning rates, the curve, checkpoints and guards are those of Loop.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch.nn.utils.rnn import pad_sequence
from transformers import PreTrainedTokenizerBase

from tasks.config import TrainConfig
from tasks.training.flat_adapter import FlatAdapter
from tasks.training.loop import Loop, QueuedStep
from tasks.training.objective import Supervised
from tasks.training.packing import IGNORED, LabelledRows, Pack
from tasks.training.process_group import ProcessGroup
from tasks.training.trl_trainer import StepTrainer
from tasks.workers.events import Events


class TrlModel:
    """Computes the loss of a pack with the trainer's model; `backward` on it adds the gradients to the adapter's."""

    trainer: StepTrainer
    """Set by TrlLoop."""

    def __init__(self, model: Any, dtype: torch.dtype, smoothing: float = 0.0) -> None:
        """`model`: a peft model. `dtype`: of products, by accelerate's autocast. `smoothing`: of labels."""
        self.model, self.dtype, self.smoothing = model, dtype, smoothing
        self.vocabulary = model.config.get_text_config().vocab_size
        trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
        self.adapter = FlatAdapter(trained, torch.float32)
        self.device = self.adapter.values.device

    def select_warm_up(self, packs: Sequence[Sequence[int]]) -> list[int]:
        """No pack: nothing is captured."""
        return []

    def loss(self, pack: Pack) -> torch.Tensor:
        """Sum over the labelled tokens, fp32.

        SFTTrainer.compute_loss also gathers the tokens' accuracy from all processes. Here each process has a number of
        micro-batches of its own, so that would wait forever.
        """
        training = torch.is_grad_enabled()
        self.model.train(training)
        inputs, labels = _padded(pack)
        with self.trainer.accelerator.autocast():
            if training and self.smoothing:
                logits = self.model(**inputs).logits[:, :-1].float()
                return F.cross_entropy(
                    logits.flatten(0, 1), labels[:, 1:].flatten(), reduction="sum", label_smoothing=self.smoothing
                )
            losses: torch.Tensor = -self.model(**inputs, labels=labels, fused_lm_head=True).log_probs
            return losses.float().sum()


def _padded(pack: Pack) -> tuple[dict[str, Any], torch.Tensor]:
    """The model's arguments, and the labels [rows, longest]."""
    labels = torch.full_like(pack.ids, IGNORED)
    labels[pack.target_positions + 1] = pack.labels
    ids = pad_sequence(pack.ids.split(pack.lengths), batch_first=True)
    lengths = torch.tensor(pack.lengths, device=ids.device)
    mask = torch.arange(ids.shape[1], device=ids.device)[None] < lengths[:, None]
    padded = pad_sequence(labels.split(pack.lengths), batch_first=True, padding_value=IGNORED)
    return {"input_ids": ids, "attention_mask": mask.long(), "use_cache": False}, padded


class TrlLoop(Loop):
    """One training, whose steps SFTTrainer runs."""

    model: TrlModel

    def __init__(
        self,
        model: TrlModel,
        tokenizer: PreTrainedTokenizerBase,
        settings: TrainConfig,
        train: LabelledRows,
        validation: LabelledRows,
        group: ProcessGroup,
        events: Events,
        token_budget: int,
        max_rows: int | None = None,
        work: Path | None = None,
        identity: str = "",
    ) -> None:
        """The other arguments are those of Loop."""
        self.train, objective = train, Supervised(model, train)
        super().__init__(objective, settings, validation, group, events, token_budget, max_rows, work, identity)
        model.trainer = StepTrainer(self, model.model, tokenizer, model.dtype)
        model.adapter.attach()  # TRL rounds adapters over a quantized base to bf16
        self._sigterms = 0.0

    def _run_steps(self) -> None:
        if self.upcoming:
            self.model.trainer.train()

    # -- called by the trainer

    @property
    def upcoming(self) -> range:
        """The steps that are left."""
        return range(self.progress.steps_done, self.schedule.steps)

    def compute_gradients(self, step: int) -> torch.Tensor:
        """Gradients of the mean loss over the step's labelled tokens. Returns that loss."""
        self.model.adapter.attach()
        self.model.adapter.grads.zero_()
        sums, target_count = self._add_gradients(step)
        self.model.adapter.grads.div_(target_count)
        self._sigterms = sums[-1].item()
        return sums[0] / target_count

    def finish_step(self, step: int, loss: float, norm: float) -> None:
        """Check and report a step whose update was made, then do what is due after it."""
        self._read(QueuedStep(step, torch.tensor([loss, norm, self._sigterms]), None))
        self._finish_step(step)
