"""SQL kept as SQL: blocks of a `.sql` file beside a module, each headed `-- name --`."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import LiteralString, cast

_HEADING = re.compile(r"^-- (\w+) --$", re.MULTILINE)


def load_queries(module_file: str) -> Mapping[str, LiteralString]:
    """Read the blocks of the `.sql` file beside a module: `load_queries(__file__)["insert_member"]`."""
    text = Path(module_file).with_suffix(".sql").read_text(encoding="utf-8")
    parts = _HEADING.split(text)
    blocks = dict(zip(parts[1::2], parts[2::2], strict=True))
    # The text is part of the program, so it is as literal as a string in the module would be.
    return cast("Mapping[str, LiteralString]", {name: block.strip() for name, block in blocks.items()})
