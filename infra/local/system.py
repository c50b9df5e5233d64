"""The running system as the people of the demo's story reach it: HTTP for authorities and settings, the `cpis` command for operators."""
import dataclasses
import json
import os
import shlex
import subprocess
import time
import urllib.parse
import uuid
from typing import Any

import stack
from narrator import Narrator
from stack import ROOT, Problem

NHS_NUMBER = "https://fhir.nhs.uk/Id/nhs-number"


def expect(holds: object, claim: str) -> None:
    """Ends the story where a claim does not hold."""
    if not holds:
        raise Problem(f"the story does not hold: {claim}")


class Call:
    """One answer of the API."""

    def __init__(self, status: int, body: bytes, milliseconds: float):
        self.status, self.body, self.milliseconds = status, body, milliseconds

    @property
    def json(self) -> Any:
        """The body, read."""
        return json.loads(self.body)


@dataclasses.dataclass(frozen=True)
class Council:
    """A local authority of the story: its GSS code, name, the token of its system, and its two telephone numbers."""

    code: str
    name: str
    token: str
    emergency: str
    office: str

    @property
    def path(self) -> str:
        """Where its own part of the API is."""
        return f"/cpis/authorities/{self.code}"


class System:
    """The running system, as its users reach it: HTTP for authorities and settings, the `cpis` command for the operator."""

    def __init__(self, running: dict[str, Any], narrator: Narrator):
        self.stack, self.narrator = running, narrator
        self.environment = os.environ | running["env"]
        self.tool = ROOT / "target" / "release" / "cpis"

    def cpis(self, *arguments: str, show: bool = True, progress: bool = False) -> str:
        """Runs the operator's command and returns what it printed."""
        if show:
            self.narrator.command(shlex.join(["cpis", *arguments]))
        ran = subprocess.run(
            [self.tool, *arguments], env=self.environment, text=True, stdout=subprocess.PIPE,
            stderr=None if progress else subprocess.PIPE,
        )
        well = ran.returncode in (0, 3)  # 3: done, and something needs attention
        expect(well, f"`cpis {shlex.join(arguments)}` ended with status {ran.returncode}: {(ran.stderr or '').strip()}")
        return ran.stdout

    def token(self, *arguments: str) -> str:
        """A token of the local issuer."""
        return self.cpis("token", *arguments, show=False).strip()

    def call(self, method: str, path: str, token: str, body: bytes | None = None, **headers: str) -> Call:
        """One request to the API."""
        sent = {"Authorization": f"Bearer {token}", "X-Request-ID": str(uuid.uuid4())}
        sent |= {name.replace("_", "-"): value for name, value in headers.items()}
        began = time.monotonic()
        status, answer = stack.request(method, self.stack["api"]["url"] + path, sent, body)
        return Call(status, answer, (time.monotonic() - began) * 1000)

    def look_up(self, resource: str, nhs_number: str, token: str, trace: str | None = None, **headers: str) -> Call:
        """A look-up by POST, which keeps the number out of URLs and so out of every log on the way."""
        form = urllib.parse.urlencode({"patient:identifier": f"{NHS_NUMBER}|{nhs_number}"}).encode()
        return self.call(
            "POST", f"/cpis/FHIR/R4/{resource}/_search", token, form,
            TraceID=trace or str(uuid.uuid4()), Content_Type="application/x-www-form-urlencoded", **headers,
        )

    def pages(self, path: str, token: str, **query: str) -> list[dict[str, Any]]:
        """All entries of a paged list."""
        found: list[dict[str, Any]] = []
        while True:
            answer = self.call("GET", f"{path}?{urllib.parse.urlencode(query | {'limit': '500'})}", token)
            expect(answer.status == 200, f"GET {path} is answered {answer.status}: {answer.body[:300]!r}")
            found += answer.json["items"]
            if "next" not in answer.json:
                return found
            query["cursor"] = answer.json["next"]

    def next_sequence(self, council: Council) -> int:
        """One more than the highest sequence that an authority has uploaded."""
        return max((upload["sequence"] for upload in self.pages(f"{council.path}/uploads", council.token)), default=0) + 1


def sentences(answer: Call) -> list[str]:
    """What an answer says to whoever reads it."""
    return [issue["diagnostics"] for outcome in resources(answer, "OperationOutcome") for issue in outcome["issue"]]


def resources(answer: Call, kind: str) -> list[dict[str, Any]]:
    """The resources of a type in a Bundle."""
    return [entry["resource"] for entry in answer.json.get("entry", []) if entry["resource"]["resourceType"] == kind]


def now() -> str:
    """The time, as the API reads it."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())


def setting(settings: list[dict[str, Any]], care: str) -> list[str]:
    """The first open setting that gives a kind of care, as `cpis token` wants it; in the North East where there is one."""
    fitting = [entry for entry in settings if care in entry["care"] and entry["status"] == "open"]
    chosen = min(fitting, key=lambda entry: (entry["region"] != "North East", entry["code"]))
    return ["--org-code", chosen["code"], "--org-name", chosen["name"]]


def shortened(text: str, length: int = 30) -> str:
    """The beginning of a text."""
    return text if len(text) <= length else text[: length - 1] + "…"
