"""Who acts in a simulated cluster: tasks, workers, and messages."""

from collections import deque
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """How often a task is sent, how long it runs on average (seconds), and which share of its runs ends badly."""

    name: str
    queue: str
    per_second: float
    runtime: float
    fails: float = 0.0
    retries: float = 0.0
    exception: str = "ValueError"


@dataclass(slots=True)
class Worker:
    """A worker: its queues, the size of its pool, and what it holds."""

    name: str
    queues: tuple[str, ...]
    pool: int
    version: str = "5.5.3"
    up: bool = False
    processed: int = 0
    reserved: "deque[Message]" = field(default_factory=deque)
    running: "set[Message]" = field(default_factory=set)


@dataclass(frozen=True, slots=True)
class Message:
    """A task that was sent, once or anew."""

    uuid: str
    task: Task
    retries: int
