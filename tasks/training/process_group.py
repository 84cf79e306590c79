"""The processes that share the rows of each step: one per GPU, or a single one."""

import os
from dataclasses import dataclass

import torch
import torch.distributed as dist

from tasks.models.loading import pick_device


@dataclass(frozen=True)
class ProcessGroup:
    """This process among `size` processes that all hold the same adapter."""

    rank: int
    size: int
    device: torch.device

    @staticmethod
    def init(device_setting: str) -> "ProcessGroup":
        """Join the group that the launcher's environment describes; `device_setting` is runtime.device."""
        device, size = pick_device(device_setting), int(os.environ.get("WORLD_SIZE", "1"))
        if device.type == "cuda":
            device = torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))
            torch.cuda.set_device(device)
        if size == 1:
            return ProcessGroup(0, 1, device)
        if not dist.is_initialized():
            if device.type == "cuda":
                dist.init_process_group("nccl", device_id=device)
            else:
                dist.init_process_group("gloo")
        return ProcessGroup(dist.get_rank(), size, device)

    def destroy(self) -> None:
        if self.size > 1 and dist.is_initialized():
            dist.destroy_process_group()

    def all_reduce(self, tensor: torch.Tensor) -> None:
        """Sum the tensor over the processes, in place. On a GPU this is queued, not waited for."""
        if self.size > 1:
            dist.all_reduce(tensor)

    def broadcast(self, tensor: torch.Tensor) -> None:
        """Overwrite the tensor with that of the first process."""
        if self.size > 1:
            dist.broadcast(tensor, 0)
