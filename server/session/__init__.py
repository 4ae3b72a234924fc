"""Sessions of a gateway: who is let in, by which proof, under which name, and what they may say.

``sessions`` is the core, ``states`` its table and theory; ``tokens`` proves identities, ``jwks`` fetches the keys for
it (the only shell).
"""
