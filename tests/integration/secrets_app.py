"""A queue whose task takes secrets, for commands that look at it."""

from dataclasses import dataclass

from pydantic import BaseModel, SecretBytes, SecretStr

from aiostreamq import Queue

queue = Queue("redis://localhost", name="secrets")


class Login(BaseModel):
    """What nobody else may read."""

    user: str
    password: SecretStr


@dataclass
class Safe:
    """Secrets in a dataclass."""

    codes: dict[str, list[SecretBytes]]


@queue.task
async def enter(
    login: Login, safe: Safe | None = None, *, token: SecretStr, ok: bool = False
) -> str:
    """Tell the secrets, or fail."""
    if not ok:
        raise PermissionError("no entry")
    codes = [] if safe is None else [code.get_secret_value() for code in safe.codes["a"]]
    return f"{login.password.get_secret_value()} {codes} {token.get_secret_value()}"


LOGIN = Login(user="ada", password=SecretStr("s3cr3t-p"))
SAFE = Safe({"a": [SecretBytes(b"\xffs3cr3t-c")]})
TOKEN = SecretStr("s3cr3t-t")
