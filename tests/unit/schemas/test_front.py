"""The port for analysts is never open to who happens to reach it."""

from typing import Any

import pytest
from pydantic import ValidationError

from schemas.front import FrontSettings

WHOLE = {
    "host": "0.0.0.0",
    "port": 8123,
    "password_file": "pw",
    "cert_file": "crt",
    "key_file": "key",
}


@pytest.mark.parametrize(
    "given",
    [
        {},
        {"port": 8123},
        {"host": "::1", "port": 8123, "password_file": "pw"},
        {"port": 8123, "password_file": "pw", "username": "analyst"},
        WHOLE,
    ],
)
def test_a_guarded_front_is_accepted(given: dict[str, Any]) -> None:
    FrontSettings.model_validate(given)


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"host": "0.0.0.0", "port": 8123}, "beyond loopback needs password_file"),
        ({**WHOLE, "password_file": None, "cert_file": None, "key_file": None}, "beyond loopback"),
        ({**WHOLE, "cert_file": None, "key_file": None}, "beyond loopback"),
        ({**WHOLE, "key_file": None}, "go together"),
        ({"cert_file": "crt", "key_file": "key"}, "for a port with a password_file"),
        ({**WHOLE, "port": 0}, "a port that people can know"),
        ({**WHOLE, "username": "a:b"}, "username"),
        ({"queries_max": 0}, "queries_max"),
    ],
)
def test_an_open_front_is_refused(given: dict[str, Any], says: str) -> None:
    with pytest.raises(ValidationError, match=says):
        FrontSettings.model_validate(given)
