"""Its tasks."""

from django.tasks import task


@task(queue_name="mail", priority=10)
def send_receipt(address: str, cents: int) -> str:
    """Send a receipt."""
    return f"{address} paid {cents / 100:.2f}"


@task
async def look_up(address: str) -> int:
    """Look a customer up."""
    return len(address)
