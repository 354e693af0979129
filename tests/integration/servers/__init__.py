"""Real servers for tests: each a context manager on free loopback ports, its files in a temporary folder."""

from tests.integration.servers.alertmanager import Alertmanager, amtool
from tests.integration.servers.certificates import Certificates
from tests.integration.servers.exporter import ExporterProcess, Samples
from tests.integration.servers.moto import Moto
from tests.integration.servers.ports import HOST, free_port
from tests.integration.servers.process import ServerProcess, group_members
from tests.integration.servers.prometheus import Prometheus, Sample, promtool
from tests.integration.servers.rabbitmq import RabbitMQ
from tests.integration.servers.requirements import require, why_missing
from tests.integration.servers.sentinel import Sentinels
from tests.integration.servers.shared_rabbitmq import shared_rabbitmq
from tests.integration.servers.valkey import Valkey
from tests.integration.servers.worker import CeleryWorker

__all__ = [
    "HOST",
    "Alertmanager",
    "CeleryWorker",
    "Certificates",
    "ExporterProcess",
    "Moto",
    "Prometheus",
    "RabbitMQ",
    "Sample",
    "Samples",
    "Sentinels",
    "ServerProcess",
    "Valkey",
    "amtool",
    "free_port",
    "group_members",
    "promtool",
    "require",
    "shared_rabbitmq",
    "why_missing",
]
