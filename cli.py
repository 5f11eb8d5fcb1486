"""``python cli.py …`` from a checkout: the same as the installed ``hmhsa-insert``."""

from hmhsa_insert.commands import app

if __name__ == "__main__":
    app()
