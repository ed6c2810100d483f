"""LoRA on the attention of Hiera (arXiv 2106.09685, by peft) and LoRA+ (arXiv 2402.12354).

The encoder is frozen; beside each `attn.qkv` and `attn.proj` a product B A of rank r learns. LoRA+ lets B learn
`ratio` times as fast as A. For inference B A is added to the weights and the adapters are gone.

peft is imported inside the functions: it brings transformers along and takes seconds.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from model.encoder.hiera import ImageEncoder
from model.errors import ModelError

#: Hiera's real names. (Adapters on names that no layer has would train nothing and say nothing.)
TARGETS = r"trunk\.blocks\.\d+\.attn\.(qkv|proj)"
RANK = 16
RATIO = 16.0


class AdapterError(ModelError):
    """Adapters cannot be made, or do not fit (code: encoder, none, present, absent, keys)."""


def _encoder(network: nn.Module) -> ImageEncoder:
    encoder = network.get_submodule("encoder")
    if not isinstance(encoder, ImageEncoder):
        raise TypeError(f"{type(network).__name__} has no SAM 2 image encoder")
    return encoder


def _adapted(encoder: nn.Module) -> list[str]:
    """Names of the layers that carry an adapter."""
    return [n.removesuffix(".lora_A") for n, _ in encoder.named_modules() if n.endswith(".lora_A")]


def _need(encoder: nn.Module) -> list[str]:
    names = _adapted(encoder)
    if not names:
        raise AdapterError(
            code="absent",
            subject="encoder",
            reason="it has no adapters",
            cure="Call add_lora first.",
        )
    return names


def add_lora(network: nn.Module, rank: int = RANK, seed: int = 0) -> tuple[str, ...]:
    """Freeze the encoder and put an adapter beside every attention projection of its trunk.

    The output is unchanged at first (B = 0). Parameters outside the encoder stay as they are.

    Args:
        seed: of A's initial values.

    Returns:
        the names of the adapted layers, under the encoder.

    Raises:
        AdapterError: present (called twice), or none (no layer bears the names).
    """
    import torch
    from peft import LoraConfig, inject_adapter_in_model

    encoder = _encoder(network)
    if _adapted(encoder):
        raise AdapterError(
            code="present",
            subject="encoder",
            reason="it has adapters already",
            cure="Merge them first, or go on with them.",
        )
    wanted = sum(n.endswith((".attn.qkv", ".attn.proj")) for n, _ in encoder.named_modules())
    config = LoraConfig(r=rank, lora_alpha=rank, target_modules=TARGETS, lora_dropout=0.0, bias="none")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        inject_adapter_in_model(config, encoder)
    names = _adapted(encoder)
    if not names or len(names) != wanted:
        raise AdapterError(
            code="none",
            subject="encoder",
            reason=f"{len(names)} of {wanted} attention projections took an adapter",
            cure="Check the layer names of this version of sam2 against model.encoder.lora.TARGETS.",
        )
    for name, p in encoder.named_parameters():
        p.requires_grad_(".lora_" in name)
    return tuple(names)


def lora_plus_groups(
    network: nn.Module, lr: float, ratio: float = RATIO, weight_decay: float = 0.0
) -> list[dict[str, Any]]:
    """Parameter groups for an optimizer: A at lr, B at ratio * lr, everything else that learns at lr.

    Each group states `initial_lr`, which a schedule multiplies; adapters carry no weight decay, nor do biases and
    norms.

    Raises:
        AdapterError: absent.
    """
    _need(_encoder(network))
    groups: dict[str, list[nn.Parameter]] = {"lora_A": [], "lora_B": [], "decay": [], "plain": []}
    for name, p in network.named_parameters():
        if not p.requires_grad:
            continue
        kind = next((k for k in ("lora_A", "lora_B") if f".{k}." in name), "decay" if p.ndim > 1 else "plain")
        groups[kind].append(p)
    rates = {"lora_A": lr, "lora_B": ratio * lr, "decay": lr, "plain": lr}
    return [
        {
            "name": kind,
            "params": parameters,
            "lr": rates[kind],
            "initial_lr": rates[kind],
            "weight_decay": weight_decay if kind == "decay" else 0.0,
        }
        for kind, parameters in groups.items()
        if parameters
    ]


def lora_state(network: nn.Module) -> dict[str, Tensor]:
    """The adapters alone: `<layer>.lora_A` (r, in) and `<layer>.lora_B` (out, r) by name under the encoder.

    Raises:
        AdapterError: absent.
    """
    encoder = _encoder(network)
    return {
        f"{name}.{part}": encoder.get_parameter(f"{name}.{part}.default.weight").detach().clone()
        for name in _need(encoder)
        for part in ("lora_A", "lora_B")
    }


def load_lora_state(network: nn.Module, state: Mapping[str, Tensor]) -> None:
    """Put back what `lora_state` gave, exactly.

    Raises:
        AdapterError: absent, or keys (named) that do not fit; the network is left as it was.
    """
    have = lora_state(network)
    wrong = {
        "missing": sorted(set(have) - set(state)),
        "unexpected": sorted(set(state) - set(have)),
        "of another shape": sorted(k for k in have if k in state and have[k].shape != state[k].shape),
    }
    if any(wrong.values()):
        words = "; ".join(f"{word}: {', '.join(names[:5])}" for word, names in wrong.items() if names)
        raise AdapterError(
            code="keys",
            subject="adapters",
            reason=f"they do not fit this encoder ({words})",
            cure="Use the encoder and the rank that they were trained with.",
        )
    encoder = _encoder(network)
    for key, value in state.items():
        encoder.get_parameter(f"{key}.default.weight").data.copy_(value)


def merge_lora(network: nn.Module) -> tuple[str, ...]:
    """Add every B A to its layer and take the adapters away; gives the layers' names.

    Afterwards the encoder has the names and shapes that it had before `add_lora`, and its parameters learn again if
    asked to.

    Raises:
        AdapterError: absent.
    """
    from peft.tuners.lora import LoraLayer

    encoder = _encoder(network)
    names = _need(encoder)
    for name in names:
        parent, _, child = name.rpartition(".")
        layer = encoder.get_submodule(name)
        if not isinstance(layer, LoraLayer):
            raise TypeError(f"{name} is no adapted layer but {type(layer).__name__}")
        layer.merge(safe_merge=True)
        setattr(encoder.get_submodule(parent), child, layer.get_base_layer())
    # peft leaves its configuration on the model; without adapters it would only mislead.
    for attribute in ("peft_config",):
        if hasattr(encoder, attribute):
            delattr(encoder, attribute)
    return tuple(names)
