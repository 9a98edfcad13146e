import json
from datetime import UTC, datetime

from reaperd.output.looks import json_lines, prefixed


def test_each_line_has_its_name_before_it() -> None:
    """A mark tells the standard error; the bytes of a line are as they were, empty lines too."""
    assert prefixed("web:1", "stdout")(b"a\n\n\xff\r\n") == b"web:1 | a\nweb:1 | \nweb:1 | \xff\r\n"
    assert prefixed("web", "stderr")(memoryview(b"oh\n")) == b"web ! oh\n"


def test_each_line_is_an_object() -> None:
    """Whatever is in it; the time is RFC 3339 in UTC."""
    text = json_lines("web", "stderr")(b'say "hi"\n\n\xff\0\x1b[1m\xe2\x82\xac\n').decode("ascii")
    found = [json.loads(line) for line in text.splitlines()]
    assert [each.pop("message") for each in found] == ['say "hi"', "", "\\xff\0\x1b[1m\N{EURO SIGN}"]
    for each in found:
        assert datetime.fromisoformat(each.pop("time")).tzinfo is UTC
        assert each == {"service": "web", "stream": "stderr"}
