"""The datasheet of an export, after Gebru et al., "Datasheets for Datasets" (2021).

What the workspace knows is answered by tables of facts; the rest is left open for who publishes.
"""

from __future__ import annotations

from collections.abc import Iterator

from dancecli.dataset.export.facts import ExportFacts, FactTable
from dancecli.dataset.quality.card import escaped, row_of

OPEN = "*To be answered by the publisher.*"

# Questions, each with the tables that answer it, a sentence on how the program works, or nothing.
_Answer = tuple[str, ...]
_SECTIONS: dict[str, tuple[tuple[str, _Answer, str], ...]] = {
    "Motivation": (
        ("For what purpose, and to fill which gap, was it made?", (), ""),
        ("Who made it, and on whose behalf?", (), ""),
        ("Who paid for it?", (), ""),
    ),
    "Composition": (
        (
            "What is an instance, and how many are there of each kind?",
            ("Export", "Clips by class"),
            "An instance is a clip: a segment of a video, with one label.",
        ),
        ("Is it a sample of something larger?", (), ""),
        ("What data is in an instance?", ("Length, size and rate", "Resolutions"), ""),
        ("Does each instance have a label or target?", (), "Yes, one of the classes above."),
        (
            "Is anything missing from it?",
            (
                "Outcomes of the requested clips",
                "Why requested clips are not available",
                "Files that imports left out",
            ),
            "Requested clips that are not available are missing, for these reasons, and so is what was "
            "left out of the folders that were imported. A file that could not be made a clip is in both.",
        ),
        ("Are relations between instances explicit?", ("Groups",), "These groups are known."),
        (
            "Are there recommended subsets?",
            ("Hashes",),
            "Yes: train, val and test. The hashes cover the id, checksum and label of every clip.",
        ),
        (
            "Are there errors, noise or repetitions?",
            ("Leaks", "Other findings of the audit", "Content", "Notes on clips"),
            "",
        ),
        ("Does it depend on resources elsewhere?", ("Clips by source",), ""),
        ("Is any of it confidential?", (), ""),
        ("Could it offend, insult, threaten or frighten?", (), ""),
        ("Does it identify groups of people, such as by age or gender?", (), ""),
        (
            "Can a person be identified from it?",
            (),
            "The table of clips names uploaders and titles where the site does.",
        ),
        ("Does it reveal what is sensitive about a person?", (), ""),
    ),
    "Collection": (
        (
            "How was each instance acquired?",
            ("Clips by annotation list",),
            "From the segments that annotation lists name, or from files; see the sources above.",
        ),
        (
            "By what means, and how were these checked?",
            (),
            "By `dance`; each clip was decoded as a whole, counted and hashed before it was accepted.",
        ),
        ("If it is a sample, how was it drawn?", (), ""),
        ("Who collected it, and how were they paid?", (), ""),
        ("Over what time was it collected?", (), ""),
        ("Was there an ethical review?", (), ""),
        ("Were the people in it told, and did they consent? Can they revoke it?", (), ""),
        ("Was its effect on the people in it analyzed?", (), ""),
    ),
    "Preprocessing and labeling": (
        (
            "Was it preprocessed, cleaned or labeled?",
            ("Corrections in force",),
            "Labels are those of the lists; what people corrected since is counted here.",
        ),
        ("Is the raw data kept?", (), ""),
        ("Is the software available?", (), "Yes: `pip install dancecli`."),
    ),
    "Uses": (
        ("What was it used for, and where is that collected?", (), ""),
        ("What else could it be used for, and what should it not be used for?", (), ""),
        ("Does anything in it affect future uses?", (), ""),
    ),
    "Distribution": (
        ("To whom, how and when will it be distributed?", (), ""),
        ("Under which license or terms?", ("Clips by license",), ""),
        ("Do third parties or regulations restrict it?", (), ""),
    ),
    "Maintenance": (
        ("Who maintains it, and how are they reached?", (), ""),
        (
            "Are there errata, and will it be updated?",
            ("Removed by request",),
            "Clips are removed by request with `dance remove`, which counts them.",
        ),
        ("How long is data on people kept? Do older versions stay?", (), ""),
        ("Can others extend it?", (), ""),
    ),
}


def datasheet(facts: ExportFacts) -> str:
    """Render the datasheet as Markdown."""
    lines = ["# Datasheet", ""]
    for section, questions in _SECTIONS.items():
        lines += [f"## {section}", ""]
        for question, titles, sentence in questions:
            lines += [f"**{question}**", "", *([sentence, ""] if sentence else [])]
            for title in titles:
                lines += fact_lines(facts.tables[title])
            if not titles and not sentence:
                lines += [OPEN, ""]
    return "\n".join(lines)


def has_answers(text: str) -> bool:
    """Return whether somebody has written into a datasheet: it has a line that `datasheet` does not write."""
    known, titles = {"# Datasheet", OPEN, "None."}, set()
    for section, questions in _SECTIONS.items():
        known.add(f"## {section}")
        for question, tables, sentence in questions:
            known |= {f"**{question}**", sentence}
            titles |= {f"### {title}" for title in tables}
    in_table = False
    for line in map(str.strip, text.splitlines()):
        if line in titles:
            in_table = True
        elif line.startswith("|"):
            # A table in an answer has no title of ours above it.
            if not in_table:
                return True
        elif line in known:
            in_table = in_table and not line
        else:
            return True
    return False


def fact_lines(table: FactTable) -> Iterator[str]:
    """Yield the lines of a table with its title; one without rows says `None.`."""
    yield from (f"### {table.title}", "")
    if not table.rows:
        yield from ("None.", "")
        return
    yield row_of(list(table.columns))
    yield row_of(["---", *["---:"] * (len(table.columns) - 1)])
    for name, values in table.rows.items():
        yield row_of([escaped(name), *(escaped(str(value)) for value in values)])
    yield ""
