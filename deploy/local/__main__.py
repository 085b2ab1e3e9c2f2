"""`python -m deploy.local` is `rarebit`, for who knows where Python is and not where scripts are."""

from deploy.local.cli import app

app()
