"""What schemathesis must know of this API beyond openapi.yaml; `run.py` names this file to it and sets the variables."""
import gzip
import os

import schemathesis
from hypothesis import strategies as st

AUTHORITY = "E06000001"
EXAMPLE_NOTIFICATION = "4f1dd6c2-6c06-5b1c-8a58-2b3f64f6c9a1"

HEADER = "nhs_number,local_id,family_name,given_names,birth_date,plan_type,start_date,end_date,delete_date"
ROW = st.tuples(
    st.sampled_from(["9990000018", "999 000 0026", "9990000019", "A123", ""]),
    st.sampled_from(["", "HP-1", "x" * 201]),
    st.text(max_size=9),
    st.sampled_from(["Robin Lee", ""]),
    st.sampled_from(["2019-06-01", "01/06/2019", "31/02/2020", "2999-01-01", "1990-01-01"]),
    st.sampled_from(["CPP", "lac", "UCP", "CIN"]),
    st.sampled_from(["2026-01-31", "", "soon"]),
    st.sampled_from(["", "2026-02-01", "2020-01-01"]),
    st.sampled_from(["", "2026-02-01"]),
).map(",".join)
CSV = st.lists(ROW, max_size=4).map(lambda rows: "\n".join([HEADER, *rows]))
BODY = st.one_of(CSV.map(str.encode), st.binary(max_size=200))

schemathesis.openapi.media_type("application/gzip", st.one_of(BODY.map(gzip.compress), BODY))


@schemathesis.serializer("text/csv")
def csv(context, value):
    """The bytes of a file."""
    return value if isinstance(value, bytes) else str(value).encode(errors="surrogatepass")


@schemathesis.hook
def flatmap_body(context, body):
    """Instead of any text, often one that is nearly a file."""
    return st.one_of(st.just(body), CSV) if isinstance(body, str) else st.just(body)


@schemathesis.hook
def before_call(context, case, kwargs):
    """Gives each call the token of whoever makes it, its own authority, and a notification that is there."""
    tags = case.operation.tags or []
    if "Service" not in tags:
        whose = {"Look-up": "HEALTH", "Audit": "OFFICER"}.get(tags[0], "AUTHORITY")
        token = os.environ[f"CPIS_TEST_{whose}_TOKEN"]
        case.headers["Authorization"] = f"Bearer {token}"
    # Other authorities' paths are refused by the gateway, whose answers an emulator does not shape: run.py tries one.
    if "gss" in case.path_parameters:
        case.path_parameters["gss"] = AUTHORITY
    if case.path_parameters.get("id") == EXAMPLE_NOTIFICATION:
        case.path_parameters["id"] = os.environ["CPIS_TEST_NOTIFICATION"]
    # A policy's `*` matches no line break in an emulator's gateway, which then refuses by itself, too.
    for name, value in case.path_parameters.items():
        if isinstance(value, str):
            case.path_parameters[name] = value.replace("\n", "-").replace("%0A", "-")
