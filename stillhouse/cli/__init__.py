"""The command `stillhouse`: one file a noun.

Exit codes: 0 ok, 1 failed, 2 usage, 3 target missed, 4 refused, 5 unreachable.
"""

import typer

from stillhouse.cli import dead_letters, doctor, edge, jobs, models, profiles, texts
from stillhouse.cli.verbs import Verbs

app = typer.Typer(
    cls=Verbs, no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False
)


@app.callback()
def stillhouse() -> None:
    """Fits one large model to every device of a fleet."""


models.app.command("from-huggingface")(texts.from_huggingface)
app.add_typer(models.app, name="models")
app.add_typer(profiles.app, name="profiles")
app.add_typer(jobs.app, name="jobs")
app.add_typer(edge.app, name="edge")
app.add_typer(dead_letters.app, name="dead-letters")
app.command("doctor")(doctor.doctor)
