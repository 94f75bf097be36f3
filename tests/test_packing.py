"""Packed rows that see each other are refused before anything starts."""

import json
from pathlib import Path
from typing import Any

import pytest
import transformers

from sweep.space import trials
from tests import toys
from trainables.data import packing

OPT, LLAMA = transformers.OPTConfig(), transformers.LlamaConfig()


def asked(model: Any, **settings: Any) -> tuple[list[str], list[str]]:
    base = {"model_name_or_path": str(model), "packing": True, **settings}
    refused, unknown = packing.complaints(trials(base, [2, 4], [0, 1], {}, "fixed"), str)
    return [*map(str, refused)], unknown


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of each architecture, shaped as the real ones: only the configurations are looked at."""
    folder = tmp_path_factory.mktemp("models")
    for name, config in {"opt": OPT, "llama": LLAMA, "mamba": transformers.MambaConfig()}.items():
        config.save_pretrained(folder / name)
    return folder


@pytest.mark.parametrize(
    ("config", "attention", "expected"),
    [
        (OPT, None, False),
        (OPT, "sdpa", False),
        (OPT, "eager", False),
        (OPT, packing.FLASH, True),
        (OPT, "flash_attention_2", True),
        (LLAMA, None, True),
        (LLAMA, "eager", True),
        (LLAMA, packing.FLASH, True),
        (transformers.GPT2Config(), None, True),
        (transformers.Gemma2Config(), None, True),  # layers of two kinds
        (transformers.GptOssConfig(), None, False),
        (transformers.BloomConfig(), None, False),
    ],
    ids=lambda value: getattr(value, "model_type", str(value)),
)
def test_a_small_model_tells_whether_packed_rows_see_each_other(config: Any, attention: Any, expected: bool) -> None:
    import copy

    small = packing._small(copy.deepcopy(config))
    assert packing.keeps_apart(small, attention, {}) == expected
    assert packing.keeps_apart(small, attention, {}) == expected, "asking leaves nothing in the configuration"


def test_what_flash_attention_is_told_decides(monkeypatch: pytest.MonkeyPatch) -> None:
    """The stand-in's stand-in, which does not look at the rows' bounds, is caught."""
    real = packing._by_bounds

    def blind(*args: Any, cu_seq_lens_q: Any = None, position_ids: Any = None, **given: Any) -> Any:
        return real(*args, **given)

    monkeypatch.setattr(packing, "_by_bounds", blind)
    assert not packing.keeps_apart(packing._small(transformers.OPTConfig()), packing.FLASH, {})


def test_it_is_refused_once_with_what_would_do(models: Path) -> None:
    refused, unknown = asked(models / "opt")
    assert unknown == []
    assert refused == [
        f"--packing: with {models / 'opt'} under its default attention, packed rows see each other: the losses would be of other "
        "texts than your rows. Add --attn_implementation kernels-community/flash-attn2 (on a GPU), or leave --packing out."
    ]


def test_an_attention_that_keeps_rows_apart_is_taken(models: Path) -> None:
    assert asked(models / "llama") == ([], [])
    assert asked(models / "opt", attn_implementation=packing.FLASH) == ([], [])
    assert asked(models / "opt", model_init_kwargs={"attn_implementation": packing.FLASH}) == ([], [])


def test_rows_that_are_not_packed_or_are_wrapped_on_purpose_are_not_asked(models: Path) -> None:
    assert asked(models / "opt", packing=False) == ([], [])
    assert asked(models / "opt", packing_strategy="wrapped") == ([], [])


def test_what_cannot_be_known_here_is_a_warning(models: Path) -> None:
    refused, (said,) = asked(models / "mamba")
    assert refused == []
    assert said.startswith("--packing: with") and "it is not known whether packed rows see each other" in said


def test_the_command_says_so_and_starts_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from sweep import grid
    from sweep.config import machine

    (tmp_path / "rows.jsonl").write_text("\n".join(json.dumps({"text": f"row {n}"}) for n in range(30)))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(machine, "cuda_devices", lambda: 0)
    toys.model(tmp_path / "opt", "opt")
    words = ["--model_name_or_path", "opt", "--dataset_name", "rows.jsonl", "--no_bf16", "--grid", "packing=true,false"]
    assert grid.main(words) == 2
    assert "--grid packing: with opt under its default attention, packed rows see each other" in capsys.readouterr().err
    assert not (tmp_path / "results").exists()
