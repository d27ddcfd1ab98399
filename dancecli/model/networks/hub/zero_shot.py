"""Clips scored by texts: a network trained on pairs of pictures and words knows labels by their names."""

from __future__ import annotations

import tomllib
from collections.abc import Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from dancecli.core.errors import InputError, ModelError
from dancecli.core.labels import MANIFESTS
from dancecli.core.text import first_line
from dancecli.model.networks.hub.architectures import ARCHITECTURES
from dancecli.model.networks.hub.backbone import load_network, read_weights
from dancecli.model.networks.hub.model import HubModel
from dancecli.model.networks.hub.repository import CONFIG, weight_names
from dancecli.model.networks.mmaction import MODELS, BaseHead

_TOKENIZERS = ("tokenizer.json", "vocab.json", "spiece.model")
PROMPTS = MANIFESTS / "prompts.toml"


def read_prompts(path: Path, labels: Sequence[str]) -> list[list[str]]:
    """Put labels into words: the same number of texts for each.

    Raises:
        InputError: the file is missing or not TOML, has other keys, a template without `{}`, or words for
            what is no label.
    """
    try:
        found = tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except FileNotFoundError:
        raise InputError(f"{path}: no such file of prompts") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InputError.at(path, None, f"is not valid TOML: {error}", "correct that line") from None
    templates, words = found.get("templates", []), found.get("words", {})
    if set(found) - {"templates", "words"} or not isinstance(words, dict):
        raise InputError.at(path, None, "has other keys than templates and [words]")
    if not isinstance(templates, list) or not templates or not all("{}" in str(one) for one in templates):
        raise InputError.at(path, None, "needs templates with {} in the place of the label")
    for key in words:
        if key not in labels:
            near = get_close_matches(key, labels, n=1)
            raise InputError.at(
                path,
                None,
                f"[words] has {key!r}, which is no label of the split",
                f"did you mean {near[0]!r}?" if near else f"its labels: {', '.join(labels)}",
            )
    return [[str(one).replace("{}", str(words.get(label, label))) for one in templates] for label in labels]


class TextMatcher(nn.Module):
    """A network of pictures and words with the texts of labels: clips in, a score per label out.

    Args:
        net: a CLIP, SigLIP or X-CLIP of transformers.
        architecture: a key of `ARCHITECTURES`.
        texts: features of the texts, [labels, texts, D].
    """

    def __init__(self, net: Any, architecture: str, texts: Tensor) -> None:
        super().__init__()
        self.net, self.sees_clips = net, ARCHITECTURES[architecture].sees_clips
        self.register_buffer("texts", texts)

    def forward(self, x: Tensor) -> Tensor:
        """Score clips [N, 3, T, H, W]: logits [N, labels], averaged over the texts of each."""
        clips = x.transpose(1, 2)
        texts: Tensor = self.get_buffer("texts")
        flat = texts.flatten(0, 1)
        scores = self._of_clips(clips, flat) if self.sees_clips else self._of_frames(clips, flat)
        logits: Tensor = self.net.logit_scale.exp() * scores.reshape(len(x), *texts.shape[:2]).mean(2)
        return logits

    def _of_frames(self, clips: Tensor, texts: Tensor) -> Tensor:
        """Compare single frames with texts [K, D], and average over the frames of a clip: [N, K]."""
        images = self.net.get_image_features(pixel_values=clips.flatten(0, 1)).pooler_output
        alike = normalize(images, dim=-1) @ normalize(texts, dim=-1).T
        return alike.reshape(len(clips), -1, len(texts)).mean(1)

    def _of_clips(self, clips: Tensor, texts: Tensor) -> Tensor:
        """Compare clips with texts [K, D] that see them, as X-CLIP's own forward pass does: [N, K]."""
        net = self.net
        seen = net.vision_model(pixel_values=clips.flatten(0, 1))
        frames = net.visual_projection(seen.pooler_output).reshape(*clips.shape[:2], -1)
        video = net.mit(frames).pooler_output
        patches = net.prompts_visual_layernorm(seen.last_hidden_state[:, 1:]) @ net.prompts_visual_projection
        patches = patches.reshape(*clips.shape[:2], *patches.shape[1:]).mean(1)
        told = texts.expand(len(clips), -1, -1)
        told = told + net.prompts_generator(told, patches)
        return torch.einsum("bc,bkc->bk", normalize(video, dim=-1), normalize(told, dim=-1))


def text_matcher(model: HubModel, prompts: Sequence[Sequence[str]]) -> TextMatcher:
    """Build the network of a model that knows texts, with the features of these.

    Args:
        model: of the Hub.
        prompts: texts of each label.

    Raises:
        ModelError: it knows no texts, or its weights or its tokenizer cannot be read.
    """
    reference, row = model.repository.reference, model.row
    if not row.zero_shot:
        able = [name for name, other in ARCHITECTURES.items() if other.zero_shot]
        raise ModelError(f"a {row.title} knows no texts", f"zero-shot: {', '.join(able)}")
    state = read_weights(model.repository.folder, weight_names(model.repository))
    config = model.repository.read_json(CONFIG)
    net, lost = load_network(model.architecture, config, state, zero_shot=True)
    if lost:
        raise ModelError(f"{reference}: {len(lost)} of its weights are missing, such as {min(lost)}")
    net.eval()
    texts = [text for label in prompts for text in label]
    with torch.inference_mode():
        tokens = _tokenized(model, texts)
        found = net.get_text_features(**tokens).pooler_output  # type: ignore[operator]
    return TextMatcher(net, model.architecture, found.clone().reshape(len(prompts), -1, found.shape[-1]))


def _tokenized(model: HubModel, texts: Sequence[str]) -> dict[str, Tensor]:
    from transformers import AutoTokenizer

    # Without its files transformers makes an empty one, which reads every text alike.
    if not any((model.repository.folder / name).is_file() for name in _TOKENIZERS):
        raise ModelError(
            f"{model.repository.reference} has no tokenizer", "one of: " + ", ".join(_TOKENIZERS)
        )
    try:
        tokenizer = AutoTokenizer.from_pretrained(
            str(model.repository.folder), local_files_only=True, trust_remote_code=False
        )
    except Exception as error:  # what is missing raises nearly anything
        raise ModelError(
            f"{model.repository.reference}: its tokenizer cannot be read ({first_line(error)})"
        ) from None
    # SigLIP was trained on texts of one length.
    padding = "max_length" if model.architecture == "siglip" else True
    length = tokenizer.model_max_length if tokenizer.model_max_length < 1000 else 64
    found = tokenizer(list(texts), padding=padding, max_length=length, truncation=True, return_tensors="pt")
    keys = ("input_ids",) if model.architecture == "siglip" else ("input_ids", "attention_mask")
    return {key: found[key] for key in keys}


@MODELS.register_module(force=True)
class ScoresHead(BaseHead):  # type: ignore[misc]
    """The head of a network that scores the labels itself."""

    def forward(self, x: Tensor, **_: Any) -> Tensor:
        """Pass the scores on, [N, labels]."""
        return x
