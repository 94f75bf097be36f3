"""What was measured of each row, in benchmarks/data/gallery.json, and docs/gallery.md, which is made of it."""

import json
from pathlib import Path
from typing import Any

from benchmarks.gallery.page import page
from benchmarks.gallery.rows import ROWS

PROJECT = Path(__file__).parents[2]
RECORD, PAGE = PROJECT / "benchmarks" / "data" / "gallery.json", PROJECT / "docs" / "gallery.md"


def read() -> dict[str, Any]:
    """What is recorded of each row, by name."""
    found: dict[str, Any] = json.loads(RECORD.read_text(encoding="utf-8")) if RECORD.exists() else {}
    return found


def write(name: str, found: dict[str, Any]) -> None:
    """Records a row and makes the page. Of a sweep that was resumed, the recorded minutes stay."""
    before = read()
    times = {key: before.get(name, {}).get(key) for key in ("minutes", "load")}
    rows = {**before, name: {**times, **found}}
    ordered = {row.name: rows[row.name] for row in ROWS if row.name in rows}
    RECORD.write_text(json.dumps(ordered, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    PAGE.write_text(page(ROWS, ordered), encoding="utf-8")
