"""The look-up of `flag-lookup` as a Python function: what its speed is compared with.

The same two DynamoDB calls (read the plans, record the access) and the same answer to a `CareTeam` search by a person, for
plans whose authority gave one telephone number. The benchmark checks that both answers are equal.
"""

import base64
import hashlib
import hmac
import json
import os
import uuid
from datetime import UTC, date, datetime

import boto3

DYNAMODB = boto3.client("dynamodb")
PLANS, ACCESSES, OUTBOX = (os.environ[f"{name}_TABLE"] for name in ("PLANS", "ACCESSES", "OUTBOX"))
SECRET = os.environ["CHILD_KEY_SECRET"].encode()
NHS_NUMBERS = "https://fhir.nhs.uk/Id/nhs-number"
RESOURCE_IDS = uuid.UUID("2b1f96d4-70ce-4a59-8f0d-5d0c6b7a31e2")
UNSCHEDULED = {"emergency-department", "maternity", "paediatric-ward"}
ACCESS_IDS = uuid.UUID("6e0f2d5c-41a3-4b8e-9c77-2f8d5a1bc0de")


def handler(event, _context):
    began = datetime.now(UTC)
    headers = {name.lower(): value for name, value in event["headers"].items()}
    authorizer = event["requestContext"]["authorizer"]
    caller, standing = json.loads(authorizer["caller"]), json.loads(authorizer["standing"])["health"].get("setting")
    number = nhs_number(event["queryStringParameters"]["patient:identifier"])
    if "B0107" not in caller["activities"] or not takes_part(standing) or not number:
        return {"statusCode": 403 if number else 400, "body": ""}
    child = base64.urlsafe_b64encode(hmac.digest(SECRET, number.encode(), hashlib.sha256)).rstrip(b"=").decode()
    plans = plans_of(child)
    access = record(child, number, plans, caller, standing, headers)
    body = json.dumps(bundle(child, number, plans, began), separators=(",", ":"))
    log(began, plans, access, headers)
    return {"statusCode": 200, "headers": {"content-type": "application/fhir+json"}, "body": body, "isBase64Encoded": False}


def takes_part(setting):
    today = date.today().isoformat()
    open_now = setting and setting["status"] == "open" and setting["from"] <= today <= setting.get("until", today)
    return open_now and UNSCHEDULED & set(setting["care"])


def nhs_number(token):
    system, _, digits = token.partition("|")
    if system != NHS_NUMBERS or len(digits) != 10 or not digits.isdigit():
        return None
    check = 11 - sum(int(digit) * (10 - place) for place, digit in enumerate(digits[:9])) % 11
    return digits if check % 11 == int(digits[9]) else None


def plans_of(child):
    found = DYNAMODB.query(
        TableName=PLANS,
        ConsistentRead=True,
        KeyConditionExpression="child = :child",
        ExpressionAttributeValues={":child": {"S": child}},
    )
    return [plan for plan in found["Items"] if visible(plan)]


def visible(plan):
    today, birth = date.today(), date.fromisoformat(plan["birthDate"]["S"])
    grown_up = (today.year - birth.year, today.month, today.day) >= (18, birth.month, birth.day)
    return plan["known"]["BOOL"] and "deleted" not in plan and "end" not in plan and not grown_up


def record(child, number, plans, caller, setting, headers):
    person, organisation = caller["person"], caller["organisation"]
    identity = f"person:{person['user']}"
    access = name_based(ACCESS_IDS, headers["x-request-id"], identity, organisation["code"], "CareTeam", child)
    owed = [
        {"M": {"authority": plan["authority"], "localIds": {"L": [plan["localId"]] if "localId" in plan else []}}}
        for plan in plans
    ]
    item = {
        "child": {"S": child},
        "id": {"S": access},
        "at": {"S": moment(datetime.now(UTC))},
        "requester": {"M": {"person": attribute(person)}},
        "organisation": attribute(organisation),
        "organisationCode": {"S": organisation["code"]},
        "person": {"S": person["user"]},
        "ledger": {"S": "due"},
        "interaction": {"S": "CareTeam"},
        "unscheduled": {"BOOL": True},
        "disclosed": {"L": [plan["plan"] for plan in plans]},
        "owed": {"L": owed},
        "traceId": {"S": headers["traceid"]},
        "care": {"L": [{"S": kind} for kind in setting["care"] if kind in UNSCHEDULED]},
        "region": {"S": setting["region"]},
    }
    put = {
        "TableName": ACCESSES,
        "Item": item,
        "ConditionExpression": "attribute_not_exists(child)",
        "ReturnValuesOnConditionCheckFailure": "ALL_OLD",
    }
    if owed:
        item |= {"nhsNumber": {"S": number}}
        position = f"{item['at']['S']}#{child}#{access}"
        entry = {"TableName": OUTBOX, "Item": item | {"mark": {"S": "owed"}, "at_child_id": {"S": position}}}
        DYNAMODB.transact_write_items(TransactItems=[{"Put": put}, {"Put": entry}])
    else:
        DYNAMODB.put_item(**put)
    return access


def attribute(value):
    if isinstance(value, dict):
        return {"M": {name: attribute(inner) for name, inner in value.items()}}
    return {"S": value}


def bundle(child, number, plans, now):
    entries = [entry(care_team(child, number, plan), "match") for plan in plans]
    sentences = [
        f"Ring {phone(plan)} now: emergency duty team of {plan['authorityName']['S']} (the number at all times)."
        for plan in plans
    ]
    entries.append(entry(advice(child, sentences), "outcome"))
    return {
        "resourceType": "Bundle",
        "type": "searchset",
        "timestamp": moment(now),
        "total": len(plans),
        "link": [{"relation": "self", "url": "/cpis/FHIR/R4/CareTeam"}],
        "entry": entries,
    }


def care_team(child, number, plan):
    authority = {
        "identifier": {"system": "http://statistics.data.gov.uk/id/statistical-geography", "value": plan["authority"]["S"]},
        "display": plan["authorityName"]["S"],
    }
    coding = {"system": "http://snomed.info/sct", "code": "342191000000101", "display": "Subject to child protection plan"}
    return {
        "resourceType": "CareTeam",
        "id": name_based(RESOURCE_IDS, child, "CareTeam", plan["plan"]["S"]),
        "meta": {
            "lastUpdated": plan["updated"]["S"],
            "profile": ["https://fhir.nhs.uk/England/StructureDefinition/England-CareTeam-Flag"],
        },
        "status": "active",
        "category": [{"coding": [coding]}],
        "name": plan["authorityName"]["S"],
        "subject": {"identifier": {"system": NHS_NUMBERS, "value": number}},
        "period": {"start": plan["start"]["S"]},
        "managingOrganization": [authority],
        "telecom": [{"system": "phone", "value": phone(plan), "use": "mobile", "rank": 1}],
    }


def advice(child, sentences):
    issues = [{"severity": "information", "code": "informational", "diagnostics": sentence} for sentence in sentences]
    return {
        "resourceType": "OperationOutcome",
        "id": name_based(RESOURCE_IDS, child, "OperationOutcome", "\n".join(sentences)),
        "meta": {"profile": ["https://fhir.hl7.org.uk/StructureDefinition/UKCore-OperationOutcome"]},
        "issue": issues,
    }


def entry(resource, mode):
    return {"fullUrl": f"urn:uuid:{resource['id']}", "resource": resource, "search": {"mode": mode}}


def phone(plan):
    return plan["contact"]["M"]["emergencyDutyTeamPhone"]["S"]


def name_based(space, *parts):
    return str(uuid.uuid5(space, "".join(f"{len(part.encode())}:{part}" for part in parts)))


def moment(at):
    return at.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def log(began, plans, access, headers):
    line = {
        "service": "twin",
        "event": "lookup.disclosed" if plans else "lookup.nothing-held",
        "accessId": access,
        "requestId": headers["x-request-id"],
        "traceId": headers["traceid"],
        "durationMs": (datetime.now(UTC) - began).total_seconds() * 1000,
    }
    print(json.dumps(line))
