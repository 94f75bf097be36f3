"""Whether a model folder's weights can be read: safetensors, none missing, none cut off. Looks at headers only."""

import json
from pathlib import Path

SINGLE, INDEX = "model.safetensors", "model.safetensors.index.json"


def complaint(folder: Path) -> str | None:
    """What is wrong with the weights in a folder, or None."""
    again = "Save the model again with save_pretrained, or copy it again."
    if (folder / SINGLE).is_file():
        return None if is_whole(folder / SINGLE) else f"{SINGLE} is cut off or no safetensors file. {again}"
    if (folder / INDEX).is_file():
        shards = _shards(folder / INDEX)
        if not shards:
            return f"{INDEX} names no weights. {again}"
        broken = [name for name in shards if not is_whole(folder / name)]
        return f"{', '.join(broken[:3])}: missing or cut off. {again}" if broken else None
    if any(folder.glob("*.bin")) or any(folder.glob("*.pt")):
        return (
            "its weights are pickled only, which can run code when they are read. "
            "Load the model where you trust it and save it with save_pretrained: that makes safetensors."
        )
    return "the folder has a config.json but no weights. Save the model with save_pretrained."


def is_whole(path: Path) -> bool:
    """Whether a safetensors file is there and as long as its header says."""
    try:
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            size = path.stat().st_size
            if not 2 <= length <= size - 8:
                return False
            header = json.loads(file.read(length))
        ends = [entry["data_offsets"][1] for name, entry in header.items() if name != "__metadata__"]
    except (OSError, ValueError, KeyError, IndexError, TypeError, AttributeError):
        return False
    return bool(max(ends, default=0) + 8 + length == size)


def _shards(index: Path) -> list[str]:
    try:
        return sorted({str(name) for name in json.loads(index.read_bytes())["weight_map"].values()})
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return []
