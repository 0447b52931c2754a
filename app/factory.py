"""Puts the house together: settings, database, ports, doors. The one file that knows every room."""

from __future__ import annotations

import base64
import secrets
import string
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import click
from apiflask import APIFlask
from sqlalchemy import Engine
from werkzeug.middleware.proxy_fix import ProxyFix

import app.domain.tables  # noqa: F401  every table, for migrations
from app import __version__
from app.commands.registry import register_commands
from app.connectors.documents.registry import build_documents
from app.connectors.logins.registry import build_logins
from app.connectors.messages.registry import build_messengers
from app.db import GroupCommit, db, make_read, make_transact, migrate, prepare_engine
from app.domain.outbox.rules import FIELDS_OF
from app.domain.pii import Vault, read_data_keys
from app.domain.ports import Ports
from app.logs import configure_logging
from app.metrics import count_callback
from app.payments.registry import build_channels
from app.routes import register_routes
from config.agreement_text_files import load_agreement_texts
from config.bank_layout_files import load_bank_layout
from config.message_template_files import load_message_templates
from config.production import demands_to_start
from config.reason_files import load_reasons
from config.settings import Settings

ALPHABET = string.digits + string.ascii_uppercase
MIGRATIONS = Path(__file__).resolve().parent.parent / "migrations"


class UnfitForProduction(click.ClickException):
    """Settings with which people's money must not be touched; the message lists what is wrong.

    The command line prints it without a traceback; a gunicorn worker fails to boot.
    """

    def __init__(self, unmet: str) -> None:
        super().__init__(f"生产环境拒绝启动\n{unmet}")


def create_app(settings: Settings, *, ports: Ports | None = None) -> APIFlask:
    """Build the web application of one process.

    Args:
        ports: what tests put in place of the ports built from the settings.

    Raises:
        UnfitForProduction: an environment of production with settings of a demo.
    """
    # After the imports above on purpose: the Alipay SDK resets logging when it is imported.
    configure_logging(settings.log_level)
    flask_app = APIFlask(
        "app",
        title="连缴 Lianjiao API",
        version=__version__,
        docs_path=None,
        spec_path="/openapi.json",
    )
    _refuse_unfit(settings, debug=flask_app.debug)
    flask_app.config["SQLALCHEMY_DATABASE_URI"] = settings.database_url
    flask_app.config["METRICS_TOKEN"] = settings.metrics_token.get_secret_value()
    flask_app.config["SQLALCHEMY_ENGINE_OPTIONS"] = _engine_options(settings)
    db.init_app(flask_app)
    migrate.init_app(flask_app, db, render_as_batch=True, directory=str(MIGRATIONS))
    with flask_app.app_context():
        engine = prepare_engine(db.engine)
    flask_app.extensions["lianjiao"] = ports or build_ports(settings, engine)
    flask_app.extensions["lianjiao.settings"] = settings
    register_routes(flask_app)
    register_commands(flask_app)
    if settings.trusted_proxies:
        hops = settings.trusted_proxies
        flask_app.wsgi_app = ProxyFix(flask_app.wsgi_app, x_for=hops, x_proto=hops)  # type: ignore[method-assign]
    return flask_app


def _refuse_unfit(settings: Settings, *, debug: bool) -> None:
    if settings.environment != "production":
        return
    unmet = [each for each in demands_to_start(settings, debug=debug) if not each.met]
    if unmet:
        raise UnfitForProduction("\n".join(f"{each.subject}：{each.advice}" for each in unmet))


def _engine_options(settings: Settings) -> dict[str, Any]:
    options: dict[str, Any] = {
        # An error's text goes into the log; the values of the statement must not.
        "hide_parameters": True,
        # One for each thread of a worker: above this size each request would open its own.
        "pool_size": 20,
        # Every session ends its transaction itself; a rollback after each commit asks for nothing.
        "pool_reset_on_return": None,
    }
    if settings.database_url.startswith("mysql"):
        # Without them a thread would wait for ever for a server that has silently gone.
        silence = settings.database_timeout_seconds
        options["connect_args"] = {
            "connect_timeout": min(silence, 5),
            "read_timeout": silence,
            "write_timeout": silence,
        }
        # One that the server closed earlier needs no ping: its first statement runs again on a
        # new connection (app/db.py).
        options["pool_recycle"] = 1800
    return options


def build_ports(settings: Settings, engine: Engine) -> Ports:
    """Build what operations may use of the world."""
    now = make_clock(settings.clock_offset_seconds)
    return Ports(
        transact=make_transact(engine),
        read=make_read(engine),
        together=GroupCommit(),
        now=now,
        new_number=new_number,
        vault=build_vault(settings),
        channels=build_channels(
            settings, load_reasons=load_reasons, load_layout=load_bank_layout, now=now
        ),
        count_callback=count_callback,
        logins=build_logins(settings, now=now),
        agreement_texts=load_agreement_texts(),
        documents=build_documents(settings),
        messengers=build_messengers(
            settings, load_templates=load_message_templates, fields_of=FIELDS_OF, now=now
        ),
    )


def make_clock(offset_seconds: int) -> Callable[[], datetime]:
    """Return the process's clock: real time, shifted in a demo."""
    offset = timedelta(seconds=offset_seconds)
    return lambda: datetime.now(UTC) + offset


def new_number(prefix: str) -> str:
    """Return a fresh number of 32 characters: prefix, time in base 36, then chance.

    The time keeps neighbours together in the index; the chance (over 100 bits) can't be guessed.
    """
    head = prefix + _in_base_36(int(time.time() * 1000))
    left = 32 - len(head)
    # One draw for all of it: a debit day needs a hundred thousand numbers.
    return head + _in_base_36(secrets.randbelow(36**left)).rjust(left, "0")


def _in_base_36(number: int) -> str:
    digits = ""
    while number:
        number, digit = divmod(number, 36)
        digits = ALPHABET[digit] + digits
    return digits


def build_vault(settings: Settings) -> Vault:
    """Build the vault from the `id:base64` list of the settings; the first key seals."""
    keys = read_data_keys(settings.data_keys.get_secret_value())
    return Vault(
        keys,
        active=next(iter(keys)),
        index_key=base64.b64decode(settings.index_key.get_secret_value(), validate=True),
        cipher=settings.field_cipher,
        index_hash=settings.index_hash,
    )
