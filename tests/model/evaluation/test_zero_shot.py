"""The zero-shot baseline: the library's own scores of the texts, averaged over the prompts."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from dancecli.core.errors import InputError, ModelError, UsageError
from dancecli.model.evaluation.zero_shot import ZeroShotSettings, zero_shot

Saved = Callable[[str], Path]
pytestmark = pytest.mark.usefixtures("own_cache")
WORDS = ("a", "video", "of", "people", "doing", "bouncing", "sliding", "turning")


def with_tokenizer(folder: Path) -> Path:
    """Save a tokenizer of whole words beside a network."""
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    vocabulary = {word: i for i, word in enumerate(("<pad>", "<unk>", *WORDS))}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="<pad>", unk_token="<unk>", model_max_length=16
    ).save_pretrained(folder)
    return folder


@pytest.mark.parametrize("architecture", ["clip", "siglip", "xclip"])
def test_scores_are_those_of_the_published_forward_pass(hub_folder: Saved, architecture: str):
    import torch
    import transformers
    from helpers.hub_models import TINY

    from dancecli.model.networks.hub.model import open_model
    from dancecli.model.networks.hub.zero_shot import _tokenized, text_matcher

    model = open_model(f"hf:{with_tokenizer(hub_folder(architecture))}")
    prompts = [
        ["a video of bouncing", "people doing bouncing"],
        ["a video of sliding", "people doing sliding"],
    ]
    matcher = text_matcher(model, prompts)
    torch.manual_seed(2)
    clips = torch.randn(2, 3, 8, 32, 32)
    net = getattr(transformers, TINY[architecture][0]).from_pretrained(model.repository.folder).eval()
    tokens = _tokenized(model, [text for label in prompts for text in label])
    with torch.no_grad():
        ours = matcher(clips)
        if architecture == "xclip":
            theirs = net(pixel_values=clips.transpose(1, 2), **tokens).logits_per_video
        else:
            frames = clips.transpose(1, 2).flatten(0, 1)
            theirs = net(pixel_values=frames, **tokens).logits_per_image.reshape(2, 8, -1).mean(1)
            theirs = theirs - getattr(net, "logit_bias", 0)
    assert torch.allclose(ours, theirs.reshape(2, 2, 2).mean(2), atol=1e-4)


def test_it_is_a_run_like_any_other(corpus, hub_folder: Saved, tmp_path: Path):
    workspace = corpus()
    settings = ZeroShotSettings(f"hf:{with_tokenizer(hub_folder('xclip'))}")
    result = zero_shot(workspace, settings)
    assert result.record["results"]["test"]["n"] == 3
    assert result.record["baseline"]["prompts"]["sliding"] == [
        "a video of sliding",
        "a video of people doing sliding",
    ]
    assert not zero_shot(workspace, settings).fresh
    file = tmp_path / "prompts.toml"
    file.write_text('templates = ["people {}"]\n[words]\nsliding = "doing sliding"\n')
    other = zero_shot(workspace, ZeroShotSettings(settings.pretrain, prompts=file))
    assert other.fresh
    assert other.record["baseline"]["prompts"]["sliding"] == ["people doing sliding"]
    # Of other validation clips it is another one.
    path = workspace.annotations("small") / "val.txt"
    path.write_text(path.read_text().splitlines(True)[0])
    assert zero_shot(workspace, settings).record["results"]["val"]["n"] == 1


def test_what_knows_no_texts_is_refused(corpus, hub_folder: Saved):
    workspace = corpus()
    with pytest.raises(UsageError, match="inception knows no texts"):
        zero_shot(workspace, ZeroShotSettings("inception"))
    with pytest.raises(ModelError, match="a V-JEPA 2 knows no texts") as raised:
        zero_shot(workspace, ZeroShotSettings(f"hf:{hub_folder('vjepa2')}"))
    assert "xclip, siglip, clip" in raised.value.hint
    with pytest.raises(ModelError, match="has no tokenizer"):
        zero_shot(workspace, ZeroShotSettings(f"hf:{hub_folder('clip')}"))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("templates = [", "is not valid TOML"),
        ('templates = ["a video"]', "needs templates with {}"),
        ('templates = ["{}"]\nmore = 1', "has other keys than templates"),
        ('templates = ["{}"]\n[words]\nslidng = "x"', r"\[words\] has 'slidng', which is no label"),
        ('templates = ["{}"]\n[words]\nturning = "x"\nslidng = "y"', r"\[words\] has 'slidng'"),
    ],
)
def test_a_wrong_file_of_prompts_is_named(tmp_path: Path, text: str, message: str):
    from dancecli.model.networks.hub.zero_shot import read_prompts

    file = tmp_path / "prompts.toml"
    file.write_text(text)
    with pytest.raises(InputError, match=message):
        read_prompts(file, ("sliding", "turning"))
    if "slidng" in text:
        with pytest.raises(InputError) as raised:
            read_prompts(file, ("sliding", "turning"))
        assert raised.value.message.startswith(f"{file}: ")
        assert raised.value.hint == "did you mean 'sliding'?"
    with pytest.raises(InputError, match="no such file of prompts"):
        read_prompts(tmp_path / "missing.toml", ("sliding",))
