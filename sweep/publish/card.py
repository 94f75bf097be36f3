"""The model card, as the Hugging Face Hub reads it: metadata, then Markdown."""

import json
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal

import yaml
from jinja2 import Environment, PackageLoader

from sweep import redact
from sweep.answer.answer import Answer
from sweep.publish.picture import Picture
from sweep.publish.sources import Base, data_names, hub_data
from sweep.publish.trained import Trained
from sweep.show.page import flat
from sweep.show.reproduce import commands
from sweep.show.tables import render, table_lines
from sweep.store.columns import METRICS
from sweep.store.loading import Sweep

if TYPE_CHECKING:
    from huggingface_hub import EvalResult, ModelCardData

CARD, PICTURE = "README.md", "comparison.svg"
Kind = Literal["adapter", "model"]
_LIBRARIES: dict[Kind, str] = {"adapter": "peft", "model": "transformers"}
_RELATIONS: dict[Kind, str] = {"adapter": "adapter", "model": "finetune"}
_TAGS: dict[Kind, list[str]] = {"adapter": ["lora", "sft", "transformers", "trl"], "model": ["sft", "trl"]}


def card(
    sweep: Sweep,
    answer: Answer,
    trained: Trained,
    base: Base | None,
    name: str,
    kind: Kind | None,
    drawn: Picture | None,
) -> str:
    """The text of README.md.

    Args:
        name: where to load the weights from: a repository on the Hub, or a folder.
        kind: None if it is not a language model that Transformers loads.
        drawn: the picture saved next to it as PICTURE.
    """
    environment = Environment(loader=PackageLoader("sweep.publish"), trim_blocks=True, keep_trailing_newline=True)
    environment.filters.update(fenced=_fenced, code=_code)
    recommended = answer.recommendation is not None and answer.recommendation.trial_id == trained.row["trial_id"]
    text = environment.get_template("card.md.j2").render(
        metadata=_metadata(sweep, trained, base, kind).to_yaml(),
        title=f"{sweep.name}: {trained.label}",
        what={"adapter": "A LoRA adapter", "model": "A fully fine-tuned model"}.get(kind or "", "What was trained"),
        usage=_usage(kind, name, _dtype(trained.settings)) if kind else "",
        base=base,
        trained=trained,
        data=data_names(trained),
        recommended=recommended,
        comparison=render(answer, "markdown"),
        picture=drawn,
        file=PICTURE,
        settings=yaml.safe_dump(dict(trained.settings), allow_unicode=True, width=1000).strip(),
        provenance="\n".join(table_lines(["provenance", ""], flat({**answer.provenance, **trained.provenance}))),
        commands="\n".join(commands(sweep, answer)),
    )
    return redact.text(text)


def _usage(kind: Kind, name: str, dtype: str) -> str:
    """Python code that loads it with the base model in the same dtype as in training, so that it computes the same numbers."""
    package, loader = {
        "adapter": ("peft", "AutoPeftModelForCausalLM"),
        "model": ("transformers", "AutoModelForCausalLM"),
    }[kind]
    return (
        f"from {package} import {loader}\nfrom transformers import AutoTokenizer\n\n"
        f"model = {loader}.from_pretrained({json.dumps(name)}, dtype={json.dumps(dtype)})\n"
        f"tokenizer = AutoTokenizer.from_pretrained({json.dumps(name)})"
    )


def _dtype(settings: Mapping[str, Any]) -> str:
    given = settings.get("model_init_kwargs")
    own = given.get("dtype") if isinstance(given, Mapping) else None
    return str(own or settings.get("dtype") or "float32")  # TRL's default


def _metadata(sweep: Sweep, trained: Trained, base: Base | None, kind: Kind | None) -> "ModelCardData":
    """Names only what is on the Hub, which refuses paths."""
    from huggingface_hub import ModelCardData

    data = hub_data(trained)
    results = _results(trained, data[0]) if len(data_names(trained)) == len(data) == 1 and kind else None
    return ModelCardData(
        base_model=base.name if base and base.of_hub else None,
        base_model_relation=_RELATIONS[kind] if kind and base and base.of_hub else None,
        datasets=data or None,
        library_name=_LIBRARIES[kind] if kind else None,
        pipeline_tag="text-generation" if kind else None,
        tags=_TAGS[kind] if kind else None,
        model_name=f"{sweep.name} {trained.label}" if results else None,
        eval_results=results,
    )


def _results(trained: Trained, data: str) -> "list[EvalResult] | None":
    from huggingface_hub import EvalResult

    loss = trained.row["eval_loss"]
    if loss is None:
        return None
    label = METRICS["eval_loss"].label
    where: dict[str, Any] = {"dataset_type": data, "dataset_name": data}
    if isinstance(config := trained.settings.get("dataset_config"), str):
        where["dataset_config"] = config
    return [EvalResult(task_type="text-generation", metric_type="loss", metric_name=label, metric_value=loss, **where)]


def _fence(text: str) -> str:
    """A fence longer than any run of backticks in the text."""
    return "`" * max(3, 1 + max(map(len, re.findall("`+", text)), default=0))


def _fenced(text: str, language: str) -> str:
    fence = _fence(text)
    return f"{fence}{language}\n{text}\n{fence}"


def _code(value: Any) -> str:
    """A name as inline code, whatever characters it has."""
    text = " ".join(str(value).split())
    if "`" not in text:
        return f"`{text}`"
    fence = _fence(text)
    return f"{fence} {text} {fence}"
