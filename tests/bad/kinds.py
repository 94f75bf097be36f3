"""What a row of the table of bad inputs is, and the kinds of rows."""

import json
import shlex
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from sweep import analysis, grid
from sweep.config.layers import resolve
from sweep.contract.identity import Source
from sweep.plan import planning as plan
from sweep.store.store import Store

ROWS = [{"instruction": f"say {n}", "input": "", "output": f"word {n}"} for n in range(20)]
HEADER = "lora_r,train_loss\n"


@dataclass(frozen=True)
class Place:
    """Where a row of the table plays: an empty folder, in which the user stands, with a good model and good data."""

    folder: Path
    model: Path
    rows: Path

    def file(self, name: str, content: str | bytes) -> str:
        path = self.folder / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return name

    def good(self, words: Sequence[str]) -> list[str]:
        """The words, with what they lack of a good command."""
        if not any("bf16" in word or word == "--trainable" for word in words):
            words = [*words, "--no_bf16"]
        usual = {"--model_name_or_path": str(self.model), "--dataset_name": str(self.rows), "--storage_path": "store"}
        return [*words, *(word for key, value in usual.items() if key not in words for word in (key, value))]


@dataclass(frozen=True)
class Bad:
    """A row: what is wrong, the command's words (made in a place), and what the message must hold."""

    name: str
    words: Callable[[Place], list[str]]
    said: str
    main: Callable[[Sequence[str]], int] = grid.main


def flag(words: str, said: str) -> Bad:
    return Bad(words, lambda place: place.good(shlex.split(words)), said)


def yaml(name: str, content: str | bytes, said: str) -> Bad:
    return Bad(f"YAML {name}", lambda place: place.good(["--config", place.file("my.yaml", content)]), said)


def data(name: str, file: str, content: str | bytes, said: str, *more: str) -> Bad:
    return Bad(f"data {name}", lambda place: place.good(["--dataset_name", place.file(file, content), *more]), said)


def rows(name: str, values: Sequence[Any], said: str, *more: str) -> Bad:
    return data(name, "rows.json", json.dumps(values), said, *more)


def model(name: str, change: Callable[[Path], Any], said: str) -> Bad:
    def words(place: Place) -> list[str]:
        shutil.copytree(place.model, place.folder / "broken")
        change(place.folder / "broken")
        return place.good(["--model_name_or_path", "broken"])

    return Bad(f"model {name}", words, said)


def chat(name: str, said: str) -> Bad:
    """Conversations for a model that has no chat template."""

    def words(place: Place) -> list[str]:
        shutil.copytree(place.model, place.folder / "plain")
        (place.folder / "plain" / "chat_template.jinja").unlink()
        turns = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]
        file = place.file("chat.json", json.dumps([{"messages": turns}] * 9))
        return place.good(["--model_name_or_path", "plain", "--dataset_name", file])

    return Bad(f"data {name}", words, said)


def kept(
    name: str,
    change: Callable[[Path], Any],
    said: str,
    *more: str,
    main: Callable[[Sequence[str]], int] = grid.main,
    model: str | None = None,
) -> Bad:
    """A sweep's folder that was made before, of a model of this fingerprint, and then changed."""

    def words(place: Place) -> list[str]:
        command = place.good(["--name", "one", "--lora_r", "8", "16"])
        config, _ = resolve(command, False)
        assert config is not None
        trials, store = config.trials(), Store(config.location)
        made_of = {trials[0].trial_id: {"model_fingerprint": Source(str(place.model), model)}} if model else {}
        store.write_sweep(plan.content(config, trials, made_of))
        store.write_trial({**trials[0].columns(), "status": "completed", "eval_loss": 1.0}, {})
        change(place.folder / "store" / "one")
        return [*command, *more] if main is grid.main else ["store/one", *more]

    return Bad(f"sweep {name}{'' if main is grid.main else f' ({main.__module__})'}", words, said, main)


def table(name: str, text: str | bytes, said: str, file: str = "rows.csv") -> Bad:
    return Bad(f"table {name}", lambda place: ["--from_csv", place.file(file, text)], said, analysis.main)


def asked(name: str, words: Sequence[str], said: str, main: Callable[[Sequence[str]], int]) -> Bad:
    return Bad(f"{main.__module__} {name}", lambda place: list(words), said, main)


def put(name: str, content: str | bytes) -> Callable[[Path], Any]:
    return lambda folder: (folder / name).write_bytes(content if isinstance(content, bytes) else content.encode())


def cut(name: str) -> Callable[[Path], Any]:
    return lambda folder: (folder / name).write_bytes((folder / name).read_bytes()[:-9])


def without(*patterns: str) -> Callable[[Path], Any]:
    def change(folder: Path) -> None:
        for file in [file for pattern in patterns for file in folder.glob(pattern)]:
            file.unlink()

    return change


def config_with(**values: Any) -> Callable[[Path], Any]:
    def change(folder: Path) -> None:
        file = folder / "config.json"
        file.write_text(json.dumps({**json.loads(file.read_text()), **values}))

    return change


def all_of(*changes: Callable[[Path], Any]) -> Callable[[Path], Any]:
    return lambda folder: [change(folder) for change in changes]


def replaced_by_a_folder(name: str) -> Callable[[Path], Any]:
    def change(folder: Path) -> None:
        (folder / name).unlink()
        (folder / name).mkdir()

    return change


def replaced_by_a_file(name: str) -> Callable[[Path], Any]:
    def change(folder: Path) -> None:
        shutil.rmtree(folder / name)
        (folder / name).write_text("")

    return change


def loop(place: Place) -> str:
    """A link to itself."""
    (place.folder / "loop").symlink_to(place.folder / "loop")
    return "./loop"


def folder(name: str, files: dict[str, str], said: str) -> Bad:
    def words(place: Place) -> list[str]:
        (place.folder / "there").mkdir()
        for file, text in files.items():
            place.file(f"there/{file}", text)
        return place.good(["--dataset_name", "there"])

    return Bad(f"data folder {name}", words, said)


def parquet_cut_off() -> bytes:
    sink = pa.BufferOutputStream()
    pq.write_table(pa.Table.from_pylist(ROWS), sink)
    return bytes(sink.getvalue().to_pybytes()[:-30])
