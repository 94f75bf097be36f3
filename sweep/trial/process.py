"""Decides whether a process is clean enough to run another trial, and restores its state."""

import gc
import logging
import os
import sys
from contextlib import suppress
from dataclasses import dataclass
from operator import attrgetter
from typing import Any

from sweep.common.formatting import size

MEBIBYTE = 2**20
# Process-wide torch settings that a trial's arguments may change: owner and attribute.
FLAGS = (
    ("backends", "fp32_precision"),
    ("backends.cuda.matmul", "fp32_precision"),
    ("backends.cudnn", "fp32_precision"),
    ("backends.cudnn", "benchmark"),
    ("backends.cudnn", "deterministic"),
)


@dataclass(frozen=True)
class Clean:
    """A process's state before its first trial."""

    cuda_bytes: int
    environment: dict[str, str]
    handlers: dict[str, list[logging.Handler]]
    hooks: int
    flags: dict[str, Any]


def snapshot() -> Clean:
    return Clean(_cuda_bytes(), dict(os.environ), _handlers(), _global_hooks(), _flags())


def restore(before: Clean) -> None:
    """Restores what a trial may have changed: environment variables, log handlers, torch's settings, cached memory."""
    for name in set(os.environ) - set(before.environment):
        del os.environ[name]
    os.environ.update(before.environment)
    for name, handlers in _handlers().items():
        for handler in handlers:
            if handler not in before.handlers.get(name, []):
                logging.getLogger(name or None).removeHandler(handler)
    _restore_flags(before.flags)
    gc.collect()
    torch = _torch_with_cuda()
    if torch is not None:
        with suppress(RuntimeError):  # the device no longer responds: `unclean` reports it
            # cuBLAS keeps its workspace allocated, 32 MiB on a recent GPU: the next trial's memory would include it.
            getattr(torch._C, "_cuda_clearCublasWorkspaces", lambda: None)()
            torch.cuda.empty_cache()


def unclean(before: Clean, leftovers: list[Any]) -> list[str]:
    """Why the process must not be reused; empty if it may be. `leftovers` are weak references that should be dead."""
    reasons = [f"CUDA no longer works in it: {error}"] if (error := _cuda_error()) else []
    grown = _cuda_bytes() - before.cuda_bytes
    if grown > MEBIBYTE:
        reasons.append(f"{size(grown)} of CUDA memory is still allocated")
    alive = [one for ref in leftovers if (one := ref()) is not None]
    if alive:
        reasons.append(f"the last trial's {', '.join(sorted({type(one).__name__ for one in alive}))} is still alive")
    if _global_hooks() != before.hooks:
        reasons.append("global module hooks were left behind")
    changed = sorted(name for name, value in _flags().items() if value != before.flags.get(name, value))
    if changed:
        reasons.append(f"torch's {', '.join(changed)} changed and could not be restored")
    return reasons


def _torch_with_cuda() -> Any:
    """torch, if this process has used CUDA through it."""
    torch = sys.modules.get("torch")
    return torch if torch is not None and torch.cuda.is_initialized() else None


def _cuda_error() -> str | None:
    """The error that every CUDA call raises after a kernel has failed (a device-side assert, say), until the process ends."""
    torch = _torch_with_cuda()
    try:
        if torch is not None:
            torch.cuda.synchronize()
    except RuntimeError as error:
        return str(error).partition("\n")[0]
    return None


def _cuda_bytes() -> int:
    torch = _torch_with_cuda()
    return int(torch.cuda.memory_allocated()) if torch is not None else 0


def _handlers() -> dict[str, list[logging.Handler]]:
    """Log handlers by logger name; the root's name is empty."""
    named = {name: one for name, one in logging.Logger.manager.loggerDict.items() if isinstance(one, logging.Logger)}
    return {"": list(logging.getLogger().handlers), **{name: list(one.handlers) for name, one in named.items()}}


def _global_hooks() -> int:
    """How many global module hooks torch has in this process."""
    module = sys.modules.get("torch.nn.modules.module")
    if module is None:
        return 0
    return sum(
        len(value) for name, value in vars(module).items() if name.startswith("_global_") and hasattr(value, "__len__")
    )


def _flags() -> dict[str, Any]:
    """torch's process-wide settings, by name; empty before it is imported."""
    torch: Any = sys.modules.get("torch")
    if torch is None:
        return {}
    found = {f"{owner}.{name}": getattr(attrgetter(owner)(torch), name, None) for owner, name in FLAGS}
    return {
        **found,
        "default dtype": torch.get_default_dtype(),
        "deterministic algorithms": torch.are_deterministic_algorithms_enabled(),
    }


def _restore_flags(before: dict[str, Any]) -> None:
    torch: Any = sys.modules.get("torch")
    if torch is None or not before:
        return
    now = _flags()
    for owner, name in FLAGS:
        if now[f"{owner}.{name}"] != before[f"{owner}.{name}"]:
            setattr(attrgetter(owner)(torch), name, before[f"{owner}.{name}"])
    torch.set_default_dtype(before["default dtype"])
    if now["deterministic algorithms"] != before["deterministic algorithms"]:
        torch.use_deterministic_algorithms(before["deterministic algorithms"])
