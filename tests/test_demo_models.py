"""The models that the demo ships are those that its script makes, with one tokenizer."""

import json
from typing import Any

import pytest
from transformers import AutoConfig, AutoModelForCausalLM

from trainables.demo.build import MODELS, SHIPPED

NOT_SHAPE = {"dtype", "architectures", "transformers_version", "_name_or_path"}


def shape(config: Any) -> dict[str, Any]:
    return {key: value for key, value in config.to_dict().items() if key not in NOT_SHAPE}


@pytest.mark.parametrize("name", MODELS)
def test_a_shipped_model_is_what_the_script_makes(name: str) -> None:
    model = MODELS[name].build()
    shipped = AutoModelForCausalLM.from_pretrained(SHIPPED / name, use_safetensors=True)
    assert type(shipped) is type(model)
    assert shape(shipped.config) == shape(model.config)
    assert 0.95e6 < shipped.num_parameters() < 1.05e6


def test_the_second_model_is_shaped_as_a_llama_with_grouped_heads() -> None:
    config = AutoConfig.from_pretrained(SHIPPED / "llama")
    assert config.model_type == "llama" and config.hidden_act == "silu"
    assert config.num_key_value_heads == config.num_attention_heads // 2


def test_the_models_share_their_tokenizer() -> None:
    assert (SHIPPED / "llama" / "tokenizer.json").read_bytes() == (SHIPPED / "model" / "tokenizer.json").read_bytes()
    special = [json.loads((SHIPPED / name / "tokenizer_config.json").read_text()) for name in MODELS]
    assert special[0] == special[1]


@pytest.mark.parametrize("name", MODELS)
def test_a_shipped_model_was_pretrained(name: str) -> None:
    curve = [point["bits_per_byte"] for point in json.loads((SHIPPED / name / "pretraining.json").read_text())["curve"]]
    assert curve[-1] == min(curve) < 1.4
