"""Verbs of the server (serve, state, demo) come in by the entry points `stillhouse.commands`.

A device that installs the library alone has none of them, and nothing of theirs is imported before
one is called: Ray alone takes seconds.
"""

from importlib.metadata import EntryPoint, entry_points
from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup

GROUP = "stillhouse.commands"
WORDS = {
    "serve": "A server on this machine: cluster, actors and API.",
    "state": "Back up, restore, migrate or check what a server keeps.",
    "demo": "People, devices, an owner: from profile to verdict, on real data.",
}


def verbs() -> dict[str, EntryPoint]:
    return {each.name: each for each in entry_points(group=GROUP)}


class Verbs(TyperGroup):
    """A group that knows the verbs' names, and loads one when it is called."""

    def list_commands(self, ctx: Any) -> list[str]:
        return [*super().list_commands(ctx), *sorted(verbs())]

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        found = super().get_command(ctx, cmd_name)
        if found is None and cmd_name in verbs():
            return TyperCommand(cmd_name, help=WORDS.get(cmd_name, "of the server"))
        return found

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        verb = verbs().get(args[0])
        if verb is None:
            return super().resolve_command(ctx, args)
        return verb.name, command(verb.name, verb.load()), args[1:]


def command(name: str, verb: Any) -> Any:
    """A verb is a function, or a group of verbs with an app of its own."""
    if isinstance(verb, typer.Typer):
        return typer.main.get_command(verb)
    alone = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    alone.command(name)(verb)
    return typer.main.get_command(alone)
