"""Bad sweep directories, tables of results, places for them, and environments."""

from sweep import analysis, grid, report
from tests.bad.kinds import (
    HEADER,
    Bad,
    asked,
    cut,
    flag,
    kept,
    loop,
    parquet_cut_off,
    put,
    replaced_by_a_file,
    replaced_by_a_folder,
    table,
)

SWEEPS = [
    bad
    for main in (grid.main, analysis.main, report.main)
    for bad in (
        kept(
            "sweep.json cut off",
            cut("sweep.json"),
            "was not written by this project: it is not JSON, or was cut off",
            main=main,
        ),
        kept("sweep.json of bytes", put("sweep.json", bytes(range(256))), "was not written by this project", main=main),
        kept(
            "sweep.json is a list",
            put("sweep.json", "[]"),
            "was not written by this project: it has no schema_version",
            main=main,
        ),
        kept(
            "sweep.json is odd",
            put("sweep.json", '{"schema_version": 1, "trials": {}}'),
            "unexpected type of trials",
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
    kept("of another model content", lambda _: None, '/model: "of before" there, "', model="of before"),
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
        "argument --prefer: expected memory, time or parameters, got 'speed'",
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
        asked(
            "a scheme of no kind",
            ["ftp://host/x"],
            "'ftp://host/x' is not a location that can be read or written",
            main,
        ),
        asked("no bucket", ["s3://"], "it names neither a bucket nor a folder", main),
        asked("a user of no kind", ["~nobody-of-this-name/x"], "is not a location that can be read or written", main),
        asked("a name too long", ["x" * 5000], "cannot be read: ", main),
        asked("a NUL", ["a\0b"], "is not a location that can be read or written", main),
    )
] + [
    asked(
        "sweep and table",
        ["one", "--from_csv", "x.csv"],
        "give a sweep's folder, or several, or --from_csv FILE, and not both",
        analysis.main,
    )
]

TABLES = [
    table("of bytes", bytes(range(256)), "it is not UTF-8 text"),
    table("without anything", "", "column lora_r is missing"),
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
        "--storage_path: 'ftp://host/x/model-rows' is not a location that can be read or written",
    ),
    flag("--storage_path s3://", "--storage_path: expected a folder, or a URI such as s3://bucket/folder, got 's3://'"),
    flag("--storage_path ''", "--storage_path: expected a folder, or a URI such as s3://bucket/folder, got ''"),
    flag("--storage_path s3://KEY:canary-password@bucket/x", "--storage_path: the URI holds credentials"),
    flag("--storage_path 's3://bucket/x?scheme=http'", "--storage_path: a URI with ?options cannot hold a sweep"),
    flag("--storage_path file://relative", "is not a location that can be read or written"),
    flag(f"--storage_path {'x' * 300}", "cannot hold a sweep: File name too long"),
    flag("--storage_path ~nobody-of-this-name/x", "is not a location that can be read or written"),
    flag("--storage_path", "--storage_path: expected a string, got no value"),
    Bad(
        "a file where the store goes",
        lambda place: place.good(["--storage_path", str(place.rows)]),
        "rows.json is a file",
    ),
    Bad(
        "a link to itself where the store goes",
        lambda place: place.good(["--storage_path", loop(place)]),
        "loop is not a folder",
    ),
]

ENVIRONMENT = [
    flag(
        "--lora_alpha 16 --grid bf16=true",
        "--grid bf16: this machine has no CUDA device. Add --no_bf16 to train in float32, or --use_cpu",
    ),
    Bad(
        "bf16 by default, on a CPU",
        lambda place: [word for word in place.good(["--lora_r", "8"]) if word != "--no_bf16"],
        "--bf16: on by default, and this machine has no CUDA device. Add --no_bf16 to train in float32, or --use_cpu",
    ),
    flag("--no_bf16 --bf16_full_eval", "--bf16_full_eval: this machine has no CUDA device. Add --no_bf16_full_eval"),
    flag("--bf16 --bf16_full_eval", "2 problems"),
    flag("--no_bf16 --tf32", "--tf32: this machine has no CUDA device. Leave it out."),
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
