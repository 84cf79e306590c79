"""A peft model as it is, one padded batch a pack: for architectures and adapters that model.py does not know."""

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch.nn.utils.rnn import pad_sequence

from tasks.training.flat_adapter import FlatAdapter
from tasks.training.packing import Pack


class PaddedModel:
    """Computes the loss of a pack; `backward` on it adds the gradients to `adapter.grads`."""

    def __init__(self, model: Any, dtype: torch.dtype, smoothing: float = 0.0) -> None:
        """`dtype`: of products, by autocast. `smoothing`: of labels."""
        self.model, self.dtype, self.smoothing = model, dtype, smoothing
        self.causal = model.get_base_model()
        self.vocabulary = self.causal.config.get_text_config().vocab_size
        trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
        self.adapter = FlatAdapter(trained, torch.float32)
        self.device = self.adapter.values.device
        for module in model.modules():
            # On a CPU with bf16 instructions bitsandbytes repacks its weights at the first evaluation, for a kernel
            # without gradients: training then goes on with wrong ones, and the loss looks healthy.
            if hasattr(module, "support_avx512bf16_for_cpu"):
                module.support_avx512bf16_for_cpu = False

    def prepare(self, packs: Sequence[Sequence[int]]) -> list[int]:
        """Nothing to prepare."""
        return []

    def loss(self, pack: Pack) -> torch.Tensor:
        """Sum over the labelled tokens, fp32. The head sees these alone, unless the model does something after it."""
        self.model.train(torch.is_grad_enabled())
        ids = pad_sequence(pack.ids.split(pack.lengths), batch_first=True)
        lengths = torch.tensor(pack.lengths, device=ids.device)
        mask = torch.arange(ids.shape[1], device=ids.device)[None] < lengths[:, None]
        inputs = {"input_ids": ids, "attention_mask": mask.long(), "use_cache": False}
        head = self.causal.get_output_embeddings()
        with torch.autocast(self.device.type, self.dtype, enabled=self.dtype != torch.float32):
            if getattr(self.causal.config, "final_logit_softcapping", None) or head is None:
                logits = self.model(**inputs).logits[mask][pack.picked]
            else:
                self.causal.set_output_embeddings(torch.nn.Identity())
                try:
                    hidden = self.model(**inputs).logits
                finally:
                    self.causal.set_output_embeddings(head)
                logits = head(hidden[mask][pack.picked].to(head.weight.dtype))
        smoothing = self.smoothing if torch.is_grad_enabled() else 0.0
        return F.cross_entropy(logits.float(), pack.labels, reduction="sum", label_smoothing=smoothing)
