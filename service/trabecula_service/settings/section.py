"""What the sections of the settings are made of."""

import ipaddress
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

Port = Annotated[int, Field(ge=0, le=65535)]
Seconds = Annotated[float, Field(gt=0)]


def _ae_title(text: str) -> str:
    # PS3.8 9.3.2: 1 to 16 characters of the default repertoire, no backslash; blanks around it have no meaning.
    if not 1 <= len(text.strip()) <= 16 or "\\" in text or not text.isascii() or not text.isprintable():
        raise ValueError("an AE title has 1 to 16 printable ASCII characters and no backslash")
    return text.strip()


AeTitle = Annotated[str, AfterValidator(_ae_title)]


def _caller(text: str) -> str:
    ae_title, _, network = text.rpartition("@")
    if ae_title:
        _ae_title(ae_title)
    if network != "*":
        try:
            ipaddress.ip_network(network, strict=False)
        except ValueError as error:
            raise ValueError('write "10.1.2.3", "10.1.2.0/24", "CT1@10.1.2.3" or "CT1@*"') from error
    elif not ae_title:
        raise ValueError('"*" alone would allow everybody; write "AETITLE@*" or a network')
    return text


Caller = Annotated[str, AfterValidator(_caller)]


def _host_and_port(text: str) -> str:
    host, _, port = text.rpartition(":")
    if not host or not port.isdecimal() or not 0 < int(port) <= 65535:
        raise ValueError('write "host:port", such as "10.1.2.3:104"')
    return text


HostAndPort = Annotated[str, AfterValidator(_host_and_port)]


class Section(BaseModel):
    """One table of the file: unknown keys are refused, nothing changes after the start."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)
