"""TRL's SFTTrainer with the rows, learning rates and optimizer of this project's schedule.

One batch of the trainer is one optimizer step. A resumed training is, to the trainer, one with the steps that are left.
"""

import tempfile
from typing import Any, Protocol

import torch
from datasets import Dataset
from torch.optim.lr_scheduler import LambdaLR
from torch.utils.data import DataLoader
from transformers import PreTrainedTokenizerBase, PrinterCallback, TrainerCallback
from trl.trainer.sft_config import SFTConfig
from trl.trainer.sft_trainer import SFTTrainer

from tasks.config import TrainConfig
from tasks.training.optimizer import Optimizer
from tasks.training.packing import LabelledRows
from tasks.training.schedule import StepSchedule


class Steps(Protocol):
    """What the trainer needs of the loop (tasks/training/trl_loop.py)."""

    settings: TrainConfig
    schedule: StepSchedule
    train: LabelledRows
    optimizer: Optimizer

    @property
    def upcoming(self) -> range:
        """The steps that are left."""
        ...

    def compute_gradients(self, step: int) -> torch.Tensor:
        """Gradients of the mean loss over the step's labelled tokens. Returns that loss."""
        ...

    def finish_step(self, step: int, loss: float, norm: float) -> None:
        """Called after the step's update."""
        ...


class OneGpuConfig(SFTConfig):
    """Each process has one GPU, however many it can see."""

    @property
    def n_gpu(self) -> int:
        return 1


class FinishStep(TrainerCallback):
    """Hands the loss and gradient norm of each step to the loop, before the trainer begins the next one."""

    def __init__(self, loop: Steps) -> None:
        self.loop = loop

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self.first = self.loop.upcoming.start

    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, float] | None = None, **_: Any) -> None:
        if logs and "grad_norm" in logs:  # not the summary at the end
            self.loop.finish_step(self.first + state.global_step - 1, logs["loss"], logs["grad_norm"])


class StepTrainer(SFTTrainer):
    """SFTTrainer over the steps of a loop."""

    def __init__(self, loop: Steps, model: Any, tokenizer: PreTrainedTokenizerBase, dtype: torch.dtype) -> None:
        """`model`: a peft model on its device. `dtype`: of products."""
        self.loop = loop
        rows = loop.train.rows
        super().__init__(
            model=model,
            args=OneGpuConfig(
                output_dir=tempfile.gettempdir(),  # nothing is written there
                use_cpu=model.device.type == "cpu",
                bf16=dtype == torch.bfloat16,
                num_train_epochs=1,
                max_grad_norm=loop.settings.max_gradient_norm,
                seed=loop.settings.seed,
                logging_steps=1,
                logging_nan_inf_filter=False,
                gradient_checkpointing=False,
                ddp_broadcast_buffers=False,
                max_length=None,
                dataset_kwargs={"skip_prepare_dataset": True},
                save_strategy="no",
                report_to=[],
                disable_tqdm=True,
            ),
            train_dataset=Dataset.from_dict(
                {"input_ids": [list(ids) for ids, _ in rows], "labels": [list(labels) for _, labels in rows]}
            ),
            processing_class=tokenizer,
            callbacks=[FinishStep(loop)],
        )
        self.remove_callback(PrinterCallback)

    def get_train_dataloader(self) -> DataLoader[Any]:
        """The numbers of the steps, the same in all processes: the loop knows the rows of each."""
        return DataLoader([{"step": step} for step in self.loop.upcoming], batch_size=None)  # type: ignore[arg-type]

    def training_step(self, model: Any, inputs: dict[str, Any], num_items_in_batch: Any = None) -> torch.Tensor:
        """Loss and gradients of a step, in as many micro-batches as memory requires."""
        return self.loop.compute_gradients(inputs["step"])

    def create_optimizer(self, *_: Any) -> torch.optim.Optimizer:
        """That of the loop, whose state checkpoints have."""
        self.optimizer = self.loop.optimizer.torch_optimizer
        return self.optimizer

    def create_scheduler(self, *_: Any, **__: Any) -> LambdaLR:
        """The learning rates of the loop's schedule."""
        first, peak = self.loop.upcoming.start, self.loop.settings.learning_rate
        self.lr_scheduler = LambdaLR(
            self.loop.optimizer.torch_optimizer, lambda step: self.loop.schedule.learning_rate(first + step) / peak
        )
        return self.lr_scheduler

    def floating_point_ops(self, inputs: Any) -> int:
        """Not counted."""
        return 0

    def _send_telemetry(self) -> None:
        """Nothing is sent."""
