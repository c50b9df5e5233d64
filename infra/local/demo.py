"""The story of one child seen, told on the real system: `make demo`.

Release binaries, template.yaml unchanged, the emulator on 127.0.0.1. Each step checks what it claims: where the story does
not hold, the last line says so and the status is 1. DEMO_EXIT=1 ends it by itself; otherwise the system stays up until Ctrl-C.
"""
import stack  # first: it says so if this Python is too old or the virtual environment is missing

import argparse
import csv
import io
import json
import os
import pathlib
import shlex
import signal
import subprocess
import sys
import time
import urllib.parse
import uuid
from typing import Any

from narrator import Narrator
from stack import ROOT, Problem, wait_for

AUTHORITY, AUTHORITY_NAME = "E06000001", "Hartlepool"
CHILDREN, BAD, SEED = 300, 12, 7
AUTHORITIES, SETTINGS = 153, 1187
NHS_NUMBER = "https://fhir.nhs.uk/Id/nhs-number"
DELIVERY_LIMIT, DEAD_LIMIT = 60, 180
"""Seconds until a notification must have arrived, and until five deliveries must have failed."""


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

    def look_up(self, resource: str, nhs_number: str, token: str, trace: str | None = None) -> Call:
        """A look-up by POST, which keeps the number out of URLs and so out of every log on the way."""
        form = urllib.parse.urlencode({"patient:identifier": f"{NHS_NUMBER}|{nhs_number}"}).encode()
        return self.call(
            "POST", f"/cpis/FHIR/R4/{resource}/_search", token, form,
            TraceID=trace or str(uuid.uuid4()), Content_Type="application/x-www-form-urlencoded",
        )

    def mailbox(self, token: str, state: str) -> list[dict[str, Any]]:
        """All notifications of the authority in a state."""
        found, cursor = [], None
        while True:
            query = {"state": state, "limit": "100"} | ({"cursor": cursor} if cursor else {})
            answer = self.call("GET", f"/cpis/authorities/{AUTHORITY}/notifications?{urllib.parse.urlencode(query)}", token)
            expect(answer.status == 200, f"the mailbox answers {answer.status}: {answer.body[:300]!r}")
            found += answer.json["notifications"]
            cursor = answer.json.get("next")
            if not cursor:
                return found


def build(narrator: Narrator) -> None:
    """Builds the release binaries; cargo shows its own progress."""
    narrator.chapter("Build and start")
    command = ["cargo", "build", "--release", "--locked", "--workspace", "--exclude", "cpis-tests"]
    narrator.command(shlex.join(command))
    with narrator.step("The release binaries, eight functions and the operator's command; minutes the first time", shows_itself=True) as step:
        status = subprocess.run(command, cwd=ROOT).returncode
        if status:
            raise Problem(f"the build failed (status {status}): cargo's reason is above")
        step.label = "Built the release binaries: eight functions and the operator's command"


def start(narrator: Narrator, settings: stack.Settings) -> tuple[System, bool]:
    """The running system, and whether it was started here."""
    with narrator.step("Starting the emulator and deploying template.yaml to it, unchanged") as step:
        running, started = stack.up(settings)
        step.label = f"{'Started the emulator and deployed' if started else 'Found running, with this very'} template.yaml"
    narrator.say(f"The API answers at {running['api']['url']}")
    return System(running, narrator), started


def load_directory(system: System) -> list[dict[str, Any]]:
    """The authorities and settings that the service knows; returns the settings."""
    narrator = system.narrator
    narrator.chapter("An operator loads the directory")
    with narrator.step("Loading every authority of England and a synthetic set of settings", shows_itself=True) as step:
        printed = system.cpis("directory", "load", progress=True)
        step.label = "Loaded the directory"
    narrator.output(printed)
    entries = json.loads(system.cpis("directory", "list", "--json", show=False))
    settings = [entry for entry in entries if entry["kind"] == "setting"]
    authorities = len(entries) - len(settings)
    expect((authorities, len(settings)) == (AUTHORITIES, SETTINGS), f"the directory holds {authorities} and {len(settings)}")
    narrator.fact(f"It holds all {AUTHORITIES} authorities, and {SETTINGS:,} invented settings of {len({e['care'][0] for e in settings})} kinds of care")
    return settings


def upload(system: System, authority: str) -> list[dict[str, str]]:
    """An authority's daily file with some bad rows. Returns the rows that were loaded."""
    narrator = system.narrator
    narrator.chapter(f"{AUTHORITY_NAME} uploads the plans of its children")
    text = system.cpis("generate", "--authority", AUTHORITY, "--children", str(CHILDREN), "--seed", str(SEED), "--bad", str(BAD))
    file = text.encode()
    rows = list(csv.DictReader(io.StringIO(text.removeprefix("\ufeff"))))
    narrator.output("\n".join(text.splitlines()[:3]) + f"\n… {len(rows)} records in all, invented people, {BAD} of them with a mistake")
    envelope = {
        "sequence": str(next_sequence(system, authority)), "created": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "records": str(len(rows)), "emergencyDutyTeamPhone": "01632 960999", "officeHoursPhone": "01632 960100",
    }
    path = f"/cpis/authorities/{AUTHORITY}/uploads"
    narrator.command(f"curl --data-binary @plans.csv '…/v1{path}?sequence={envelope['sequence']}&records={len(rows)}&…'")
    answer = system.call("POST", f"{path}?{urllib.parse.urlencode(envelope)}", authority, file, Content_Type="text/csv")
    expect(answer.status == 200, f"the upload is answered {answer.status}: {answer.body[:500]!r}")
    acknowledgement = answer.json
    rejected = acknowledgement["rejected"]
    show_acknowledgement(narrator, acknowledgement, answer.milliseconds)
    expect(acknowledgement["code"] == "CPF03", "the file is partly loaded (CPF03)")
    expect(len(rejected) == BAD and acknowledgement["loaded"] == len(rows) - BAD, f"{BAD} rows are rejected, the others loaded")
    again = system.call("POST", f"{path}?{urllib.parse.urlencode(envelope)}", authority, file, Content_Type="text/csv")
    expect(again.body == answer.body, "a resubmitted file gets the first answer")
    narrator.fact("Sent again, as a system does that lost the answer: the same answer, byte for byte")
    bad = {entry["row"] for entry in rejected}
    return [row for number, row in enumerate(rows, 1) if number not in bad]


def next_sequence(system: System, authority: str) -> int:
    """One more than the highest sequence that the authority has uploaded."""
    answer = system.call("GET", f"/cpis/authorities/{AUTHORITY}/uploads?limit=1000", authority)
    expect(answer.status == 200, f"the list of uploads is answered {answer.status}: {answer.body[:300]!r}")
    return max((upload["sequence"] for upload in answer.json["uploads"]), default=0) + 1


def show_acknowledgement(narrator: Narrator, acknowledgement: dict[str, Any], milliseconds: float) -> None:
    """The acknowledgement as its receiver would want to read it."""
    a = acknowledgement
    narrator.fact(
        f"{a['code']}: of {a['records']} records {a['loaded']} loaded, {len(a['rejected'])} rejected"
        f" (sequence {a['sequence']}, {milliseconds:.0f} ms)"
    )
    problems = [(entry, problem) for entry in a["rejected"] for problem in entry["problems"]]
    narrator.table(
        ["row", "code", "detail", "column", "found", "how to mend it"],
        [
            [str(entry["row"]), entry["code"], problem["detail"], problem.get("column") or "", problem["found"][:16], problem["mend"]]
            for entry, problem in problems
        ],
    )


def setting(settings: list[dict[str, Any]], care: str) -> list[str]:
    """The first open setting that gives a kind of care, as `cpis token` wants it; in the North East where there is one."""
    fitting = [entry for entry in settings if care in entry["care"] and entry["status"] == "open"]
    chosen = min(fitting, key=lambda entry: (entry["region"] != "North East", entry["code"]))
    return ["--org-code", chosen["code"], "--org-name", chosen["name"]]


def health_advisor(system: System, settings: list[dict[str, Any]]) -> str:
    """The token of a 999 control room's system, with the advisor who answers for what it asks."""
    who = ["--asid", "200000000999", "--responsible", "Robin Sample (999 health advisor)"]
    return system.token("device", *who, *setting(settings, "ambulance-service"), "--activity", "B0107", "--minutes", "720")


def emergency_nurse(system: System, settings: list[dict[str, Any]]) -> str:
    """The token of a nurse in an emergency department."""
    who = ["--user", "555000000107", "--name", "Alex Example", "--job-role", "R8001"]
    return system.token("person", *who, *setting(settings, "emergency-department"), "--activity", "B0107", "--minutes", "720")


def look_ups(system: System, child: str, advisor: str, nurse: str, unknown: str) -> list[str]:
    """Look-ups by a 999 control room and an emergency department. Returns the traces that must raise a notification."""
    narrator = system.narrator
    narrator.chapter("Night: a call to 999, then the emergency department")
    traces = [str(uuid.uuid4()) for _ in range(3)]
    narrator.say("A caller hangs up. The 999 health advisor is uneasy and looks the child up.")
    show_plans(narrator, system.look_up("CareTeam", child, advisor, traces[0]))
    narrator.say("The ambulance brings the child in. A nurse looks as well, and asks who did before.")
    show_plans(narrator, system.look_up("CareTeam", child, nurse, traces[1]))
    show_history(narrator, system.look_up("AuditEvent", child, nurse, traces[2]))
    narrator.say("Another child, of whom the register holds nothing. The answer must not read as “safe”.")
    nothing = system.look_up("CareTeam", unknown, nurse)
    expect(nothing.status == 200 and nothing.json["total"] == 0, f"nothing is held: {nothing.status}")
    said = sentences(nothing)
    expect(any("NOT mean that the child is safe" in sentence for sentence in said), "an empty answer says what it does not mean")
    narrator.fact(f"Nothing held  ({nothing.milliseconds:.0f} ms)")
    narrator.quote(said[0])
    return traces


def sentences(answer: Call) -> list[str]:
    """What an answer says to whoever reads it."""
    return [issue["diagnostics"] for outcome in resources(answer, "OperationOutcome") for issue in outcome["issue"]]


def resources(answer: Call, kind: str) -> list[dict[str, Any]]:
    """The resources of a type in a Bundle."""
    return [entry["resource"] for entry in answer.json.get("entry", []) if entry["resource"]["resourceType"] == kind]


def show_plans(narrator: Narrator, answer: Call) -> None:
    """The plans in an answer, and the number to ring now."""
    expect(answer.status == 200, f"the look-up is answered {answer.status}: {answer.body[:500]!r}")
    plans = resources(answer, "CareTeam")
    expect(plans and answer.json["total"] == len(plans), "the child's plan is shown")
    for plan in plans:
        kind = plan["category"][0]["coding"][0]["display"]
        narrator.fact(f"{kind}: {plan['name']}, since {plan['period']['start']}  ({answer.milliseconds:.0f} ms)")
    said = sentences(answer)
    expect(said and said[0].startswith("Ring "), "the answer says which number to ring now")
    narrator.quote(said[0])


def show_history(narrator: Narrator, answer: Call) -> None:
    """Who looked before."""
    expect(answer.status == 200, f"the history is answered {answer.status}: {answer.body[:500]!r}")
    events = resources(answer, "AuditEvent")
    people = [role["practitioner"]["display"] for role in resources(answer, "PractitionerRole")]
    expect(len(events) == answer.json["total"] >= 2, f"both accesses are in the history: {answer.json['total']}")
    expect({"Alex Example", "Robin Sample (999 health advisor)"} <= set(people), f"the history names both: {people}")
    narrator.fact(f"The history names {', '.join(sorted(set(people)))}  ({answer.milliseconds:.0f} ms)")


def unknown_child(held: set[str]) -> str:
    """The highest NHS number that is valid, never issued, and not held."""
    for stem in range(999_999_999, 999_000_000, -1):
        digits = f"{stem:09d}"
        check = (11 - sum(int(digit) * weight for digit, weight in zip(digits, range(10, 1, -1))) % 11) % 11
        if check != 10 and f"{digits}{check}" not in held:
            return f"{digits}{check}"
    raise Problem("every number is held")


def notifications(system: System, authority: str, traces: list[str]) -> None:
    """The authority finds both accesses in its mailbox and acknowledges them."""
    narrator = system.narrator
    narrator.chapter(f"{AUTHORITY_NAME} is told")
    with narrator.step("Waiting for the notifications: outbox, stream, relay, queue, delivery") as step:
        arrived = wait_for("the notifications", DELIVERY_LIMIT, lambda: arrivals(system, authority, traces))
        step.label = f"{len(arrived)} notifications in the mailbox"
    show_notifications(narrator, arrived)
    acknowledge(system, authority, arrived)


def arrivals(system: System, authority: str, traces: list[str]) -> list[dict[str, Any]] | None:
    """The unread notifications of these look-ups, once each has come."""
    found = [each for each in system.mailbox(authority, "unread") if each["traceId"] in traces]
    return sorted(found, key=lambda each: each["at"]) if {each["traceId"] for each in found} == set(traces) else None


def show_notifications(narrator: Narrator, found: list[dict[str, Any]]) -> None:
    """What a social worker reads."""
    narrator.table(
        ["seen at", "case", "who", "where"],
        [[each["at"][:19].replace("T", " "), ", ".join(each["localIds"]), requester(each), each["organisation"]["name"]] for each in found],
    )


def requester(notification: dict[str, Any]) -> str:
    """Name and role of who looked."""
    who = notification["requester"]
    if "device" in who:
        return who["device"]["responsible"]
    return f"{who['person']['name']}, {who['person']['jobRole']['display']}"


def acknowledge(system: System, authority: str, found: list[dict[str, Any]]) -> None:
    """Says that the authority has them, and checks that they are no longer unread."""
    for each in found:
        path = f"/cpis/authorities/{AUTHORITY}/notifications/{each['id']}/acknowledge"
        answer = system.call("POST", path, authority)
        expect(answer.status == 200, f"the acknowledgement is answered {answer.status}: {answer.body[:300]!r}")
    wanted = {each["id"] for each in found}
    expect(wanted <= {each["id"] for each in system.mailbox(authority, "acknowledged")}, "they are acknowledged")
    expect(not wanted & {each["id"] for each in system.mailbox(authority, "unread")}, "they are no longer unread")
    system.narrator.fact(f"Acknowledged: {len(found)}; none of them is unread any more")


def dead_letter(system: System, child: str, nurse: str, authority: str) -> None:
    """A delivery that fails until it is set aside, and is replayed."""
    narrator, trace = system.narrator, str(uuid.uuid4())
    narrator.chapter("A delivery fails, and an operator replays it")
    narrator.say(f"By mistake an operator closes {AUTHORITY_NAME}. Then a child is seen, and the notification finds no mailbox.")
    narrator.output(system.cpis("directory", "close", "authority", AUTHORITY))
    try:
        show_plans(narrator, system.look_up("CareTeam", child, nurse, trace))
        fail_five_times(system, trace)
    except BaseException:
        system.cpis("directory", "open", "authority", AUTHORITY, show=False)
        raise
    narrator.output(system.cpis("dlq", "list"))
    narrator.say("The mistake is found. The operator opens the authority again and sends the notification on its way.")
    narrator.output(system.cpis("directory", "open", "authority", AUTHORITY))
    narrator.output(system.cpis("dlq", "replay"))
    with narrator.step("Waiting for the replayed notification") as step:
        arrived = wait_for("the replayed notification", DELIVERY_LIMIT, lambda: arrivals(system, authority, [trace]))
        step.label = "It arrived"
    expect(len(arrived) == 1, f"it arrived {len(arrived)} times")
    expect(dead_letters(system) == 0, "the dead-letter queue is empty")
    show_notifications(narrator, arrived)
    acknowledge(system, authority, arrived)


def fail_five_times(system: System, trace: str) -> None:
    """Waits until the notification of a look-up is a dead letter."""
    before, written = dead_letters(system), pathlib.Path(system.stack["logs"]) / "functions" / "cpis-asn-delivery.log"
    with system.narrator.step("Five deliveries, each after a longer wait: 1, 2, 4, 8 seconds") as step:
        def set_aside() -> bool:
            tries = sum(trace in line and '"asn.' in line for line in written.read_text().splitlines())
            step.note = f"{tries} of 5 failed"
            return dead_letters(system) > before
        wait_for("the dead letter", DEAD_LIMIT, set_aside)
        step.label = "Five deliveries failed, each after a longer wait (1, 2, 4, 8 s): it is a dead letter, and whole"


def dead_letters(system: System) -> int:
    """Messages in the dead-letter queue, those just received among them."""
    attributes = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
    queue = system.stack["outputs"]["AsnDlqUrl"]
    answer = stack.client("sqs", system.stack["port"]).get_queue_attributes(QueueUrl=queue, AttributeNames=attributes)
    return sum(int(value) for value in answer["Attributes"].values())


def handover(system: System, child: str, advisor: str, nurse: str, authority: str) -> None:
    """Lines to paste."""
    narrator, url = system.narrator, system.stack["api"]["url"]
    narrator.chapter("Now you")
    narrator.say("In another terminal; the tokens are for this system only.")
    exports = {"API": url, "NURSE": nurse, "ADVISOR": advisor, "COUNCIL": authority} | system.stack["env"]
    folder = ROOT / "target" / "local"
    (folder / "demo.env").write_text("".join(f"export {key}={shlex.quote(value)}\n" for key, value in exports.items()))
    identifier = f"{NHS_NUMBER}|{child}"
    for what, line in {
        "the names used below, and what `cpis` needs": f". {shlex.quote(str(folder / 'demo.env'))}",
        "a nurse looks a child up": f'curl -sS "$API/cpis/FHIR/R4/CareTeam/_search" -H "Authorization: Bearer $NURSE" '
        f"-H \"TraceID: {uuid.uuid4()}\" --data-urlencode 'patient:identifier={identifier}'",
        "who looked before": f'curl -sS "$API/cpis/FHIR/R4/AuditEvent/_search" -H "Authorization: Bearer $ADVISOR" '
        f"-H \"TraceID: {uuid.uuid4()}\" --data-urlencode 'patient:identifier={identifier}'",
        "the authority reads its mailbox": f'curl -sS "$API/cpis/authorities/{AUTHORITY}/notifications?state=unread" -H "Authorization: Bearer $COUNCIL"',
        "the operator": f"{system.tool} status",
    }.items():
        narrator.line()
        narrator.say(what[0].upper() + what[1:] + ":")
        narrator.line(f"   {line}")
    narrator.line()
    narrator.say(f"What the functions write: {system.stack['logs']}/functions/")


def stay_up(system: System) -> None:
    """Keeps the system up until Ctrl-C, and says so if it should end by itself."""
    system.narrator.line()
    system.narrator.line(system.narrator.styled("1", "The system is up. Ctrl-C ends it."))
    while stack.is_ours(system.stack["pid"]):
        time.sleep(0.5)
    raise Problem("the emulator ended by itself; its log is target/local/logs/emulator.log")


def tell(narrator: Narrator, settings: stack.Settings) -> None:
    """The whole story."""
    narrator.title(
        "Child Protection – Information Sharing",
        "A register of children known to social care: an authority uploads their plans, a hospital or a 999 control room sees"
        " the flag, and the authority is told. Everything below happens on this machine, with invented people.",
    )
    build(narrator)
    system, started = start(narrator, settings)
    try:
        settings_known = load_directory(system)
        authority = system.token("authority", AUTHORITY, "--minutes", "720")
        advisor, nurse = health_advisor(system, settings_known), emergency_nurse(system, settings_known)
        loaded = upload(system, authority)
        current = [row for row in loaded if row["plan_type"] == "CPP" and not row["end_date"] and not row["delete_date"]]
        expect(len(current) >= 2, "the file has children with a plan that runs")
        child, other = current[0]["nhs_number"], current[1]["nhs_number"]
        traces = look_ups(system, child, advisor, nurse, unknown_child({row["nhs_number"] for row in loaded}))
        notifications(system, authority, traces)
        dead_letter(system, other, nurse, authority)
        narrator.line()
        narrator.fact(f"The story holds. Told in {time.monotonic() - narrator.began:.0f} s.")
        handover(system, child, advisor, nurse, authority)
        if os.environ.get("DEMO_EXIT") != "1":
            stay_up(system)
    finally:
        if started:
            stack.down(settings)
            narrator.line()
            narrator.line("Stopped.")


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--port", type=int, default=stack.Settings.port, help="of the emulator; 0: any free one; default %(default)s")
    given = parser.parse_args()
    stack.forget_account()
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    narrator = Narrator()
    try:
        tell(narrator, stack.Settings(port=given.port))
    except KeyboardInterrupt:
        return 130 if narrator.chapters < 6 else 0
    except stack.FAILURES as problem:
        print(f"error: {problem}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
