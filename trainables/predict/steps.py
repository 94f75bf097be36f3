"""Simulates an optimizer step of a trial with fake tensors: what it holds in memory, and how much it computes.

Nothing is allocated and no weights are needed: model, adapter, loss and optimizer are the real ones, and their operations run
on tensors that have shapes, dtypes and storages but no contents. The simulated step is the one that a long training
repeats: the optimizer has its state already, made from gradients without a forward and backward pass of their own, which
would double the time.
"""

import warnings
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import fields
from typing import Any

import torch

from sweep.common.names import Resolve
from sweep.contract.memory import Device, Step
from trainables.predict.devices import BLOCK, behavior
from trainables.predict.flops import Flops
from trainables.predict.live import Live
from trainables.predict.network import as_fake, network
from trainables.predict.quantized import bits, shrunk


def simulate(
    settings: Mapping[str, Any], resolve: Resolve, length: int, device: Device, whole_logits: bool = False
) -> Step:
    """One trial's optimizer step.

    Args:
        length: tokens of every row of a micro-batch, all of them labeled.
        device: whose operations are simulated, a CPU's or CUDA's.
        whole_logits: use the model's own loss, over logits of (batch, length, vocabulary), as before TRL computed it in tiles.

    Raises:
        ValueError: no model, or no adapter, can be built from the settings.
    """
    from torch._subclasses.fake_tensor import FakeTensorMode

    args = arguments(settings)
    made = network(settings, args, resolve)
    flops = Flops()
    live = Live(BLOCK[device], flops.count)
    with ExitStack() as stack:
        stack.enter_context(FakeTensorMode(allow_non_fake_inputs=True))
        as_fake(made)
        optimizer = _optimizer(made, args)
        stack.enter_context(behavior(live, device))
        stack.enter_context(live)
        live.name([*made.parameters(), *made.buffers()], "parameters")
        _give_gradients(made, live)
        _update(made, optimizer, args, live)
        if args.gradient_accumulation_steps > 1:  # from the second micro-batch on, the gradients exist
            _give_gradients(made, live)
        _micro_batch(made, args, length, live, whole_logits)
        _update(made, optimizer, args, live)
    memory = shrunk(live.peak(), made, settings) if bits(settings) else live.peak()
    return Step(memory, flops.total * args.gradient_accumulation_steps)


def arguments(settings: Mapping[str, Any]) -> Any:
    """The trial's SFTConfig, on any machine: a prediction for a GPU does not need one."""
    from trl import SFTConfig

    known = {field.name for field in fields(SFTConfig) if field.init}
    chosen = {key: value for key, value in settings.items() if key in known}
    with warnings.catch_warnings():  # about names that TRL uses and transformers deprecates
        warnings.simplefilter("ignore", FutureWarning)
        return SFTConfig(**{**chosen, "output_dir": "unused", "report_to": "none", "use_cpu": True})


def _optimizer(made: Any, args: Any) -> torch.optim.Optimizer:
    from transformers import Trainer

    try:
        kind, options = Trainer.get_optimizer_cls_and_kwargs(args, made)
    except ImportError:  # its library may be missing on this machine; notes.py says what that means
        kind, options = torch.optim.AdamW, {}
    optimizer: torch.optim.Optimizer = kind([one for one in made.parameters() if one.requires_grad], **options)
    return optimizer


def _give_gradients(made: Any, live: Live) -> None:
    trained = [one for one in made.parameters() if one.requires_grad]
    for one in trained:
        one.grad = torch.empty_like(one)
    live.name((one.grad for one in trained), "gradients")


def _micro_batch(made: Any, args: Any, length: int, live: Live, whole_logits: bool) -> None:
    with live.kept_are("activations"):
        loss = _loss(made, args, length, whole_logits)
    loss.backward()  # type: ignore[no-untyped-call]
    live.name((one.grad for one in made.parameters() if one.requires_grad), "gradients")


def _update(made: Any, optimizer: torch.optim.Optimizer, args: Any, live: Live) -> None:
    """An optimizer step as in the trainer: clips, steps, and clears the gradients."""
    if args.max_grad_norm > 0:
        torch.nn.utils.clip_grad_norm_(made.parameters(), args.max_grad_norm)
    optimizer.step()
    for state in optimizer.state.values():
        live.name(state.values(), "optimizer_state")
    made.zero_grad()


def _loss(made: Any, args: Any, length: int, whole_logits: bool) -> torch.Tensor:
    ids = torch.zeros(args.per_device_train_batch_size, length, dtype=torch.long)
    half = torch.bfloat16 if args.bf16 else torch.float16
    inputs = {"input_ids": ids, "attention_mask": torch.ones_like(ids), "labels": ids.clone(), "use_cache": False}
    with torch.autocast("cpu", dtype=half, enabled=args.bf16 or args.fp16):
        outputs = made(**inputs) if whole_logits else made(**inputs, fused_lm_head=True)
    loss: torch.Tensor = outputs.loss if whole_logits else -outputs.log_probs.sum() / ids.numel()
    return loss
