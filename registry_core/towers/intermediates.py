"""Intermediate outputs of towers: the outputs of selected blocks, in addition to the feature.

The names of the results are open_clip's (`forward_intermediates` in https://github.com/mlfoundations/open_clip).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import singledispatch
from typing import Literal, cast, get_args

from torch import Tensor, nn

from registry_core.arguments import whole_number
from registry_core.errors import BuildError, InputError
from registry_core.towers.modified_resnet import ModifiedResNet
from registry_core.towers.protocols import ImageTower, TextTower
from registry_core.towers.text_transformer import TextLayers
from registry_core.towers.vision_transformer import VisionTransformer

Outputs = dict[str, Tensor | list[Tensor]]
Indices = int | Sequence[int] | None
Layout = Literal["NCHW", "NLC"]


@dataclass(frozen=True, slots=True)
class IntermediateOptions:
    """Which outputs to return, and in which form.

    Attributes:
        indices: A number selects that many last blocks, a sequence selects blocks by index (negative from the end),
            None selects all.
        stop_early: Run no block after the last selected one. The feature is then computed from the output of that
            block.
        normalize: Apply the last norm of the tower to each output.
        only: Leave the feature out.
        layout: Layout of image tokens: "NCHW" for feature maps, or "NLC".
        extra_tokens: Also return the tokens that represent no patch or word, such as the class token.

    Raises:
        InputError: The layout is unknown.
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
                f"image_output_fmt={self.layout!r}: expected {' or '.join(get_args(Layout))}. Nothing was computed.",
                argument="image_output_fmt",
                expected=get_args(Layout),
                found=self.layout,
            )


@singledispatch
def image_intermediates(tower: ImageTower, image: Tensor, options: IntermediateOptions) -> Outputs:
    """Return block outputs of an image tower: `image_intermediates`, `image_intermediates_prefix`, `image_features`.

    Args:
        tower: The tower. Its type selects the implementation; a package may register further types.
        image: Images [N, 3, height, width].
        options: Which outputs to return, and in which form.

    Raises:
        BuildError: The tower does not support intermediate outputs.
        InputError: The tower lacks a selected block, or cannot return the outputs in that form.
    """
    del image, options
    raise _unsupported(tower)


@image_intermediates.register
def _vit(tower: VisionTransformer, image: Tensor, options: IntermediateOptions) -> Outputs:
    blocks = [_block(tower.transformer.run_block, index) for index in range(len(tower.transformer.resblocks))]
    tokens, selected = _run(blocks, tower.embed(image), options)
    if options.normalize:
        if tower.ln_post.normalized_shape != (tower.transformer.width,):
            raise InputError(
                "normalize_intermediates=True: the last norm of this tower follows its attentional pooler and has "
                "another width than the blocks. Nothing was computed.",
                argument="normalize_intermediates",
                expected=False,
                found=True,
                advice="Leave the argument out.",
            )
        selected = [tower.ln_post(output) for output in selected]
    patches = [output[:, 1:] for output in selected]
    if options.layout == "NCHW":
        patches = [_as_map(output, tower.grid_size) for output in patches]
    outputs: Outputs = {"image_intermediates": patches}
    if options.extra_tokens:
        outputs["image_intermediates_prefix"] = [output[:, :1] for output in selected]
    return outputs if options.only else {**outputs, "image_features": tower.head(tokens)[0]}


def _as_map(patches: Tensor, grid: tuple[int, int]) -> Tensor:
    """Patch tokens [N, L, C] -> feature map [N, C, rows, columns]."""
    rows, columns = grid
    if patches.shape[1] != rows * columns:
        raise InputError(
            f"Patch dropout kept {patches.shape[1]} of {rows * columns} patches, which do not form a map. Nothing was "
            "returned.",
            argument="image_output_fmt",
            expected=rows * columns,
            found=patches.shape[1],
            advice="Call eval() on the model, or use image_output_fmt='NLC'.",
        )
    return patches.transpose(1, 2).reshape(len(patches), patches.shape[-1], rows, columns).contiguous()


@image_intermediates.register
def _resnet(tower: ModifiedResNet, image: Tensor, options: IntermediateOptions) -> Outputs:
    if options.layout != "NCHW":
        raise InputError(
            f"image_output_fmt={options.layout!r}: a ModifiedResNet has feature maps, layout 'NCHW', and no tokens. "
            "Nothing was computed.",
            argument="image_output_fmt",
            expected="NCHW",
            found=options.layout,
        )
    feature_map, selected = _run([tower.stem, *tower.stages], image, options)
    outputs: Outputs = {"image_intermediates": selected}
    if options.only:
        return outputs
    if options.stop_early and feature_map.shape[1] != tower.attnpool.k_proj.in_features:
        raise InputError(
            "stop_early=True: the feature of a ModifiedResNet needs the last stage, which was not selected. Nothing "
            "was returned.",
            argument="stop_early",
            expected=False,
            found=True,
            advice="Leave stop_early out, or select the last stage.",
        )
    return {**outputs, "image_features": tower.attnpool(feature_map)}


@singledispatch
def text_intermediates(side: nn.Module | TextTower, text: Tensor, options: IntermediateOptions) -> Outputs:
    """Return block outputs of a text side: `text_intermediates`, `text_intermediates_suffix`, `text_features`.

    Args:
        side: A text tower, or a model that has the text layers itself. Its type selects the implementation; a package
            may register further types.
        text: Token ids [N, L].
        options: Which outputs to return. Their layout is always [N, L, C].

    Raises:
        BuildError: The text side does not support intermediate outputs.
        InputError: The text side lacks a selected block.
    """
    del text, options
    raise _unsupported(side)


@text_intermediates.register
def _text(side: TextLayers, text: Tensor, options: IntermediateOptions) -> Outputs:
    x, mask = side.prepare(text)
    run = side.transformer.run_block
    blocks = [_block(run, index, causal=side.causal, mask=mask) for index in range(len(side.transformer.resblocks))]
    tokens, selected = _run(blocks, x, options)
    if options.normalize:
        selected = [side.ln_final(output) for output in selected]
    outputs: Outputs = {"text_intermediates": selected}
    if side.cls_emb is not None:
        outputs["text_intermediates"] = [output[:, :-1] for output in selected]
        if options.extra_tokens:
            outputs["text_intermediates_suffix"] = [output[:, -1:] for output in selected]
    return outputs if options.only else {**outputs, "text_features": side.finish(tokens, text)[0]}


def selected_blocks(count: int, indices: Indices) -> list[int]:
    """Return the indices of the selected blocks, in the caller's order.

    Args:
        count: Number of blocks.
        indices: As in `IntermediateOptions`.

    Raises:
        InputError: There are no such blocks.
    """
    wanted = count if indices is None else plain_indices(indices)
    if isinstance(wanted, int):
        if not 0 < wanted <= count:
            raise InputError(
                f"The last {wanted} blocks were requested, and the tower has {count}. Nothing was computed.",
                expected=(1, count),
                found=wanted,
                advice=f"Request 1 to {count}.",
            )
        return list(range(count - wanted, count))
    selected = [index + count if index < 0 else index for index in wanted]
    if not selected or any(not 0 <= index < count for index in selected):
        raise InputError(
            f"The blocks {list(wanted)} were requested, and the tower has {count}. Nothing was computed.",
            expected=(0, count - 1),
            found=list(wanted),
            advice=f"Request at least one of the blocks 0 to {count - 1}.",
        )
    return selected


def plain_indices(indices: int | Sequence[int]) -> int | list[int]:
    """Return indices of Python, numpy or torch as Python integers.

    Raises:
        InputError: The indices are neither a whole number nor a sequence of whole numbers.
    """
    last = whole_number(indices)
    if last is not None:
        return last
    try:
        numbers = [whole_number(index) for index in cast("Sequence[object]", indices)]  # the caller may give anything
    except TypeError:
        numbers = [None]
    plain = [number for number in numbers if number is not None]
    if len(plain) < len(numbers):
        raise InputError(
            f"The blocks {indices!r} were requested: expected a number of last blocks, or a sequence of block indices. "
            "Nothing was computed.",
            expected="a whole number, or a sequence of whole numbers",
            found=indices,
        )
    return plain


def _block(run: Callable[..., Tensor], index: int, **options: object) -> Callable[[Tensor], Tensor]:
    return lambda x: run(index, x, **options)


def _run(
    blocks: Iterable[Callable[[Tensor], Tensor]], x: Tensor, options: IntermediateOptions
) -> tuple[Tensor, list[Tensor]]:
    """Return the output of the last block that ran, and the outputs of the selected blocks in ascending order."""
    blocks = list(blocks)
    wanted = selected_blocks(len(blocks), options.indices)
    selected = []
    for index, block in enumerate(blocks[: max(wanted) + 1] if options.stop_early else blocks):
        x = block(x)
        if index in wanted:
            selected.append(x)
    return x, selected


def _unsupported(tower: nn.Module | ImageTower | TextTower) -> BuildError:
    return BuildError(
        f"A {type(tower).__name__} does not support intermediate outputs. Nothing was computed.",
        name=type(tower).__name__,
        advice="The package that provides the tower must register an implementation with image_intermediates or "
        "text_intermediates, from registry_core.towers.intermediates.",
    )
