"""Mail. It knows nothing of the shop, and could be a library."""

from aiostreamq import Retry, Tasks

tasks = Tasks()


class Mailer:
    """Sends mails from one address."""

    def __init__(self, sender: str) -> None:
        self.sender = sender

    async def send(self, to: str, text: str) -> str:
        """Send a mail."""
        return f"{self.sender} to {to}: {text}"


mailer = Mailer("shop@example.com")

# A bound method of an object of the module: workers use the same object.
send = tasks.task(retry=Retry(3), timeout="30s")(mailer.send)
