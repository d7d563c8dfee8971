"""What all models of two towers have in common: features, similarities, and their scale.

Radford et al. 2021, https://arxiv.org/abs/2103.00020, figure 3; the bias is that of Zhai et al. 2023,
https://arxiv.org/abs/2303.15343.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from registry_core.errors import BuildError, InputError
from registry_core.towers.build import build_image_tower
from registry_core.towers.intermediates import (
    Indices,
    IntermediateOptions,
    Outputs,
    image_intermediates,
    text_intermediates,
)

if TYPE_CHECKING:
    from registry_core.config import ModelConfig

Output = dict[str, Tensor | None] | tuple[Tensor | None, ...]


class ContrastiveModel(nn.Module):
    """An image tower, and methods that users of CLIP call. A subclass adds its text side.

    Args:
        config: the model's config.
        tower: "image" or "text" leaves the other tower out; None builds both.

    Attributes:
        visual: the image tower, [N, 3, height, width] -> [N, E].
        logit_scale: logarithm of the factor between cosine similarity and logit.
        logit_bias: added to the logits, or None.
        output_dict: whether `forward` returns a dict instead of a tuple.
        text_stops_early: whether `stop_early` of `forward_intermediates` holds for the text side too.
    """

    text_stops_early = True

    def __init__(self, config: ModelConfig, tower: str | None) -> None:
        super().__init__()
        self.config = config
        self.tower = tower
        self.output_dict = False
        if tower != "text":
            self.visual = build_image_tower(config.vision_cfg, config.embed_dim, quick_gelu=config.quick_gelu)

    def add_logit_parameters(self) -> None:
        """Create the scale and the bias; called last, where the published models have them."""
        shape = (1,) if self.config.nonscalar_logit_scale else ()
        self.logit_scale = nn.Parameter(torch.empty(shape))
        nn.init.constant_(self.logit_scale, self.config.init_logit_scale)
        self.logit_bias = None if self.config.init_logit_bias is None else nn.Parameter(torch.empty(shape))
        if self.logit_bias is not None:
            nn.init.constant_(self.logit_bias, self.config.init_logit_bias or 0.0)

    def text_features(self, text: Tensor) -> Tensor:
        """Token ids [N, L] -> features [N, E]; the subclass's text side."""
        raise NotImplementedError

    def encode_image(self, image: Tensor, normalize: bool = False) -> Tensor:
        """Pictures [N, 3, height, width] -> features [N, E]; `normalize` gives them length 1.

        Raises:
            BuildError: the model was created without its image tower.
            InputError: the pictures have another size, or the tower gives more than features to be normalised.
        """
        self.need("image")
        output: Tensor | tuple[Tensor, Tensor] = self.visual(image)
        if not isinstance(output, tuple):
            return F.normalize(output, dim=-1) if normalize else output
        if normalize:
            raise InputError(
                "`visual.output_tokens` is set: the image tower gives tokens beside the features, and only features "
                "can be normalised. Nothing was returned. Unset it, or normalise the first of encode_image(image)."
            )
        return output  # type: ignore[return-value] # as in open_clip

    def encode_text(self, text: Tensor, normalize: bool = False) -> Tensor:
        """Token ids [N, L], int64 -> features [N, E]; `normalize` gives them length 1.

        Raises:
            BuildError: the model was created without its text tower.
            InputError: the texts are longer than the context.
        """
        self.need("text")
        features = self.text_features(text)
        return F.normalize(features, dim=-1) if normalize else features

    def get_logits(self, image: Tensor, text: Tensor) -> tuple[Tensor, Tensor]:
        """Similarities [N images, M texts], scaled, and their transpose."""
        logits = self._logits(self.encode_image(image, normalize=True), self.encode_text(text, normalize=True))
        return logits["image_logits"], logits["text_logits"]

    def forward(self, image: Tensor | None = None, text: Tensor | None = None) -> Output:
        """Normalised features of both sides, and exp(logit_scale).

        Returns:
            (image_features, text_features, logit_scale[, logit_bias]), or a dict of these with `output_dict`; None
            stands for an input that was not given.
        """
        outputs: dict[str, Tensor | None] = {
            "image_features": None if image is None else self.encode_image(image, normalize=True),
            "text_features": None if text is None else self.encode_text(text, normalize=True),
            "logit_scale": self.logit_scale.exp(),
        }
        if self.logit_bias is not None:
            outputs["logit_bias"] = self.logit_bias
        return outputs if self.output_dict else tuple(outputs.values())

    @property
    def text_side(self) -> nn.Module:
        """What holds the layers of the text side: a tower, or the model itself."""
        return self

    def forward_intermediates(  # noqa: PLR0917 - in open_clip's order
        self,
        image: Tensor | None = None,
        text: Tensor | None = None,
        image_indices: Indices = None,
        text_indices: Indices = None,
        stop_early: bool = False,
        normalize: bool = True,
        normalize_intermediates: bool = False,
        intermediates_only: bool = False,
        image_output_fmt: Literal["NCHW", "NLC"] = "NCHW",
        image_output_extra_tokens: bool = False,
        text_output_fmt: str = "NLC",
        text_output_extra_tokens: bool = False,
        output_logits: bool = False,
        output_logit_scale_bias: bool = False,
    ) -> Outputs:
        """Outputs of chosen blocks, beside the features; arguments and results as in open_clip.

        Args:
            image: [N, 3, height, width], or None.
            text: ids [N, L], or None.
            image_indices: a number means that many last blocks, a sequence those blocks, None all.
            text_indices: the same for the text side.
            stop_early: run no block after the last chosen one; the feature is then made of that block's output. A
                plain CLIP's texts pass through all blocks, as in open_clip.
            normalize: give features length 1.
            normalize_intermediates: pass each output through its tower's last norm.
            intermediates_only: leave features and logits out.
            image_output_fmt: "NCHW" maps, or "NLC" tokens.
            image_output_extra_tokens: also the tokens that stand for no patch.
            text_output_fmt: "NLC".
            text_output_extra_tokens: also the tokens that stand for no word.
            output_logits: also similarities of the normalised features, scaled.
            output_logit_scale_bias: also the scale, and the bias if there is one.

        Returns:
            image_intermediates, text_intermediates (lists), image_features, text_features and what was asked for.

        Raises:
            InputError: logits without both inputs, a block that is not there, or a form that a tower does not have.
            BuildError: the model was created without a tower that this needs.
        """
        if text_output_fmt != "NLC" or (output_logits and not intermediates_only and (image is None or text is None)):
            raise InputError("Texts come as 'NLC', and logits need pictures and texts. Nothing was computed.")
        outputs: Outputs = {}
        make = partial(
            IntermediateOptions, stop_early=stop_early, normalize=normalize_intermediates, only=intermediates_only
        )
        if image is not None:
            self.need("image")
            form = make(image_indices, layout=image_output_fmt, extra_tokens=image_output_extra_tokens)
            outputs.update(image_intermediates(self.visual, image, form))
        if text is not None:
            self.need("text")
            early = stop_early and self.text_stops_early
            form = make(text_indices, extra_tokens=text_output_extra_tokens, stop_early=early)
            outputs.update(text_intermediates(self.text_side, text, form))
        features = {name: value for name, value in outputs.items() if isinstance(value, Tensor)}
        if normalize:
            features = {name: F.normalize(value, dim=-1) for name, value in features.items()}
            outputs.update(features)
        if output_logits and not intermediates_only:
            outputs.update(self._logits(features["image_features"], features["text_features"]))
        if output_logit_scale_bias:
            outputs["logit_scale"] = self.logit_scale.exp()
            outputs.update({} if self.logit_bias is None else {"logit_bias": self.logit_bias})
        return outputs

    def _logits(self, image_features: Tensor, text_features: Tensor) -> dict[str, Tensor]:
        logits = self.logit_scale.exp() * image_features @ text_features.T
        logits = logits if self.logit_bias is None else logits + self.logit_bias
        return {"image_logits": logits, "text_logits": logits.T}

    def lock_image_tower(self, unlocked_groups: int = 0, freeze_bn_stats: bool = False) -> None:
        """Freeze the image tower but its last groups (Zhai et al. 2022, https://arxiv.org/abs/2111.07991)."""
        self.need("image")
        self.visual.lock(unlocked_groups, freeze_bn_stats=freeze_bn_stats)  # type: ignore[operator]

    def need(self, tower: str) -> None:
        """Refuse to go on without a tower.

        Raises:
            BuildError: the model was created without it.
        """
        if self.tower not in {None, tower}:
            raise BuildError(
                f"This model has no {tower} tower: it was created with tower={self.tower!r}. "
                f"Create it without `tower=`, or with tower={tower!r}."
            )
