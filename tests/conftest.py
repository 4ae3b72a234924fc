"""For all tests. Worlds are kept in memory unless a test says where: no test finds what another one has left."""

import os

os.environ.setdefault("ISTHMUS_DURABLE_URL", "memory:")
