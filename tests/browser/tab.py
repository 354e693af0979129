"""One tab of a browser: opened, asked, looked at, and what its page did meanwhile."""

import base64
import json
from types import TracebackType
from typing import Any, Self

from tests.browser.chromium import Chromium
from tests.waiting import wait_for

_LOAD_S = 30.0


class Tab:
    """A tab in a browser context of its own; a context manager.

    Attributes:
        requests: the addresses that were asked for, in order.
        complaints: errors of the console, violations of the content security policy, exceptions.
        dialogs: texts of ``alert`` and the like, which are closed at once.
        loads: documents that were loaded.
    """

    def __init__(
        self,
        browser: Chromium,
        *,
        width: int = 1280,
        height: int = 900,
        scale: float = 1.0,
        dark: bool = False,
        mobile: bool = False,
        scripts: bool = True,
        login: tuple[str, str] | None = None,
    ) -> None:
        """``scale``: pixels of the device for each of the page; ``scripts``: whether JavaScript runs.

        ``login``: the name and password that a user types; any certificate is then good.
        """
        self._browser = browser
        self.requests: list[str] = []
        self.complaints: list[str] = []
        self.dialogs: list[str] = []
        self.loads = 0
        self._size = {"width": width, "height": height, "deviceScaleFactor": scale, "mobile": mobile}
        self._scheme = "dark" if dark else "light"
        self._scripts = scripts
        self._login = login

    def __enter__(self) -> Self:
        """Open it, empty."""
        self._context = self._browser.ask("Target.createBrowserContext")["browserContextId"]
        target = self._browser.ask("Target.createTarget", url="about:blank", browserContextId=self._context)[
            "targetId"
        ]
        attached = self._browser.ask("Target.attachToTarget", targetId=target, flatten=True)
        self._session: str = attached["sessionId"]
        self._browser.listen(self._session, self._hear)
        for domain in ("Page", "Runtime", "Network", "Log", "Audits"):
            self.ask(f"{domain}.enable")
        self.ask("Emulation.setDeviceMetricsOverride", **self._size)
        self.ask(
            "Emulation.setEmulatedMedia",
            features=[{"name": "prefers-color-scheme", "value": self._scheme}],
        )
        if self._login is not None:
            self.ask("Security.setIgnoreCertificateErrors", ignore=True)
            self.ask("Fetch.enable", handleAuthRequests=True)
        self.ask("Emulation.setScriptExecutionDisabled", value=not self._scripts)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close it."""
        self._browser.ask("Target.disposeBrowserContext", browserContextId=self._context)

    def ask(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Send a DevTools command to the tab."""
        return self._browser.ask(method, self._session, **parameters)

    def open(self, url: str) -> None:
        """Load a page, and wait until it is there."""
        before = self.loads
        answer = self.ask("Page.navigate", url=url)
        assert "errorText" not in answer, answer
        wait_for(lambda: self.loads > before, timeout=_LOAD_S, what=f"{url} to load")

    def run(self, expression: str) -> Any:
        """The value of a JavaScript expression in the page, as JSON knows it; also where scripts are disabled."""
        answer = self.ask("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    def text(self, selector: str) -> str:
        """What an element shows, as a reader sees it."""
        return str(self.run(f"document.querySelector({json.dumps(selector)}).innerText"))

    def texts(self, selector: str) -> list[str]:
        """What the elements show."""
        found = self.run(f"[...document.querySelectorAll({json.dumps(selector)})].map((e) => e.innerText)")
        return [str(each) for each in found]

    def screenshot(self, height: int | None = None) -> bytes:
        """The page as PNG, down to ``height`` or whole."""
        whole = self.run("Math.ceil(document.documentElement.getBoundingClientRect().height)")
        clip = {"x": 0, "y": 0, "width": self._size["width"], "height": height or whole, "scale": 1}
        answer = self.ask("Page.captureScreenshot", format="png", clip=clip, captureBeyondViewport=True)
        return base64.b64decode(answer["data"])

    def _hear(self, method: str, told: dict[str, Any]) -> None:
        if method == "Page.loadEventFired":
            self.loads += 1
        elif method == "Network.requestWillBeSent":
            self.requests.append(told["request"]["url"])
        elif method == "Page.javascriptDialogOpening":
            self.dialogs.append(told["message"])
            self._browser.tell("Page.handleJavaScriptDialog", self._session, accept=False)
        elif method == "Fetch.requestPaused":
            self._browser.tell("Fetch.continueRequest", self._session, requestId=told["requestId"])
        elif method == "Fetch.authRequired" and self._login is not None:
            name, password = self._login
            typed = {"response": "ProvideCredentials", "username": name, "password": password}
            self._browser.tell(
                "Fetch.continueWithAuth",
                self._session,
                requestId=told["requestId"],
                authChallengeResponse=typed,
            )
        elif method == "Runtime.exceptionThrown":
            self.complaints.append(str(told["exceptionDetails"]))
        elif method == "Runtime.consoleAPICalled" and told["type"] in {"error", "warning", "assert"}:
            self.complaints.append(str(told["args"]))
        elif method == "Log.entryAdded" and told["entry"]["level"] in {"error", "warning"}:
            self.complaints.append(str(told["entry"]))
        elif method == "Audits.issueAdded" and told["issue"]["code"] == "ContentSecurityPolicyIssue":
            self.complaints.append(str(told["issue"]))
