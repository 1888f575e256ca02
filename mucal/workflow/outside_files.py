"""Files that are no results of ours in a few lines: events, histograms, groups of columns, JSON, our pages."""

import html
import re
from pathlib import Path
from typing import Any, Final

from mucal.errors import MucalError
from mucal.io import DimuonInput, MuonColumns, read_json
from mucal.io.event_files import open_table
from mucal.io.file_contents import FileObject, hdf5_groups, root_objects
from mucal.io.file_magic import check_length, identify
from mucal.io.hits_files import holds_hits
from mucal.workflow.hits_description import head_of

Lines = list[str]

_ANY: Final = DimuonInput(columns=MuonColumns(pt="pt", eta="eta", phi="phi", charge="charge"), layout="jagged")
"""Opening a table asks for a column map, listing its columns does not use it."""
HEAD_BYTES: Final = 4096
_PAGE: Final = re.compile(rb'<meta name="generator" content="mucal ([^"]{1,40})">\s*<title>([^<]{0,500})</title>')


def describe_file(path: Path) -> tuple[dict[str, Any], Lines]:
    """What a file holds, as plain values and as lines for people.

    Raises InputError for what is not read.
    """
    if path.name.endswith((".json", ".json.gz")):
        return _describe_json(path)
    with open(path, "rb") as file:
        page = _PAGE.search(file.read(HEAD_BYTES))
    if page is not None:
        version, title = (html.unescape(text.decode("utf-8", "replace")) for text in page.groups())
        return {"path": str(path), "type": "page", "mucal": version, "title": title}, [
            f"{path}: page made by mucal {version}: {title}",
            "  open it in a browser; it needs no network",
        ]
    if identify(path) == "hdf5":
        check_length(path, "hdf5")
        return _describe_hdf5(path)
    return _describe_events(path)


def _describe_json(path: Path) -> tuple[dict[str, Any], Lines]:
    value = read_json(path)
    keys = list(value) if isinstance(value, dict) else []
    plain = {"path": str(path), "type": "json", "keys": keys}
    if {"manifest_sha256", "files"} <= set(keys) and isinstance(value["files"], dict):
        lines = [f"{path}: manifest of a calibration, made by mucal {value.get('mucal')}"]
        lines += [
            f"  {name:<28} {entry.get('bytes')} bytes  sha256 {str(entry.get('sha256'))[:16]}…"
            for name, entry in value["files"].items()
            if isinstance(entry, dict)
        ]
        return {**plain, "type": "manifest", "files": value["files"]}, lines
    return plain, [f"{path}: JSON with {', '.join(keys) or 'a list'}"]


def _describe_hdf5(path: Path) -> tuple[dict[str, Any], Lines]:
    groups = hdf5_groups(path)
    lines = [f"{path}: hdf5, {len(groups)} groups with columns"]
    for group in groups:
        named = group.name.strip("/")
        lines.append(f'  {group.name}   tree = "{named}"' if named else "  /   needs no tree")
        lines += [f"    {name:<26} {kind}" for name, kind in group.columns]
    return {"path": str(path), "type": "hdf5", "groups": {g.name: dict(g.columns) for g in groups}}, lines


def _describe_events(path: Path) -> tuple[dict[str, Any], Lines]:
    try:
        table = open_table(path, _ANY)
    except MucalError as error:
        if error.kind not in ("input.missing_tree", "config.ambiguous_tree"):
            raise
        return _describe_root(path, root_objects(path))
    lines = [f"{path}: {table.format}, {table.tree or 'one table'}, {table.entries} rows"]
    lines += [f"  {name:<28} {column.type}" for name, column in table.columns.items()]
    plain: dict[str, Any] = {"path": str(path), "type": table.format, "tree": table.tree, "entries": table.entries}
    plain["columns"] = {name: column.type for name, column in table.columns.items()}
    if holds_hits(table):
        try:
            plain["hits"], about = head_of(path, table.tree)
            lines += about
        except MucalError as error:  # the columns are told all the same
            lines.append(f"  a refit would not read these hits: {error.what}")
    return plain, lines


def _describe_root(path: Path, objects: list[FileObject]) -> tuple[dict[str, Any], Lines]:
    """A ROOT file without a tree, or with several."""
    lines = [f"{path}: root, {len(objects)} objects"]
    lines += [f"  {item.name:<34} {item.kind:<12} {item.detail}".rstrip() for item in objects]
    return {"path": str(path), "type": "root", "objects": {item.name: item.kind for item in objects}}, lines
