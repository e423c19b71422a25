"""Hooks of mkdocs, for pages that are written to be read in the repository too.

The navigation is that of docs/index.md, so a page is listed once. Links that leave docs/ lead to
the repository, and the language `text output`, which tests know, becomes a title.
"""

import posixpath
import re
from pathlib import Path
from typing import Any

REPOSITORY = "https://github.com/aiostreamq/aiostreamq/blob/main/"
LINK = re.compile(r"\]\((?!https?:|#)([^)\s]+)\)")
ITEM = re.compile(r"^- \[(.+?)\]\((?!\.\.|https?:)([^)#\s]+)\)", re.MULTILINE)


def on_config(config: Any) -> None:
    """Make the navigation of the sections of the index."""
    index = Path(config.docs_dir, "index.md").read_text()
    config.nav = [{"Home": "index.md"}]
    for section in index.split("\n## ")[1:]:
        title = section.partition("\n")[0].partition(":")[0]
        pages = [{name: path} for name, path in ITEM.findall(section)]
        if pages:
            config.nav.append({title: pages})


def on_page_markdown(markdown: str, *, page: Any, **_: Any) -> str:
    """Lead links that leave docs/ to the repository, and mark what code prints."""
    folder = posixpath.dirname(page.file.src_uri)

    def replaced(link: re.Match[str]) -> str:
        path = posixpath.normpath(posixpath.join("docs", folder, link[1]))
        return link[0] if path.startswith("docs/") else f"]({REPOSITORY}{path})"

    return LINK.sub(replaced, markdown).replace("\n```text output\n", '\n```text title="Output"\n')


def on_page_content(html: str, *, page: Any, **_: Any) -> None:
    """Refuse a page with a fenced block that was not recognized."""
    fences = len(re.findall(r"^```", page.markdown, re.MULTILINE)) // 2
    shown = re.findall(r'<div class="(?:highlight|language-)|<pre class="mermaid', html)
    if len(shown) != fences:
        raise SystemExit(f"{page.file.src_uri}: a fenced block was not recognized")
