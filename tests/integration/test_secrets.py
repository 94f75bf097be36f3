"""Secrets, credentials and the home directory's name are in nothing that a sweep writes; nothing that is read is unpickled."""

import ast
import json
import os
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from tests import toys

PROJECT = Path(__file__).parents[2]
SECRETS = {
    "WANDB_API_KEY": "canary-wandb-0123456789",
    "HF_TOKEN": "hf_canaryhubenvironment0123456789",
    "AWS_SECRET_ACCESS_KEY": "canary/aws+0123456789",
    "OPENAI_API_KEY": "canary-openai-0123456789",
    "DATABASE_PASSWORD": "canary-database-0123456789",
    "AZURE_STORAGE_CONNECTION_STRING": "AccountName=canary;AccountKey=canary-azure-0123456789",
    "SLACK_WEBHOOK_URL": "https://hooks.example/services/canary-webhook-0123456789",
}
HUB_TOKEN, URL_PASSWORD, HOME = "hf_canaryhubflag0123456789", "canary-url-0123456789", "canary-home"
CANARIES = (*SECRETS.values(), HUB_TOKEN, URL_PASSWORD, HOME)
LEAKY = f'''
import os
from trainables.sft import SFT

class Leaky(SFT):
    """Prints what it should not, and fails with it, where the rank is 4."""

    def run(self, context):
        print("environment", dict(os.environ), "settings", dict(context.settings))
        print("see https://me:{URL_PASSWORD}@host/rows")
        if context.settings["lora_r"] == 4:
            raise RuntimeError(f"{{context.settings['hub_token']}} {{os.environ['HF_TOKEN']}} {{os.path.expanduser('~')}}/x")
        return super().run(context)
'''


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home directory with a model, rows and a trainable in it."""
    home = tmp_path_factory.mktemp("homes") / HOME
    toys.model(home / "model")
    rows = [{"prompt": f"{n} + 1 =", "completion": f" {n + 1}"} for n in range(20)]
    (home / "rows.jsonl").write_text("\n".join(map(json.dumps, rows)))
    (home / "leaky.py").write_text(LEAKY)
    return home


def run(home: Path, module: str, *words: str) -> subprocess.CompletedProcess[str]:
    keep = {key: value for key, value in os.environ.items() if key in ("PATH", "LANG", "LD_LIBRARY_PATH")}
    environment = {**keep, **SECRETS, "HOME": str(home), "HF_HUB_OFFLINE": "1", "PYTHONPATH": f"{PROJECT}:{home}"}
    command = [sys.executable, "-m", module, *words]
    return subprocess.run(command, cwd=home, env=environment, capture_output=True, text=True, stdin=subprocess.DEVNULL)


def command(home: Path, *more: str) -> list[str]:
    return [
        *("--model_name_or_path", str(home / "model"), "--dataset_name", "~/rows.jsonl", "--hub_token", HUB_TOKEN),
        *("--trainable", "leaky:Leaky", "--max_steps", "2", "--save_steps", "1", "--no_bf16", "--report_to", "none"),
        *("--storage_path", str(home / "results"), "--name", "one", "--cpus_per_trial", "0.5"),
        *("--run_name", f"https://me:{URL_PASSWORD}@host/x", "--max_failures", "0", *more),
    ]


@pytest.fixture(scope="module")
def swept(home: Path) -> Path:
    """The folder of a real sweep: one trial completes, one fails; then what reads it ran too."""
    done = run(home, "sweep.grid", *command(home, "--lora_r", "2", "4"))
    assert done.returncode == 1, done.stderr
    assert "r4-" in done.stderr
    folder = home / "results" / "one"
    for form in ("table", "json", "csv", "markdown"):
        shown = run(home, "sweep.analysis", str(folder), "--format", form)
        assert shown.returncode == 0, shown.stderr
        (folder / f"answer.{form}").write_text(shown.stdout)
    assert run(home, "sweep.report", str(folder)).returncode == 0
    return folder


def contents(path: Path) -> Iterator[bytes]:
    """A file's bytes; and what is in it where it is packed, or says bytes in hexadecimal digits."""
    data = path.read_bytes()
    yield data
    if path.suffix == ".parquet":
        yield json.dumps(pq.read_table(path).to_pylist(), default=str, ensure_ascii=False).encode()
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            for name in archive.namelist():
                yield archive.read(name)


def leaks(folder: Path) -> list[str]:
    found = []
    for path in [path for path in folder.rglob("*") if path.is_file()]:
        for data in contents(path):
            for canary in CANARIES:
                if canary.encode() in data or canary.encode().hex().encode() in data:
                    found.append(f"{path.relative_to(folder)}: {canary}")
    return sorted(set(found))


def test_no_canary_is_in_anything_that_was_written(swept: Path) -> None:
    kinds = {path.suffix for path in swept.rglob("*") if path.is_file()}
    assert {".parquet", ".json", ".log", ".html", ".pkl", ".safetensors", ".md"} <= kinds
    assert leaks(swept) == []


def test_what_was_written_says_the_rest(swept: Path) -> None:
    """The log, the error and the base model's name are there, in words that anyone may read."""
    failed = next(path for path in (swept / "trials").iterdir() if path.name.startswith("r4-"))
    row: dict[str, Any] = pq.read_table(failed).to_pylist()[0]
    assert row["error_message"] == "*** *** ~/x"
    log = (swept / row["log"]).read_text()
    assert "RuntimeError: *** *** ~/x" in log and "see https://***@host/rows" in log
    assert json.loads(row["settings"])["model_name_or_path"] == "~/model"
    base = json.loads((swept / "sweep.json").read_text())["base"]
    assert (
        base["dataset_name"] == "~/rows.jsonl" and "hub_token" not in base and base["run_name"] == "https://***@host/x"
    )
    adapters = [json.loads(path.read_text()) for path in swept.rglob("adapter_config.json")]
    assert {adapter["base_model_name_or_path"] for adapter in adapters} == {"~/model"}


@pytest.mark.parametrize("model", ["~/model", "model"])
def test_the_same_command_resumes_whichever_way_home_is_written(swept: Path, home: Path, model: str) -> None:
    """Another way of writing the model's place is the same base; a relative one is another."""
    words = command(home, "--lora_r", "2", "--dry_run")
    words[1], words[5] = model, "hf_another_token_0123456789"
    done = run(home, "sweep.grid", *words)
    if model == "model":
        assert done.returncode == 2 and 'model_name_or_path: "~/model" there, "model" now' in done.stderr
    else:
        assert done.returncode == 0 and "0 to run, 1 done" in done.stdout


def test_ray_tune_opens_what_was_written(swept: Path, home: Path) -> None:
    code = (
        "import sys; from ray import tune; from sweep.trial.tune_trial import TuneTrial\n"
        "found = tune.Tuner.restore(sys.argv[1], trainable=TuneTrial).get_results()\n"
        "print(len(found), ['checkpoint' in one.metrics for one in found])"
    )
    (folder,) = [path for path in (swept / "tune").iterdir() if (path / "tuner.pkl").exists()]
    environment = {**os.environ, "PYTHONPATH": f"{PROJECT}:{home}"}
    done = subprocess.run([sys.executable, "-c", code, str(folder)], capture_output=True, text=True, env=environment)
    assert done.stdout.startswith("2 "), done.stderr


@pytest.mark.parametrize(
    "path", sorted([*(PROJECT / "sweep").rglob("*.py"), *(PROJECT / "trainables").rglob("*.py")]), ids=str
)
def test_our_code_unpickles_nothing_and_trusts_code_by_flag_only(path: Path) -> None:
    """No import of a pickling module, no call that unpickles; trust_remote_code is a setting's value wherever it is given."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import | ast.ImportFrom):
            names = [alias.name for alias in node.names] + [getattr(node, "module", None) or ""]
            assert not {name.split(".")[0] for name in names} & {
                "pickle",
                "cloudpickle",
                "dill",
                "joblib",
                "shelve",
                "marshal",
            }
        if isinstance(node, ast.Call):
            called = ast.unparse(node.func)
            assert called not in {"torch.load", "np.load", "numpy.load", "pd.read_pickle", "eval", "exec"}, called
            given = {keyword.arg: ast.unparse(keyword.value) for keyword in node.keywords}
            trusts = given.get("trust_remote_code", "remote").replace("self.", "").replace("', False)", "')")
            assert trusts in {"remote", "bool(settings.get('trust_remote_code'))"}
            assert given.get("allow_pickle", "False") == "False"


def test_remote_is_the_flag() -> None:
    source = (PROJECT / "trainables" / "model.py").read_text()
    assert source.count("remote = ") == 1 and 'remote = bool(settings.get("trust_remote_code", False))' in source
