"""BibTeX of what a run used."""

from __future__ import annotations

import re
import tomllib

from helpers.fake_run import make_run

from dancecli.core.labels import MANIFESTS
from dancecli.report.references import REFERENCES, SOFTWARE, references
from dancecli.report.report import ReportSettings, report
from dancecli.storage.workspace import Workspace


def keys(text: str) -> list[str]:
    return re.findall(r"^@\w+\{([^,]+),$", text, re.MULTILINE)


def test_every_model_of_the_zoo_and_every_key_has_an_entry() -> None:
    known = tomllib.loads(REFERENCES.read_text())
    zoo = tomllib.loads((MANIFESTS / "zoo.toml").read_text())
    assert set(known["models"]) >= set(zoo)
    tables = ("models", "weights", "datasets")
    named = {key for table in tables for keys in known[table].values() for key in keys}
    assert named | set(SOFTWARE) == set(known["entries"])
    assert set(known["weights"]) <= set(zoo)
    # The zoo says of which weights it is another dataset.
    assert {name for name, entry in zoo.items() if "dataset" in entry} <= set(known["weights"])
    for key, entry in known["entries"].items():
        assert keys(entry.strip()) == [key]
        assert entry.count("{") == entry.count("}")


def test_a_run_names_its_model_its_data_and_the_software() -> None:
    run = {"model": {"pretrain": "nonlocal"}, "weights": {"name": "zoo"}}
    assert keys(references(run, ["kinetics700-2020", "letsdance", "letsdance"])) == [
        "carreira2017quo", "wang2018nonlocal", "kay2017kinetics", "smaira2020kinetics", "castro2018letsdance",
        "mmaction2", "dance",
    ]  # fmt: skip
    assert "kay2017kinetics" not in references({"model": {"pretrain": "tsn"}, "weights": None}, [])
    c3d = {"model": {"pretrain": "c3d"}, "weights": {"name": "zoo"}}
    assert keys(references(c3d, ["kinetics600"])) == [
        "tran2015c3d", "karpathy2014sports1m", "soomro2012ucf101", "carreira2018kinetics600", "mmaction2",
        "dance",
    ]  # fmt: skip


def test_what_is_not_known_is_named() -> None:
    text = references({"model": {"pretrain": "mine.py"}}, ["my dances"])
    assert "% no reference is known here for the model mine.py" in text
    assert "% no reference is known here for the dataset my dances" in text


def test_weights_of_the_hub_are_not_said_to_be_of_kinetics() -> None:
    weights = {"name": "tiny", "source": "hf:someone/tiny@0123"}
    text = references({"model": {"pretrain": "tiny"}, "weights": weights}, [])
    assert keys(text) == ["mmaction2", "dance"]
    assert "% no reference is known here for the data of the weights hf:someone/tiny@0123" in text


def test_it_lies_beside_the_report(workspace: Workspace) -> None:
    make_run(workspace.root, ("a", "b"), test=8, name="run-1")
    text = (report(workspace, ReportSettings("run-1")).page.parent / "references.bib").read_text()
    assert keys(text) == ["carreira2017quo", "kay2017kinetics", "mmaction2", "dance"]
    assert "dataset demo" in text
