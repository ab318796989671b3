"""What a data set holds, by pyarrow from the Parquet file that it was made of, and how values are held to it."""
import datetime, math, struct, uuid
from decimal import Decimal

import pyarrow.parquet as pq

EPOCH = datetime.datetime(1970, 1, 1)


def rows(path):
    table = pq.read_table(path)
    return {row["id"]: row for row in table.to_pylist()}


def micros(value):
    """Microseconds, exact, of a date and time (since the epoch) or of a time of day (since midnight)."""
    if isinstance(value, datetime.time):
        return ((value.hour * 60 + value.minute) * 60 + value.second) * 1_000_000 + value.microsecond
    if value.tzinfo is not None:
        value = value.astimezone(datetime.timezone.utc).replace(tzinfo=None)
    delta = value - EPOCH
    return (delta.days * 86400 + delta.seconds) * 1_000_000 + delta.microseconds


def days(value):
    return (value - EPOCH.date()).days


def plain(value):
    """As exact JSON has it: decimals and dates as text, bytes as base64, maps as objects."""
    import base64

    if isinstance(value, Decimal):
        return format(value, "f")
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    if isinstance(value, (datetime.datetime, datetime.date, datetime.time, uuid.UUID)):
        return value
    if isinstance(value, list):
        if value and all(isinstance(item, tuple) for item in value):
            return {str(key): plain(item) for key, item in value}
        return [plain(item) for item in value]
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    return value


def parsed(text, like):
    """Text of a date, time or UUID, as what it is like."""
    if isinstance(like, uuid.UUID):
        return uuid.UUID(text)
    if isinstance(like, (datetime.datetime, datetime.date, datetime.time)):
        value = type(like).fromisoformat(text)
        return value
    return text


def same(left, right):
    if isinstance(left, float) and isinstance(right, float):
        return struct.pack("<d", left) == struct.pack("<d", right) or (math.isnan(left) and math.isnan(right))
    if isinstance(left, (list, tuple)) and isinstance(right, (list, tuple)):
        return len(left) == len(right) and all(map(same, left, right))
    if isinstance(left, dict) and isinstance(right, dict):
        return left.keys() == right.keys() and all(same(left[key], right[key]) for key in left)
    return type(left) is type(right) and left == right


def check(name, key, found, wanted):
    assert same(found, wanted), f"{name} of {key}: {found!r} is not {wanted!r}"
