"""Tasks outside of a `tasks` module: workers import them when their first job comes."""

from django.tasks import task


@task
def elsewhere(text: str) -> str:
    """Return a text in capitals."""
    return text.upper()
