"""Every example of the page on profiles is a profile, as a Dataverse-shaped source sees it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from satchel.access.profiles import parse_profile
from satchel.access.scope import compile_profiles, entity_names
from satchel.source.connection import Connection
from satchel.source.dataverse import DataverseSource
from tests.support.processes import Sandbox, sandbox

ROOT = Path(__file__).resolve().parents[2]
PAGES = (ROOT / "docs/reference/profiles.md", ROOT / "docs/how-to/write-a-profile.md")
EXAMPLES = [
    text
    for page in PAGES
    for text in re.findall(r"```toml\n(.*?)```", page.read_text(), re.DOTALL)
    if "[[entity]]" in text
] + [path.read_text() for path in (ROOT / "examples").glob("*.toml") if "[[entity]]" in path.read_text()]
PATHS = re.findall(r"in `(\w+)`: `([\w./]+)`", PAGES[0].read_text())


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    with sandbox(tmp_path_factory.mktemp("source"), 1000) as running:
        yield running


async def compiled(source: Sandbox, text: str) -> set[str]:
    """The entities an example offers, compiled with the source's own metadata."""
    connection = Connection(
        kind="dataverse", url=source.url, token_url=source.token_url, client_id=source.client_id,
        client_secret=source.client_secret,
    )  # fmt: skip
    profile = parse_profile(text if re.match(r"(#.*\n)*\s*name", text) else f'name = "example"\n{text}')
    client = DataverseSource(connection)
    try:
        metadata = await client.metadata(entity_names([profile], "dataverse"))
    finally:
        await client.aclose()
    scope = compile_profiles([profile], metadata, "dataverse")
    return set(scope.client_model.entity_by_name)


@pytest.mark.parametrize("text", EXAMPLES, ids=lambda text: re.search(r'name = "(.*?)"', text)[1])
async def test_every_example_is_a_profile(source: Sandbox, text: str) -> None:
    assert await compiled(source, text) == set(re.findall(r'\[\[entity\]\]\nname = "(\w+)"', text))


@pytest.mark.parametrize(("entity", "path"), PATHS)
async def test_every_path_of_the_table_leads_somewhere(source: Sandbox, entity: str, path: str) -> None:
    others = {"account", "contact", "incident", "task"} - {entity}
    items = "\n".join(f'[[entity]]\nname = "{name}"' for name in sorted(others))
    text = f'name = "x"\n{items}\n[[entity]]\nname = "{entity}"\nrows = ["own"]\nrelated = ["{path}"]\n'
    assert entity in await compiled(source, text)
