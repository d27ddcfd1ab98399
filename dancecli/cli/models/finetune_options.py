"""Options of training that `dance finetune` and `dance tune` share."""

from __future__ import annotations

from typing import Annotated

import typer

HeadInitOption = Annotated[
    str | None,
    typer.Option(
        metavar="solved|random|pretrained",
        help="Where training by epochs starts the head: solved on features of the network as it is, at "
        "random, or with matching classes of the pre-trained classifier. [default: solved for a partly "
        "frozen network, else random]",
        show_default=False,
    ),
]
HeadOption = Annotated[
    str | None,
    typer.Option(
        "--head",
        metavar="linear|attentive|knn|prototype",
        help="Probe of a wholly frozen backbone: logistic regression, attention to all tokens of a clip, the "
        "nearest training clips, or the mean of each class. [default: as the recipe says]",
        show_default=False,
    ),
]
ProtocolOption = Annotated[
    str | None,
    typer.Option(
        "--protocol",
        metavar="full|mteb|vjepa2",
        help="How the probe is fitted: full, on all training clips; mteb, logistic regression on 8 clips per "
        "class, 10 draws; vjepa2, an attentive probe of 4 blocks. [default: full]",
        show_default=False,
    ),
]
CacheOption = Annotated[
    bool | None,
    typer.Option(
        "--cache/--no-cache",
        help="Cache frozen-backbone features and train on them. [default: from --freeze 3 on]",
        show_default=False,
    ),
]
CompileOption = Annotated[
    bool,
    typer.Option("--compile", help="Compile the backbone with torch: minutes at first, then faster."),
]
AugmentOption = Annotated[
    str | None,
    typer.Option(
        metavar="OPS",
        help="Augment clips while decoding: chains as in dance augment, such as "
        "hflip,jitter,hflip+noise. A training view is the original clip or one of them, equally likely.",
        show_default=False,
    ),
]
ViewsOption = Annotated[
    int | None,
    typer.Option(min=1, metavar="K", help="Number of different training views per clip, used in turn."),
]
NumClipsOption = Annotated[
    int | None,
    typer.Option(min=1, metavar="N", help="Clips in time whose scores are averaged in evaluation."),
]
AmpOption = Annotated[
    bool | None,
    typer.Option(
        "--amp/--no-amp",
        help="Use automatic mixed precision: bfloat16, or float16 on GPUs without it. [default: no]",
        show_default=False,
    ),
]
SetOption = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="KEY=VALUE",
        help="Set any recipe key, such as ema=0.99; may be repeated. The file of the default recipe "
        "lists all keys.",
        show_default=False,
    ),
]
GpusOption = Annotated[
    int,
    typer.Option(
        min=1,
        metavar="N",
        help="Compute features, or share each batch, in N processes: one per GPU, or on the CPU.",
    ),
]
