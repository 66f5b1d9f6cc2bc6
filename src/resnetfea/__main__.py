"""`python -m resnetfea`."""

from resnetfea.cli import app

app(prog_name="resnetfea")
