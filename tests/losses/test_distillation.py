"""DistillClipLoss: the batches of student and teacher."""

from __future__ import annotations

import pytest
from loss_cases import features

from registry_core import InputError
from registry_core.losses.distillation import DistillClipLoss


def test_a_teacher_with_another_batch_is_refused():
    inputs = features("distill")
    for name in ("dist_image_features", "dist_text_features"):
        inputs[name] = inputs[name][:2]
    with pytest.raises(InputError, match=r"teacher's batch has 2 rows.*student's 4") as caught:
        DistillClipLoss()(**inputs)
    assert (caught.value.argument, caught.value.expected, caught.value.found) == ("dist_image_features", 4, 2)
