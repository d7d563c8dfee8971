"""What towers compute on the way: the output of chosen blocks beside the feature.

Names of the results are open_clip's (`forward_intermediates` in https://github.com/mlfoundations/open_clip).
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import singledispatch
from numbers import Integral
from typing import Literal, get_args

from torch import Tensor, nn

from registry_core.errors import BuildError, InputError
from registry_core.towers.modified_resnet import ModifiedResNet
from registry_core.towers.text_transformer import TextLayers
from registry_core.towers.vision_transformer import VisionTransformer

Outputs = dict[str, Tensor | list[Tensor]]
Indices = int | Sequence[int] | None
Layout = Literal["NCHW", "NLC"]


@dataclass(frozen=True, slots=True)
class IntermediateOptions:
    """Which outputs, and in which form.

    Attributes:
        indices: a number means that many last blocks, a sequence those blocks (negative from the end), None all.
        stop_early: run no block after the last chosen one; the feature is then made of that block's output.
        normalize: pass each through the tower's last norm.
        only: leave the feature out.
        layout: of image tokens, "NCHW" as a map or "NLC".
        extra_tokens: also give the tokens that stand for no patch or word.

    Raises:
        InputError: there is no such layout.
    """

    indices: Indices = None
    stop_early: bool = False
    normalize: bool = False
    only: bool = False
    layout: Layout = "NCHW"
    extra_tokens: bool = False

    def __post_init__(self) -> None:
        if self.layout not in get_args(Layout):
            raise InputError(
                f"image_output_fmt={self.layout!r}: expected {' or '.join(get_args(Layout))}. Nothing was computed."
            )


@singledispatch
def image_intermediates(tower: nn.Module, image: Tensor, options: IntermediateOptions) -> Outputs:
    """Outputs of an image tower's blocks: `image_intermediates`, `image_intermediates_prefix`, `image_features`.

    Args:
        tower: its type chooses how; a package may register a type of its own.
        image: [N, 3, height, width].
        options: which outputs, and in which form.

    Raises:
        BuildError: the tower gives none.
        InputError: a block is asked for that it does not have.
    """
    del image, options
    raise _gives_none(tower)


@image_intermediates.register
def _vit(tower: VisionTransformer, image: Tensor, options: IntermediateOptions) -> Outputs:
    blocks = [_block(tower.transformer.run_block, index) for index in range(len(tower.transformer.resblocks))]
    tokens, found = _run(blocks, tower.embed(image), options)
    if options.normalize:
        if tower.ln_post.normalized_shape != (tower.transformer.width,):
            raise InputError(
                "normalize_intermediates=True: this tower's last norm comes after its attentional pooler, whose width "
                "the blocks have not. Nothing was computed. Leave it out."
            )
        found = [tower.ln_post(output) for output in found]
    patches = [output[:, 1:] for output in found]
    if options.layout == "NCHW":
        rows, columns = tower.grid_size
        if patches[0].shape[1] != rows * columns:
            raise InputError(
                f"Of {rows * columns} patches {patches[0].shape[1]} are left by patch dropout, which make no map. Call "
                "eval(), or ask for image_output_fmt='NLC'."
            )
        maps = (len(image), patches[0].shape[-1], rows, columns)
        patches = [output.transpose(1, 2).reshape(maps).contiguous() for output in patches]
    outputs: Outputs = {"image_intermediates": patches}
    if options.extra_tokens:
        outputs["image_intermediates_prefix"] = [output[:, :1] for output in found]
    return outputs if options.only else {**outputs, "image_features": tower.head(tokens)[0]}


@image_intermediates.register
def _resnet(tower: ModifiedResNet, image: Tensor, options: IntermediateOptions) -> Outputs:
    if options.layout != "NCHW":
        raise InputError(f"A ModifiedResNet gives maps, layout 'NCHW', and no tokens; got {options.layout!r}.")
    cells, found = _run([tower.stem, *tower.stages], image, options)
    outputs: Outputs = {"image_intermediates": found}
    if options.only:
        return outputs
    if options.stop_early and cells.shape[1] != tower.attnpool.k_proj.in_features:
        raise InputError("The feature of a ModifiedResNet needs its last stage: leave stop_early out, or ask for it.")
    return {**outputs, "image_features": tower.attnpool(cells)}


@singledispatch
def text_intermediates(side: nn.Module, text: Tensor, options: IntermediateOptions) -> Outputs:
    """Outputs of a text side's blocks: `text_intermediates`, `text_intermediates_suffix`, `text_features`.

    Args:
        side: its type chooses how; a package may register a type of its own.
        text: ids [N, L].
        options: which outputs; their form is always [N, L, C].

    Raises:
        BuildError: the tower gives none.
        InputError: a block is asked for that it does not have.
    """
    del text, options
    raise _gives_none(side)


@text_intermediates.register
def _text(side: TextLayers, text: Tensor, options: IntermediateOptions) -> Outputs:
    x, mask = side.prepare(text)
    run = side.transformer.run_block
    blocks = [_block(run, index, causal=side.causal, mask=mask) for index in range(len(side.transformer.resblocks))]
    tokens, found = _run(blocks, x, options)
    if options.normalize:
        found = [side.ln_final(output) for output in found]
    outputs: Outputs = {"text_intermediates": found}
    if side.cls_emb is not None:
        outputs["text_intermediates"] = [output[:, :-1] for output in found]
        if options.extra_tokens:
            outputs["text_intermediates_suffix"] = [output[:, -1:] for output in found]
    return outputs if options.only else {**outputs, "text_features": side.finish(tokens, text)[0]}


def chosen(count: int, indices: Indices) -> list[int]:
    """The blocks that are meant, of `count`, in the order in which they were named.

    Raises:
        InputError: there is no such block.
    """
    wanted = count if indices is None else plain(indices)
    if isinstance(wanted, int):
        if not 0 < wanted <= count:
            raise InputError(
                f"There are {count} blocks; the last {wanted} of them were asked for. Ask for 1 to {count}."
            )
        return list(range(count - wanted, count))
    found = [index + count if index < 0 else index for index in wanted]
    strangers = [index for index in found if not 0 <= index < count]
    if strangers or not found:
        raise InputError(f"There are {count} blocks, 0 to {count - 1}; asked for were {list(wanted)}.")
    return found


def plain(indices: int | Sequence[int]) -> int | list[int]:
    """The same in Python's own numbers, of whatever library they are.

    Raises:
        InputError: they are no numbers.
    """
    if isinstance(indices, Integral | int):
        return int(indices)
    try:
        return [operator.index(index) for index in indices]
    except TypeError as error:
        raise InputError(
            f"The blocks {indices!r} were asked for: expected a number of last blocks, or a sequence of their numbers. "
            "Nothing was computed."
        ) from error


def _block(run: Callable[..., Tensor], index: int, **options: object) -> Callable[[Tensor], Tensor]:
    return lambda x: run(index, x, **options)


def _run(
    blocks: Iterable[Callable[[Tensor], Tensor]], x: Tensor, options: IntermediateOptions
) -> tuple[Tensor, list[Tensor]]:
    """The output of the last block that ran, and of the chosen ones, in ascending order."""
    blocks = list(blocks)
    wanted = chosen(len(blocks), options.indices)
    found = []
    for index, block in enumerate(blocks[: max(wanted) + 1] if options.stop_early else blocks):
        x = block(x)
        if index in wanted:
            found.append(x)
    return x, found


def _gives_none(tower: nn.Module) -> BuildError:
    return BuildError(
        f"A {type(tower).__name__} gives no intermediate outputs. A package that brings a tower of its own registers "
        "how it does in registry_core.towers.intermediates."
    )
