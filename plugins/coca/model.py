"""The CoCa module.

Yu et al. 2022, "CoCa: Contrastive Captioners are Image-Text Foundation Models", https://arxiv.org/abs/2205.01917.
The parameter names are those of https://github.com/mlfoundations/open_clip.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from registry_core import ActivationOptions, BuildError, InputError, NormOptions, TextTower
from registry_core.towers import BlockOptions, ContrastiveModel, MultimodalTransformer, build_text_tower, evaluating

from .config import CocaConfig
from .generation import check_generator, generate
from .options import CLIP_END, CLIP_START, Criterion, GenerationOptions, Ids, as_criteria, as_id, as_ids


class CoCa(ContrastiveModel):
    """A CLIP with a text decoder, which continues the text tower and also sees the image.

    Args:
        config: Config of the model.
        tower: "image" builds only `visual`, "text" only `text`. None builds both and the decoder, which needs both.

    Attributes:
        text: The text tower, token ids [N, L] -> features [N, E] and tokens.
        visual: The image tower, images [N, 3, height, width] -> features [N, E] and tokens.
        text_decoder: Tokens of an image and of the beginning of a text -> logits of the next token.
        pad_id: The id that `generate` fills up texts with.
        output_dict: Always True: `forward` returns a dict.
    """

    def __init__(self, config: CocaConfig, tower: str | None = None) -> None:
        super().__init__(config, tower)
        self.output_dict = True
        self.context_length = config.text_cfg.context_length
        self.vocab_size = config.text_cfg.vocab_size
        self.pad_id = config.pad_id
        if tower != "image":
            # The published models register the image tower after the text tower.
            visual = self._modules.pop("visual", None)
            self.text = build_text_tower(config.text_cfg, config.embed_dim, quick_gelu=config.quick_gelu)
            self.vocab_size = int(self.text.vocab_size)
            if visual is not None:
                self.add_module("visual", visual)
        if tower is None:
            self.text_decoder = _decoder(config)
        self.add_logit_parameters()

    def encode_image(self, image: Tensor, normalize: bool = True) -> Tensor:
        """Encode images [N, 3, height, width] as features [N, E], by default of length 1.

        Raises:
            BuildError: The model was created without its image tower.
            InputError: The images have another size.
        """
        return self.image_outputs(image, normalize)[0]

    def encode_text(self, text: Tensor, normalize: bool = True) -> Tensor:
        """Encode token ids [N, L], int64, as features [N, E], by default of length 1.

        Raises:
            BuildError: The model was created without its text tower.
            InputError: The texts are longer than the context.
        """
        return self.text_outputs(text, normalize)[0]

    def image_outputs(self, image: Tensor, normalize: bool = True) -> tuple[Tensor, Tensor]:
        """Encode images [N, 3, height, width] as features [N, E], and as tokens [N, K, C] for the decoder."""
        self.need("image")
        features, tokens = self.visual(image)
        return F.normalize(features, dim=-1) if normalize else features, tokens

    def text_outputs(self, text: Tensor, normalize: bool = True) -> tuple[Tensor, Tensor]:
        """Encode token ids [N, L], int64, as features [N, E], and as tokens [N, L, C] for the decoder."""
        self.need("text")
        features, tokens = self.text(text)
        return F.normalize(features, dim=-1) if normalize else features, tokens

    @property
    def text_side(self) -> TextTower:
        """The text tower."""
        return self.text

    def forward(
        self,
        image: Tensor | None = None,
        text: Tensor | None = None,
        image_latent: Tensor | None = None,
        image_embs: Tensor | None = None,
        output_labels: bool = True,
    ) -> dict[str, Tensor | None]:
        """Compute normalised features, and the decoder's logits of the next token at each position of the texts.

        Args:
            image: Images [N, 3, height, width].
            text: Token ids [N, L], int64.
            image_latent: Features [N, E] of the images from an earlier call. With `image_embs`, they replace `image`.
            image_embs: Tokens [N, K, C] of the images from the same call.
            output_labels: For a caption loss: leave out the logits after the last token, and return the labels.

        Returns:
            For images alone: image_features and image_embs. For texts alone: text_features and logit_scale. For both:
            image_features, text_features, logits [N, L - 1, V], logit_scale, labels [N, L - 1] and, if the model has
            one, logit_bias. Without labels the logits are [N, L, V].

        Raises:
            BuildError: The model was created without one of the parts that this call needs.
            InputError: The images have another size, the texts are longer than the context, the numbers of images and
                texts differ, or there is no input.
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
                f"forward takes one text for each image, got {image_embs.shape[0]} images and {text.shape[0]} texts. "
                "Nothing was computed.",
                argument="text",
                expected=image_embs.shape[0],
                found=text.shape[0],
                advice="encode_image and encode_text take any number.",
            )
        text_latent, token_embs = self.text_outputs(text)
        if output_labels:
            token_embs = token_embs[:, :-1]
        outputs: dict[str, Tensor | None] = {
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

    def _text_alone(
        self, text: Tensor | None, image_latent: Tensor | None, image_embs: Tensor | None
    ) -> dict[str, Tensor | None]:
        missing = "image_embs" if image_embs is None else "image_latent"
        if image_latent is not None or image_embs is not None:
            raise InputError(
                f"image_latent and image_embs belong together, but {missing} was not given, and neither was an image. "
                "Nothing was computed.",
                argument=missing,
                advice="Give both, as an earlier call returned them, or give the image.",
            )
        if text is None:
            raise InputError(
                "forward needs images, texts or both, but got neither. Nothing was computed.", argument="image"
            )
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
        """Write captions, token by token, in evaluation mode and without gradients.

        Args:
            image: Images [N, 3, height, width].
            text: Ids that every text starts with, [N, L], or [L] for all images, without end token and padding. None
                means `sot_token_id`.
            seq_len: Maximum number of tokens of a text, including start and end.
            max_seq_len: For sampling: number of last tokens that the model sees, at most its context. If a text is
                longer, `min_seq_len` and `repetition_penalty` count only these tokens too, and the last token need not
                be an end token. Beam search sees the whole context.
            temperature: Divides the logits before sampling; above 1 the texts vary more. Not used by beam search.
            generation_type: "beam_search", "top_p" or "top_k".
            top_p: Sample among the likeliest tokens that together hold this share of the probability; at least one.
            top_k: Sample among this many of the likeliest tokens.
            pad_token_id: Fills up finished texts. None means the model's `pad_id`.
            eos_token_id: Ends a text; one id or several. None means CLIP's 49407.
            sot_token_id: Starts a text. None means CLIP's 49406.
            num_beams: Number of texts that beam search follows at a time, in all groups together.
            num_beam_groups: Number of groups of beams. Each group is a beam search of its own.
            min_seq_len: A text does not end before it has this many tokens.
            stopping_criteria: Functions called as `criterion(ids, None)` after each token. Generation stops when, for
                each text, one of them returns True. They can stop it before `seq_len`, not after. Beam search still
                writes the end token of its text, unless a criterion has a `max_length` and that length is reached.
            repetition_penalty: Above 1, tokens that a text already contains become less likely.
            fixed_output_length: Fill up texts to `seq_len` tokens.
            diversity_penalty: Lowers the logit of a token by this much for each beam of an earlier group that has just
                chosen it. With 0 all groups find the same texts, and one group is run.
            generator: Source of random numbers. With a seeded generator the results repeat.

        Returns:
            Ids [N, at most seq_len], int64, or [L] if `text` is [L] and there is one image.

        Raises:
            BuildError: The model was created with one tower only.
            InputError: An option that the generation type uses is out of range, or the model does not take the images
                or ids.
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
        ).checked()
        check_generator(generator, image.device)
        with evaluating(self), torch.no_grad():
            image_tokens = self.image_outputs(image)[1]
            return generate(self.text_decoder, self.text, image_tokens, text, options=options, generator=generator)

    def need_decoder(self) -> None:
        """Raise an error if the model has no decoder.

        Raises:
            BuildError: The model was created with one tower only.
        """
        if self.tower is not None:
            raise BuildError(
                f"This model has no text decoder, because it was created with tower={self.tower!r} and the decoder "
                "needs both towers.",
                tower="text_decoder",
                argument="tower",
                found=self.tower,
                advice="Create it without `tower=`.",
            )

    def lock_text_tower(self, unlocked_layers: int = 0, freeze_layer_norm: bool = True) -> None:
        """Freeze the text tower except its last layers. The decoder stays trainable."""
        self.need("text")
        self.text.lock(unlocked_layers, freeze_layer_norm=freeze_layer_norm)

    def set_grad_checkpointing(self, enable: bool = True) -> None:
        """Recompute activations in the backward pass, which saves memory and costs time."""
        if self.tower != "text":
            self.visual.set_grad_checkpointing(enable)
        if self.tower != "image":
            self.text.set_grad_checkpointing(enable)
        if self.tower is None:
            self.text_decoder.set_grad_checkpointing(enable)

    def no_weight_decay(self) -> set[str]:
        """Return the names of parameters that optimisers leave out of weight decay."""
        visual = self.visual.no_weight_decay() if self.tower != "text" else ()
        text = self.text.no_weight_decay() if self.tower != "image" else ()
        return {*(f"visual.{name}" for name in visual), *(f"text.{name}" for name in text)}


def _decoder(config: CocaConfig) -> MultimodalTransformer:
    decoder = config.multimodal_cfg
    options = BlockOptions(
        width=decoder.width,
        heads=decoder.heads,
        mlp_ratio=decoder.mlp_ratio,
        ls_init_value=decoder.ls_init_value,
        quick_gelu=config.quick_gelu,
        norm=NormOptions(),
        act=ActivationOptions(),
    )
    return MultimodalTransformer(options, decoder.layers, config.text_cfg.vocab_size)
