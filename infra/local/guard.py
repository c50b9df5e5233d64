"""Two chapters of the demo's story: who is refused, and the trail that refusals and look-ups leave."""
import base64
import collections
import concurrent.futures
import csv
import io
import itertools
import json
import pathlib
import urllib.parse
from collections.abc import Iterator
from typing import Any

from stack import wait_for
from system import Call, Council, System, expect, shortened

HOSPITAL, SURGERY, INJURIES, CRISIS_TEAM = "ZX001", "ZX003", "ZX004", "ZX005"
CLINIC, DENTISTS, OVERSIGHT = "ZX009", "ZX00C", "ZX00D"
"""Settings of the synthetic directory."""
NOT_LISTED = "ZX0ZZ"
SEARCH = "/cpis/audit/accesses/_search"
GUESSES = 130
"""Look-ups of children of whom nothing is held, in a row: more than anybody makes in a surgery."""


class Staff:
    """Whoever signs in at the settings of the synthetic directory."""

    def __init__(self, system: System, settings: list[dict[str, Any]]):
        self.system, self.names = system, {entry["code"]: entry["name"] for entry in settings}

    def token(self, code: str, name: str, job_role: str, *activities: str) -> str:
        """The token of somebody with a job role and activities there; an invented user id goes with the name."""
        user = str(555000000000 + sum(map(ord, name)))
        who = ["--user", user, "--name", name, "--job-role", job_role, "--org-code", code, "--org-name", self.names.get(code, "Not Listed")]
        return self.system.token("person", "--minutes", "720", *who, *(part for activity in activities for part in ("--activity", activity)))


def refusals(system: System, settings: list[dict[str, Any]], first: Council, second: Council, child: str) -> None:
    """One refusal of each kind. Each says why."""
    narrator, staff = system.narrator, Staff(system, settings)
    narrator.chapter("Who is not let in")
    look = lambda token, **headers: system.look_up("CareTeam", child, token, **headers)
    refused = lambda status, who, answer: show_refusal(system, status, who, answer)
    refused(403, "A hospital that the directory does not know", look(staff.token(NOT_LISTED, "Sam Stranger", "R8001", "B0107")))
    minor = staff.token(INJURIES, "Billie Bandage", "R8001", "B0107", "B0170")
    refused(403, "A minor injury unit that claims the visit was an appointment", look(minor, IsUnscheduledAccessEvent="false"))
    refused(403, "A dentist whose pilot is over", look(staff.token(DENTISTS, "Dale Dental", "R0050", "B0107")))
    refused(403, "A receptionist of a mental health crisis team", look(staff.token(CRISIS_TEAM, "Rae Reception", "R8008", "B0107")))
    clinician = staff.token(CLINIC, "Kim Kindly", "R8001", "B0107")
    refused(403, "A sexual health clinic that does not say the patient consented", look(clinician))
    refused(403, f"{second.name}, reading the mailbox of {first.name}", system.call("GET", f"{first.path}/notifications", second.token))
    refused(401, f"The same, its token rewritten to say {first.name}", system.call("GET", f"{first.path}/notifications", forged(second.token, first.code)))
    nurse = staff.token(HOSPITAL, "Noor Nosy", "R8001", "B0107", "B0170")
    refused(403, "A nurse, searching who looked at whom", search(system, nurse, child=child))
    scraper(system, staff)
    narrator.say("With the patient's consent the clinic sees the plan, and the authority is told that somebody has; not who, nor where:")
    consented = look(clinician, PatientConsent="true")
    expect(consented.status == 200 and consented.json["total"] > 0, f"with consent the clinic sees the plan: {consented.status}")
    narrator.fact(f"200  The same clinic, with consent  ({consented.milliseconds:.0f} ms)")
    told = wait_for("the notification", 60, lambda: withheld(system, first))
    expect("Kim Kindly" not in json.dumps(told) and CLINIC not in json.dumps(told), f"the notification says nothing: {told}")
    narrator.quote(f"{told[-1]['viewer']['name']}. {told[-1]['organisation']['name']}.")


def scraper(system: System, staff: Staff) -> None:
    """Somebody with a stolen card tries one number after the other, and is stopped."""
    token = staff.token(SURGERY, "Sly Scraper", "R0260", "B0170")
    ask = lambda number: system.look_up("CareTeam", number, token, IsUnscheduledAccessEvent="false")
    numbers = list(itertools.islice(nhs_numbers(999_700_000), GUESSES))
    with system.narrator.step(f"A surgery's stolen card tries {GUESSES} numbers, one after the other") as step:
        with concurrent.futures.ThreadPoolExecutor(4) as pool:
            list(pool.map(ask, numbers))
        stopped = wait_for("the stop", 60, lambda: next((answer for answer in [ask(numbers[0])] if answer.status == 429), None))
        step.label = f"A surgery's stolen card tried {GUESSES} numbers, one after the other"
    show_refusal(system, 429, "The next one that it tries", stopped)


def nhs_numbers(stem: int) -> Iterator[str]:
    """Valid numbers from a stem of nine digits on, of those that are never issued."""
    for nine in itertools.count(stem):
        digit = 11 - sum(int(d) * weight for d, weight in zip(str(nine), range(10, 1, -1))) % 11
        if digit != 10:
            yield f"{nine}{digit % 11}"


def withheld(system: System, council: Council) -> list[dict[str, Any]]:
    """The authority's unread notifications that do not say who looked."""
    unread = system.pages(f"{council.path}/notifications", council.token, state="unread")
    return [each for each in unread if "code" not in each["organisation"]]


def show_refusal(system: System, status: int, who: str, answer: Call) -> None:
    """The status, and the service's own words where it is not the emulator's gateway that answers."""
    expect(answer.status == status, f"{who}: {answer.status}, not {status}: {answer.body[:300]!r}")
    system.narrator.fact(f"{status}  {who}")
    if b"OperationOutcome" in answer.body:
        system.narrator.quote(answer.json["issue"][0]["diagnostics"])


def forged(token: str, authority: str) -> str:
    """A token whose claims name another authority, under the signature of the old ones."""
    header, claims, signature = token.split(".")
    told = json.loads(base64.urlsafe_b64decode(claims + "=="))
    told["cpis"]["authority"] = authority
    return ".".join([header, base64.urlsafe_b64encode(json.dumps(told).encode()).decode().rstrip("="), signature])


def search(system: System, token: str, accept: str = "application/json", **query: str) -> Call:
    """A search of the accesses."""
    form = urllib.parse.urlencode(query).encode()
    return system.call("POST", SEARCH, token, form, Content_Type="application/x-www-form-urlencoded", Accept=accept)


def found(system: System, token: str, **query: str) -> list[dict[str, Any]]:
    """Every access that a search finds, page by page."""
    items: list[dict[str, Any]] = []
    while True:
        answer = search(system, token, **query)
        expect(answer.status == 200, f"the search is answered {answer.status}: {answer.body[:300]!r}")
        items += answer.json["items"]
        if "next" not in answer.json:
            return items
        query["cursor"] = answer.json["next"]


def trail(system: System, settings: list[dict[str, Any]], child: str) -> str:
    """What the look-ups and refusals have left, and who may see it. Returns the token of the hospital's privacy officer."""
    narrator, staff = system.narrator, Staff(system, settings)
    narrator.chapter("The trail that they left")
    guardian = staff.token(OVERSIGHT, "Gil Guardian", "R8008", "R5105")
    narrator.say("A Caldicott guardian with national oversight asks who looked at the child, and who tried:")
    narrator.command(f"curl $API{SEARCH} -H 'Authorization: …' --data-urlencode child=…")
    items = found(system, guardian, child=child)
    show_trail(system, items)
    codes = {item["refused"] for item in items if "refused" in item}
    wanted = {"organisation-unknown", "only-unscheduled-care", "pilot-not-running", "pilot-role"}
    expect(wanted <= codes, f"each refusal is in the trail: {codes}")
    label = [item for item in items if item["viewer"]["kind"] == "withheld"]
    expect(len(label) >= 2 and "Kim Kindly" not in json.dumps(items), "the clinic's look-ups stand under a generic label")
    officer = staff.token(CLINIC, "Pat Privacy", "R8008", "R0001")
    own = found(system, officer, child=child)
    names = {item["viewer"]["name"] for item in own}
    expect(names == {"Kim Kindly"}, f"the clinic's own privacy officer sees the clinic's own: {names}")
    narrator.fact(f"The clinic's own privacy officer sees who it was, and nobody else's look-ups: {len(own)} of the {len(items)}")
    table = search(system, guardian, "text/csv", child=child)
    rows = list(csv.reader(io.StringIO(table.body.decode())))
    expect(table.status == 200 and len(rows) == len(items) + 1, f"the table has all of them: {table.status}, {len(rows)} lines")
    narrator.fact(f"The same as a table for a spreadsheet (Accept: text/csv): {len(rows) - 1} rows of {len(rows[0])} columns")
    return staff.token(HOSPITAL, "Penny Privacy", "R8008", "R0001")


def log(system: System, child: str) -> None:
    """The audit log: every entry is there, an operator checks a copy, and one changed letter is found."""
    narrator, copy = system.narrator, pathlib.Path(system.stack["logs"]).parent / "audit.jsonl"
    narrator.say("Each look-up, refusal, upload and search is an entry of the audit log, chained by hash. An operator checks a copy of it:")
    with narrator.step("Waiting for the refusals to be written into it") as step:
        entries = wait_for("the entries", 60, lambda: exported(system, copy))
        step.label = f"The log holds {len(entries)} entries, every refusal among them"
    counted = collections.Counter(entry["kind"] for entry in entries)
    narrator.table(["entries", "of kind"], [[f"{count:7}", kind] for kind, count in counted.most_common()])
    narrator.command("cpis audit export --out audit.jsonl")
    shown = lambda: narrator.output(system.cpis("audit", "verify", str(copy), show=False).replace(f"{copy.parent}/", ""))
    narrator.command("cpis audit verify audit.jsonl")
    shown()
    narrator.say("Somebody makes the nosy nurse's refused search look harmless. One word of one entry is another now:")
    text = copy.read_text()
    copy.write_text(text.replace("not-an-officer", "nothing-wrong", 1))
    narrator.command("cpis audit verify audit.jsonl")
    shown()
    told = json.loads(system.cpis("audit", "verify", str(copy), "--json", show=False))
    expect(told["whole"] is False, "the changed copy is not whole")
    expect(child not in text, "the log holds no child's number")
    copy.unlink()


def exported(system: System, copy: pathlib.Path) -> list[dict[str, Any]] | None:
    """A fresh copy of the log, once the refusals are in it."""
    copy.unlink(missing_ok=True)
    system.cpis("audit", "export", "--out", str(copy), show=False)
    entries = [json.loads(line) for line in copy.read_text().splitlines()]
    refused = {entry["details"].get("refused") for entry in entries}
    return entries if {"organisation-unknown", "no-consent", "not-an-officer"} <= refused else None


def show_trail(system: System, items: list[dict[str, Any]]) -> None:
    """The newest of them, as an officer reads them."""
    names = lambda item: [shortened(item["viewer"]["name"], 24), shortened(item["organisation"]["name"], 37)]
    row = lambda item: [item["at"][11:19], item.get("refused", item["outcome"]), *names(item)]
    system.narrator.table(["at (UTC)", "outcome", "who", "where"], [row(item) for item in items[:12]])
