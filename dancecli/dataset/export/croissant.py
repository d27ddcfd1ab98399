"""Croissant metadata of an export, with its extension for responsible AI (RAI), as JSON-LD.

See https://docs.mlcommons.org/croissant/docs/croissant-spec.html and croissant-rai-spec.html. Only what
was counted is stated: who publishes the export adds `url`, `creator`, `datePublished`, `version` and
`citeAs`, which no workspace knows.
"""

from __future__ import annotations

import json
from typing import Any, get_type_hints

from dancecli.core.records import Subset
from dancecli.dataset.export.facts import NOT_STATED, ExportFacts
from dancecli.dataset.export.formats import TABLE, Facts

_TERMS = (
    *("citeAs", "column", "equivalentProperty", "extract", "field", "fileObject", "fileProperty", "fileSet"),
    *("format", "includes", "isLiveDataset", "jsonPath", "key", "md5", "parentField", "path", "recordSet"),
    *("references", "regex", "repeated", "replace", "samplingRate", "separator", "source", "subField"),
    "transform",
)
_CONTEXT: dict[str, Any] = {
    "@language": "en",
    "@vocab": "https://schema.org/",
    "cr": "http://mlcommons.org/croissant/",
    "rai": "http://mlcommons.org/croissant/RAI/",
    "dct": "http://purl.org/dc/terms/",
    "sc": "https://schema.org/",
    "conformsTo": "dct:conformsTo",
    "data": {"@id": "cr:data", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "examples": {"@id": "cr:examples", "@type": "@json"},
    "facts": {"@id": "urn:dancecli:facts", "@type": "@json"},
    **{term: f"cr:{term}" for term in _TERMS},
}
# The files of each format beside the table of clips: which they are, and of what type.
_FILES = {
    "videofolder": (["train/*/*.mp4", "validation/*/*.mp4", "test/*/*.mp4"], "video/mp4"),
    "parquet": (["data/*.parquet"], "application/vnd.apache.parquet"),
    "webdataset": (["*/*.tar"], "application/x-tar"),
    "lists": (["train.csv", "val.csv", "test.csv"], "text/csv"),
    "fingerprint": (["fingerprint.csv"], "text/csv"),
}
_TYPES = {str: "sc:Text", int: "sc:Integer", float: "sc:Float", bool: "sc:Boolean"}


def croissant(form: str, split: str, facts: ExportFacts, table_sha256: str) -> str:
    """Render the metadata as indented JSON.

    Args:
        form: format of the export.
        split: name of its split.
        facts: see `derive_facts`.
        table_sha256: checksum of the table of clips.
    """
    includes, kind = _FILES[form]
    licenses = [name for name in facts.tables["Clips by license"].rows if name != NOT_STATED]
    document = {
        "@context": _CONTEXT,
        "@type": "sc:Dataset",
        "conformsTo": ["http://mlcommons.org/croissant/1.0", "http://mlcommons.org/croissant/RAI/1.0"],
        "name": f"dance-clips-{split}-{form}",
        "description": f"{facts.value('Export', 'clips')} clips of {facts.value('Export', 'classes')} "
        f"classes from {facts.value('Export', 'source videos')} source videos.",
        **({"license": licenses} if licenses else {}),
        **_responsible(facts),
        "distribution": [
            {
                "@type": "cr:FileObject",
                "@id": TABLE,
                "name": TABLE,
                "description": "One row per clip, with its checksum and attribution.",
                "contentUrl": TABLE,
                "encodingFormat": "text/csv",
                "sha256": table_sha256,
            },
            {
                "@type": "cr:FileSet",
                "@id": "files",
                "name": "files",
                "description": f"The files of the format {form}.",
                "encodingFormat": kind,
                "includes": includes,
            },
        ],
        "recordSet": [_splits(), _clips()],
        "facts": {
            title: {
                name: dict(zip(table.columns[1:], values, strict=True)) for name, values in table.rows.items()
            }
            for title, table in facts.tables.items()
        },
    }
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"


def _responsible(facts: ExportFacts) -> dict[str, str]:
    """State what the workspace knows of the collection, under the names of the extension."""

    def count(name: str) -> int | float | str:
        return facts.value("Export", name)

    classes = list(facts.tables["Clips by class"].rows.values())[:-1]
    in_classes = [sum(map(int, values[1:-1])) for values in classes]
    texts = {
        "dataCollection": f"Clips by source: {facts.words('Clips by source')}. Clips by annotation list: "
        f"{facts.words('Clips by annotation list')}.",
        "dataCollectionMissingData": f"Requested clips by outcome: "
        f"{facts.words('Outcomes of the requested clips')}. Reasons of those that are not available: "
        f"{facts.words('Why requested clips are not available')}. Files that imports left out: "
        f"{facts.words('Files that imports left out')}. Clips of the split that have lost their "
        f"file: {count('clips of the split that have lost their file')}.",
        "dataCollectionRawData": f"{count('source videos')} source videos.",
        "dataPreprocessingProtocol": "Each clip was decoded as a whole, counted and hashed. "
        f"Notes on clips: {facts.words('Notes on clips')}.",
        "dataAnnotationProtocol": "Labels are those of the annotation lists. Corrections of them in force: "
        f"{facts.words('Corrections in force')}.",
        "dataBiases": f"The smallest class has {min(in_classes, default=0)} clips, the largest "
        f"{max(in_classes, default=0)}.",
        "dataLimitations": f"Leaks between subsets: {facts.words('Leaks')}. Other findings of the audit: "
        f"{facts.words('Other findings of the audit')}.",
        "personalSensitiveInformation": f"{count('clips that name their uploader')} clips name "
        f"their uploader, {count('uploaders')} uploaders in all.",
        "dataReleaseMaintenancePlan": f"Clips removed by request: {facts.words('Removed by request')}.",
    }
    return {f"rai:{name}": text for name, text in texts.items()}


def _splits() -> dict[str, Any]:
    return {
        "@type": "cr:RecordSet",
        "@id": "subsets",
        "name": "subsets",
        "dataType": "cr:Split",
        "key": {"@id": "subsets/name"},
        "field": [{"@type": "cr:Field", "@id": "subsets/name", "name": "name", "dataType": "sc:Text"}],
        "data": [{"subsets/name": subset.value} for subset in Subset],
    }


def _clips() -> dict[str, Any]:
    subset = _field("subset", "sc:Text") | {"references": {"field": {"@id": "subsets/name"}}}
    columns = [_field(name, _TYPES[kind]) for name, kind in get_type_hints(Facts).items()]
    return {
        "@type": "cr:RecordSet",
        "@id": "clips",
        "name": "clips",
        "key": {"@id": "clips/clip_id"},
        "field": [subset, *columns],
    }


def _field(name: str, kind: str) -> dict[str, Any]:
    source = {"fileObject": {"@id": TABLE}, "extract": {"column": name}}
    return {
        "@type": "cr:Field",
        "@id": f"clips/{name}",
        "name": name,
        "dataType": kind,
        "source": source,
    }
