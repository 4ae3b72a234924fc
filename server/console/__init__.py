"""The operators' console of a gateway (docs/CONSOLE.md): who is let in, what is shown, what is asked, what is written
down. Pure: the HTTP side is ``server.http.operators``, files and stores are ``isthmus.console``.
"""
