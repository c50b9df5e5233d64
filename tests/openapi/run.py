"""Tests the running API against openapi.yaml.

    TOOLS_VENV/bin/python tests/openapi/run.py [STACK_JSON]

STACK_JSON is what `infra/local/stack.py up` leaves, target/local/stack.json by default. The virtual environment is the one of
infra/local/requirements-tools.txt; the operator's CLI is $CPIS_BINARIES/cpis, target/release/cpis by default.

1. Every example in openapi.yaml, and every answer that the encoders' own tests keep (shared/src/wire/fhir/golden), has the shape
   that openapi.yaml says.
2. A file is uploaded, the child looked up and the notification awaited, so that there is something to answer with; each
   answer is checked too, and that nobody gets in without a token or to another authority's paths.
3. schemathesis calls every operation with examples, boundary and random values, valid and not, from a fixed seed: no answer is a
   5xx, and each has a status, content type, headers and body that openapi.yaml has.

Exit status: 0 all as documented; 1 something is not, and what.
"""
import json
import os
import pathlib
import subprocess
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
import uuid
from typing import Any

import jsonschema
import referencing
import referencing.jsonschema
import yaml

ROOT = pathlib.Path(__file__).resolve().parents[2]
GOLDEN = ROOT / "shared" / "src" / "wire" / "fhir" / "golden"
AUTHORITY, OTHER_AUTHORITY = "E06000001", "E06000002"
CHILD = "https://fhir.nhs.uk/Id/nhs-number|9990000018"
NOTIFICATION_LIMIT = 90
"""Seconds within which a notification must be in the mailbox: the stream, or else the sweep, brings it."""
RUN_LIMIT = 240
"""Seconds after which schemathesis counts as stuck."""


class Wrong(Exception):
    """Something is not as documented."""


class Document:
    """openapi.yaml, to check values against."""

    def __init__(self, path: pathlib.Path) -> None:
        self.tree = yaml.safe_load(path.read_text())
        contents = {"$schema": "https://json-schema.org/draft/2020-12/schema", **self.tree}
        resource = referencing.jsonschema.DRAFT202012.create_resource(contents)
        self.registry = referencing.Registry().with_resource("urn:openapi", resource)

    def check(self, what: str, schema: dict[str, Any], value: Any) -> None:
        """Fails where the value has not the schema's shape."""
        text = json.dumps(schema).replace('"#/', '"urn:openapi#/')
        validator = jsonschema.Draft202012Validator(
            json.loads(text), registry=self.registry, format_checker=jsonschema.FormatChecker()
        )
        if error := jsonschema.exceptions.best_match(validator.iter_errors(value)):
            raise Wrong(f"{what}: {error.json_path}: {error.message[:400]}")

    def follow(self, node: Any) -> Any:
        """The node, or what its $ref names."""
        while isinstance(node, dict) and isinstance(node.get("$ref"), str):
            target = self.tree
            for part in node["$ref"].removeprefix("#/").split("/"):
                target = target[part]
            node = target
        return node

    def examples(self, node: Any, path: str = "#"):
        """Every example with its schema: media types' and parameters'."""
        if isinstance(node, list):
            for place, item in enumerate(node):
                yield from self.examples(item, f"{path}/{place}")
        elif isinstance(node, dict):
            if isinstance(node.get("schema"), dict):
                if "example" in node:
                    yield path, node["schema"], node["example"]
                for name, example in (node.get("examples") or {}).items():
                    yield f"{path} ({name})", node["schema"], self.follow(example)["value"]
            for name, item in node.items():
                yield from self.examples(item, f"{path}/{name}")


def check_document(document: Document) -> int:
    """Step 1; how many values were checked."""
    found = list(document.examples(document.tree))
    golden = {
        "care-team": "CareTeamBundle",
        "flag": "FlagBundle",
        "audit-event": "AuditEventBundle",
        "metadata": "CapabilityStatement",
        "outcome": "OperationOutcome",
    }
    for file in sorted(GOLDEN.glob("*.json")):
        kind = next(schema for name, schema in golden.items() if file.name.startswith(name))
        found.append((file.name, {"$ref": f"#/components/schemas/{kind}"}, json.loads(file.read_text())))
    for what, schema, value in found:
        document.check(what, schema, value)
    return len(found)


class Api:
    """The running API."""

    def __init__(self, stack: dict[str, Any]) -> None:
        self.url = stack["api"]["url"]
        self.env = {**os.environ, **stack["env"], "CPIS_STACK": stack["name"]}
        self.cli = pathlib.Path(os.environ.get("CPIS_BINARIES", ROOT / "target" / "release")) / "cpis"
        self.opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))

    def cpis(self, *arguments: str) -> str:
        """Runs the operator's CLI; what it prints."""
        done = subprocess.run([self.cli, *arguments], env=self.env, capture_output=True, text=True, timeout=120)
        if done.returncode:
            raise Wrong(f"cpis {' '.join(arguments[:2])} failed: {done.stderr.strip()}")
        return done.stdout.strip()

    def call(self, method: str, path: str, token: str | None = None, body: bytes | None = None, **headers: str) -> tuple[int, Any]:
        """Status and decoded body of one call."""
        headers = {name.replace("_", "-"): value for name, value in headers.items()}
        if token:
            headers["Authorization"] = f"Bearer {token}"
        request = urllib.request.Request(self.url + path, body, headers, method=method)
        try:
            with self.opener.open(request, timeout=60) as answer:
                return answer.status, json.load(answer)
        except urllib.error.HTTPError as refusal:
            with refusal:
                text = refusal.read()
            return refusal.code, json.loads(text) if text else None


def expect(what: str, found: int, wanted: int, body: Any) -> None:
    """Fails where a status is another than wanted."""
    if found != wanted:
        raise Wrong(f"{what}: status {found}, not {wanted}: {json.dumps(body)[:400]}")


def seed(api: Api, document: Document, health: str, authority: str, officer: str) -> str:
    """Step 2; the id of a notification."""
    shape = lambda what, name, value: document.check(what, {"$ref": f"#/components/schemas/{name}"}, value)
    uploads, mailbox = (f"/cpis/authorities/{AUTHORITY}/{name}" for name in ("uploads", "notifications"))
    example = document.tree["components"]["examples"]["UploadFile"]["value"]
    # Later than any file that the examples or an earlier run may have sent.
    file = {**example, "sequence": int(time.time() * 1000)}
    status, answer = api.call("POST", uploads, authority, json.dumps(file).encode(), Content_Type="application/json")
    expect("upload", status, 200, answer)
    shape("upload", "Acknowledgement", answer)
    if answer["code"] != "CPF02":
        raise Wrong(f"the example file of openapi.yaml is not loaded: {json.dumps(answer)[:400]}")

    trace = str(uuid.uuid4())
    form = urllib.parse.urlencode({"patient:identifier": CHILD}).encode()
    for name in ("CareTeam", "Flag", "AuditEvent"):
        headers = {"Content_Type": "application/x-www-form-urlencoded", "TraceID": trace}
        status, answer = api.call("POST", f"/cpis/FHIR/R4/{name}/_search", health, form, **headers)
        expect(name, status, 200, answer)
        shape(name, f"{name}Bundle", answer)
        if not answer["total"]:
            raise Wrong(f"{name}: nothing found after an upload and a look-up")

    audit = "/cpis/audit/accesses/_search"
    search = json.dumps({"child": CHILD.rpartition("|")[2]}).encode()
    status, answer = api.call("POST", audit, officer, search, Content_Type="application/json")
    expect("audit search", status, 200, answer)
    shape("audit search", "AccessList", answer)
    if not any(access["traceId"] == trace for access in answer["items"]):
        raise Wrong("audit search: the look-up is not found")

    expect("audit search with a nurse's token", *without(api.call("POST", audit, health, search, Content_Type="application/json"), 403))
    expect("uploads without a token", *without(api.call("GET", uploads), 401))
    expect("another authority's uploads", *without(api.call("GET", uploads.replace(AUTHORITY, OTHER_AUTHORITY), authority), 403))
    expect("uploads with a nurse's token", *without(api.call("GET", uploads, health), 403))
    expect("metadata with a token that is none", *without(api.call("GET", "/cpis/FHIR/R4/metadata", "not.a.token"), 401))
    return await_notification(api, shape, mailbox, authority, trace)


def without(answer: tuple[int, Any], wanted: int) -> tuple[int, int, Any]:
    """Arguments for `expect`. What the gateway refuses has its own body on an emulator, so only the status is looked at."""
    return answer[0], wanted, answer[1]


def await_notification(api: Api, shape: Any, mailbox: str, authority: str, trace: str) -> str:
    """The id of the notification of a look-up, once it is there."""
    end = time.monotonic() + NOTIFICATION_LIMIT
    while time.monotonic() < end:
        cursor = ""
        while cursor is not None:
            status, answer = api.call("GET", f"{mailbox}?state=unread&limit=1000{cursor}", authority)
            expect("notifications", status, 200, answer)
            shape("notifications", "NotificationList", answer)
            if found := [n["id"] for n in answer["items"] if n["traceId"] == trace]:
                return found[0]
            cursor = f"&cursor={urllib.parse.quote(answer['next'])}" if "next" in answer else None
        time.sleep(0.5)
    raise Wrong(f"no notification of the look-up within {NOTIFICATION_LIMIT} s")


def main() -> int:
    file = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else ROOT / "target" / "local" / "stack.json")
    if not file.is_file():
        print(f"error: {file} is missing: start a stack with infra/local/stack.py up", file=sys.stderr)
        return 1
    document = Document(ROOT / "openapi.yaml")
    api = Api(json.loads(file.read_text()))
    try:
        print(f"openapi.yaml: {check_document(document)} examples and golden answers have the shape it says", flush=True)
        api.cpis("directory", "load")
        health = api.cpis(
            *("token", "person", "--user", "555000000001", "--name", "Alex Example", "--job-role", "R0670"),
            *("--org-code", "ZX001", "--org-name", "Sample Hospital", "--activity", "B0107", "--activity", "B0170"),
        )
        officer = api.cpis(
            *("token", "person", "--user", "555000000003", "--name", "Pat Privacy", "--job-role", "R8008"),
            *("--org-code", "ZX001", "--org-name", "Sample Hospital", "--activity", "R0001"),
        )
        authority = api.cpis("token", "authority", AUTHORITY)
        notification = seed(api, document, health, authority, officer)
    except Wrong as wrong:
        print(f"error: {wrong}", file=sys.stderr)
        return 1
    print("upload, look-ups and notification: as documented", flush=True)
    env = {
        **os.environ,
        "CPIS_TEST_HEALTH_TOKEN": health,
        "CPIS_TEST_OFFICER_TOKEN": officer,
        "CPIS_TEST_AUTHORITY_TOKEN": authority,
        "CPIS_TEST_NOTIFICATION": notification,
        "NO_PROXY": "*",
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    return call_everything(api, env)


def call_everything(api: Api, env: dict[str, str]) -> int:
    """Step 3: one process for the look-ups and one for the rest, as its threads would share Python's parser."""
    tester = pathlib.Path(sys.executable).parent / "schemathesis"
    command = [tester, "--config-file", "tests/openapi/schemathesis.toml", "run", "openapi.yaml", "--url", api.url]
    began, status = time.monotonic(), 0
    runs = [
        subprocess.Popen([*command, choice, "Look-up"], cwd=ROOT, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        for choice in ("--include-tag", "--exclude-tag")
    ]
    for run in runs:
        try:
            output, _ = run.communicate(timeout=max(1, RUN_LIMIT - (time.monotonic() - began)))
        except subprocess.TimeoutExpired:
            run.kill()
            output, _ = run.communicate()
            print(f"error: schemathesis did not end within {RUN_LIMIT} s", file=sys.stderr)
        print(output.decode(errors="replace"), flush=True)
        status = status or run.returncode
    return 1 if status else 0


if __name__ == "__main__":
    sys.exit(main())
