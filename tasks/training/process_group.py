"""The processes that share each step's rows: one a GPU, or one alone."""

import os
from dataclasses import dataclass

import torch
import torch.distributed as dist

from tasks.models.loading import pick_device


@dataclass(frozen=True)
class Group:
    """This process among `size`; all of them hold the same adapter."""

    rank: int
    size: int
    device: torch.device

    @staticmethod
    def join(wanted: str) -> "Group":
        """As the launcher's environment says; `wanted` is runtime.device."""
        device, size = pick_device(wanted), int(os.environ.get("WORLD_SIZE", "1"))
        if device.type == "cuda":
            device = torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))
            torch.cuda.set_device(device)
        if size == 1:
            return Group(0, 1, device)
        if not dist.is_initialized():
            if device.type == "cuda":
                dist.init_process_group("nccl", device_id=device)
            else:
                dist.init_process_group("gloo")
        return Group(dist.get_rank(), size, device)

    def leave(self) -> None:
        if self.size > 1 and dist.is_initialized():
            dist.destroy_process_group()

    def add(self, tensor: torch.Tensor) -> None:
        """Sum over the processes, in place; on a GPU it is queued, not waited for."""
        if self.size > 1:
            dist.all_reduce(tensor)

    def same(self, tensor: torch.Tensor) -> None:
        """The first process's values for all, in place."""
        if self.size > 1:
            dist.broadcast(tensor, 0)
