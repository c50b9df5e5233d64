"""The template's linters: cfn-lint with AWS's serverless rules, and checkov; what they find must be explained in suppressions.yaml.

    python infra/local/lint.py TOOLS_VENV CHECKOV_VENV

Exit status: 0 nothing unexplained, 1 a finding without a reason or a reason without a finding, 2 a linter that did not run.
"""
import fnmatch
import json
import pathlib
import subprocess
import sys
from typing import Any, NamedTuple

import yaml

ROOT = pathlib.Path(__file__).resolve().parents[2]
SUPPRESSIONS = pathlib.Path(__file__).with_name("suppressions.yaml")
SHORTEST_REASON = 40
"""Characters below which a reason explains nothing."""


class Finding(NamedTuple):
    """What a linter says of a resource."""

    rule: str
    resource: str
    says: str


def run(*command: str | pathlib.Path, ends: tuple[int, ...]) -> Any:
    """What a linter prints, as JSON; other exit statuses than these mean that it did not run."""
    done = subprocess.run([str(word) for word in command], cwd=ROOT, capture_output=True, text=True)
    if done.returncode not in ends:
        print(f"error: {command[0]} ended with {done.returncode}: {done.stderr.strip()[-2000:]}", file=sys.stderr)
        sys.exit(2)
    return json.loads(done.stdout)


def cfn_lint(venv: pathlib.Path) -> list[Finding]:
    """Its exit status is a sum of bits: 2 errors, 4 warnings, 8 information."""
    found = run(venv / "bin/cfn-lint", "template.yaml", "--append-rules", "cfn_lint_serverless.rules", "--format", "json", ends=tuple(range(0, 16, 2)))
    return [
        # The name after `Resources`; other parts of the template are named as they are.
        Finding(one["Rule"]["Id"], "/".join(map(str, one["Location"]["Path"][:2])).removeprefix("Resources/"), one["Message"])
        for one in found
    ]


def checkov(venv: pathlib.Path) -> list[Finding]:
    """Without its maker's platform: nothing is fetched, nothing sent."""
    report = run(
        venv / "bin/checkov", "--file", "template.yaml", "--framework", "cloudformation", "--skip-download", "--quiet", "--output", "json", ends=(0, 1)
    )
    if report["summary"]["parsing_errors"] or not report["summary"]["passed"]:
        print("error: checkov could not read template.yaml", file=sys.stderr)
        sys.exit(2)
    return [Finding(one["check_id"], one["resource"].split(".")[-1], one["check_name"]) for one in report["results"]["failed_checks"]]


# R69
def judge(findings: list[Finding], suppressions: list[dict[str, Any]]) -> list[str]:
    """What is wrong: unexplained findings, entries without a reason, names in them that match nothing."""
    wrong, explained = [], set()
    for entry in suppressions:
        if set(entry) != {"rule", "resources", "reason"} or len(entry["reason"]) < SHORTEST_REASON:
            wrong.append(f"suppression of {entry.get('rule')}: say rule, resources and a reason of {SHORTEST_REASON} characters or more")
            continue
        for name in entry["resources"]:
            hits = {f for f in findings if f.rule == entry["rule"] and fnmatch.fnmatchcase(f.resource, name)}
            explained |= hits
            if not hits:
                wrong.append(f"suppression of {entry['rule']} on {name}: finds nothing any more, take it out")
    return wrong + [f"{f.rule} {f.resource}: {f.says}" for f in findings if f not in explained]


def test_judge() -> None:
    """Each way to be wrong is found, and a good pair is not."""
    found, reason = [Finding("R1", "Queue", "no key")], "x" * SHORTEST_REASON
    for expected, findings, suppressions in [
        (0, found, [{"rule": "R1", "resources": ["Q*"], "reason": reason}]),
        (1, found, []),
        (2, found, [{"rule": "R1", "resources": ["Queue"], "reason": "because"}]),
        (2, found, [{"rule": "R1", "resources": ["Queue"]}]),
        (2, found, [{"rule": "R2", "resources": ["Queue"], "reason": reason}]),
        (1, found, [{"rule": "R1", "resources": ["Queue", "Topic"], "reason": reason}]),
        (1, [], [{"rule": "R1", "resources": ["Queue"], "reason": reason}]),
    ]:
        if len(judge(findings, suppressions)) != expected:
            sys.exit(f"error: lint.py is broken: {suppressions} gives {judge(findings, suppressions)}")


def main() -> int:
    """Runs them and says what is wrong."""
    test_judge()
    tools, scanner = map(pathlib.Path, sys.argv[1:3])
    findings = cfn_lint(tools) + checkov(scanner)
    wrong = judge(findings, yaml.safe_load(SUPPRESSIONS.read_text()))
    print(*wrong, sep="\n", end="\n" if wrong else "")
    print(f"template.yaml: {len(findings)} findings explained" if not wrong else f"template.yaml: {len(wrong)} to mend")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
