"""The web side: what is served, to whom, and how.

Owns: HTTP, TLS, users, the pages. Knows a registry and a status object; must not know: celery, events, collectors,
receivers. ``server`` puts the parts together; ``httpd`` and ``connection`` bound what clients may take; ``config*``
read the file of --web.config.file, ``guard`` and ``users`` let in, ``tls`` and ``handshake`` encrypt; ``pages`` say
something. The package itself imports nothing: a health check reads ``config`` alone.
"""
