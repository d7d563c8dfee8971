"""The base class of models with two towers: features, similarities, and their scale.

Radford et al. 2021, https://arxiv.org/abs/2103.00020, figure 3; the bias is from Zhai et al. 2023,
https://arxiv.org/abs/2303.15343.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Literal, cast

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
    from registry_core.config.model import ModelConfig
    from registry_core.towers.protocols import ImageTower, TextTower

Output = dict[str, Tensor | None] | tuple[Tensor | None, ...]


class ContrastiveModel(nn.Module):
    """An image tower, and the methods that users of CLIP call. A subclass adds its text side.

    Args:
        config: Config of the model.
        tower: "image" or "text" leaves the other tower out; None builds both.

    Attributes:
        visual: The image tower, [N, 3, height, width] -> [N, E].
        logit_scale: Logarithm of the factor between cosine similarities and logits.
        logit_bias: Bias that is added to the logits, or None.
        output_dict: Whether `forward` returns a dict instead of a tuple.
        text_stops_early: Whether `stop_early` of `forward_intermediates` applies to the text side too.
    """

    visual: ImageTower
    text_stops_early = True

    def __init__(self, config: ModelConfig, tower: str | None) -> None:
        super().__init__()
        self.config = config
        self.tower = tower
        self.output_dict = False
        if tower != "text":
            self.visual = build_image_tower(config.vision_cfg, config.embed_dim, quick_gelu=config.quick_gelu)

    def add_logit_parameters(self) -> None:
        """Create the scale and the bias. Called last, as they are the last parameters of the published models."""
        shape = (1,) if self.config.nonscalar_logit_scale else ()
        self.logit_scale = nn.Parameter(torch.empty(shape))
        nn.init.constant_(self.logit_scale, self.config.init_logit_scale)
        self.logit_bias = None if self.config.init_logit_bias is None else nn.Parameter(torch.empty(shape))
        if self.logit_bias is not None:
            nn.init.constant_(self.logit_bias, self.config.init_logit_bias or 0.0)

    def text_features(self, text: Tensor) -> Tensor:
        """Token ids [N, L] -> features [N, E]. A subclass implements it."""
        raise NotImplementedError

    def encode_image(self, image: Tensor, normalize: bool = False) -> Tensor:
        """Images [N, 3, height, width] -> features [N, E]; `normalize` gives them length 1.

        Raises:
            BuildError: The model was created without its image tower.
            InputError: The images have another size, or `normalize` is set and the tower also returns tokens.
        """
        self.need("image")
        output: Tensor | tuple[Tensor, Tensor] = self.visual(image)
        if not isinstance(output, tuple):
            return F.normalize(output, dim=-1) if normalize else output
        if normalize:
            raise InputError(
                "normalize=True: `visual.output_tokens` is set, so the image tower returns tokens in addition to the "
                "features, and only features can be normalised. Nothing was returned.",
                argument="normalize",
                expected=False,
                found=True,
                advice="Unset `visual.output_tokens`, or normalise the first item of encode_image(image).",
            )
        return cast("Tensor", output)  # a tuple in fact, as in open_clip; only callers that set output_tokens get it

    def encode_text(self, text: Tensor, normalize: bool = False) -> Tensor:
        """Token ids [N, L], int64 -> features [N, E]; `normalize` gives them length 1.

        Raises:
            BuildError: The model was created without its text tower.
            InputError: The texts are longer than the context.
        """
        self.need("text")
        features = self.text_features(text)
        return F.normalize(features, dim=-1) if normalize else features

    def get_logits(self, image: Tensor, text: Tensor) -> tuple[Tensor, Tensor]:
        """Return the logits [N images, M texts] (scaled similarities, with the bias if any), and their transpose."""
        logits = self._logits(self.encode_image(image, normalize=True), self.encode_text(text, normalize=True))
        return logits["image_logits"], logits["text_logits"]

    def forward(self, image: Tensor | None = None, text: Tensor | None = None) -> Output:
        """Return the normalised features of images and texts, and exp(logit_scale).

        Returns:
            (image_features, text_features, logit_scale[, logit_bias]), or a dict of these with `output_dict`. The
            features of an input that was not given are None.
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
    def text_side(self) -> nn.Module | TextTower:
        """The module that has the text layers: a text tower, or the model itself."""
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
        """Return the outputs of selected blocks and the features. Arguments and results are those of open_clip.

        Args:
            image: Images [N, 3, height, width], or None.
            text: Token ids [N, L], or None.
            image_indices: A number selects that many last blocks, a sequence selects blocks by index, None selects all.
            text_indices: The same for the text side.
            stop_early: Run no block after the last selected one. The feature is then computed from the output of that
                block. The texts of a plain CLIP run through all blocks, as in open_clip.
            normalize: Give features length 1.
            normalize_intermediates: Apply the last norm of the tower to each output.
            intermediates_only: Leave features and logits out.
            image_output_fmt: "NCHW" for feature maps, "NLC" for tokens.
            image_output_extra_tokens: Also return the tokens that represent no patch.
            text_output_fmt: "NLC".
            text_output_extra_tokens: Also return the tokens that represent no word.
            output_logits: Also return the scaled similarities of the normalised features.
            output_logit_scale_bias: Also return the scale, and the bias if the model has one.

        Returns:
            image_intermediates and text_intermediates (lists), image_features, text_features, and the requested extras.

        Raises:
            InputError: Logits are requested without both inputs, or a tower lacks a selected block or a layout.
            BuildError: The model was created without a tower that the inputs need.
        """
        _check_request(text_output_fmt, logits_of=(image, text) if output_logits and not intermediates_only else ())
        outputs: Outputs = {}
        options_for = partial(
            IntermediateOptions, stop_early=stop_early, normalize=normalize_intermediates, only=intermediates_only
        )
        if image is not None:
            self.need("image")
            options = options_for(image_indices, layout=image_output_fmt, extra_tokens=image_output_extra_tokens)
            outputs.update(image_intermediates(self.visual, image, options))
        if text is not None:
            self.need("text")
            early = stop_early and self.text_stops_early
            options = options_for(text_indices, extra_tokens=text_output_extra_tokens, stop_early=early)
            outputs.update(text_intermediates(self.text_side, text, options))
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
        """Freeze the image tower except for its last groups (Zhai et al. 2022, https://arxiv.org/abs/2111.07991).

        Raises:
            BuildError: The model was created without its image tower.
            InputError: `unlocked_groups` is not a whole number, or is negative.
        """
        self.need("image")
        self.visual.lock(unlocked_groups, freeze_bn_stats=freeze_bn_stats)

    def need(self, tower: str) -> None:
        """Raise an error if the model lacks a tower.

        Raises:
            BuildError: The model was created without the tower.
        """
        if self.tower not in {None, tower}:
            raise BuildError(
                f"This model has no {tower} tower: it was created with tower={self.tower!r}.",
                tower=tower,
                argument="tower",
                found=self.tower,
                advice=f"Create it without `tower=`, or with tower={tower!r}.",
            )


def _check_request(text_output_fmt: str, logits_of: tuple[Tensor | None, ...]) -> None:
    """Refuse an unknown layout of texts, and logits without both inputs."""
    if text_output_fmt != "NLC":
        raise InputError(
            f"text_output_fmt={text_output_fmt!r}: text outputs are available as 'NLC' only. Nothing was computed.",
            argument="text_output_fmt",
            expected="NLC",
            found=text_output_fmt,
        )
    if any(given is None for given in logits_of):
        raise InputError(
            "output_logits=True: logits need both images and texts. Nothing was computed.",
            argument="output_logits",
            expected="image and text",
            advice="Give both, or leave output_logits out.",
        )
