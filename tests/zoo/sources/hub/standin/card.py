"""What the Hub asks of the front matter of a model card."""

from __future__ import annotations

import re
from typing import Any

import yaml  # the client needs it too

DATASET = re.compile(r"(?:[\w-]+/)?[\w.-]+")


def problems(text: str) -> tuple[list[str], list[str]]:
    """Errors, which stop a push, and warnings."""
    front = re.match(r"---\s*\n(.*?)\n?---\s*(?:\n|$)", text, re.DOTALL)
    if not front or not front[1].strip():
        return [], ["empty or missing yaml metadata in repo card"]
    try:
        data = yaml.safe_load(front[1])
    except yaml.YAMLError as error:
        return [f"YAML metadata is invalid: {error}"], []
    if not isinstance(data, dict):
        return ["YAML metadata must be an object"], []
    errors = [
        f'"{key}" must be a string' for key in ("license", "library_name", "pipeline_tag") if _odd(data, key, str)
    ]
    errors += [f'"{key}" must be a list' for key in ("tags", "metrics") if _odd(data, key, list)]
    return errors + _index_errors(data.get("model-index", [])), []


def _odd(data: dict[str, Any], key: str, kind: type) -> bool:
    return key in data and not isinstance(data[key], kind)


def _index_errors(index: Any) -> list[str]:
    errors = []

    def need(place: str, data: Any, *keys: str) -> None:
        errors.extend(f'"{place}.{key}" is required' for key in keys if not isinstance(data, dict) or key not in data)

    for i, model in enumerate(index):
        need(f"model-index[{i}]", model, "name", "results")
        for j, result in enumerate(model.get("results", ())):
            place = f"model-index[{i}].results[{j}]"
            need(place, result, "task", "dataset", "metrics")
            need(f"{place}.task", result.get("task"), "type")
            need(f"{place}.dataset", result.get("dataset"), "type", "name")
            dataset = (result.get("dataset") or {}).get("type", "")
            if not DATASET.fullmatch(dataset):
                errors.append(f'"{place}.dataset.type" with value "{dataset}" fails to match the required pattern')
            for k, metric in enumerate(result.get("metrics", ())):
                need(f"{place}.metrics[{k}]", metric, "type", "value")
    return errors
