"""The process connector's records, as the kernel lays them out; one was taken from a real one."""

import struct

import pytest

from reaperd.kernel import procconn

RECORDED_ACK = bytes.fromhex(
    "4c0000000300000000000000000000000100000001000000000000000100000028000000000000000100000053c17ab9a40a0000"
    "000000000000000000000000000000000000000000000000"
)


def record(what: int, *numbers: int, at_ns: int = 7) -> bytes:
    """Return a message as the kernel makes it: headers, then struct proc_event."""
    words = (*numbers, *[0] * (6 - len(numbers)))
    return bytes(36) + struct.pack("=IIQ6I", what, 1, at_ns, *words)


def test_an_acknowledgement_is_no_event() -> None:
    """The recorded answer of a real kernel has the length of all messages, and is left out."""
    assert len(RECORDED_ACK) == procconn.EVENT_BYTES
    assert procconn.decode(RECORDED_ACK) == []


def test_many_records_are_decoded_at_once_and_in_order() -> None:
    """What, processor, time and six numbers each."""
    data = record(procconn.FORK, 10, 11, 12, 13, at_ns=99) + RECORDED_ACK + record(procconn.EXIT, 5, 5, 256)
    fork, end = procconn.decode(data)
    assert fork == (procconn.FORK, 1, 99, 10, 11, 12, 13, 0, 0)
    assert end == (procconn.EXIT, 1, 7, 5, 5, 256, 0, 0, 0)


@pytest.mark.parametrize(
    ("name", "said"), [(b"sh", "sh"), (b"fifteen-letters", "fifteen-letters"), (b"\xff)", "\udcff)")]
)
def test_a_name_comes_within_its_message(name: bytes, said: str) -> None:
    """Sixteen bytes that end at the first NUL, and may be anything before it."""
    numbers = struct.unpack("=4I", name.ljust(16, b"\0"))
    (event,) = procconn.decode(record(procconn.COMM, 3, 3, *numbers))
    assert procconn.name_of(event) == said


def test_a_request_carries_its_token_and_its_words() -> None:
    """As struct cn_msg has it, for the kernel to answer under."""
    asked = procconn.request(0xABCD, 1, procconn.FORK)
    assert struct.unpack_from("=I", asked) == (len(asked),)
    assert struct.unpack_from("=IIIIHH", asked, 16) == (1, 1, 0, 0xABCD, 8, 0)
    assert struct.unpack_from("=II", asked, 36) == (1, procconn.FORK)
