"""What the server writes is what the device reads."""

from __future__ import annotations

import msgspec

from satchel.model.client_model import ClientAttribute, ClientEntity, ClientModel
from satchel.model.metadata import AttributeType
from satchel.protocol import codec
from satchel.protocol.messages import Begin, End, Line

MODEL = ClientModel(
    (
        ClientEntity(
            name="contact",
            key=("id",),
            attributes=(
                ClientAttribute(name="id", type=AttributeType.GUID),
                ClientAttribute(name="account", type=AttributeType.GUID, targets=("account",)),
                ClientAttribute(name="credit", type=AttributeType.MONEY, precision=15, scale=2),
            ),
        ),
    )
)


def read(line: bytes) -> Line:
    assert line.endswith(b"\n")
    assert line.count(b"\n") == 1
    return msgspec.json.decode(line, type=Line)


def test_small_lines_come_back_as_they_were() -> None:
    begin = Begin(4711, "digest", reset=True)
    assert read(codec.begin_line(begin)) == Line(begin=begin)
    assert read(codec.wipe_line(["opportunity"])) == Line(wipe=["opportunity"])
    assert read(codec.cursor_line("sealed")) == Line(cursor="sealed")
    assert read(codec.end_line(End(4711, "sealed"))) == Line(end=End(4711, "sealed"))


def test_a_model_comes_back_with_the_same_digest() -> None:
    model = read(codec.model_line(MODEL)).model
    assert model == MODEL
    assert model.digest == MODEL.digest


def test_put_joins_ready_rows_without_touching_them() -> None:
    row = '["a\\nb", null, "94.50"]'
    line = read(codec.put_line("contact", ["id", "account", "credit"], [row, f"{row},{row}"]))
    assert (line.put, line.columns) == ("contact", ["id", "account", "credit"])
    assert line.rows == [["a\nb", None, "94.50"]] * 3


def test_names_with_quotes_survive() -> None:
    line = read(codec.put_line('con"tact', ['i"d'], ["[1]"]))
    assert (line.put, line.columns) == ('con"tact', ['i"d'])


def test_remove_takes_single_and_composite_keys() -> None:
    line = read(codec.remove_line("product", ['["p1",2]', '"x"']))
    assert line.remove == "product"
    assert line.keys == [["p1", 2], "x"]
