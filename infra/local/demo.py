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
from collections.abc import Iterator
from typing import Any

import guard
from narrator import Narrator
from stack import ROOT, Problem, wait_for
from system import NHS_NUMBER, Call, Council, System, expect, now, resources, sentences, setting, shortened

CHILDREN, BAD, SEED = 300, 12, 7
AUTHORITIES, SETTINGS = 153, 1187
DELIVERY_LIMIT, DEAD_LIMIT = 60, 180
"""Seconds until a notification must have arrived, and until five deliveries must have failed."""


def build(narrator: Narrator) -> None:
    """Builds the release binaries; cargo shows its own progress."""
    narrator.chapter("Build and start")
    command = ["cargo", "build", "--release", "--locked", "--workspace", "--exclude", "cpis-tests"]
    narrator.command(shlex.join(command))
    with narrator.step("The release binaries, the functions and the operator's command; minutes the first time", shows_itself=True) as step:
        status = subprocess.run(command, cwd=ROOT).returncode
        if status:
            raise Problem(f"the build failed (status {status}): cargo's reason is above")
        step.label = "Built the release binaries: the functions and the operator's command"


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
    authorities = sum(entry["kind"] == "authority" for entry in entries)
    expect((authorities, len(settings)) == (AUTHORITIES, SETTINGS), f"the directory holds {authorities} and {len(settings)}")
    narrator.fact(f"It holds all {AUTHORITIES} authorities, and {SETTINGS:,} invented settings of {len({kind for e in settings for kind in e['care']})} kinds of care")
    return settings


def upload(system: System, council: Council) -> list[dict[str, str]]:
    """An authority's daily file with some bad rows. Returns the rows that were loaded."""
    narrator = system.narrator
    narrator.chapter(f"{council.name} uploads the plans of its children")
    text = system.cpis("generate", "--authority", council.code, "--children", str(CHILDREN), "--seed", str(SEED), "--bad", str(BAD))
    rows = list(csv.DictReader(io.StringIO(text.removeprefix("\ufeff"))))
    narrator.output("\n".join(text.splitlines()[:3]) + f"\n… {len(rows)} records of invented people, {BAD} of them with a mistake")
    query = urllib.parse.urlencode({
        "sequence": system.next_sequence(council), "created": now(), "records": len(rows),
        "emergencyDutyTeamPhone": council.emergency, "officeHoursPhone": council.office,
    })
    narrator.command(f"curl --data-binary @plans.csv '…/v1{council.path}/uploads?{query.split('&')[0]}&…'")
    send = lambda: system.call("POST", f"{council.path}/uploads?{query}", council.token, text.encode(), Content_Type="text/csv")
    answer = send()
    expect(answer.status == 200, f"the upload is answered {answer.status}: {answer.body[:500]!r}")
    acknowledgement = answer.json
    show_acknowledgement(narrator, acknowledgement, answer.milliseconds)
    bad = {entry["row"] for entry in acknowledgement["rejected"]}
    expect(acknowledgement["code"] == "CPF03", "the file is partly loaded (CPF03)")
    expect(len(bad) == BAD and acknowledgement["loaded"] == len(rows) - BAD, f"{BAD} rows are rejected, the others loaded")
    expect(send().body == answer.body, "a resubmitted file gets the first answer")
    narrator.fact("Sent again, as by a system that lost the answer: the same answer, byte for byte")
    return [row for number, row in enumerate(rows, 1) if number not in bad]


def show_acknowledgement(narrator: Narrator, acknowledgement: dict[str, Any], milliseconds: float) -> None:
    """The acknowledgement as its receiver would want to read it."""
    a = acknowledgement
    narrator.fact(
        f"{a['code']}: of {a['records']} records {a['loaded']} loaded, {len(a['rejected'])} rejected"
        f" (sequence {a['sequence']}, {milliseconds:.0f} ms)"
    )
    problems = [(entry, problem) for entry in a["rejected"] for problem in entry["problems"]]
    narrator.table(
        ["row", "code", "detail", "column", "found"],
        [[str(e["row"]), e["code"], p["detail"], p.get("column") or "", shortened(p["found"])] for e, p in problems],
    )
    entry, problem = problems[-1]
    narrator.say(
        f"Each row says what was expected and how to mend it. Row {entry['row']}: found “{problem['found']}”, expected"
        f" {problem['expected']}: {problem['mend']}."
    )


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
    narrator.chapter("A call to 999, then the emergency department")
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
    narrator.fact(f"The child's history names {' and '.join(sorted(set(people)))}  ({answer.milliseconds:.0f} ms)")


def unused_numbers(held: set[str]) -> Iterator[str]:
    """NHS numbers that are valid, never issued and not held, from the highest."""
    for stem in range(999_999_999, 999_000_000, -1):
        digits = f"{stem:09d}"
        check = (11 - sum(int(digit) * weight for digit, weight in zip(digits, range(10, 1, -1))) % 11) % 11
        if check != 10 and f"{digits}{check}" not in held:
            yield f"{digits}{check}"


def notifications(system: System, council: Council, traces: list[str]) -> None:
    """The authority finds the accesses in its mailbox and acknowledges them."""
    narrator = system.narrator
    narrator.chapter(f"{council.name} is told")
    with narrator.step("Waiting for the notifications: outbox, stream, relay, queue, delivery") as step:
        arrived = wait_for("the notifications", DELIVERY_LIMIT, lambda: arrivals(system, council, traces))
        step.label = f"{len(arrived)} notifications are in the mailbox, one for each access"
    expect(len(arrived) == len(traces), f"{len(traces)} accesses raised {len(arrived)} notifications")
    show_notifications(narrator, arrived)
    acknowledge(system, council, arrived)


def arrivals(system: System, council: Council, traces: list[str]) -> list[dict[str, Any]] | None:
    """The unread notifications of these look-ups, once each has come."""
    unread = system.pages(f"{council.path}/notifications", council.token, state="unread")
    found = [each for each in unread if each["traceId"] in traces]
    return sorted(found, key=lambda each: each["at"]) if {each["traceId"] for each in found} == set(traces) else None


def show_notifications(narrator: Narrator, found: list[dict[str, Any]]) -> None:
    """What a social worker reads."""
    narrator.table(
        ["seen at (UTC)", "case", "who", "where", "cannot wait"],
        [
            [each["at"][:19].replace("T", " "), ", ".join(each["localIds"]), viewer(each), each["organisation"]["name"], ", ".join(each["signals"])]
            for each in found
        ],
    )


def viewer(notification: dict[str, Any]) -> str:
    """Name and role of who looked."""
    who = notification["viewer"]
    return f"{who['name']} ({who['jobRole']['display']})" if "jobRole" in who else who["name"]


def acknowledge(system: System, council: Council, found: list[dict[str, Any]]) -> None:
    """Says that the authority has them, and checks that they are no longer unread."""
    for each in found:
        answer = system.call("POST", f"{council.path}/notifications/{each['id']}/acknowledge", council.token)
        expect(answer.status == 200, f"the acknowledgement is answered {answer.status}: {answer.body[:300]!r}")
    wanted = {each["id"] for each in found}
    in_state = lambda state: {each["id"] for each in system.pages(f"{council.path}/notifications", council.token, state=state)}
    expect(wanted <= in_state("acknowledged") and not wanted & in_state("unread"), "they are acknowledged, and no longer unread")
    system.narrator.fact(f"Acknowledged: {len(found)}")
    show_life(system, council, found[0]["id"])


def show_life(system: System, council: Council, notification: str) -> None:
    """A notification is done with, and tells its life."""
    body = json.dumps({"by": "Duty team"}).encode()
    answer = system.call("POST", f"{council.path}/notifications/{notification}/action", council.token, body, Content_Type="application/json")
    expect(answer.status == 200, f"the action is answered {answer.status}: {answer.body[:300]!r}")
    system.narrator.say("The duty team has rung the hospital, and says so. The notification tells its life:")
    system.narrator.table(["step", "at (UTC)", "by"], [[step["step"], step["at"][:23].replace("T", " "), step["by"]] for step in answer.json["life"]])


def push_plan(system: System, council: Council, child: str) -> None:
    """A single plan, for the next look-up."""
    body = {
        "sequence": system.next_sequence(council), "created": now(),
        "authority": {"emergencyDutyTeamPhone": council.emergency, "officeHoursPhone": council.office},
        "record": {
            "nhs_number": child, "local_id": "M-1042", "family_name": "Example", "given_names": "Charlie", "birth_date": "2019-05-04",
            "plan_type": "CPP", "start_date": now()[:10],
        },
    }
    answer = system.call("POST", f"{council.path}/plans", council.token, json.dumps(body).encode(), Content_Type="application/json")
    expect(answer.status == 200 and answer.json["code"] == "CPF02", f"the plan is loaded: {answer.status} {answer.body[:500]!r}")
    system.narrator.fact(f"{answer.json['code']}: loaded, and there for the next look-up  ({answer.milliseconds:.0f} ms)")


def dead_letter(system: System, council: Council, child: str, nurse: str) -> None:
    """A delivery that fails until it is set aside, and is replayed."""
    narrator, trace = system.narrator, str(uuid.uuid4())
    narrator.chapter("A delivery fails, and an operator replays it")
    narrator.say(f"A child protection conference ends in {council.name}: it pushes the one new plan at once.")
    push_plan(system, council, child)
    narrator.say(f"By mistake an operator closes {council.name}. Then the child is seen, and the notification finds no mailbox.")
    narrator.output(system.cpis("directory", "close", "authority", council.code))
    try:
        show_plans(narrator, system.look_up("CareTeam", child, nurse, trace))
        fail_five_times(system, trace)
    finally:
        reopened = system.cpis("directory", "open", "authority", council.code, show=False)
    narrator.output(system.cpis("dlq", "list"))
    letters = json.loads(system.cpis("dlq", "list", "--json", show=False))["groups"]
    expect({"authority-closed"} == {group["reason"] for group in letters}, f"the dead letters say why: {letters}")
    narrator.say("The mistake is found. The operator opens the authority again and sends the notification on its way.")
    narrator.command(f"cpis directory open authority {council.code}")
    narrator.output(reopened)
    narrator.output(system.cpis("dlq", "replay", "--because", "the council is open again"))
    with narrator.step("Waiting for the replayed notification") as step:
        arrived = wait_for("the replayed notification", DELIVERY_LIMIT, lambda: arrivals(system, council, [trace]))
        step.label = "It arrived, once"
    expect(len(arrived) == 1, f"it arrived {len(arrived)} times")
    wait_for("an empty dead-letter queue", DELIVERY_LIMIT, lambda: dead_letters(system) == 0)
    show_notifications(narrator, arrived)
    acknowledge(system, council, arrived)
    narrator.output(system.cpis("status"))


def fail_five_times(system: System, trace: str) -> None:
    """Waits until the notification of a look-up is a dead letter."""
    before, written = dead_letters(system), pathlib.Path(system.stack["logs"]) / "functions" / "cpis-asn-delivery.log"
    with system.narrator.step("Five deliveries fail, with 1, 2, 4 and 8 seconds between them") as step:
        def set_aside() -> bool:
            tries = sum(trace in line and '"asn.' in line for line in written.read_text().splitlines())
            step.note = f"{tries} of 5 failed"
            return dead_letters(system) > before
        wait_for("the dead letter", DEAD_LIMIT, set_aside)
        step.label = "Five deliveries failed, with 1, 2, 4 and 8 seconds between them: it is a dead letter now"


def dead_letters(system: System) -> int:
    """Messages in the dead-letter queue, those just received among them."""
    attributes = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
    queue = system.stack["outputs"]["AsnDlqUrl"]
    answer = stack.client("sqs", system.stack["port"]).get_queue_attributes(QueueUrl=queue, AttributeNames=attributes)
    return sum(int(value) for value in answer["Attributes"].values())


def handover(system: System, child: str, advisor: str, nurse: str, council: Council, officer: str) -> None:
    """Lines to paste."""
    narrator = system.narrator
    narrator.chapter("Now you")
    file = pathlib.Path(system.stack["logs"]).parent / "demo.env"
    write_environment(file, system, {"NURSE": nurse, "ADVISOR": advisor, "COUNCIL": council.token, "OFFICER": officer})
    patient = f"--data-urlencode 'patient:identifier={NHS_NUMBER}|{child}'"
    search = lambda resource, who: f'curl -sS "$API/cpis/FHIR/R4/{resource}/_search" -H "Authorization: Bearer ${who}" -H "TraceID: {uuid.uuid4()}" {patient}'
    narrator.say("In another terminal. The tokens hold for twelve hours, on this system only.")
    for what, line in {
        "First: the API's address, the tokens, and what `cpis` needs": f". {shlex.quote(str(file))}",
        "A nurse looks the child up": search("CareTeam", "NURSE"),
        "A health advisor asks who looked before": search("AuditEvent", "ADVISOR"),
        "The authority reads its mailbox": f'curl -sS "$API{council.path}/notifications?state=unread" -H "Authorization: Bearer $COUNCIL"',
        "The hospital's privacy officer asks who of the hospital looked at the child": f'curl -sS "$API{guard.SEARCH}" -H "Authorization: Bearer $OFFICER" -d child={child}',
        "The operator": "cpis status; cpis --help",
    }.items():
        narrator.line()
        narrator.say(f"{what}:")
        narrator.line(f"   {line}")
    narrator.line()
    narrator.say(f"What the functions write is in {system.stack['logs']}/functions/")


def write_environment(file: pathlib.Path, system: System, tokens: dict[str, str]) -> None:
    """A file for the shell, readable by its owner alone."""
    file.unlink(missing_ok=True)
    names = {"API": system.stack["api"]["url"]} | tokens | system.stack["env"]
    with open(os.open(file, os.O_WRONLY | os.O_CREAT, 0o600), "w") as out:
        out.writelines(f"export {name}={shlex.quote(value)}\n" for name, value in names.items())
        out.write(f'export PATH={shlex.quote(str(system.tool.parent))}:"$PATH"\n')


def stay_up(system: System) -> None:
    """Keeps the system up until Ctrl-C, and says so if it should end by itself."""
    system.narrator.line()
    system.narrator.line(system.narrator.styled("1", "The system is up. Ctrl-C ends it."))
    try:
        while stack.is_ours(system.stack["pid"]):
            time.sleep(0.5)
    except KeyboardInterrupt:
        return
    raise Problem("the emulator ended by itself; its log is target/local/logs/emulator.log")


def tell(narrator: Narrator, settings: stack.Settings) -> None:
    """The whole story."""
    narrator.title(
        "Child Protection – Information Sharing",
        "A register of children known to social care: an authority uploads their plans, a hospital or a 999 control room sees"
        " the flag, and the authority is told. Everything below happens on this machine, with invented people.",
    )
    stack.check(settings)
    build(narrator)
    system, started = start(narrator, settings)
    try:
        play(system)
        if os.environ.get("DEMO_EXIT") != "1":
            stay_up(system)
    finally:
        if started:
            stack.down(settings)
            narrator.line()
            narrator.line("Stopped.")


def play(system: System) -> None:
    """The story on the running system."""
    settings, narrator = load_directory(system), system.narrator
    council = lambda code, *more: Council(code, more[0], system.token("authority", code, "--minutes", "720"), *more[1:])
    first = council("E06000001", "Hartlepool", "01632 960101", "01632 960102")
    second = council("E06000002", "Middlesbrough", "01632 960201", "01632 960202")
    advisor, nurse = health_advisor(system, settings), emergency_nurse(system, settings)
    loaded = upload(system, first)
    current = [row for row in loaded if row["plan_type"] == "CPP" and not row["end_date"] and not row["delete_date"]]
    expect(current, "the file has a child with a plan that runs")
    child, held = current[0]["nhs_number"], {row["nhs_number"] for row in loaded}
    newcomer, unknown = (number for number, _ in zip(unused_numbers(held), range(2)))
    traces = look_ups(system, child, advisor, nurse, unknown)
    notifications(system, first, traces)
    dead_letter(system, second, newcomer, nurse)
    guard.refusals(system, settings, first, second, child)
    officer = guard.trail(system, settings, child)
    guard.log(system, child)
    narrator.line()
    narrator.fact(f"The story holds. Told in {time.monotonic() - narrator.began:.0f} s.")
    handover(system, child, advisor, nurse, first, officer)


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--port", type=int, default=stack.Settings.port, help="of the emulator; 0: any free one; default %(default)s")
    given = parser.parse_args()
    stack.forget_account()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.default_int_handler)
    narrator = Narrator()
    try:
        tell(narrator, stack.Settings(port=given.port))
    except KeyboardInterrupt:
        return 130
    except stack.FAILURES as problem:
        print(f"error: {problem}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
