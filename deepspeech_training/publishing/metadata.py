"""What the hub reads of a README: its front matter in YAML (https://huggingface.co/docs/hub/model-cards)."""

import re
from collections.abc import Mapping
from typing import Any

import yaml

from deepspeech_training.errors import FlagError
from deepspeech_training.publishing.source import Source

# The identifiers of licences that the hub knows (https://huggingface.co/docs/hub/repositories-licenses) and that are
# used for models of speech; any other one is "other" with a name.
LICENSES = {
    "apache-2.0",
    "mit",
    "mpl-2.0",
    "cc0-1.0",
    "cc-by-4.0",
    "cc-by-3.0",
    "cc-by-sa-4.0",
    "cc-by-sa-3.0",
    "cc-by-nc-4.0",
    "cc-by-nc-sa-4.0",
    "cc-by-nc-nd-4.0",
    "cc-by-nd-4.0",
    "gpl-2.0",
    "gpl-3.0",
    "lgpl-2.1",
    "lgpl-3.0",
    "agpl-3.0",
    "bsd-2-clause",
    "bsd-3-clause",
    "isc",
    "unlicense",
    "openrail",
    "eupl-1.1",
    "eupl-1.2",
    "odbl",
    "pddl",
}
SPDX_SUFFIXES = ("-only", "-or-later")
TASK = "automatic-speech-recognition"
TAGS = ["speech-to-text", "deepspeech", "coqui-stt", "tflite", "ctc", "streaming"]


def language_code(tag: str) -> str:
    """The language as the hub wants it: the first part of a BCP 47 tag.

    Raises:
        FlagError: it is none.

    >>> language_code("en-Latn-US"), language_code("KAB")
    ('en', 'kab')
    """
    code = tag.replace("_", "-").split("-")[0].lower()
    if not re.fullmatch(r"[a-z]{2,3}", code):
        raise FlagError(f"language {tag!r}: not a BCP 47 tag such as en, ar-EG or kab; give one: --language")
    return code


def license_fields(name: str) -> dict[str, str]:
    """The fields of a licence, of its SPDX identifier or of any other name.

    >>> license_fields("MPL-2.0"), license_fields("GPL-3.0-or-later")
    ({'license': 'mpl-2.0'}, {'license': 'gpl-3.0'})
    >>> license_fields("Our own licence")
    {'license': 'other', 'license_name': 'our-own-licence'}
    """
    code = name.lower()
    for suffix in SPDX_SUFFIXES:
        code = code.removesuffix(suffix)
    if code in LICENSES:
        return {"license": code}
    return {"license": "other", "license_name": re.sub(r"[^a-z0-9.]+", "-", code).strip("-")}


def model_metadata(source: Source, title: str, language: str, license: str) -> dict[str, Any]:
    """The fields of the card of a model.

    Args:
        language: a BCP 47 tag; "" for none.
        license: see `license_fields`; "" for none.
    Raises:
        FlagError: the language is none.
    """
    fields: dict[str, Any] = {"language": [language_code(language)]} if language else {}
    fields |= license_fields(license) if license else {}
    fields |= {"pipeline_tag": TASK, "tags": TAGS}
    if source.card["tests"]:
        results = [_result(test, language) for test in source.card["tests"]]
        fields |= {"metrics": ["wer", "cer"], "model-index": [{"name": title, "results": results}]}
    return fields


def _result(test: Mapping[str, Any], language: str) -> dict[str, Any]:
    name = set_name(test)
    dataset = {"name": f"{name}, {test['clips']:,} clips", "type": name, "split": "test"}
    metrics = [
        {"type": kind, "value": round(100 * test[kind]["value"], 2), "name": f"Test {kind.upper()} (%)"}
        for kind in ("wer", "cer")
    ]
    language_args = {"args": {"language": language_code(language)}} if language else {}
    return {
        "task": {"type": TASK, "name": "Speech recognition"},
        "dataset": dataset | language_args,
        "metrics": metrics,
    }


def set_name(test: Mapping[str, Any]) -> str:
    """The name of a test set: that of its CSV, without the folders of whoever tested."""
    return re.split(r"[/\\]", str(test["csv"]))[-1]


def front_matter(fields: Mapping[str, Any]) -> str:
    return f"---\n{yaml.safe_dump(dict(fields), sort_keys=False, allow_unicode=True, width=1000)}---\n"
