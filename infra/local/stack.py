"""The whole stack on this machine: the emulator on 127.0.0.1, and template.yaml deployed to it unchanged.

Run it with the emulator's virtual environment (`make` does):

    python infra/local/stack.py up [--port 4566]    start, deploy, say where it is; a running one is reused if nothing changed
    python infra/local/stack.py down                stop it
    python infra/local/stack.py logs [FUNCTION]     print what the functions wrote

All it writes is under --dir (target/local): stack.json (what a client must know), logs/, tmp/; the token issuer's key and
key set are in target/issuer. Exit status: 0 well, 1 a problem (one line on stderr says what to do), 2 usage.
"""
import sys

if sys.version_info < (3, 11):
    sys.exit(f"error: Python 3.11 or later is needed and this is {sys.version.split()[0]}: set PYTHON=python3.11")

import argparse
import concurrent.futures
import dataclasses
import hashlib
import json
import os
import pathlib
import platform
import re
import shutil
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
import zipfile
from collections.abc import Callable
from typing import Any

try:
    import boto3
    import botocore.config
    import botocore.exceptions
except ImportError:
    sys.exit("error: the emulator's virtual environment is missing: run `make demo` or `make test`, which make it")

ROOT = pathlib.Path(__file__).resolve().parents[2]
ISSUER_DIR = ROOT / "target" / "issuer"
HOST, REGION, STAGE, STACK = "127.0.0.1", "eu-west-2", "v1", "cpis"
ISSUER, AUDIENCE = "https://issuer.cpis.invalid", "https://api.cpis.invalid"
DEPLOY_BUCKET, KEYS_BUCKET = "cpis-deploy", "cpis-keys"
NEED_FREE = 500 * 2**20
"""Bytes that must be free before anything is started."""
START_LIMIT, DEPLOY_LIMIT, STOP_LIMIT = 60, 180, 15
"""Seconds after which starting, deploying and stopping count as failed."""
CODE_URI = re.compile(r"""^(\s*CodeUri:\s*)["']?(?:\./)?target/lambda/([a-z-]+)/?["']?[ \t]*$""", re.M)
"""The only lines of the template that differ locally: those that `sam package` rewrites, in the same way."""


class Problem(Exception):
    """What is wrong and what to do about it, in one line; the tail of a log may follow."""


FAILURES = (Problem, botocore.exceptions.BotoCoreError, botocore.exceptions.ClientError, OSError)
"""What ends a command with one line; anything else is a mistake in these programs."""


@dataclasses.dataclass(frozen=True)
class Settings:
    """Where a stack lives and what it is made of."""

    dir: pathlib.Path = ROOT / "target" / "local"
    port: int = 4566
    """0: any free port."""
    binaries: pathlib.Path = ROOT / "target" / "release"
    template: pathlib.Path = ROOT / "template.yaml"
    log_level: str = "INFO"
    say: Callable[[str], None] = lambda line: print(line, file=sys.stderr, flush=True)

    @property
    def file(self) -> pathlib.Path:
        """What `up` leaves for clients."""
        return self.dir / "stack.json"


# --- what is there before anything is started ---------------------------------------------------------------------------


def functions(settings: Settings) -> dict[str, pathlib.Path]:
    """The functions that the template names, each with its binary."""
    if not settings.template.is_file():
        raise Problem(f"{settings.template} is missing: is the checkout complete?")
    names = sorted({name for _, name in CODE_URI.findall(settings.template.read_text())})
    found = {name: settings.binaries / f"cpis-{name}" for name in names}
    if missing := [name for name, path in found.items() if not path.is_file()]:
        raise Problem(f"no binary of {', '.join(missing)} in {settings.binaries}: run `cargo build --release`")
    return found


def check_space(path: pathlib.Path) -> None:
    """Fails where the disk has less than `NEED_FREE` left."""
    path.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(path).free
    if free < NEED_FREE:
        raise Problem(f"only {free >> 20} MB are free on the disk of {path}, {NEED_FREE >> 20} MB are needed: make room")


def free_port(wanted: int) -> int:
    """`wanted`, or any free port where it is 0."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, wanted))
        except OSError as error:
            raise Problem(f"port {wanted} of {HOST} cannot be used ({error.strerror}): stop what holds it, or set PORT=…") from None
        return probe.getsockname()[1]


def fingerprint(settings: Settings, binaries: dict[str, pathlib.Path]) -> str:
    """A hash of all that a running stack was made from."""
    digest = hashlib.sha256(settings.log_level.encode())
    here = pathlib.Path(__file__).parent
    for path in [settings.template, here / "stack.py", here / "emulator.py", ISSUER_DIR / "jwks.json", *binaries.values()]:
        digest.update(path.read_bytes())
    return digest.hexdigest()


def ensure_issuer(settings: Settings) -> None:
    """Makes the local token issuer's key and key set, once."""
    files = [ISSUER_DIR / name for name in ("issuer-key.pem", "jwks.json")]
    if all(file.is_file() for file in files):
        return
    for file in files:  # one without the other is of no use
        file.unlink(missing_ok=True)
    tool = settings.binaries / "cpis"
    if not tool.is_file():
        raise Problem(f"{tool} is missing: run `cargo build --release`")
    made = subprocess.run([tool, "token", "init", "--dir", ISSUER_DIR], capture_output=True, text=True)
    if made.returncode:
        raise Problem(f"`cpis token init` failed: {made.stderr.strip()}")


def wait_for(what: str, limit: float, attempt: Callable[[], Any]) -> Any:
    """The first truthy result of `attempt`, asked ten times a second for at most `limit` seconds."""
    end = time.monotonic() + limit
    while not (found := attempt()):
        if time.monotonic() > end:
            raise Problem(f"{what}: not within {limit:g} s")
        time.sleep(0.1)
    return found


def request(method: str, url: str, headers: dict[str, str], body: bytes | None) -> tuple[int, bytes]:
    """Status and body of one HTTP exchange, past any proxy; status 0 where nobody answers."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(urllib.request.Request(url, body, headers, method=method), timeout=60) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        return error.code, error.read()
    except OSError:
        return 0, b""


def get(url: str) -> tuple[int, bytes]:
    """Status and body of a plain GET."""
    return request("GET", url, {}, None)


def forget_account() -> None:
    """Drops the user's AWS profile, credentials and proxy from this process: all that is meant here is on this machine."""
    for key in [key for key in os.environ if key.startswith("AWS_") or key.lower() in ("http_proxy", "https_proxy", "all_proxy")]:
        del os.environ[key]


# --- the emulator's process ---------------------------------------------------------------------------------------------


def is_ours(pid: int) -> bool:
    """Whether `pid` is a running emulator of this project."""
    try:
        if pathlib.Path("/proc/self").exists():
            return b"emulator.py" in pathlib.Path(f"/proc/{pid}/cmdline").read_bytes()
        shown = subprocess.run(["ps", "-o", "command=", "-p", str(pid)], capture_output=True, text=True)
        return "emulator.py" in shown.stdout
    except FileNotFoundError:
        return False


def read(settings: Settings) -> dict[str, Any] | None:
    """The running stack's description, None where none runs."""
    try:
        stack = json.loads(settings.file.read_text())
    except (FileNotFoundError, json.JSONDecodeError):
        return None
    return stack if is_ours(stack["pid"]) else None


def environment(settings: Settings, port: int) -> dict[str, str]:
    """The emulator's whole environment, which its functions inherit: nothing of the user's account or proxy."""
    kept = {key: os.environ[key] for key in ("PATH", "HOME", "LANG", "SYSTEMROOT") if key in os.environ}
    scratch = settings.dir / "tmp"
    return kept | {
        "BIND_HOST": HOST,
        "GATEWAY_PORT": str(port),
        "AWS_ENDPOINT_URL": f"http://{HOST}:{port}",
        "MINISTACK_REGION": REGION,
        "PERSIST_STATE": "0",
        "STATE_DIR": str(scratch / "state"),
        "S3_DATA_DIR": str(scratch / "s3"),
        "TMPDIR": str(scratch),
        "SFTP_ENABLED": "0",
        "IOT_MTLS_ENABLED": "0",
        "DOCKER_HOST": "unix:///nonexistent",
        "PYTHONUNBUFFERED": "1",
        "PYTHONPYCACHEPREFIX": str(ROOT / "target" / "pycache"),
    }


def start(settings: Settings, port: int) -> subprocess.Popen:
    """Starts the emulator and returns once it answers."""
    logs = settings.dir / "logs"
    for stale in (logs, settings.dir / "tmp"):
        shutil.rmtree(stale, ignore_errors=True)
        stale.mkdir(parents=True)
    command = [sys.executable, str(pathlib.Path(__file__).with_name("emulator.py")), str(logs / "functions")]
    with (logs / "emulator.log").open("wb") as out:
        emulator = subprocess.Popen(
            command, env=environment(settings, port), stdin=subprocess.DEVNULL, stdout=out, stderr=out,
            start_new_session=True,  # a Ctrl-C in this terminal is not meant for it
        )

    def ready() -> bool:
        if (code := emulator.poll()) is not None:
            raise Problem(f"the emulator ended with status {code} while starting; its log ends:\n{tail(settings)}")
        return get(f"http://{HOST}:{port}/_ministack/ready")[0] == 200

    try:
        wait_for(f"the emulator on port {port}", START_LIMIT, ready)
    except BaseException:
        stop(emulator.pid)
        raise
    return emulator


def stop(pid: int) -> None:
    """Ends the emulator and the function processes it left in its group: first by SIGTERM, for the rest SIGKILL."""

    def gone() -> bool:
        try:
            os.waitpid(pid, os.WNOHANG)  # reap it where it is our own child
        except ChildProcessError:
            pass
        return not is_ours(pid)

    try:
        os.kill(pid, signal.SIGTERM)
        wait_for("stopping", STOP_LIMIT, gone)
    except (ProcessLookupError, Problem):
        pass
    try:
        os.killpg(pid, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):
        pass


def tail(settings: Settings, lines: int = 15) -> str:
    """The last lines of the emulator's own log."""
    try:
        text = (settings.dir / "logs" / "emulator.log").read_text(errors="replace")
    except FileNotFoundError:
        return "(no log)"
    return "\n".join(f"  | {line}" for line in text.splitlines()[-lines:]) or "  | (empty)"


# --- deploying ----------------------------------------------------------------------------------------------------------


def client(service: str, port: int) -> Any:
    """A client of the emulator; its credentials mean nothing."""
    return boto3.client(
        service, endpoint_url=f"http://{HOST}:{port}", region_name=REGION, aws_access_key_id="test", aws_secret_access_key="test",
        config=botocore.config.Config(retries={"total_max_attempts": 2}, connect_timeout=5, read_timeout=60),
    )


def zipped(settings: Settings, name: str, binary: pathlib.Path) -> pathlib.Path:
    """The function's deployment package, made again only when its binary is newer."""
    package = ROOT / "target" / "lambda" / f"{name}.zip"
    if settings.binaries != Settings.binaries:
        package = settings.dir / "tmp" / f"{name}.zip"
    if package.is_file() and package.stat().st_mtime_ns == binary.stat().st_mtime_ns:
        return package
    package.parent.mkdir(parents=True, exist_ok=True)
    part = package.with_suffix(".part")
    entry = zipfile.ZipInfo("bootstrap")  # with a fixed date: the same binary makes the same bytes
    entry.external_attr, entry.compress_type = 0o755 << 16, zipfile.ZIP_DEFLATED
    with zipfile.ZipFile(part, "w") as archive:
        archive.writestr(entry, binary.read_bytes())
    os.utime(part, ns=(binary.stat().st_mtime_ns,) * 2)
    return part.replace(package)


def upload(settings: Settings, port: int, binaries: dict[str, pathlib.Path]) -> tuple[str, str]:
    """Puts packages, template and key set into S3; returns the template's and the key set's address."""
    s3 = client("s3", port)
    for bucket in (DEPLOY_BUCKET, KEYS_BUCKET):
        s3.create_bucket(Bucket=bucket, CreateBucketConfiguration={"LocationConstraint": REGION})
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        packages = dict(zip(binaries, pool.map(lambda item: zipped(settings, *item), binaries.items())))
    for name, package in packages.items():
        s3.upload_file(str(package), DEPLOY_BUCKET, f"{name}.zip")
    template = CODE_URI.sub(rf"\1s3://{DEPLOY_BUCKET}/\2.zip", settings.template.read_text())
    s3.put_object(Bucket=DEPLOY_BUCKET, Key="template.yaml", Body=template.encode())
    key_set = (ISSUER_DIR / "jwks.json").read_bytes()
    s3.put_object(Bucket=KEYS_BUCKET, Key="jwks.json", Body=key_set, ContentType="application/json")
    base = f"http://{HOST}:{port}"
    if get(f"{base}/{KEYS_BUCKET}/jwks.json") != (200, key_set):
        raise Problem("the emulator does not serve the key set to an unsigned GET")
    return f"{base}/{DEPLOY_BUCKET}/template.yaml", f"{base}/{KEYS_BUCKET}/jwks.json"


def parameters(settings: Settings, key_set: str) -> list[dict[str, str]]:
    """The template's parameters for a laptop: those that differ from its defaults."""
    machine = platform.machine().lower()
    values = {
        "Architecture": "arm64" if machine in ("arm64", "aarch64") else "x86_64",
        "JwksUrl": key_set,
        "TokenIssuer": ISSUER,
        "TokenAudience": AUDIENCE,
        "DeliveryBackoffSeconds": "1",
        "LocalReceivers": "true",
        "LogLevel": settings.log_level,
    }
    return [{"ParameterKey": key, "ParameterValue": value} for key, value in values.items()]


def deploy(settings: Settings, port: int, template: str, key_set: str) -> dict[str, str]:
    """Creates the stack through CloudFormation and returns its outputs."""
    cloudformation = client("cloudformation", port)
    cloudformation.create_stack(
        StackName=STACK, TemplateURL=template, Parameters=parameters(settings, key_set),
        Capabilities=["CAPABILITY_IAM", "CAPABILITY_NAMED_IAM", "CAPABILITY_AUTO_EXPAND"],
    )

    def settled() -> dict[str, Any] | None:
        stack = cloudformation.describe_stacks(StackName=STACK)["Stacks"][0]
        return None if stack["StackStatus"].endswith("_IN_PROGRESS") else stack

    stack = wait_for("deploying template.yaml", DEPLOY_LIMIT, settled)
    if stack["StackStatus"] != "CREATE_COMPLETE":
        log = (settings.dir / "logs" / "emulator.log").read_text(errors="replace")
        why = [line.partition("[cloudformation] ")[2] for line in log.splitlines() if " ERROR [cloudformation] " in line]
        raise Problem(f"template.yaml did not deploy ({stack['StackStatus']}): {'; '.join(why) or stack.get('StackStatusReason')}")
    return {output["OutputKey"]: output["OutputValue"] for output in stack.get("Outputs", [])}


def describe(settings: Settings, port: int, pid: int, made_from: str, outputs: dict[str, str]) -> dict[str, Any]:
    """What a client must know, as written to stack.json."""
    api = outputs["ApiId"]
    endpoint = f"http://{HOST}:{port}"
    return {
        "name": STACK,
        "endpoint": endpoint,
        "region": REGION,
        "port": port,
        "pid": pid,
        "fingerprint": made_from,
        "outputs": outputs,
        "api": {
            "id": api,
            "url": f"{endpoint}/_aws/execute-api/{api}/{STAGE}",
            "base": f"{endpoint}/{STAGE}",
            "host": f"{api}.execute-api.localhost:{port}",
        },
        "issuer": {"dir": str(ISSUER_DIR), "issuer": ISSUER, "audience": AUDIENCE},
        "logs": str(settings.dir / "logs"),
        "env": {
            "AWS_ENDPOINT_URL": endpoint,
            "AWS_REGION": REGION,
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
            "CPIS_ISSUER_DIR": str(ISSUER_DIR),
            "CPIS_STACK": STACK,
            "TOKEN_ISSUER": ISSUER,
            "TOKEN_AUDIENCE": AUDIENCE,
        },
    }


# --- sub-commands -------------------------------------------------------------------------------------------------------


def check(settings: Settings) -> None:
    """Fails at once where `up` would fail for want of room or of the port."""
    check_space(settings.dir)
    running = read(settings)
    if not running:
        free_port(settings.port)
    elif settings.port not in (0, running["port"]):
        raise Problem(f"a stack of this checkout already runs on port {running['port']}: set PORT={running['port']}, or stop it first")


def up(settings: Settings) -> tuple[dict[str, Any], bool]:
    """The running stack's description, and whether this call started it."""
    check(settings)
    binaries = functions(settings)
    ensure_issuer(settings)
    made_from = fingerprint(settings, binaries)
    if running := read(settings):
        if running["fingerprint"] == made_from and get(f"{running['api']['url']}/_ping")[0] == 200:
            return running, False
        settings.say("a stack from another build is running: replacing it")
        down(settings)
    port = free_port(settings.port)
    emulator = start(settings, port)
    try:
        stack = describe(settings, port, emulator.pid, made_from, deploy(settings, port, *upload(settings, port, binaries)))
        ping = f"{stack['api']['url']}/_ping"
        wait_for(f"an answer of GET {ping}", START_LIMIT, lambda: get(ping)[0] == 200)
    except BaseException as error:
        died = emulator.poll() is not None
        stop(emulator.pid)
        if died:
            raise Problem(f"the emulator died; its log ends:\n{tail(settings)}") from error
        raise
    part = settings.file.with_suffix(".part")
    part.write_text(json.dumps(stack, indent=2) + "\n")
    part.replace(settings.file)
    return stack, True


def down(settings: Settings) -> bool:
    """Stops the stack; False where none ran."""
    running = read(settings)
    if running:
        stop(running["pid"])
    settings.file.unlink(missing_ok=True)
    return bool(running)


def logs(settings: Settings, name: str | None) -> None:
    """Prints what the functions wrote, all or those whose name holds `name`."""
    for path in sorted((settings.dir / "logs" / "functions").glob("*.log")):
        if name is None or name in path.stem:
            sys.stdout.write(path.read_text(errors="replace"))


def main() -> None:
    """The command line."""
    forget_account()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("command", choices=["up", "down", "logs"])
    parser.add_argument("function", nargs="?", help="with logs: part of a function's name")
    parser.add_argument("--port", type=int, default=Settings.port, help="0: any free one; default %(default)s")
    parser.add_argument("--dir", type=lambda text: pathlib.Path(text).resolve(), default=Settings.dir, help="default target/local")
    parser.add_argument("--binaries", type=lambda text: pathlib.Path(text).resolve(), default=Settings.binaries, help="default target/release")
    parser.add_argument("--template", type=lambda text: pathlib.Path(text).resolve(), default=Settings.template, help="default template.yaml")
    parser.add_argument("--log-level", default=Settings.log_level, help="of the functions; default %(default)s")
    given = parser.parse_args()
    settings = Settings(given.dir, given.port, given.binaries, given.template, given.log_level)
    if given.command == "up":
        began = time.monotonic()
        stack, started = up(settings)
        how = f"started in {time.monotonic() - began:.1f} s" if started else "already running, unchanged"
        print(f"{stack['api']['url']}  ({how}; {settings.file})")
    elif given.command == "down":
        print("stopped" if down(settings) else "nothing was running")
    else:
        logs(settings, given.function)


if __name__ == "__main__":
    try:
        main()
    except FAILURES as problem:
        sys.exit(f"error: {problem}")
    except KeyboardInterrupt:
        sys.exit(130)
