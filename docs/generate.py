"""Pages of the site that are made from the program: `--help`, the interface, the library.

MkDocs calls `on_files` and `on_page_markdown` (mkdocs.yml, `hooks`). Nothing of it is kept in the
repository, so that it can't fall behind.
"""

import json
import re
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
from mkdocs.structure.files import File, Files

import foveola

# Links of the docs to files that are not docs: the site shows their paths.
OUTSIDE = re.compile(r"\[([^]]+)\]\((?:\.\./)+((?:src|recipes|examples|deploy|benchmarks|[A-Z]+\.md)[^)]*)\)")
METHODS = ("get", "post", "put", "patch", "delete")


def on_files(files: Files, config: Any) -> Files:
    """Add what the program says of itself."""
    files.append(File.generated(config, "reference/commands.md", content=commands()))
    described = interface()
    files.append(File.generated(config, "reference/openapi.json", content=json.dumps(described, indent=1)))
    files.append(File.generated(config, "reference/openapi.md", content=routes(described)))
    files.append(File.generated(config, "reference/library.md", content=library()))
    return files


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Show the path of a file that the site does not hold."""
    return OUTSIDE.sub(r"\1 (`\2`)", markdown)


def commands() -> str:
    """Return every command's help as Markdown."""
    from foveola.cli import main

    lines = ["# Commands", "", "Made from `foveola COMMAND --help`.", ""]
    for name, command, context in _leaves(main, click.Context(main, info_name="foveola")):
        lines += [f"## {name}", "", "```text", command.get_help(context).strip(), "```", ""]
    return "\n".join(lines)


def _leaves(group: click.Group, context: click.Context) -> Iterator[tuple[str, click.Command, click.Context]]:
    for name in group.list_commands(context):
        if (command := group.get_command(context, name)) is None:
            continue
        below = click.Context(command, info_name=name, parent=context, terminal_width=88, max_content_width=88)
        if isinstance(command, click.Group):
            yield from _leaves(command, below)
        else:
            yield below.command_path.removeprefix("foveola "), command, below


def interface() -> dict[str, Any]:
    """Return the OpenAPI document of the service."""
    from foveola.server import create_app

    with tempfile.TemporaryDirectory() as folder:
        foveola.add_missing(Path(folder) / "archive", [])
        app = create_app(Path(folder) / "archive")
        described = app.openapi()
        app.state.service.close()
        return described


def routes(described: dict[str, Any]) -> str:
    """Return the routes of an OpenAPI document as Markdown."""
    lines = [
        "# Routes",
        "",
        "Made from the service's own description, [openapi.json](openapi.json). [What they mean](rest.md).",
    ]
    for path, by_method in described["paths"].items():
        for method in METHODS:
            if method not in by_method:
                continue
            route = by_method[method]
            lines += ["", f"## {method.upper()} {path}", "", route.get("description") or route.get("summary", "")]
            parameters = [*route.get("parameters", ()), *_form(route, described)]
            if parameters:
                lines += ["", "| parameter | in | needed | what |", "|---|---|---|---|"]
            for each in parameters:
                what = each.get("description") or each.get("schema", {}).get("description", "")
                what = what.replace("|", "\\|").replace("\n", " ")
                needed = "yes" if each.get("required") else ""
                lines.append(f"| `{each['name']}` | {each['in']} | {needed} | {what} |")
            codes = ", ".join(f"`{code}`" for code in route["responses"])
            lines += ["", f"Answers: {codes}."]
    return "\n".join(lines) + "\n"


def _form(route: dict[str, Any], described: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield the fields of a request's body like parameters."""
    for content in route.get("requestBody", {}).get("content", {}).values():
        schema = content["schema"]
        if "$ref" in schema:
            schema = described["components"]["schemas"][schema["$ref"].rsplit("/", 1)[1]]
        for name, field in schema.get("properties", {}).items():
            needed = name in schema.get("required", ())
            yield {"name": name, "in": "body", "required": needed, "description": field.get("description", "")}


def library() -> str:
    """Return a page of all public names for mkdocstrings."""
    lines = ["# The library", "", "`import foveola as fv` has these names. [How they fit](../tutorials/python.md).", ""]
    lines += [f"::: foveola.{name}\n" for name in foveola.__all__]
    for part, what in (("losses", "Losses"), ("models", "Networks"), ("client", "Asking a service")):
        lines += [f"## {what}", "", f"::: foveola.{part}\n    options:\n      show_root_heading: true\n"]
    return "\n".join(lines)
