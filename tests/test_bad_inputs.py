"""What a user may get wrong: exit code 2, one message that says what, what was got and how to mend it; nothing written."""

import json
import re
import shlex
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from sweep import analysis, grid, plan, report
from sweep.config import resolve
from sweep.store import Store
from tests import toys

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


def kept(
    name: str, change: Callable[[Path], Any], said: str, *more: str, main: Callable[[Sequence[str]], int] = grid.main
) -> Bad:
    """A sweep's folder that was made before and then changed."""

    def words(place: Place) -> list[str]:
        command = place.good(["--name", "one", "--lora_r", "8", "16"])
        config, _ = resolve(command, False)
        assert config is not None
        trials, store = config.trials(), Store(config.location)
        store.write_sweep(plan.content(config, trials, {"model_fingerprint": "of before"}))
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


FLAGS = [
    flag("--learnin_rate 1e-4", "--learnin_rate: there is no such setting. Did you mean learning_rate?"),
    flag("--max_steps many", "--max_steps: expected a whole number, got 'many'"),
    flag("--max_steps 1.5", "--max_steps: expected a whole number, got '1.5'"),
    flag("--max_steps 0x10", "--max_steps: expected a whole number, got '0x10'"),
    flag("--max_steps 1_000", "--max_steps: expected a whole number, got '1_000'"),
    flag("--max_steps 010", "--max_steps: expected a whole number, got '010'"),
    flag("--max_steps 99999999999999999999", "--max_steps: expected a whole number"),
    flag("--max_steps 0", "--max_steps: must be at least 1, or -1 to train for num_train_epochs, got 0"),
    flag("--max_steps", "--max_steps: expected a whole number, got no value"),
    flag("--no_max_steps", "--no_max_steps: there is no such setting. Did you mean max_steps?"),
    flag("--learning_rate nan", "--learning_rate: expected a number, got 'nan'"),
    flag("--learning_rate 1e999", "--learning_rate: expected a number, got '1e999'"),
    flag("--learning_rate -1", "--learning_rate: must be at least 0, got -1"),
    flag("--learning_rate 1 2", "--learning_rate: expected a number, got ['1', '2']"),
    flag("--learning_rate ''", "--learning_rate: expected a number, got ''"),
    flag("--bf16 perhaps", "--bf16: expected true or false, got 'perhaps'"),
    flag("--per_device_train_batch_size 0", "--per_device_train_batch_size: must be at least 1, got 0"),
    flag("--gradient_accumulation_steps 0", "--gradient_accumulation_steps: must be at least 1, got 0"),
    flag("--max_length 0", "--max_length: must be at least 2, got 0"),
    flag("--num_train_epochs -1", "--num_train_epochs: must be above 0, got -1"),
    flag("--lora_dropout 2", "--lora_dropout: must be at least 0 and at most 1, got 2"),
    flag("--lora_alpha 0", "--lora_alpha: must be above 0, got 0"),
    flag("--lora_r 8 8", "--lora_r: 8 is there twice. Name each once"),
    flag("--lora_r 0", "--lora_r: 0 cannot be used: give whole numbers from 1 to 65536, or `full`"),
    flag("--lora_r -4", "--lora_r: -4 cannot be used"),
    flag("--lora_r 99999999", "--lora_r: 99999999 cannot be used"),
    flag("--lora_r 8,16", "--lora_r: 8,16 cannot be used"),
    flag("--lora_r 1_6", "--lora_r: 1_6 cannot be used"),
    flag("--lora_r ''", "--lora_r: '' cannot be used"),
    flag("--lora_r ٣", "--lora_r: '٣' cannot be used"),
    flag("--lora_r", "--lora_r: the axis is empty"),
    flag("--seeds -1", "--seeds: -1 cannot be used: give whole numbers from 0 to 4294967295"),
    flag("--seeds 4294967296", "--seeds: 4294967296 cannot be used"),
    flag("--seeds", "--seeds: the axis is empty"),
    flag("--margin nan", "--margin: expected a number, got 'nan'"),
    flag("--margin inf", "--margin: expected a number, got 'inf'"),
    flag("--margin 0", "--margin: must be above 0, got 0"),
    flag("--margin 5", "--margin: is a share of the loss, got 5. Half a percent is 0.005"),
    flag("--margin", "--margin: expected a number, got no value"),
    flag("--grid", "--grid: the axis is missing. Give KEY=V1,V2"),
    flag("--grid learning_rate", "--grid learning_rate: expected KEY=V1,V2"),
    flag("--grid learning_rate=", "--grid learning_rate: the axis is empty"),
    flag("--grid =1", "--grid =1: expected KEY=V1,V2"),
    flag("--grid learning_rate=1 --grid learning_rate=2", "--grid learning_rate: the axis is named twice"),
    flag("--grid learning_rate=1e-4,0.0001", "--grid learning_rate: 0.0001 is there twice"),
    flag("--grid learning_rate=a,b", "--grid learning_rate: expected a number for each value, got 'a', 'b'"),
    flag("--grid lora_r=1,2", "--grid lora_r: ranks and seeds have flags of their own"),
    flag("--grid output_dir=a,b", "--grid output_dir: cannot be an axis: the sweep's folder is set by --storage_path"),
    flag("--grid hub_token=a,b", "--grid hub_token: cannot be an axis: it is a secret"),
    flag(
        "--grid max_stpes=1,2", "--grid max_stpes: cannot be an axis: there is no such setting. Did you mean max_steps?"
    ),
    flag("--grid lora_dropout=0.1,7", "--grid lora_dropout: must be at least 0 and at most 1, got 7"),
    flag("--grid eval_strategy=no,sometimes", "--grid eval_strategy 'sometimes': refused by the trainer: sometimes is"),
    flag("--eval_strategy sometimes", "--eval_strategy 'sometimes': refused by the trainer: sometimes is not a valid"),
    flag("--lr_scheduler_type nope", "--lr_scheduler_type 'nope': refused by the trainer: nope is not a valid"),
    flag("--lora_r full --lora_alpha 16", "--lora_alpha: means nothing, since every trial is full fine-tuning"),
    flag("--lora_r full --use_dora", "--use_dora: means nothing, since every trial is full fine-tuning"),
    flag("--lora_target_modules nope", "has no such module. It has: down_proj"),
    flag(
        "--lora_target_modules all-linear lm_head",
        "--lora_target_modules: all-linear stands alone, got it with lm_head",
    ),
    flag("--lora_alpha_rule prop", "--lora_alpha_rule: expected one of fixed, proportional, rslora, got 'prop'"),
    flag("--scheduler pbt", "--scheduler: expected one of fifo, asha, got 'pbt'"),
    flag("--gpus_per_trial 1", "--gpus_per_trial 1: this machine has 0 GPUs"),
    flag("--gpus_per_trial -1", "--gpus_per_trial: must be at least 0, got -1"),
    flag("--cpus_per_trial 9999", "--cpus_per_trial 9999: this machine has"),
    flag("--cpus_per_trial inf", "--cpus_per_trial: expected a number, got 'inf'"),
    flag("--max_concurrent_trials 0", "--max_concurrent_trials: must be at least 1, got 0"),
    flag("--max_failures -1", "--max_failures: must be at least 0, got -1"),
    flag("--preset dem", "--preset: expected one of demo, opt-350m-codealpaca, got 'dem'. Did you mean demo?"),
    flag("--preset", "--preset: expected one of demo, opt-350m-codealpaca, got no value"),
    flag("--name a/b", "--name 'a/b': use up to 100 letters"),
    flag("--name ..", "--name '..': use up to 100 letters"),
    flag("--name ''", "--name '': use up to 100 letters"),
    flag("--trainable nope:X", "--trainable 'nope:X' cannot be imported: No module named 'nope'"),
    flag("--trainable os:path", "--trainable 'os:path' is no class. Give module:name"),
    flag("--trainable pathlib:Path", "--trainable 'pathlib:Path' has no check and no prepare and no run"),
    flag("--output_dir x", "--output_dir: not to be set here: the sweep's folder is set by --storage_path"),
    flag("--seed 3", "--seed: not to be set here: use --seeds"),
    flag("--report_to nope", "--report_to: no such tracker as 'nope'; give none, all, or some of"),
    flag("--eos_token nope", "--eos_token 'nope' is none of the tokenizer's"),
    flag("--chat_template_path nope.jinja", "--chat_template_path: there is no file 'nope.jinja'"),
    flag(
        "--model_init_kwargs '{trust_remote_code: true}'",
        "trust_remote_code is not to be set here: it has a flag of its own",
    ),
    flag(
        "--model_init_kwargs '{use_safetensors: false}'",
        "use_safetensors is not to be set here: a trial reads safetensors only",
    ),
    flag(
        "--model_init_kwargs x", "--model_init_kwargs: expected a mapping such as {attn_implementation: sdpa}, got 'x'"
    ),
    flag("stray", "'stray' belongs to no flag. Flags begin with --"),
    flag("--prompt_template {foo}", "--prompt_template '{foo}' may only hold plain fields, got foo"),
    flag("--prompt_template {instruction", "--prompt_template '{instruction' is not a format string"),
    flag("--test_split_size 0", "--test_split_size must be a count from 1 or a share between 0 and 1, got 0"),
    flag("--test_split_size 1.0", "--test_split_size must be a count from 1 or a share between 0 and 1, got 1.0"),
    flag("--test_split_size -3", "--test_split_size must be a count from 1 or a share between 0 and 1, got -3"),
    flag("--test_split_size 20", "--test_split_size 20 asks for 20 held-out rows and the data has 20"),
    flag("--dataset_test_split nope", "--dataset_test_split 'nope' is missing"),
    flag("--dataset_train_split test", "--dataset_train_split and --dataset_test_split are both 'test'"),
    flag("--assistant_only_loss", "--assistant_only_loss true needs lists of {role, content}"),
    flag("--dataset_name ''", "--dataset_name is missing: name one"),
    flag("--dataset_name none.json", "--dataset_name: there is no file or folder 'none.json'"),
    flag(
        "--dataset_name https://me:canary-password@host/x.json",
        "--dataset_name: there is no file or folder 'https://***@host/x.json'",
    ),
    flag("--model_name_or_path ./none", "--model_name_or_path ./none: there is no such folder"),
    flag("--model_name_or_path ~nobody-of-this-name/x", "there is no such folder"),
    flag("--config none.yaml", "--config none.yaml cannot be read: No such file or directory"),
    flag("--config .", "--config . cannot be read: Is a directory"),
    flag("--config", "--config: expected one YAML file, got no value"),
]

YAML = [
    yaml("a list", "- a\n- b\n", "--config my.yaml holds a list, not settings"),
    yaml("a text", "just text", "--config my.yaml holds a single value, not settings"),
    yaml("a key twice", "max_steps: 3\nmax_steps: 4\n", "'max_steps' is there twice. Name each key once"),
    yaml("bytes", bytes(range(256)), "--config my.yaml is not UTF-8 text: byte 128 is 0x80"),
    yaml("UTF-16", "max_steps: 3\n".encode("utf-16"), "--config my.yaml is not UTF-8 text: byte 0 is 0xff"),
    yaml("a tab", "max_steps: 3\n\tx: 4", "is not YAML that can be used: line 2, column 1: found character"),
    yaml(
        "code", "max_steps: !!python/object/apply:os.system ['true']\n", "could not determine a constructor for the tag"
    ),
    yaml("two documents", "max_steps: 3\n---\nmax_steps: 4\n", "but found another document"),
    yaml("a number as key", "3: 4\n", "--config my.yaml: 3 is no setting's name"),
    yaml(
        "a loop",
        "model_init_kwargs: &a {x: *a}\n",
        "model_init_kwargs (in my.yaml): expected a mapping or a text that JSON can hold",
    ),
    yaml("too deep", "report_to: " + "[" * 3000, "it is nested too deeply"),
    yaml("an octal number", "max_steps: 010\n", "max_steps (in my.yaml): expected a whole number, got '010'"),
    yaml("minutes", "max_steps: 1:30\n", "max_steps (in my.yaml): expected a whole number, got '1:30'"),
    yaml("NaN", "learning_rate: .nan\n", "learning_rate (in my.yaml): expected a number, got '.nan'"),
    yaml("null", "max_steps: null\n", "max_steps (in my.yaml): expected a whole number, got null"),
    yaml("another file", "config: other.yaml\n", "config (in my.yaml): a file cannot name another one"),
    yaml("axes as a list", "grid: [learning_rate=1]\n", "grid (in my.yaml): expected a mapping of lists"),
    yaml(
        "an axis of one value",
        "grid: {learning_rate: 3}\n",
        "grid learning_rate (in my.yaml): expected a list of values, got 3",
    ),
    yaml("ranks as a mapping", "lora_r: {a: 1}\n", "lora_r (in my.yaml): \"{'a': 1}\" cannot be used"),
    yaml("no seeds", "seeds: null\n", "seeds (in my.yaml): null cannot be used"),
    yaml("a margin out of range", "margin: 5\n", "margin (in my.yaml): is a share of the loss, got 5"),
    yaml("no held-out rows", "test_split_size: 0\n", "test_split_size (in my.yaml) must be a count from 1"),
    yaml("a preset as a list", "preset: [demo]\n", "preset (in my.yaml): expected one of demo"),
    yaml("half a character", 'run_name: "\\ud800"\n', "run_name (in my.yaml): expected a text that JSON can hold"),
]

DATA = [
    data("that breaks off", "rows.json", "[{", "rows.json is not JSON: Expecting property name"),
    data(
        "a broken line in between",
        "rows.jsonl",
        '{"text": "a"}\n{broken\n{"text": "b"}\n',
        "rows.jsonl: not JSON: line 2",
    ),
    data("bytes", "rows.jsonl", bytes(range(256)), "rows.jsonl is not UTF-8 text: byte 128 is 0x80"),
    data("an empty file", "rows.json", "", "rows.json is not JSON: Expecting value"),
    data("a number", "rows.json", "3", "rows.json: row 0 is a number, not an object"),
    data("a giant number", "rows.json", f'[{{"text": "a", "x": 1{"0" * 5000}}}]', "rows.json cannot be read as json"),
    data("CSV with ragged lines", "rows.csv", "prompt,completion\na,b\na\n", "Expected 2 columns, got 1: a"),
    data("CSV without rows", "rows.csv", "instruction,input,output\n", "rows.csv: split 'train' has no rows"),
    data("CSV without anything", "rows.csv", "", "rows.csv is empty. Its first line must name the columns"),
    data("CSV with a column twice", "rows.csv", "prompt,prompt,completion\na,b,c\n", "two columns are called 'prompt'"),
    data("Parquet cut off", "rows.parquet", parquet_cut_off(), "rows.parquet cannot be read as parquet"),
    data("text", "rows.txt", "abc", "rows.txt ends in '.txt', which is not read"),
    rows("other columns", [{"question": "a", "answer": "b"}] * 3, "no columns to train on among 'question', 'answer'"),
    rows("numbers", [{"prompt": 1, "completion": 2}], "column 'prompt' holds int64. It must be text"),
    rows("mixed", [{"text": "a"}, {"text": 3}], "row 1 is a number, where the first is a text"),
    rows("an empty output", [*ROWS[:4], {**ROWS[4], "output": " "}], "'output': row 4. Fill or remove them"),
    rows("one row", ROWS[:1], "--test_split_size is left out, which asks for 1 held-out row and the data has 1"),
    folder("without files", {}, "there holds no .json, .jsonl, .csv or .parquet file"),
    folder(
        "save_to_disk, broken", {"dataset_dict.json": "{"}, "there looks like a save_to_disk folder and cannot be read"
    ),
    folder(
        "save_to_disk, of nothing", {"state.json": "{}"}, "there looks like a save_to_disk folder and cannot be read"
    ),
    Bad(
        "data link to itself",
        lambda place: place.good(["--dataset_name", loop(place)]),
        "there is no file or folder './loop'",
    ),
]

MODELS = [
    model("without config.json", without("config.json"), "no model folder: there is no config.json in it"),
    model(
        "that is an adapter", all_of(without("*"), put("adapter_config.json", "{}")), "there is no config.json in it"
    ),
    model("config.json is a folder", replaced_by_a_folder("config.json"), "there is no config.json in it"),
    model("config.json is not JSON", put("config.json", "{"), "is not a valid JSON file"),
    model("config.json is a list", put("config.json", "[]"), "Should have a `model_type` key"),
    model("unknown type", put("config.json", '{"model_type": "zzz"}'), "has model type `zzz`"),
    model("no causal model", put("config.json", '{"model_type": "t5"}'), "it is no causal language model"),
    model("hidden size is a text", config_with(hidden_size="big"), "expected int, got str (value: 'big')"),
    model("no heads", config_with(num_attention_heads=0), "no causal language model can be made of it"),
    model("code of its own", config_with(model_type="zzz", auto_map={"AutoConfig": "x.X"}), "--trust_remote_code"),
    model("without weights", without("*.safetensors"), "the folder has a config.json but no weights"),
    model("weights cut off", cut("model.safetensors"), "model.safetensors is cut off or no safetensors file"),
    model("weights empty", put("model.safetensors", b""), "model.safetensors is cut off or no safetensors file"),
    model(
        "pickled weights only",
        all_of(without("*.safetensors"), put("pytorch_model.bin", b"")),
        "its weights are pickled only, which can run code when they are read",
    ),
    model(
        "a shard is missing",
        all_of(without("*.safetensors"), put("model.safetensors.index.json", '{"weight_map": {"a": "1.safetensors"}}')),
        "1.safetensors: missing or cut off",
    ),
    model("without tokenizer", without("tokenizer*"), "no tokenizer can be loaded from 'broken'"),
    model("tokenizer is not JSON", put("tokenizer.json", "{"), "no tokenizer can be loaded from 'broken'"),
    Bad(
        "model is a file",
        lambda place: place.good(["--model_name_or_path", str(place.rows)]),
        "no model folder: it is a file",
    ),
    Bad(
        "model link to itself",
        lambda place: place.good(["--model_name_or_path", loop(place)]),
        "there is no such folder",
    ),
]

SWEEPS = [
    bad
    for main in (grid.main, analysis.main, report.main)
    for bad in (
        kept("sweep.json cut off", cut("sweep.json"), "is not one of ours: it is not JSON, or was cut off", main=main),
        kept("sweep.json of bytes", put("sweep.json", bytes(range(256))), "is not one of ours", main=main),
        kept(
            "sweep.json is a list", put("sweep.json", "[]"), "is not one of ours: it has no schema_version", main=main
        ),
        kept(
            "sweep.json is odd",
            put("sweep.json", '{"schema_version": 1, "trials": {}}'),
            "trials hold something else",
            main=main,
        ),
        kept(
            "of a later version",
            put("sweep.json", '{"schema_version": 99}'),
            "has schema version 99; this installation",
            main=main,
        ),
        kept("sweep.json is a folder", replaced_by_a_folder("sweep.json"), "sweep.json cannot be read", main=main),
        kept("trials is a file", replaced_by_a_file("trials"), "a file cannot be read", main=main),
    )
] + [
    kept("of another base", lambda _: None, "learning_rate: its default there, 0.01 now", "--learning_rate", "1e-2"),
    kept(
        "of another rule", lambda _: None, 'lora_alpha_rule: "fixed" there, "rslora" now', "--lora_alpha_rule", "rslora"
    ),
    kept("of another model content", lambda _: None, 'model_fingerprint: "of before" there, '),
    kept(
        "report.html is a folder",
        lambda folder: (folder / "report.html").mkdir(),
        "The report cannot be written",
        main=report.main,
    ),
    kept(
        "no place for the report",
        lambda _: None,
        "The report cannot be written",
        "--output",
        "none/x.html",
        main=report.main,
    ),
    kept(
        "no name for the report", lambda _: None, "--output: expected a file, got ''", "--output", "", main=report.main
    ),
    kept("margin NaN", lambda _: None, "--margin is nan: give a fraction", "--margin", "nan", main=report.main),
    kept("margin negative", lambda _: None, "--margin is -1", "--margin", "-1", main=analysis.main),
    kept(
        "margin a text",
        lambda _: None,
        "argument --margin: invalid float value: 'x'",
        "--margin",
        "x",
        main=analysis.main,
    ),
    kept(
        "a cost of no kind",
        lambda _: None,
        "argument --prefer: invalid choice: 'speed'",
        "--prefer",
        "speed",
        main=report.main,
    ),
    kept(
        "a format of no kind",
        lambda _: None,
        "argument --format: invalid choice: 'xml'",
        "--format",
        "xml",
        main=analysis.main,
    ),
]

ASKED = [
    bad
    for main in (analysis.main, report.main)
    for bad in (
        asked("nothing there", ["none"], "'none' holds no sweep: there is no sweep.json", main),
        asked("an empty name", [""], "'' holds no sweep", main),
        asked("a scheme of no kind", ["ftp://host/x"], "'ftp://host/x' is no place that can be read or written", main),
        asked("no bucket", ["s3://"], "it names no bucket and no folder", main),
        asked("a user of no kind", ["~nobody-of-this-name/x"], "is no place that can be read or written", main),
        asked("a name too long", ["x" * 5000], "cannot be read: ", main),
        asked("a NUL", ["a\0b"], "is no place that can be read or written", main),
    )
] + [
    asked(
        "sweep and table",
        ["one", "--from_csv", "x.csv"],
        "give a sweep's folder, or --from_csv FILE, and not both",
        analysis.main,
    )
]

TABLES = [
    table("of bytes", bytes(range(256)), "it is not UTF-8 text"),
    table("without anything", "", "there is no column lora_r"),
    table("of another kind", "a", "its name ends in .txt: give a .csv or a .parquet file", "rows.txt"),
    table("with a column twice", "lora_r,lora_r,train_loss\n8,8,1\n", "two columns are called 'lora_r': leave one out"),
    table("with a column without name", "lora_r,train_loss,\n8,1,3\n", "column 3 has no name"),
    table("with too many cells", HEADER + "8,1,2\n", "row 1 has more cells than names"),
    table("with a quote left open", HEADER + '"8,1\n', "it cannot be read: unexpected end of data"),
    table("with a giant rank", HEADER + "1e300,1\n", "lora_r is '1e300'; it must be a whole number"),
    table("with a rank of NaN", HEADER + "nan,1\n", "lora_r is 'nan'; it must be finite"),
    table("with 1_0", HEADER + "1_0,1\n", "lora_r is '1_0'; it must be a number"),
    table(
        "with a negative time",
        "lora_r,train_loss,train_runtime\n8,1,-5\n",
        "train_runtime is '-5'; it cannot be negative",
    ),
    table("with 3..1 GB", "lora_r,train_loss,max memory allocated\n8,1,3..1 GB\n", 'or a size such as "3.1 GB"'),
    table("with a trial twice", "trial_id,lora_r,train_loss\na,8,1\na,16,1\n", "two rows have the trial_id 'a'"),
    table("Parquet cut off", parquet_cut_off(), "it cannot be read", "rows.parquet"),
    Bad("table is missing", lambda place: ["--from_csv", "none.csv"], "it cannot be read: No such file", analysis.main),
]

PLACES = [
    flag(
        "--storage_path ftp://host/x",
        "--storage_path: 'ftp://host/x/model-rows' is no place that can be read or written",
    ),
    flag("--storage_path s3://", "--storage_path: expected a folder, or a URI such as s3://bucket/folder, got 's3://'"),
    flag("--storage_path ''", "--storage_path: expected a folder, or a URI such as s3://bucket/folder, got ''"),
    flag("--storage_path s3://KEY:canary-password@bucket/x", "--storage_path: the URI holds credentials"),
    flag("--storage_path 's3://bucket/x?scheme=http'", "--storage_path: a URI with ?options cannot hold a sweep"),
    flag("--storage_path file://relative", "is no place that can be read or written"),
    flag(f"--storage_path {'x' * 300}", "cannot hold a sweep: File name too long"),
    flag("--storage_path ~nobody-of-this-name/x", "is no place that can be read or written"),
    flag("--storage_path", "--storage_path: expected a text, got no value"),
    Bad(
        "a file where the store goes",
        lambda place: place.good(["--storage_path", str(place.rows)]),
        "rows.json is a file",
    ),
    Bad(
        "a link to itself where the store goes",
        lambda place: place.good(["--storage_path", loop(place)]),
        "loop is no folder",
    ),
]

ENVIRONMENT = [
    flag("--address nope", "--address: expected HOST:PORT of a Ray cluster, or auto, got 'nope'"),
    flag("--address 127.0.0.1:1", "no Ray cluster answers at '127.0.0.1:1': Connection refused"),
    Bad(
        "RAY_ADDRESS that nothing answers at",
        lambda place: place.good(["--lora_r", "8"]),
        "no Ray cluster answers at '127.0.0.1:1': Connection refused",
    ),
    flag(
        "--model_name_or_path org/none",
        "--model_name_or_path org/none: neither a folder here nor a model that can be reached",
    ),
    flag("--dataset_name org/none", "'org/none' is no local file or folder, and the Hub's data set cannot be reached"),
]
SETTINGS = {"RAY_ADDRESS that nothing answers at": {"RAY_ADDRESS": "127.0.0.1:1"}}

TABLE = [*FLAGS, *YAML, *DATA, *MODELS, *SWEEPS, *ASKED, *TABLES, *PLACES, *ENVIRONMENT]

# What no user wrote: values and classes of Python's, numbers of errors, a full stop after another, a secret.
FOREIGN = re.compile(
    r"\bNone|NoneType|\bTrue\b|\bFalse\b|SFTConfig|ModelConfig|<class|Errno|(?<![.'])\.\.(?![.1'])|canary-password|object at 0x"
)


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("good")
    (folder / "rows.json").write_text(json.dumps(ROWS))
    return toys.model(folder / "model"), folder / "rows.json"


@pytest.fixture
def place(good: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    """The user's folder; the Hub is out of reach, and tokens are kept elsewhere."""
    import datasets.config
    import huggingface_hub.constants

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    folder = tmp_path / "user"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return Place(folder, *good)


def content(folder: Path) -> dict[str, bytes | None]:
    """Every file and folder, with what is in it."""
    return {
        str(path.relative_to(folder)): path.read_bytes() if path.is_file() else None
        for path in sorted(folder.rglob("*"))
    }


def code_of(bad: Bad, words: Sequence[str]) -> int:
    try:
        return bad.main(words)
    except SystemExit as end:  # argparse's way
        assert isinstance(end.code, int)
        return end.code


def test_the_table_is_long_and_no_row_stands_twice() -> None:
    assert len(TABLE) >= 60
    assert len({bad.name for bad in TABLE}) == len(TABLE)


@pytest.mark.parametrize("bad", TABLE, ids=lambda bad: bad.name[:60])
def test_a_bad_input(
    bad: Bad, place: Place, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in SETTINGS.get(bad.name, {}).items():
        monkeypatch.setenv(name, value)
    words = bad.words(place)
    before = content(place.folder)
    code = code_of(bad, words)
    out, err = capsys.readouterr()
    assert code == 2
    assert bad.said in err
    assert not out
    assert "Traceback" not in err
    assert not (found := FOREIGN.search(err)), found
    assert err.count("\n  - ") <= 3, "one mistake, one message"
    assert content(place.folder) == before


def test_everything_is_said_at_once(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    file = place.file("other.json", json.dumps([{"a": "b"}]))
    words = [
        "--lora_r",
        "0",
        "8",
        "--max_steps",
        "x",
        "--model_name_or_path",
        str(place.folder),
        "--dataset_name",
        file,
    ]
    assert grid.main(place.good(words)) == 2
    said = capsys.readouterr().err
    for part in ("4 problems", "--lora_r", "--max_steps", "no model folder", "'a'"):
        assert part in said, part


@pytest.mark.parametrize("flag", ["--help", "-h"])
def test_help_needs_no_heavy_import(flag: str) -> None:
    import subprocess
    import sys

    code = f"import sys; from sweep.grid import main; main(['{flag}']); print('torch' in sys.modules, 'ray' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "--lora_r" in done.stdout and done.stdout.endswith("False False\n")
