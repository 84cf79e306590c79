"""Training through the modules of transformers in padded batches, where PackedModel does not support the model."""

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
            # without gradients: training would continue with wrong gradients, and the loss would look healthy.
            if hasattr(module, "support_avx512bf16_for_cpu"):
                module.support_avx512bf16_for_cpu = False

    def select_warm_up(self, packs: Sequence[Sequence[int]]) -> list[int]:
        """No pack: nothing is captured."""
        return []

    def loss(self, pack: Pack) -> torch.Tensor:
        """Sum over the labelled tokens, fp32. The head computes these alone, unless the model changes its output."""
        self.model.train(torch.is_grad_enabled())
        ids = pad_sequence(pack.ids.split(pack.lengths), batch_first=True)
        lengths = torch.tensor(pack.lengths, device=ids.device)
        mask = torch.arange(ids.shape[1], device=ids.device)[None] < lengths[:, None]
        inputs = {"input_ids": ids, "attention_mask": mask.long(), "use_cache": False}
        head = self.causal.get_output_embeddings()
        with torch.autocast(self.device.type, self.dtype, enabled=self.dtype != torch.float32):
            if getattr(self.causal.config, "final_logit_softcapping", None) or head is None:
                logits = self.model(**inputs).logits[mask][pack.target_positions]
            else:
                self.causal.set_output_embeddings(torch.nn.Identity())
                try:
                    hidden = self.model(**inputs).logits
                finally:
                    self.causal.set_output_embeddings(head)
                logits = head(hidden[mask][pack.target_positions].to(head.weight.dtype))
        smoothing = self.smoothing if torch.is_grad_enabled() else 0.0
        return F.cross_entropy(logits.float(), pack.labels, reduction="sum", label_smoothing=smoothing)
