"""What is dangerous is not written, or stands in the one place that knows why.

These are rules of the kind that semgrep would hold; as tests they need nothing but Python. Each
finds its own bad examples first.
"""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.architecture.source import ROOT, files_under, place, tree_of

PRODUCT = ("app", "config")
EVERYTHING = ("app", "config", "sandbox", "demo", "migrations", "benchmarks")

Rule = Callable[[ast.AST], bool]


def name_of(node: ast.AST) -> str:
    """Return a.b.c for a name or an attribute, and the empty text for anything else."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute):
        return f"{name_of(node.value)}.{node.attr}"
    return ""


def last_name(node: ast.AST) -> str:
    return name_of(node).rpartition(".")[2]


def keywords(call: ast.Call) -> dict[str, ast.expr]:
    return {keyword.arg or "**": keyword.value for keyword in call.keywords}


# -- The rules --------------------------------------------------------------------------------


def believes_any_certificate(node: ast.AST) -> bool:
    """TLS without looking at who answers."""
    if isinstance(node, ast.Call):
        verify = keywords(node).get("verify")
        return isinstance(verify, ast.Constant) and not verify.value
    if isinstance(node, ast.Assign):
        verified = any(last_name(target) == "verify" for target in node.targets)
        return verified and isinstance(node.value, ast.Constant) and not node.value.value
    return last_name(node) in {"_create_unverified_context", "CERT_NONE", "check_hostname"}


def asks_without_patience(node: ast.AST) -> bool:
    """A request that may wait for ever."""
    verbs = {"get", "post", "put", "delete", "head", "request"}
    return (
        isinstance(node, ast.Call)
        and name_of(node.func)
        in {f"requests.{verb}" for verb in verbs} | {"urllib.request.urlopen"}
        and "timeout" not in keywords(node)
    )


def asks_the_network_itself(node: ast.AST) -> bool:
    """Any way out but the guarded one."""
    if isinstance(node, ast.Import | ast.ImportFrom):
        module = node.module or "" if isinstance(node, ast.ImportFrom) else ""
        named = [module, *(f"{module}.{alias.name}".strip(".") for alias in node.names)]
        return any(
            re.fullmatch(
                r"(socket|http\.client|httpx|aiohttp|ftplib|smtplib|urllib\.request)", each
            )
            for each in named
        )
    return isinstance(node, ast.Call) and bool(
        re.fullmatch(
            r"requests\.(get|post|put|delete|head|request|Session|session)", name_of(node.func)
        )
    )


def builds_sql(node: ast.AST) -> bool:
    """SQL out of pieces; a value belongs into a parameter. Constants of ours by name are fine."""
    if not isinstance(node, ast.Call) or not node.args:
        return False
    if last_name(node.func) not in {"text", "execute", "exec_driver_sql", "executemany", "scalar"}:
        return False
    sql = node.args[0]
    if isinstance(sql, ast.JoinedStr):
        pieces = [each.value for each in sql.values if isinstance(each, ast.FormattedValue)]
        return not all(last_name(piece).isupper() for piece in pieces)
    if isinstance(sql, ast.BinOp):
        return any(isinstance(each, ast.Constant | ast.JoinedStr) for each in ast.walk(sql))
    return isinstance(sql, ast.Call) and last_name(sql.func) in {"format", "join"}


def runs_what_it_reads(node: ast.AST) -> bool:
    """Data that becomes code."""
    if isinstance(node, ast.Import | ast.ImportFrom):
        modules = [alias.name for alias in node.names]
        modules += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
        return bool({"pickle", "marshal", "shelve", "dill", "code"} & set(modules))
    return isinstance(node, ast.Call) and name_of(node.func) in {
        *("eval", "exec", "compile", "__import__", "yaml.load", "yaml.unsafe_load"),
        *("yaml.full_load", "importlib.import_module", "render_template_string", "Markup"),
    }


def starts_programs(node: ast.AST) -> bool:
    """Another program, above all by way of a shell."""
    if isinstance(node, ast.Call):
        shell = keywords(node).get("shell")
        if isinstance(shell, ast.Constant) and shell.value:
            return True
        return name_of(node.func) in {"os.system", "os.popen", "os.execv", "os.spawnv"}
    return isinstance(node, ast.Import) and any(a.name == "subprocess" for a in node.names)


SECRET_WORDS = re.compile(r"(.*_)?(password|secret|token|api_key|data_keys?|index_key)")


def tells_the_process_list(node: ast.AST) -> bool:
    """A secret among the arguments of a program: everybody on the machine can read those."""
    if not isinstance(node, ast.Call):
        return False
    if last_name(node.func) not in {"Popen", "run", "start", "check_call", "check_output"}:
        return False
    inner = [each for argument in node.args for each in ast.walk(argument)]
    return any(SECRET_WORDS.fullmatch(last_name(each)) for each in inner)


LEVELS = {"debug", "info", "warning", "error", "exception", "critical", "log"}
TELLING = re.compile(
    r"(.*_)?(body|raw|token|password|secret|api_key|private_pem|authorization|cookies?|headers"
    r"|openid|open_id|payer_ref|subject|phone|document_no|real_name|data_keys|index_key|content)"
)


def logs_what_is_secret(node: ast.AST) -> bool:
    """A body, a key, a token or a person in a log line."""
    if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute):
        return False
    logger = last_name(node.func.value)
    if logger not in {"log", "_logger", "logger"} or node.func.attr not in LEVELS:
        return False
    said = [*node.args, *(value for name, value in keywords(node).items() if name != "exc_info")]
    return any(
        TELLING.fullmatch(last_name(inner))
        for each in said
        for inner in ast.walk(each)
        # `raw.endpoint` tells no more than an endpoint.
        if not any(
            isinstance(outer, ast.Attribute) and outer.value is inner for outer in ast.walk(each)
        )
    )


PROOFS = re.compile(r"(.*_)?(sign|signature|mac|hmac|token|token_hash|hexdigest|api_key|password)")


def compares_a_proof(node: ast.AST) -> bool:
    """`==` ends at the first wrong byte, and whoever can count time learns where it stands."""
    if not isinstance(node, ast.Compare) or not isinstance(node.ops[0], ast.Eq | ast.NotEq):
        return False
    sides = [node.left, *node.comparators]
    if any(isinstance(side, ast.Constant) or ".c." in name_of(side) for side in sides):
        return False  # a word of the protocol; a column, which is looked up by its index
    return any(
        PROOFS.fullmatch(last_name(side.func if isinstance(side, ast.Call) else side))
        for side in sides
    )


def catches_everything(node: ast.AST) -> bool:
    """A handler for any trouble hides bugs; those that may are named below."""
    if not isinstance(node, ast.ExceptHandler):
        return False
    kinds = node.type.elts if isinstance(node.type, ast.Tuple) else [node.type]
    return any(kind is None or last_name(kind) in {"Exception", "BaseException"} for kind in kinds)


def uses_broken_ciphers(node: ast.AST) -> bool:
    """MD5, SHA-1, ECB, DES: only where a protocol prescribes them."""
    return name_of(node) in {"hashlib.md5", "hashlib.sha1", "modes.ECB"} or last_name(node) in {
        *("TripleDES", "ARC4", "SHA1", "MD5"),
    }


def takes_a_secret_out(node: ast.AST) -> bool:
    """From here on a secret is plain text."""
    return isinstance(node, ast.Attribute) and node.attr == "get_secret_value"


def leaves_a_door_open(node: ast.AST) -> bool:
    """The development server, its debugger, an address that everybody reaches."""
    if not isinstance(node, ast.Call):
        return False
    debug = keywords(node).get("debug")
    is_debug = isinstance(debug, ast.Constant) and bool(debug.value)
    return is_debug or name_of(node.func) in {"app.run", "flask_app.run", "tempfile.mktemp"}


# -- What each finds, where it looks, and where it may be --------------------------------------

BAD: dict[Rule, list[str]] = {
    believes_any_certificate: [
        "requests.get(u, verify=False)",
        "session.verify = False",
        "ssl._create_unverified_context()",
        "context.verify_mode = ssl.CERT_NONE",
    ],
    asks_without_patience: ["requests.post(u, json={})", "urllib.request.urlopen(u)"],
    asks_the_network_itself: [
        "requests.get(u, timeout=1)",
        "s = requests.Session()",
        "import socket",
        "from urllib import request",
        "import http.client",
    ],
    builds_sql: [
        "session.execute(text(f'SELECT {x}'))",
        "session.execute(f'DELETE FROM {table}')",
        "text('SELECT ' + name)",
        "connection.exec_driver_sql('SELECT %s' % name)",
        "cursor.execute('SELECT {}'.format(name))",
    ],
    runs_what_it_reads: [
        "import pickle",
        "from pickle import loads",
        "eval(x)",
        "exec(x)",
        "yaml.load(x)",
        "render_template_string(x)",
    ],
    starts_programs: ["import subprocess", "os.system('ls')", "run('ls', shell=True)"],
    tells_the_process_list: [
        "processes.run('staff', '--password', house.staff_password)",
        "subprocess.Popen([sys.executable, f'--key={api_key}'])",
    ],
    logs_what_is_secret: [
        "log.info('%s', request.body)",
        "log.info('x', extra={'y': token})",
        "_logger.warning('no %s', self._settings.api_key)",
        "log.info(f'{password}')",
        "log.debug('x', extra=dict(request.headers))",
        "log.exception('x %s', raw)",
        "_logger.info(str(answer.content))",
    ],
    compares_a_proof: [
        "given == expected.hexdigest()",
        "fields.sign != sign",
        "if token == stored: pass",
        "signature == other",
    ],
    catches_everything: [
        "try: x\nexcept Exception: pass",
        "try: x\nexcept: pass",
        "try: x\nexcept (ValueError, BaseException): pass",
    ],
    uses_broken_ciphers: ["hashlib.md5(x)", "Cipher(a, modes.ECB())", "hashes.SHA1()"],
    takes_a_secret_out: ["settings.api_key.get_secret_value()"],
    leaves_a_door_open: ["app.run()", "create(debug=True)", "tempfile.mktemp()"],
}

MAY: dict[Rule, dict[str, int]] = {
    # A SafeLoader with more refusals.
    runs_what_it_reads: {"config/strict_yaml.py": 1},
    catches_everything: {
        # A notice must be answered whatever happens; what failed is stored, or sent again.
        "app/domain/callbacks/operations.py": 4,
        # One order's trouble must not keep the others waiting.
        "app/domain/inquiries/operations.py": 1,
        "app/domain/debit_runs/submitting.py": 1,
        "app/domain/mandates/asking.py": 2,
        "app/domain/outbox/operations.py": 1,
        # A job's failure is recorded, and must not end the scheduler.
        "app/jobs/running.py": 3,
        # The database may be away; it comes back.
        "app/jobs/schedule.py": 2,
        # The doctor tells what is wrong, whatever it is.
        "app/commands/doctor.py": 1,
    },
    # WeChat Pay v2: MD5 signs, and seals refund notices with ECB.
    uses_broken_ciphers: {"app/payments/wechat/callbacks.py": 2},
    # Where a secret is needed as it is: to sign, to ask, to open, to judge its strength.
    takes_a_secret_out: {
        "app/connectors/logins/wechat.py": 1,
        "app/connectors/messages/wechat.py": 1,
        "app/factory.py": 3,
        "app/payments/wechat/client.py": 1,
        "config/production.py": 4,
    },
}


@pytest.mark.parametrize("rule", BAD, ids=lambda rule: rule.__name__)
def test_each_rule_finds_its_bad_examples(rule: Rule) -> None:
    blind = [example for example in BAD[rule] if not any(map(rule, ast.walk(ast.parse(example))))]
    assert blind == []


@pytest.mark.parametrize("rule", BAD, ids=lambda rule: rule.__name__)
def test_the_product_does_nothing_of_the_kind(rule: Rule) -> None:
    found: dict[str, list[str]] = {}
    for path in files_under(*PRODUCT):
        places = [place(path, node) for node in ast.walk(tree_of(path)) if rule(node)]
        if places:
            found[str(path.relative_to(ROOT))] = places
    assert {path: len(places) for path, places in found.items()} == MAY.get(rule, {}), found


@pytest.mark.parametrize(
    "rule",
    [
        believes_any_certificate,
        asks_without_patience,
        runs_what_it_reads,
        tells_the_process_list,
        leaves_a_door_open,
    ],
    ids=lambda rule: rule.__name__,
)
def test_nor_do_the_programs_around_it(rule: Rule) -> None:
    found = [
        place(path, node)
        for path in files_under(*(folder for folder in EVERYTHING if (ROOT / folder).is_dir()))
        for node in ast.walk(tree_of(path))
        if rule(node) and path != ROOT / "config" / "strict_yaml.py"
    ]
    assert found == []


# -- The repository ---------------------------------------------------------------------------

KEY = re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----\s*(?:\\n)?[A-Za-z0-9+/=]{40}")


def text_files() -> Iterator[Path]:
    """Every file of the repository that may be text, but not what tools and runs leave in it."""
    left = {".git", ".venv", "var", "node_modules", ".hypothesis", ".mypy_cache", ".ruff_cache"}
    for path in ROOT.rglob("*"):
        if path.is_file() and not left & set(path.relative_to(ROOT).parts):
            yield path


def test_no_key_lies_in_the_repository() -> None:
    """But for the throw-away pair of the published vectors."""
    found = [
        str(path.relative_to(ROOT))
        for path in text_files()
        if path.stat().st_size < 2**20 and KEY.search(path.read_text("utf-8", "replace"))
    ]
    assert found == ["tests/vectors/alipay.json"]


def test_the_example_of_settings_holds_no_secret() -> None:
    text = (ROOT / ".env.example").read_text("utf-8")
    values = dict(re.findall(r"^([A-Z_]*(?:KEY|KEYS|SECRET|PASSWORD|TOKEN))=(.*)$", text, re.M))
    assert len(values) >= 4
    assert set(values.values()) == {""}


def test_bandit_finds_nothing() -> None:
    """What it may not look at has its reason beside it."""
    ran = subprocess.run(
        [sys.executable, "-m", "bandit", "-q", "-c", "pyproject.toml", "-r"]
        + ["app", "config", "sandbox", "demo"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stdout
    marked = [
        f"{path.relative_to(ROOT)}:{number} {line.strip()}"
        for path in files_under("app", "config", "sandbox", "demo")
        for number, line in enumerate(path.read_text("utf-8").splitlines(), 1)
        if "# nosec" in line and not re.search(r"# nosec B\d{3}  # \w+", line)
    ]
    assert marked == [], "a # nosec names its test and says why"
