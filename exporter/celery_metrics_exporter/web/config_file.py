"""The file of --web.config.file while it is served: read again when it changes, the last good version stays.

The toolkit reads its file at every connection and request, and answers nothing while the file is bad. Here it is read
as often, but a version that cannot work is logged once and does not come into force. Whether there is TLS at all is
settled at the start, in the toolkit and here.
"""

import logging
import threading

from celery_metrics_exporter.errors import ConfigError
from celery_metrics_exporter.logs import fields, hide
from celery_metrics_exporter.web.config import WebConfig, read_web_config
from celery_metrics_exporter.web.named_files import NamedFiles

log = logging.getLogger(__name__)


class WebConfigFile:
    """Gives the version that holds now; thread-safe."""

    def __init__(self, path: str) -> None:
        """Read it. Raises ConfigError with file, line and reason."""
        self._path = path
        self._lock = threading.Lock()
        self._files = NamedFiles()
        self._version = read_web_config(self._path, self._files)
        self._holds = True
        _hide(self._version)

    def holds(self) -> bool:
        """Whether what the file says now is in force; False: its last change was refused."""
        self.current()
        return self._holds

    def current(self) -> WebConfig:
        """The latest version that can work, as of now."""
        if self._files.unchanged():
            return self._version
        with self._lock:
            if not self._files.unchanged():
                self._renew()
            return self._version

    def renew(self) -> None:
        """Read it, whether it has changed or not, and log what comes of it."""
        with self._lock:
            self._renew()

    def _renew(self) -> None:
        files = NamedFiles()
        try:
            version = read_web_config(self._path, files)
            self._check_same_scheme(version)
        except ConfigError as error:
            self._holds = False
            log.error(
                "cannot use the changed web configuration, the previous one stays in force",
                extra=fields(error=error),
            )
        else:
            self._version, self._holds = version, True
            _hide(version)
            log.info("web configuration read again", extra=fields(file=self._path))
        self._files = files

    def _check_same_scheme(self, version: WebConfig) -> None:
        if (version.tls is None) is not (self._version.tls is None):
            change = "TLS off" if version.tls is None else "TLS on"
            raise ConfigError(f"{self._path} turns {change}, which takes a restart of the exporter")


def _hide(version: WebConfig) -> None:
    hide(each.decode() for each in version.users.values())
