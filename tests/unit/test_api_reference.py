"""The reference page says what the application does."""

from pathlib import Path

from api.app import describe
from api.reference import api_markdown

PAGE = Path(__file__).parents[2] / "docs" / "api.md"


def test_the_page_is_current():
    assert PAGE.read_text(encoding="utf-8") == api_markdown(), "run: ./run docs"


def test_the_page_names_every_route_and_schema():
    page, document = api_markdown(), describe()
    for path, methods in document["paths"].items():
        for method in methods:
            assert f"`{method.upper()} {path}`" in page
    for name in document["components"]["schemas"]:
        assert name.startswith("Page_") or f"**{name}**" in page
