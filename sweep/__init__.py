"""Which LoRA rank should I use for this model, this data and this GPU?"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sweep.analysis import load

__all__ = ["load"]


def __getattr__(name: str) -> Any:
    """Imports `sweep.load` on first access."""
    if name == "load":
        from sweep.analysis import load

        return load
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
