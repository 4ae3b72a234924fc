"""An identity provider for tests: a key, its public half as a key set, tokens that it signs, and the options of a
server that believes them."""

import json
import time
from dataclasses import dataclass, field
from typing import Any

from joserfc import jwt
from joserfc.jwk import OKPKey
from joserfc.jws import JWSRegistry

ISSUER, AUDIENCE = "https://id.example", "isthmus-test"
AUTH = f"""
[auth]
jwks_path = "keys.json"
issuer = "{ISSUER}"
audience = "{AUDIENCE}"
"""
"""The key set is expected in ``keys.json`` beside the world's file."""


def _key() -> OKPKey:
    return OKPKey.generate_key("Ed25519", {"kid": "first", "use": "sig"})


@dataclass(slots=True)
class Issuer:
    """Signs with ``key``."""

    key: OKPKey = field(default_factory=_key)

    def key_set(self) -> str:
        """For ``keys.json``."""
        return json.dumps({"keys": [self.key.as_dict(private=False)]})

    def token(self, key: OKPKey | None = None, **claims: Any) -> str:
        """Good for ten minutes unless ``claims`` say otherwise; None leaves a claim out. ``key``: another signer."""
        now_s = int(time.time())
        all_claims = {"iss": ISSUER, "aud": AUDIENCE, "sub": "ada", "exp": now_s + 600, **claims}
        signer = key or self.key
        header = {"alg": "Ed25519", "kid": signer.kid}
        registry = JWSRegistry(algorithms=["Ed25519"])
        return jwt.encode(header, {k: v for k, v in all_claims.items() if v is not None}, signer, registry=registry)
