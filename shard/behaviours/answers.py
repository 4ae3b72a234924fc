"""What an author's action returned, as a value that can be told to a client.

Invariant: what is returned is small and plain (``protocol.acting``); anything else is the author's mistake, and raises.
Not responsible for: what becomes of a mistake (``runner``).
"""

from typing import Any

import numpy as np

from protocol.acting import check_value
from protocol.codes import ProtocolViolation
from protocol.limits import ANSWER_VALUE_BYTES_MAX
from protocol.messages import pack

WHY_CHARS_MAX = 500
"""Of a refusal's text; the rest is cut off."""


def answer_value(returned: Any) -> Any:
    """The value for the one whose act it was; NumPy's numbers and arrays become plain ones. Raises ValueError."""
    if returned is None:
        return None
    values = returned.tolist() if isinstance(returned, np.ndarray) else returned
    if not isinstance(values, list) or len(values) != 1:
        raise ValueError(f"an action returns None or a list of one value, got {returned!r}")
    value = _plain(values[0])
    try:
        check_value(value, "the answer")
        size = len(pack(value))
    except (ProtocolViolation, OverflowError, ValueError) as error:
        raise ValueError(f"the answer cannot be told: {error}") from None
    if size > ANSWER_VALUE_BYTES_MAX:
        raise ValueError(f"the answer has {size} bytes, at most {ANSWER_VALUE_BYTES_MAX} can be told")
    return value


def _plain(value: Any) -> Any:
    match value:
        case np.ndarray():
            return value.tolist()
        case np.generic():
            return value.item()
        case list() | tuple():
            return [_plain(inner) for inner in value]
        case dict():
            return {key: _plain(inner) for key, inner in value.items()}
    return value
