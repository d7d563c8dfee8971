"""The config of random changes to images in training. The keys are those of open_clip's `aug_cfg`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Self

from pydantic import BeforeValidator, Field, ValidationError, model_validator

from registry_core.config.base import StrictModel, as_tuple, config_error
from registry_core.errors import OverrideError

_Probability = Annotated[float, Field(ge=0, le=1)]
_Fraction = Annotated[float, Field(gt=0, le=1)]
_Positive = Annotated[float, Field(gt=0)]
_Strength = Annotated[float, Field(ge=0)]
_Hue = Annotated[float, Field(ge=0, le=0.5)]  # the hue is an angle in turns, so 0.5 is the largest shift
_Strengths = tuple[_Strength, _Strength, _Strength] | tuple[_Strength, _Strength, _Strength, _Hue]

_TIMM_ONLY = ("ratio", "re_prob", "re_count")
_TORCHVISION_ONLY = ("color_jitter_prob", "gray_scale_prob")


class AugmentationConfig(StrictModel):
    """The random changes to an image in training. A value of None leaves a change out.

    Attributes:
        scale: Smallest and largest area of the random crop, as a fraction of the image.
        ratio: Smallest and largest aspect ratio of the crop. Only with timm; without it, 3:4 to 4:3.
        color_jitter: Strength of the changes of brightness, contrast and saturation. A fourth value is the strength for
            the hue (at most 0.5).
        color_jitter_prob: Probability that the colours are changed. Only without timm, and with four strengths.
        gray_scale_prob: Probability that the image becomes grey. Only without timm.
        re_prob: Probability that rectangles are erased. Only with timm.
        re_count: Largest number of erased rectangles. Only with timm.
        use_timm: Use the transform of timm's `create_transform`.
    """

    scale: Annotated[tuple[_Fraction, _Fraction], BeforeValidator(as_tuple)] = (0.9, 1.0)
    ratio: Annotated[tuple[_Positive, _Positive], BeforeValidator(as_tuple)] | None = None
    color_jitter: Annotated[_Strength | _Strengths, BeforeValidator(as_tuple)] | None = None
    re_prob: _Probability | None = None
    re_count: Annotated[int, Field(gt=0)] | None = None
    use_timm: bool = False
    color_jitter_prob: _Probability | None = None
    gray_scale_prob: _Probability | None = None

    @model_validator(mode="after")
    def _check_combination(self) -> Self:
        for key in ("scale", "ratio"):
            bounds = getattr(self, key)
            if bounds is not None and bounds[0] > bounds[1]:
                raise ValueError(f"{key} is (smallest, largest), got {bounds}")
        ignored = _TORCHVISION_ONLY if self.use_timm else _TIMM_ONLY
        given = [key for key in ignored if getattr(self, key) is not None]
        if given:
            raise ValueError(f"{', '.join(given)} would have no effect with use_timm={self.use_timm}")
        if not self.use_timm:
            self._check_jitter()
        return self

    def _check_jitter(self) -> None:
        has_hue = isinstance(self.color_jitter, tuple) and len(self.color_jitter) == 4  # noqa: PLR2004 - hue is the 4th
        if self.color_jitter_prob and not has_hue:
            raise ValueError(
                "color_jitter_prob needs color_jitter=(brightness, contrast, saturation, hue), got "
                f"color_jitter={self.color_jitter}"
            )
        if self.color_jitter is not None and not self.color_jitter_prob:
            raise ValueError("color_jitter would have no effect: it needs color_jitter_prob, or use_timm=True")


def augmentation_config(given: AugmentationConfig | Mapping[str, Any] | None) -> AugmentationConfig:
    """Validate the `augmentation` argument of a caller.

    Args:
        given: A config, a mapping of its keys, or None for the default: a random crop and nothing else.

    Raises:
        OverrideError: The argument is not a mapping, has an unknown key, or has values that contradict each other.
    """
    if isinstance(given, AugmentationConfig):
        return given
    if given is not None and not isinstance(given, Mapping):
        raise OverrideError(
            f"augmentation={given!r}: expected an AugmentationConfig or a mapping of its keys, such as "
            "{'scale': (0.4, 1.0)}. No transform was made.",
            argument="augmentation",
            expected="an AugmentationConfig or a mapping",
            found=given,
        )
    try:
        return AugmentationConfig.model_validate(dict(given or {}))
    except ValidationError as error:
        raise config_error(
            error, AugmentationConfig, "augmentation=", OverrideError, argument="augmentation"
        ) from error
