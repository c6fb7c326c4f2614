"""Fill the page's template: style and script inside, so that no request leaves it."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from importlib.resources import files
from string import Template


def fill_page(
    title: str,
    header: str,
    sections: Sequence[tuple[str, str, str]],
    version: str,
    command: str = "",
) -> str:
    """Return a whole page; `sections` are (key, title, HTML), those without HTML are left out.

    `header` is HTML, `title`, `version` and `command` (which makes the page again) are text.
    """
    present = [(key, name, body) for key, name, body in sections if body]
    folder = files("reports") / "templates"
    texts = {
        name: (folder / name).read_text(encoding="utf-8")
        for name in ("page.html", "page.css", "page.js")
    }
    again = f"<p>This page again: <code>{escape(command)}</code></p>" if command else ""
    return Template(texts["page.html"]).substitute(
        title=escape(title),
        css=texts["page.css"],
        js=texts["page.js"],
        header=header,
        nav="\n".join(f'<a href="#{key}">{name}</a>' for key, name, _ in present),
        main="\n".join(
            f'<section id="{key}" aria-labelledby="h-{key}"><h2 id="h-{key}">{name}</h2>\n'
            f"{body}</section>"
            for key, name, body in present
        ),
        footer=f"{again}<p>Written by cosim {escape(version)}.</p>",
    )
