"""The CoCa module.

Yu et al. 2022, "CoCa: Contrastive Captioners are Image-Text Foundation Models", https://arxiv.org/abs/2205.01917;
parameter names of https://github.com/mlfoundations/open_clip.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from registry_core import BuildError, InputError
from registry_core.config import ActivationOptions, NormOptions
from registry_core.towers.build import build_text_tower
from registry_core.towers.contrastive import ContrastiveModel
from registry_core.towers.layers import BlockOptions
from registry_core.towers.multimodal_transformer import MultimodalTransformer

from .config import CocaConfig
from .generation import generate
from .options import CLIP_END, CLIP_START, Criterion, GenerationOptions, Ids, as_criteria, as_id, as_ids


class CoCa(ContrastiveModel):
    """A CLIP whose text side goes on into a decoder that also sees the picture.

    Args:
        config: the model's config.
        tower: "image" keeps `visual`, "text" keeps `text`; the decoder needs both. None builds all.

    Attributes:
        text: the text tower, [N, L] -> [N, E] and tokens.
        visual: the image tower, [N, 3, height, width] -> [N, E] and tokens.
        text_decoder: tokens of a picture and of a text's beginning -> logits of the next token.
        pad_id: what `generate` fills up texts with.
        output_dict: true; `forward` always returns a dict.
    """

    def __init__(self, config: CocaConfig, tower: str | None = None) -> None:
        super().__init__(config, tower)
        self.output_dict = True
        self.context_length = config.text_cfg.context_length
        self.vocab_size = config.text_cfg.vocab_size
        self.pad_id = config.pad_id
        if tower != "image":
            # Behind the text tower, as in the published models.
            visual = self._modules.pop("visual", None)
            self.text = build_text_tower(config.text_cfg, config.embed_dim, quick_gelu=config.quick_gelu)
            self.vocab_size = int(self.text.vocab_size)  # type: ignore[arg-type]
            if visual is not None:
                self.visual = visual
        if tower is None:
            self.text_decoder = _decoder(config)
        self.add_logit_parameters()

    def encode_image(self, image: Tensor, normalize: bool = True) -> Tensor:
        """Pictures [N, 3, height, width] -> features [N, E], of length 1 unless told otherwise.

        Raises:
            BuildError: the model was created without its image tower.
            InputError: the pictures have another size.
        """
        return self.image_outputs(image, normalize)[0]

    def encode_text(self, text: Tensor, normalize: bool = True) -> Tensor:
        """Token ids [N, L], int64 -> features [N, E], of length 1 unless told otherwise.

        Raises:
            BuildError: the model was created without its text tower.
            InputError: the texts are longer than the context.
        """
        return self.text_outputs(text, normalize)[0]

    def image_outputs(self, image: Tensor, normalize: bool = True) -> tuple[Tensor, Tensor]:
        """Pictures [N, 3, height, width] -> features [N, E] and tokens [N, K, C], for the decoder."""
        self.need("image")
        features, tokens = self.visual(image)
        return F.normalize(features, dim=-1) if normalize else features, tokens

    def text_outputs(self, text: Tensor, normalize: bool = True) -> tuple[Tensor, Tensor]:
        """Token ids [N, L], int64 -> features [N, E] and tokens [N, L, C], for the decoder."""
        self.need("text")
        features, tokens = self.text(text)
        return F.normalize(features, dim=-1) if normalize else features, tokens

    @property
    def text_side(self) -> nn.Module:
        """The text tower."""
        return self.text

    def forward(  # type: ignore[override] # the decoder's inputs and outputs come beside CLIP's
        self,
        image: Tensor | None = None,
        text: Tensor | None = None,
        image_latent: Tensor | None = None,
        image_embs: Tensor | None = None,
        output_labels: bool = True,
    ) -> dict[str, Tensor]:
        """Normalised features, and what the decoder expects next in the texts.

        Args:
            image: pictures [N, 3, height, width].
            text: token ids [N, L], int64.
            image_latent: features [N, E] of the pictures from an earlier call; with `image_embs`, instead of `image`.
            image_embs: their tokens [N, K, C].
            output_labels: for a caption loss: leave out the logits after the last token, and give the labels.

        Returns:
            Of pictures alone image_features and image_embs. Of texts alone text_features and logit_scale. Of both
            image_features, text_features, logits [N, L - 1, V], logit_scale, labels [N, L - 1] and, if the model has
            one, logit_bias; without labels the logits are [N, L, V].

        Raises:
            BuildError: the model was created without one of the parts that this needs.
            InputError: the pictures have another size, the texts are longer than the context, or they are no pairs.
        """
        if image_latent is None or image_embs is None:
            if image is None:
                return self._text_alone(text, image_latent, image_embs)
            image_latent, image_embs = self.image_outputs(image)
        if text is None:
            return {"image_features": image_latent, "image_embs": image_embs}
        self.need_decoder()
        if image_embs.shape[0] != text.shape[0]:
            raise InputError(
                f"forward takes a text for each picture, got {image_embs.shape[0]} pictures and {text.shape[0]} texts. "
                "Nothing was computed. encode_image and encode_text take any number."
            )
        text_latent, token_embs = self.text_outputs(text)
        if output_labels:
            token_embs = token_embs[:, :-1]
        outputs = {
            "image_features": image_latent,
            "text_features": text_latent,
            "logits": self.text_decoder(image_embs, token_embs),
            "logit_scale": self.logit_scale.exp(),
        }
        if output_labels:
            outputs["labels"] = text[:, 1:]
        if self.logit_bias is not None:
            outputs["logit_bias"] = self.logit_bias
        return outputs

    def _text_alone(self, text: Tensor | None, *earlier: Tensor | None) -> dict[str, Tensor]:
        if any(part is not None for part in earlier):
            raise InputError(
                "Of image_latent and image_embs one was given, and no image. Nothing was computed. Give both, as an "
                "earlier call returned them, or the image."
            )
        if text is None:
            raise InputError("forward needs pictures, texts or both, got neither. Nothing was computed.")
        return {"text_features": self.encode_text(text), "logit_scale": self.logit_scale.exp()}

    def generate(  # noqa: PLR0917 - in open_clip's order
        self,
        image: Tensor,
        text: Tensor | None = None,
        seq_len: int = 30,
        max_seq_len: int = 77,
        temperature: float = 1.0,
        generation_type: str = "beam_search",
        top_p: float = 0.1,
        top_k: int = 1,
        pad_token_id: Ids | None = None,
        eos_token_id: Ids | None = None,
        sot_token_id: Ids | None = None,
        num_beams: int = 6,
        num_beam_groups: int = 3,
        min_seq_len: int = 5,
        stopping_criteria: Sequence[Criterion] | None = None,
        repetition_penalty: float = 1.0,
        fixed_output_length: bool = False,
        *,
        diversity_penalty: float = 0.0,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        """Write captions, token by token.

        Args:
            image: pictures [N, 3, height, width].
            text: ids that every text starts with, [N, L] or [L] for all, without end and padding; None starts with
                `sot_token_id`.
            seq_len: most tokens of a text, start and end included.
            max_seq_len: in sampling, how many of the last tokens the model looks at; never more than its context. Fewer
                than a text has, they are also what `min_seq_len` and `repetition_penalty` count, and the last token
                need not be an end then. Beam search looks at the whole context.
            temperature: divides the logits before sampling; above 1 is more varied. Not for beam search.
            generation_type: "beam_search", "top_p" or "top_k".
            top_p: sample among the likeliest tokens that hold this share of the probability together; at least one.
            top_k: sample among this many of the likeliest tokens.
            pad_token_id: fills up finished texts; None is the model's `pad_id`.
            eos_token_id: ends a text, one id or several; None is CLIP's 49407.
            sot_token_id: starts a text; None is CLIP's 49406.
            num_beams: texts that beam search follows at a time, in all groups together.
            num_beam_groups: groups that they are split into; each has a beam search of its own.
            min_seq_len: a text does not end before it has this many tokens.
            stopping_criteria: called as `criterion(ids, None)` after each token; generation stops once, for each text,
                one of them answers true. They can stop it before `seq_len`, not after. Beam search still writes the end
                of its text, unless a criterion has a `max_length` and that is reached.
            repetition_penalty: above 1 makes tokens that a text has already less likely.
            fixed_output_length: fill up to `seq_len` tokens.
            diversity_penalty: lowers the logit of a token by this much for each beam of earlier groups that has just
                chosen it. With 0 all groups find the same, and one is run.
            generator: where random numbers come from; seeded, results repeat.

        Returns:
            Ids [N, at most seq_len], int64, or [L] where `text` is [L] and there is one picture.

        Raises:
            BuildError: the model was created with one tower only.
            InputError: an option out of range that counts for the generation type, or pictures or ids that the model
                does not take.
        """
        self.need_decoder()
        options = GenerationOptions(
            vocab_size=min(self.vocab_size, self.text_decoder.vocab_size),
            context_length=self.context_length,
            pad=as_id("pad_token_id", pad_token_id, self.pad_id),
            eos=as_ids("eos_token_id", eos_token_id, CLIP_END),
            sot=as_id("sot_token_id", sot_token_id, CLIP_START),
            seq_len=seq_len,
            max_seq_len=max_seq_len,
            min_seq_len=min_seq_len,
            generation_type=generation_type,
            temperature=temperature,
            top_p=top_p,
            top_k=top_k,
            num_beams=num_beams,
            num_beam_groups=num_beam_groups,
            diversity_penalty=diversity_penalty,
            repetition_penalty=repetition_penalty,
            stopping_criteria=as_criteria(stopping_criteria),
            fixed_output_length=fixed_output_length,
        )
        return generate(self, image, text, options.checked(), generator)

    def need_decoder(self) -> None:
        """Refuse to go on without the decoder.

        Raises:
            BuildError: the model was created with one tower only.
        """
        if self.tower is not None:
            raise BuildError(
                f"This model has no text decoder, which needs both towers: it was created with tower={self.tower!r}. "
                "Create it without `tower=`."
            )

    def lock_text_tower(self, unlocked_layers: int = 0, freeze_layer_norm: bool = True) -> None:
        """Freeze the text tower but its last layers; the decoder stays trainable."""
        self.need("text")
        self.text.lock(unlocked_layers, freeze_layer_norm=freeze_layer_norm)  # type: ignore[operator]

    def set_grad_checkpointing(self, enable: bool = True) -> None:
        """Trade time for memory in training."""
        for name in ("visual", "text", "text_decoder"):
            if name in self._modules:
                self.get_submodule(name).set_grad_checkpointing(enable)  # type: ignore[operator]

    def no_weight_decay(self) -> set[str]:
        """Names of parameters that optimisers leave out of weight decay."""
        towers = {name: self.get_submodule(name) for name in ("visual", "text") if name in self._modules}
        return {f"{prefix}.{name}" for prefix, tower in towers.items() for name in tower.no_weight_decay()}  # type: ignore[operator]


def _decoder(config: CocaConfig) -> MultimodalTransformer:
    decoder = config.multimodal_cfg
    options = BlockOptions(
        decoder.width,
        decoder.heads,
        decoder.mlp_ratio,
        decoder.ls_init_value,
        config.quick_gelu,
        NormOptions(),
        ActivationOptions(),
    )
    return MultimodalTransformer(options, decoder.layers, config.text_cfg.vocab_size)
