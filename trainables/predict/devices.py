"""Makes fake CPU tensors allocate what a device would: for a CPU's attention, and for everything on CUDA.

A CPU build of torch has no fake CUDA tensors (the first Linear ends the process), so CUDA's memory is predicted on fake CPU
tensors whose operations allocate what CUDA's would. That has not been validated on a GPU yet.
"""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from types import SimpleNamespace
from typing import Any
from unittest import mock

import torch

from sweep.contract.memory import Device
from trainables.predict.live import Live

BLOCK: dict[Device, int] = {"cpu": 1, "cuda": 512}  # bytes; the allocator rounds up to a multiple
_scaled_dot_product_attention = torch.nn.functional.scaled_dot_product_attention


@contextmanager
def behavior(live: Live, device: Device) -> Iterator[None]:
    """Within the block, fake CPU tensors are allocated as the device's would be. `live` tracks them."""
    with ExitStack() as stack:
        attention = _attention if device == "cpu" else _attention_on_cuda
        stack.enter_context(mock.patch("torch.nn.functional.scaled_dot_product_attention", attention))
        if device == "cuda":
            stack.enter_context(mock.patch("torch.nn.functional.dropout", _dropout_on_cuda))
            stack.enter_context(_loss_on_cuda(live))
        yield


def _attention(query: torch.Tensor, *args: Any, **kwargs: Any) -> torch.Tensor:
    """With heads inside positions, as the kernels lay it out: with the opposite layout it would be copied afterwards."""
    attended = _scaled_dot_product_attention(query, *args, **kwargs)
    if attended.is_contiguous() and attended.dim() == 4:
        batch, heads, length, width = attended.shape
        attended = attended.view(batch, length, heads, width).transpose(1, 2)
    return attended


def _attention_on_cuda(query: torch.Tensor, *args: Any, **kwargs: Any) -> torch.Tensor:
    """Applies dropout inside its kernel, where a CPU materializes the matrix of attention weights."""
    return _attention(query, *args, **{**kwargs, "dropout_p": 0.0})


def _dropout_on_cuda(input: torch.Tensor, p: float = 0.5, training: bool = True, inplace: bool = False) -> torch.Tensor:
    """Keeps a mask of bytes, where a CPU keeps one in the activation's dtype."""
    return torch.native_dropout(input, p, True)[0] if training and p > 0 else input


class _NoKernel:
    """A Triton kernel whose launch does nothing, since it allocates nothing."""

    def __getitem__(self, grid: Any) -> Any:
        return lambda *args, **kwargs: None


@contextmanager
def _loss_on_cuda(live: Live) -> Iterator[None]:
    """TRL's loss with its Triton kernels: tiles of logits are reduced in place, in the dtype of the product."""
    from trl.kernels import chunked_logprob

    def addmm(accumulated: torch.Tensor, a: torch.Tensor, b: torch.Tensor) -> None:
        with live.looking_away():  # CUDA multiplies bfloat16 into float32 without these copies
            accumulated.addmm_(a.float(), b.float())

    kernels: dict[str, Any] = {"_forward_kernel": _NoKernel(), "_backward_kernel": _NoKernel(), "_addmm_fp32": addmm}
    grid = SimpleNamespace(cdiv=lambda a, b: -(-a // b))
    with (
        mock.patch.multiple(chunked_logprob, _use_triton=lambda device: True, **kernels),
        mock.patch.object(chunked_logprob, "triton", grid, create=True),
    ):
        yield
