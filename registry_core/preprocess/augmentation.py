"""What training does to pictures, as data. The keys are those of open_clip's `aug_cfg`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Self

from pydantic import BeforeValidator, Field, ValidationError, model_validator

from registry_core.errors import OverrideError
from registry_core.strict import StrictModel, as_tuple, describe_problems

_Probability = Annotated[float, Field(ge=0, le=1)]
_Share = Annotated[float, Field(gt=0, le=1)]
_Positive = Annotated[float, Field(gt=0)]
_Strength = Annotated[float, Field(ge=0)]
_Hue = Annotated[float, Field(ge=0, le=0.5)]  # half way around is the farthest
_Strengths = tuple[_Strength, _Strength, _Strength] | tuple[_Strength, _Strength, _Strength, _Hue]

_OF_TIMM = ("ratio", "re_prob", "re_count")
_NOT_OF_TIMM = ("color_jitter_prob", "gray_scale_prob")


class AugmentationConfig(StrictModel):
    """Random changes to a picture in training. None leaves a change out.

    Attributes:
        scale: smallest and largest share of the picture's area that a random crop takes.
        ratio: smallest and largest aspect ratio of the crop; timm only, else 3:4 to 4:3.
        color_jitter: strength for brightness, contrast and saturation, and as a fourth value for hue (at most 0.5).
        color_jitter_prob: how likely the colours are changed; without timm, and with four strengths.
        gray_scale_prob: how likely the picture becomes grey; without timm.
        re_prob: how likely a rectangle is erased; timm only.
        re_count: at most how many rectangles; timm only.
        use_timm: let timm's `create_transform` make the transform.
    """

    scale: Annotated[tuple[_Share, _Share], BeforeValidator(as_tuple)] = (0.9, 1.0)
    ratio: Annotated[tuple[_Positive, _Positive], BeforeValidator(as_tuple)] | None = None
    color_jitter: Annotated[_Strength | _Strengths, BeforeValidator(as_tuple)] | None = None
    re_prob: _Probability | None = None
    re_count: Annotated[int, Field(gt=0)] | None = None
    use_timm: bool = False
    color_jitter_prob: _Probability | None = None
    gray_scale_prob: _Probability | None = None

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        for key in ("scale", "ratio"):
            bounds = getattr(self, key)
            if bounds is not None and bounds[0] > bounds[1]:
                raise ValueError(f"{key} is (smallest, largest), got {bounds}")
        stray = [key for key in (_NOT_OF_TIMM if self.use_timm else _OF_TIMM) if getattr(self, key) is not None]
        if stray:
            without = "use_timm=False" if self.use_timm else "use_timm=True"
            raise ValueError(f"{', '.join(stray)} would have no effect: with {without} it has")
        if not self.use_timm:
            self._check_jitter()
        return self

    def _check_jitter(self) -> None:
        four = isinstance(self.color_jitter, tuple) and len(self.color_jitter) == 4  # noqa: PLR2004 - and hue
        if self.color_jitter_prob and not four:
            raise ValueError(
                "color_jitter_prob needs color_jitter=(brightness, contrast, saturation, hue), got "
                f"color_jitter={self.color_jitter}"
            )
        if self.color_jitter is not None and not self.color_jitter_prob:
            raise ValueError("color_jitter would have no effect: it needs color_jitter_prob, or use_timm=True")


def augmentation_config(given: AugmentationConfig | Mapping[str, Any] | None) -> AugmentationConfig:
    """The caller's augmentation; None means the default, a random crop and nothing else.

    Raises:
        OverrideError: no mapping, an unknown key, or values that do not fit together.
    """
    if isinstance(given, AugmentationConfig):
        return given
    if given is not None and not isinstance(given, Mapping):
        raise OverrideError(
            f"augmentation={given!r}: expected an AugmentationConfig or a mapping of its keys, such as "
            "{'scale': (0.4, 1.0)}. No transform was made."
        )
    try:
        return AugmentationConfig.model_validate(dict(given or {}))
    except ValidationError as error:
        raise OverrideError(describe_problems(error, AugmentationConfig, "augmentation=")) from error
