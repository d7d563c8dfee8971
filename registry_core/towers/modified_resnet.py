"""The ResNet image tower of CLIP (Radford et al. 2021, https://arxiv.org/abs/2103.00020, section 2.4).

Unlike the network of He et al. 2015 it has a stem of three convolutions, average pooling before each strided
convolution, and attention pooling at its end.
"""

from __future__ import annotations

from collections import OrderedDict

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from registry_core.config.model import RESNET_STRIDE, VisionConfig, as_pair
from registry_core.errors import BuildError
from registry_core.towers.inputs import check_image
from registry_core.towers.layers import checked_heads
from registry_core.towers.locking import Group, lock_groups


class FrozenBatchNorm2d(nn.Module):
    """A batch norm that uses its running statistics in training mode too, and never updates them.

    It is not a subclass of torch's batch norms, so that neither `train()` nor a conversion to synchronised batch norms
    unfreezes it.

    Args:
        norm: The batch norm to replace. Its parameters and buffers are kept.
    """

    running_mean: Tensor
    running_var: Tensor

    def __init__(self, norm: nn.BatchNorm2d) -> None:
        super().__init__()
        self.eps = norm.eps
        for name, parameter in norm.named_parameters():
            self.register_parameter(name, parameter)
        for name, buffer in norm.named_buffers():
            self.register_buffer(name, buffer)

    def forward(self, x: Tensor) -> Tensor:
        """[N, C, h, w] -> the same shape."""
        weight, bias = self.get_parameter("weight"), self.get_parameter("bias")
        return F.batch_norm(x, self.running_mean, self.running_var, weight, bias, eps=self.eps)


class Bottleneck(nn.Module):
    """A residual block of 1x1, 3x3 and 1x1 convolutions. Its output has four times `planes` channels."""

    expansion = 4

    def __init__(self, channels: int, planes: int, stride: int = 1) -> None:
        super().__init__()
        wide = planes * self.expansion
        self.conv1 = nn.Conv2d(channels, planes, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(planes)
        self.conv2 = nn.Conv2d(planes, planes, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(planes)
        self.avgpool = nn.AvgPool2d(stride) if stride > 1 else nn.Identity()
        self.conv3 = nn.Conv2d(planes, wide, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(wide)
        self.downsample: nn.Module | None = None
        if stride > 1 or channels != wide:
            # The published checkpoints number the convolution 0 and the norm 1.
            parts = {
                "-1": nn.AvgPool2d(stride),
                "0": nn.Conv2d(channels, wide, 1, bias=False),
                "1": nn.BatchNorm2d(wide),
            }
            self.downsample = nn.Sequential(OrderedDict(parts))

    def forward(self, x: Tensor) -> Tensor:
        """[N, channels, h, w] -> [N, 4 * planes, h / stride, w / stride]."""
        out = F.relu(self.bn1(self.conv1(x)))
        out = F.relu(self.bn2(self.conv2(out)))
        out = self.bn3(self.conv3(self.avgpool(out)))
        shortcut = x if self.downsample is None else self.downsample(x)
        return F.relu(out + shortcut)


class AttentionPool2d(nn.Module):
    """Attention pooling: the mean of a feature map is the query, the cells of the map are keys and values.

    Args:
        grid: Rows and columns of the map.
        width: Channels of the map, C.
        heads: Number of heads, H.
        embed_dim: Width of the result, E.
    """

    def __init__(self, grid: tuple[int, int], width: int, heads: int, embed_dim: int) -> None:
        super().__init__()
        self.num_heads = checked_heads(width, heads)
        self.positional_embedding = nn.Parameter(torch.empty(grid[0] * grid[1] + 1, width))
        self.k_proj = nn.Linear(width, width)
        self.q_proj = nn.Linear(width, width)
        self.v_proj = nn.Linear(width, width)
        self.c_proj = nn.Linear(width, embed_dim)
        for parameter in (
            self.positional_embedding, self.k_proj.weight, self.q_proj.weight, self.v_proj.weight, self.c_proj.weight,
        ):  # fmt: skip
            nn.init.normal_(parameter, std=width**-0.5)

    def forward(self, x: Tensor) -> Tensor:
        """Feature maps [N, C, rows, columns] -> features [N, E]."""
        cells = x.flatten(2).transpose(1, 2)  # [N, L, C]
        tokens = torch.cat([cells.mean(dim=1, keepdim=True), cells], dim=1)
        tokens = tokens + self.positional_embedding.to(tokens.dtype)
        query, key, value = (
            projection(part).unflatten(-1, (self.num_heads, -1)).transpose(1, 2)  # [N, H, tokens, D]
            for projection, part in ((self.q_proj, tokens[:, :1]), (self.k_proj, tokens), (self.v_proj, tokens))
        )
        pooled: Tensor = self.c_proj(F.scaled_dot_product_attention(query, key, value).transpose(1, 2).flatten(1))
        return pooled


class ModifiedResNet(nn.Module):
    """The ResNet image tower: images -> features.

    Args:
        config: A VisionConfig whose `layers` lists the blocks of four stages.
        embed_dim: Width of the result, E.

    Raises:
        BuildError: `layers` is a single number, or the image is smaller than the stride of the network.
    """

    def __init__(self, config: VisionConfig, embed_dim: int) -> None:
        super().__init__()
        self.image_size = as_pair(config.image_size)
        self.grid_size = config.grid_size
        if isinstance(config.layers, int) or 0 in self.grid_size:
            raise BuildError(
                f"A ModifiedResNet needs four stages of layers and an image of at least {RESNET_STRIDE} pixels a "
                f"side, got layers={config.layers} and image_size={self.image_size}. Nothing was built.",
                expected=f"four stages of layers and an image of at least {RESNET_STRIDE} pixels a side",
                found=(config.layers, self.image_size),
            )
        self.config = config
        self.output_dim = embed_dim
        width = config.width
        self.conv1 = nn.Conv2d(3, width // 2, 3, stride=2, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(width // 2)
        self.conv2 = nn.Conv2d(width // 2, width // 2, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(width // 2)
        self.conv3 = nn.Conv2d(width // 2, width, 3, padding=1, bias=False)
        self.bn3 = nn.BatchNorm2d(width)
        self.avgpool = nn.AvgPool2d(2)
        channels = width
        for stage, blocks in enumerate(config.layers):
            planes = width * 2**stage
            first = Bottleneck(channels, planes, stride=1 if stage == 0 else 2)
            channels = planes * Bottleneck.expansion
            rest = (Bottleneck(channels, planes) for _ in range(blocks - 1))
            self.add_module(f"layer{stage + 1}", nn.Sequential(first, *rest))
        self.attnpool = AttentionPool2d(self.grid_size, channels, channels // config.head_width, embed_dim)
        for block in (module for module in self.modules() if isinstance(module, Bottleneck)):
            nn.init.zeros_(block.bn3.weight)  # at first each block returns its shortcut

    @property
    def stages(self) -> list[nn.Module]:
        """The four stages, first to last."""
        return [self.get_submodule(f"layer{number}") for number in range(1, 5)]

    def stem(self, image: Tensor) -> Tensor:
        """Images [N, 3, height, width] -> feature maps [N, C, height / 4, width / 4]."""
        check_image(image, self.image_size)
        x = F.relu(self.bn1(self.conv1(image)))
        x = F.relu(self.bn2(self.conv2(x)))
        pooled: Tensor = self.avgpool(F.relu(self.bn3(self.conv3(x))))
        return pooled

    def forward(self, image: Tensor) -> Tensor:
        """Images [N, 3, height, width] -> features [N, E]."""
        x = self.stem(image)
        for stage in self.stages:
            x = stage(x)
        features: Tensor = self.attnpool(x)
        return features

    def lock(self, unlocked_groups: int = 0, freeze_bn_stats: bool = False) -> None:
        """Freeze the tower except for its last groups. The groups are the stem, the four stages, and the pooling.

        Args:
            unlocked_groups: Number of groups that stay trainable, from the end.
            freeze_bn_stats: Whether batch norms use their running statistics in training mode too, without updates.

        Raises:
            InputError: `unlocked_groups` is not a whole number, or is negative.
        """
        stem: Group = [self.conv1, self.bn1, self.conv2, self.bn2, self.conv3, self.bn3]
        stages: list[Group] = [[stage] for stage in self.stages]
        lock_groups([stem, *stages, [self.attnpool]], unlocked_groups)
        for name, module in list(self.named_modules()) if freeze_bn_stats else ():
            if isinstance(module, nn.BatchNorm2d):
                self.set_submodule(name, FrozenBatchNorm2d(module))

    def set_grad_checkpointing(self, enable: bool = True) -> None:
        """Do nothing. The method exists for uniformity with the transformers; convolutions are not checkpointed."""
        del enable

    def no_weight_decay(self) -> set[str]:
        """Return no names; all parameters have weight decay."""
        return set()
