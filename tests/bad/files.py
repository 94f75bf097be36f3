"""Bad data files and model folders."""

from tests.bad.kinds import (
    ROWS,
    Bad,
    all_of,
    chat,
    config_with,
    cut,
    data,
    folder,
    loop,
    model,
    parquet_cut_off,
    put,
    replaced_by_a_folder,
    rows,
    without,
)

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
    data("text", "rows.txt", "abc", "rows.txt ends in '.txt', which is not supported"),
    rows("other columns", [{"question": "a", "answer": "b"}] * 3, "no columns to train on among 'question', 'answer'"),
    rows("numbers", [{"prompt": 1, "completion": 2}], "column 'prompt' holds int64. It must be text"),
    rows("mixed", [{"text": "a"}, {"text": 3}], "row 1 is a number, where the first is a string"),
    rows("an empty output", [*ROWS[:4], {**ROWS[4], "output": " "}], "'output': row 4. That is more than a tenth"),
    chat(
        "messages without a chat template",
        "--chat_template_path: the rows are conversations, and the model's tokenizer",
    ),
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
    model("no causal model", put("config.json", '{"model_type": "t5"}'), "it is not a causal language model"),
    model("hidden size is a text", config_with(hidden_size="big"), "expected int, got str (value: 'big')"),
    model("no heads", config_with(num_attention_heads=0), "no causal language model can be made of it"),
    model("code of its own", config_with(model_type="zzz", auto_map={"AutoConfig": "x.X"}), "--trust_remote_code"),
    model("without weights", without("*.safetensors"), "the folder has a config.json but no weights"),
    model("weights cut off", cut("model.safetensors"), "model.safetensors is cut off or not a safetensors file"),
    model("weights empty", put("model.safetensors", b""), "model.safetensors is cut off or not a safetensors file"),
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
