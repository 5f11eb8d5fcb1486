"""``python -m hmhsa_insert``: the same as the command."""

from hmhsa_insert.commands import app

app(prog_name="hmhsa-insert")
