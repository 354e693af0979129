"""The web side: what is served, to whom, and how.

``server`` puts the parts together. ``httpd`` serves all clients in one loop, ``http1`` and ``stream`` speak with one of
them; ``pages`` and ``health`` say something. ``config_file`` keeps what ``config`` reads, ``access`` and ``users`` let
in, ``tls`` and ``handshake`` encrypt. The package itself imports nothing: a health check reads ``config`` alone.
"""
