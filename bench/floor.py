"""What system calls alone cost here (``physical.c``): no server that writes to each client by itself can take less.

Not responsible for: what a server does besides.
"""

import json
import subprocess
from typing import Any

from bench.prepare import Tools
from bench.process import ChildFailed


def calls_alone(
    tools: Tools,
    clients: int,
    frame_bytes: float,
    frames_per_s: float,
    input_bytes: int,
    inputs_per_s: float,
    seconds: float,
) -> dict[str, Any]:
    """One send for each client's frame and one recv for each input, at these sizes and rates for each client; what
    ``physical.c`` prints, of which ``us_per_call`` is the mean. Raises ChildFailed."""
    values = {
        "clients": clients,
        "frame-bytes": round(frame_bytes),
        "frames-per-s": f"{frames_per_s:.3f}",
        "input-bytes": input_bytes,
        "inputs-per-s": f"{inputs_per_s:.3f}",
        "seconds": seconds,
    }
    command = [str(tools.physical), *(str(x) for key, value in values.items() for x in (f"--{key}", value))]
    try:
        result = subprocess.run(command, capture_output=True, text=True, check=False, timeout=seconds + 30)
    except subprocess.TimeoutExpired as error:
        raise ChildFailed(f"the cost of calls alone could not be measured: {error}") from None
    if result.returncode:
        raise ChildFailed(f"the cost of calls alone could not be measured: {result.stdout}{result.stderr}")
    found: dict[str, Any] = json.loads(result.stdout)
    return found
