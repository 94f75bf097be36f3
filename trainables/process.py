"""Using a process again for the next trial, only once it has proven clean."""

import gc
import logging
import os
import sys
from dataclasses import dataclass
from typing import Any

MEBIBYTE = 2**20


@dataclass(frozen=True)
class Clean:
    """What a process was like before its first trial."""

    cuda_bytes: int
    environment: dict[str, str]
    handlers: dict[str, list[logging.Handler]]
    hooks: int


def snapshot() -> Clean:
    return Clean(_cuda_bytes(), dict(os.environ), _handlers(), _global_hooks())


def restore(before: Clean) -> None:
    """Puts back what a trial may have left: environment variables, log handlers, cached memory."""
    for name in set(os.environ) - set(before.environment):
        del os.environ[name]
    os.environ.update(before.environment)
    for name, handlers in _handlers().items():
        for handler in handlers:
            if handler not in before.handlers.get(name, []):
                logging.getLogger(name or None).removeHandler(handler)
    gc.collect()
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available() and torch.cuda.is_initialized():
        torch.cuda.empty_cache()


def unclean(before: Clean, leftovers: list[Any]) -> list[str]:
    """Why the process must not be used again; empty if it may. `leftovers` are weak references that should be dead."""
    reasons = []
    grown = _cuda_bytes() - before.cuda_bytes
    if grown > MEBIBYTE:
        reasons.append(f"{grown / MEBIBYTE:.1f} MiB of CUDA memory are still allocated")
    alive = [ref() for ref in leftovers if ref() is not None]
    if alive:
        reasons.append(f"the last trial's {', '.join(sorted({type(one).__name__ for one in alive}))} is still alive")
    if _global_hooks() != before.hooks:
        reasons.append("global module hooks were left behind")
    return reasons


def _cuda_bytes() -> int:
    torch = sys.modules.get("torch")
    if torch is None or not torch.cuda.is_available() or not torch.cuda.is_initialized():
        return 0
    return int(torch.cuda.memory_allocated())


def _handlers() -> dict[str, list[logging.Handler]]:
    """Log handlers by logger name; the root's name is empty."""
    named = {name: one for name, one in logging.Logger.manager.loggerDict.items() if isinstance(one, logging.Logger)}
    return {"": list(logging.getLogger().handlers), **{name: list(one.handlers) for name, one in named.items()}}


def _global_hooks() -> int:
    """How many hooks hang on every torch module of the process."""
    module = sys.modules.get("torch.nn.modules.module")
    if module is None:
        return 0
    return sum(
        len(value) for name, value in vars(module).items() if name.startswith("_global_") and hasattr(value, "__len__")
    )
