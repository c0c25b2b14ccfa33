"""Module paths of the sites in each architecture family, stated as data and never guessed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import MISSING, dataclass, fields, replace
from typing import TYPE_CHECKING, Any, Literal, get_args

from torch import nn

from keyneurons.choices import ModuleName, Site, Target

if TYPE_CHECKING:
    from transformers import PreTrainedConfig


@dataclass(frozen=True, slots=True)
class Family:
    """Module paths: ``blocks`` and ``norm`` inside the base model, the others inside a block.

    ``mlp`` and ``attention`` name the projection whose *input* is read, ``mlp_gate`` the activation
    function whose *output* is read, ``norm`` the layer between the last block and the
    language-model head. A causal family predicts the next token, so ``read_at=prediction`` is
    possible. ``unread`` names modules of the base model that no site depends on, so a checkpoint
    may lack them. ``query_key`` names the projections to queries and keys; if they are fused with
    the values, ``fused`` is the order of the outputs: all queries, keys and values in turn
    (``thirds``), or those of each head (``heads``). In a ``gated`` family the input of ``mlp`` is a
    product with the output of ``mlp_gate``. ``mlp_in`` names the norm before the feed-forward
    block, whose *output* is read, ``mlp_out`` the last module before the block's output is added to
    the residual stream.
    """

    blocks: str
    mlp: str
    mlp_gate: str
    attention: str
    norm: str | None = None
    causal: bool = True
    unread: tuple[str, ...] = ()
    query_key: tuple[str, ...] = ()
    fused: Literal["thirds", "heads"] | None = None
    gated: bool = False
    mlp_in: str | None = None
    mlp_out: str | None = None


NEEDED = tuple(field.name for field in fields(Family) if field.default is MISSING)
MODULES = get_args(ModuleName)
"""Keys of ``model.modules`` for an unknown architecture: the required ones, and all of them."""

LLAMA = Family(
    blocks="layers",
    mlp="mlp.down_proj",
    mlp_gate="mlp.act_fn",
    attention="self_attn.o_proj",
    norm="norm",
    query_key=("self_attn.q_proj", "self_attn.k_proj"),
    gated=True,
    mlp_in="post_attention_layernorm",
    mlp_out="mlp",
)
GEMMA2 = replace(LLAMA, mlp_in="pre_feedforward_layernorm", mlp_out="post_feedforward_layernorm")
GPT2 = Family(
    blocks="h",
    mlp="mlp.c_proj",
    mlp_gate="mlp.act",
    attention="attn.c_proj",
    norm="ln_f",
    query_key=("attn.c_attn",),
    fused="thirds",
    mlp_in="ln_2",
    mlp_out="mlp",
)
GPT_NEOX = Family(
    blocks="layers",
    mlp="mlp.dense_4h_to_h",
    mlp_gate="mlp.act",
    attention="attention.dense",
    norm="final_layer_norm",
    query_key=("attention.query_key_value",),
    fused="heads",
    mlp_in="post_attention_layernorm",
    mlp_out="mlp",
)
BERT = Family(
    blocks="encoder.layer",
    mlp="output.dense",
    mlp_gate="intermediate.intermediate_act_fn",
    attention="attention.output.dense",
    causal=False,
    unread=("pooler",),
    mlp_in="attention.output.LayerNorm",
    mlp_out="output.dense",
)

FAMILIES: Mapping[str, Family] = {
    "llama": LLAMA,
    "mistral": LLAMA,
    "qwen2": LLAMA,
    "qwen3": LLAMA,
    "smollm3": LLAMA,
    "gemma": LLAMA,
    "gemma2": GEMMA2,
    "gemma3_text": GEMMA2,
    "gpt2": GPT2,
    "gpt_neox": GPT_NEOX,
    "bert": BERT,
}


def family_of(model_type: str, modules: Mapping[str, str] | None = None) -> Family:
    """The family of ``config.model_type``, or the one that ``modules`` defines.

    Raises:
        ValueError: the model type is unknown and ``modules`` is missing or incomplete.
    """
    if modules is not None:
        if missing := [name for name in NEEDED if name not in modules]:
            raise ValueError(f"model.modules lacks {', '.join(missing)}")
        paths: Mapping[str, Any] = modules
        return Family(**paths)
    if model_type not in FAMILIES:
        raise ValueError(
            f"model type {model_type!r} is not one of {', '.join(FAMILIES)}; name its four module paths: "
            f"model.modules={{{', '.join(f'{name}: ...' for name in NEEDED)}}}"
        )
    return FAMILIES[model_type]


def site_width(config: PreTrainedConfig, site: Site) -> int:
    """Number of neurons of a site in one layer, from the model's config alone."""
    if site in {"residual", "mlp_in"}:
        return int(config.hidden_size)
    if site == "attention":
        head_size = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
        return int(head_size * config.num_attention_heads)
    widths = (getattr(config, name, None) for name in ("intermediate_size", "n_inner", "ffn_dim"))
    return int(next((width for width in widths if width), 4 * config.hidden_size))


def path_at(family: Family, place: Site | Target) -> str:
    """The path of the module of a block whose input or output is hooked.

    Raises:
        ValueError: the family does not name it.
    """
    path: str | None = getattr(family, place)
    if path is None:
        raise ValueError(f"{place} of this architecture is unknown; name its module: model.modules.{place}=PATH")
    return path


def block_modules(model: nn.Module, family: Family) -> nn.ModuleList:
    """The transformer blocks of a base model.

    Raises:
        KeyError: ``family.blocks`` is not the path of a module list.
    """
    blocks = submodule(model, family.blocks)
    if not isinstance(blocks, nn.ModuleList):
        raise KeyError(f"{family.blocks!r} is a {type(blocks).__name__}, not a list of blocks")
    return blocks


def submodule(module: nn.Module, path: str) -> nn.Module:
    """The module at a dotted path.

    Raises:
        KeyError: no module has this path; the message lists existing paths.
    """
    modules: dict[str, nn.Module] = dict(module.named_modules())
    if path not in modules:
        names = [name for name in modules if name]
        raise KeyError(f"{type(module).__name__} has no module at {path!r}; it has {', '.join(names[:20])}")
    return modules[path]
