"""Tracks which storages are alive at each moment of a computation, and what they are for.

Works on real and on fake tensors: both go through the dispatcher, and a weak reference reports a storage's end.
"""

import weakref
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from sweep.contract.memory import KINDS, Kind, Memory


@dataclass
class Storage:
    """One allocation: its size, and what it turned out to be for."""

    bytes: int
    kind: Kind = "temporaries"


class Live(TorchDispatchMode):  # type: ignore[no-untyped-call]  # torch types it in part
    """Tracks the storages that operations create, from the first operation that returns them until they are freed.

    Args:
        block: the allocator rounds sizes up to a multiple of this many bytes: 512 for CUDA's, 1 for no rounding.
        also: called with every operation, its arguments and its result: a second mode would take a fifth more time.
    """

    def __init__(self, block: int = 1, also: Callable[[Any, Any, Any, Any], None] = lambda *_: None) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._block, self._also, self._looking = block, also, True
        self._known: dict[int, tuple[Storage, Any]] = {}
        self._events: list[tuple[int, Storage]] = []  # bytes added or taken away, in order

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        self._also(func, args, kwargs or {}, result)
        if not self._looking:
            return result
        for leaf in tree_leaves(result):
            if isinstance(leaf, torch.Tensor):
                self._follow(leaf)
        return result

    def _follow(self, tensor: torch.Tensor) -> Storage:
        storage = tensor.untyped_storage()
        key = id(storage)  # one Python object per storage, for as long as it lives
        if key not in self._known:
            found = Storage(-(-storage.nbytes() // self._block) * self._block)
            self._known[key] = (found, weakref.ref(storage, lambda _: self._ended(key)))
            self._events.append((found.bytes, found))
        return self._known[key][0]

    def _ended(self, key: int) -> None:
        storage, _ = self._known.pop(key)
        self._events.append((-storage.bytes, storage))

    @contextmanager
    def looking_away(self) -> Iterator[None]:
        """Storages created within the block are not counted."""
        self._looking = False
        try:
            yield
        finally:
            self._looking = True

    def name(self, tensors: Iterable[Any], kind: Kind) -> None:
        """Labels what tensors are for; ignores anything that is not a tensor."""
        for tensor in tensors:
            if isinstance(tensor, torch.Tensor):
                self._follow(tensor).kind = kind

    @contextmanager
    def kept_are(self, kind: Kind) -> Iterator[None]:
        """Labels what is created within the block and still alive at its end."""
        before = set(self._known)
        yield
        for key, (storage, _) in self._known.items():
            if key not in before and storage.kind == "temporaries":
                storage.kind = kind

    def peak(self) -> Memory:
        """The bytes alive, by kind, at the moment of the peak."""
        total = most = at = 0
        for place, (change, _) in enumerate(self._events):
            total += change
            if total > most:
                most, at = total, place
        sums = dict.fromkeys(KINDS, 0)
        for change, storage in self._events[: at + 1]:
            sums[storage.kind] += change
        return Memory(**sums)
