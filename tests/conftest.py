"""For all tests. Worlds are kept in memory unless a test says where: no test finds what another one has left.

No example has a deadline: how long one takes says how busy the machine is, and kernels are compiled in the first.
"""

import os

from hypothesis import settings

os.environ.setdefault("ISTHMUS_DURABLE_URL", "memory:")
settings.register_profile("isthmus", deadline=None)
settings.load_profile("isthmus")
