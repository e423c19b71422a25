"""Values that a codec carries or refuses because of what their own code does."""

from typing import Annotated

import orjson
import pytest
from pydantic import (
    AfterValidator,
    BaseModel,
    PlainSerializer,
    PlainValidator,
    SecretStr,
    model_serializer,
    model_validator,
)

from aiostreamq import Context, PayloadError
from aiostreamq.model.functions.signature import TaskSignature
from aiostreamq.model.values.codec import ValueCodec


def nested(depth: int) -> list[object]:
    """Return a list that is nested so deep."""
    found: list[object] = []
    for _ in range(depth):
        found = [found]
    return found


class Unspeakable(type(BaseModel)):
    """A metaclass whose classes cannot be shown."""

    def __repr__(cls) -> str:
        raise ZeroDivisionError


class Quiet(BaseModel, metaclass=Unspeakable):
    """A model that cannot be shown."""

    n: int


class Login(BaseModel):
    """A model that is written as one string, with two secrets in it."""

    user: SecretStr
    password: SecretStr

    @model_serializer
    def write(self) -> str:
        """Join both."""
        return f"{self.user.get_secret_value()}:{self.password.get_secret_value()}"

    @model_validator(mode="before")
    @classmethod
    def read(cls, value: object) -> object:
        """Part both."""
        if not isinstance(value, str):
            return value
        user, _, password = value.partition(":")
        return {"user": user, "password": password}


#: A list that travels as its depth.
Deep = Annotated[
    list[object], PlainSerializer(lambda _: 5000, return_type=int), PlainValidator(nested)
]

#: A number whose validator changes it each time.
Growing = Annotated[int, AfterValidator(lambda n: n + 1)]


def test_model_that_cannot_be_shown() -> None:
    """A model whose class raises in its repr travels as any other."""
    codec = ValueCodec(Quiet, "argument 'q'")
    written = codec.write(Quiet(n=1))
    assert list(written.secrets) == []
    assert codec.restore({"n": 1}) == Quiet(n=1)


def test_two_secrets_in_one_string() -> None:
    """A place that holds two secrets is listed once."""
    codec = ValueCodec(Login, "argument 'login'")
    login = Login(user=SecretStr("u"), password=SecretStr("p"))
    written = codec.write(login)
    assert list(written.secrets) == [""]
    assert codec.restore("u:p") == login


def test_value_too_deep_to_compare() -> None:
    """A value that is nested too deeply to be compared with what arrives is refused."""
    codec = ValueCodec(Deep, "argument 'deep'")
    with pytest.raises(PayloadError, match=r"argument 'deep': .* nested too deeply"):
        codec.write(nested(5000))


def test_stored_value_that_would_change() -> None:
    """A stored value that can be restored stays as it is, even if it would be refused today."""

    async def task(n: Growing) -> None: ...

    signature = TaskSignature("t", task, Context)
    with pytest.raises(PayloadError, match="argument 'n' of task 't'"):
        signature.write_arguments([1], {})
    args, _, _ = signature.write_stored([1], {})
    assert orjson.dumps(args[0]) == b"1"
